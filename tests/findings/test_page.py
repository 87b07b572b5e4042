"""What of a latent space is drawn."""

import numpy as np
import pytest

from cellfx.analysis.latents.encoding import Latents
from cellfx.findings import page


def plain(z):
    return 0.5 + 0.1 * np.tile(np.tanh(z[:, :1, None, None]), (1, 8, 8, 1))


def of_one_length(z):
    return plain(z / np.sqrt(np.sum(np.square(z), axis=1, keepdims=True) + 1e-8))


def of_nothing(z):
    return plain(0 * z)


@pytest.mark.parametrize(("decode", "around_mean"), [(plain, True), (of_one_length, False), (of_nothing, True)])
def test_latents_move_around_the_prior_mean_where_that_draws_something(decode, around_mean):
    codes = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    drawn = page.traversal_figures(decode, Latents(codes, np.full_like(codes, -3.0)))
    assert [figure.name for figure in drawn] == ["traversals"] * around_mean + ["traversals_of_a_cell"]
