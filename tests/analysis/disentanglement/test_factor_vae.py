import importlib.util
import zlib
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.disentanglement.factor_vae import factor_vae

_spec = importlib.util.spec_from_file_location(
    "reference_disentanglement", Path(__file__).parents[2] / "reference/disentanglement.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

F = 3


def sample(rng, factor, count):
    """Images whose three pixels are the factors."""
    images = rng.normal(size=(count, 1, F, 1)).astype(np.float32)
    images[:, 0, factor] = images[0, 0, factor]
    return images


def encoder(mixing):
    return lambda x: (np.asarray(x).reshape(len(x), F) @ mixing, np.zeros((len(x), mixing.shape[1])))


def codes(mixing):
    return np.random.default_rng(9).normal(size=(2000, F)) @ mixing


@pytest.mark.parametrize("mixing", [np.eye(F), np.eye(F)[:, [2, 0, 1]] * [3, -0.5, 1], np.tile(np.eye(F), 2)])
def test_codes_that_are_factors_win_every_vote(mixing):
    result = factor_vae(encoder(mixing), sample, F, codes(mixing), num_votes=30, num_images=8)
    assert result.score == 1.0
    np.testing.assert_array_equal(result.votes.sum(axis=0), 10)


def test_votes_by_chance_are_judged_afresh():
    """Before, 200 latents that know nothing scored 0.94 by the votes that they were read from."""

    def guess(x):
        noise = np.random.default_rng(zlib.crc32(np.asarray(x).tobytes())).normal(size=(len(x), 200))
        return noise, None

    found = [
        factor_vae(guess, sample, F, np.random.default_rng(1).normal(size=(500, 200)), 30, 4, seed=seed)
        for seed in range(40)
    ]
    own = np.mean([result.votes.max(axis=1).sum() / 30 for result in found])
    fresh = np.mean([result.score for result in found])
    assert own > 0.8
    assert abs(fresh - 1 / F) < 0.06  # 600 fresh votes: a standard error of .02


def test_one_latent_that_mixes_all_factors_is_right_by_chance():
    mixing = np.ones((F, 1))
    score = factor_vae(encoder(mixing), sample, F, codes(mixing), num_votes=30, num_images=8).score
    np.testing.assert_allclose(score, 1 / F, rtol=1e-12)


def test_collapsed_latents_may_not_vote():
    mixing = np.concatenate([np.eye(F), 1e-3 * np.ones((F, 1))], axis=1)
    result = factor_vae(encoder(mixing), sample, F, codes(mixing), num_votes=30, num_images=8)
    assert result.votes[3].sum() == 0
    assert result.protocol["voting_latents"] == "3 with standard deviation >= 0.05"
    between = factor_vae(encoder(0.1 * np.eye(F)), sample, F, codes(0.1 * np.eye(F)), num_votes=30, num_images=8)
    assert between.protocol["voting_latents"] == "3 with standard deviation >= 0.05"  # whose variance is 0.01
    collapsed = factor_vae(encoder(1e-3 * mixing), sample, F, codes(1e-3 * mixing), num_votes=30, num_images=8)
    assert collapsed.score == 0


def test_reference():
    mixing, batches, fixed = np.random.default_rng(1).normal(size=(F, 4)), [], []

    def encode(x):
        mean = encoder(mixing)(x)[0]
        batches.append(np.asarray(mean, np.float64))
        return mean, None

    def recorded(rng, factor, count):
        fixed.append(factor)
        return sample(rng, factor, count)

    score = factor_vae(encode, recorded, F, codes(mixing), num_votes=60, num_images=8).score
    assert len(batches) == 90
    np.testing.assert_allclose(score, reference.factor_vae(batches, fixed, codes(mixing), F, 60), rtol=1e-12)
    assert sorted(set(fixed)) == [0, 1, 2]
