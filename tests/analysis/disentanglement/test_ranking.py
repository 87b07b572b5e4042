import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.disentanglement.ranking import lasso_similarity, match, udr

_spec = importlib.util.spec_from_file_location(
    "reference_disentanglement", Path(__file__).parents[2] / "reference/disentanglement.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

KL = np.ones(4)


@pytest.fixture(scope="module")
def grid():
    """Every combination of values of four latents: exactly uncorrelated."""
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (4, 5, 6, 7)], indexing="ij"), -1).reshape(-1, 4)


@pytest.mark.parametrize(("variant", "expected"), [("spearman", 1.0), ("lasso", 0.9)])
def test_permuted_and_flipped_codes_match(grid, variant, expected):
    codes = [grid, grid[:, [2, 0, 3, 1]] * [1, -2, 3, -1], -grid[:, ::-1]]
    result = udr(codes, [KL] * 3, variant)
    np.testing.assert_allclose(result.scores, expected, rtol=1e-6)
    assert np.isnan(np.diag(result.pairwise)).all()


@pytest.mark.parametrize("variant", ["spearman", "lasso"])
def test_rotations_score_low_and_the_shared_axes_win(grid, variant):
    rng = np.random.default_rng(0)
    turned = [grid @ np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2)]
    low = udr([grid, *turned], [KL] * 3, variant).scores
    assert (low < 0.6).all()
    result = udr([grid, grid[:, ::-1], -grid, *turned], [KL] * 5, variant)
    assert result.scores[:3].min() > result.scores[3:].max()


def test_unused_latents_do_not_count(grid):
    noise = np.random.default_rng(0).normal(size=(len(grid), 3))
    padded = np.concatenate([grid, noise], axis=1)
    result = udr([padded, grid[:, ::-1]], [np.array([1, 1, 1, 1, 0.01, 0.001, 0]), KL])
    np.testing.assert_allclose(result.scores, 1, rtol=1e-12)
    np.testing.assert_array_equal(result.num_informative, [4, 4])


@pytest.mark.parametrize("variant", ["spearman", "lasso"])
def test_collapsed_models_score_zero(grid, variant):
    result = udr([grid, grid, grid], [KL, KL, np.zeros(4)], variant)
    assert result.scores[2] == 0
    assert result.num_informative[2] == 0


def test_reference(grid):
    rng = np.random.default_rng(1)
    first = grid @ rng.normal(size=(4, 3))
    second = np.tanh(grid @ rng.normal(size=(4, 2)))
    similarity = np.array([[abs(reference.spearman(a, b)) for b in second.T] for a in first.T])
    result = udr([first, second], [KL[:3], KL[:2]])
    np.testing.assert_allclose(result.pairwise[0, 1], reference.udr_match(similarity), rtol=1e-10)


def test_match_closed_forms():
    assert match(np.eye(3)) == 1.0
    np.testing.assert_allclose(match(np.full((4, 4), 0.5)), 0.5 / 4, rtol=1e-12)


def test_lasso_shrinks_standardised_weights_by_alpha(grid):
    np.testing.assert_allclose(lasso_similarity(grid, 7 * grid + 3, 0.25), 0.75 * np.eye(4), atol=1e-6)


def test_the_protocol_is_stated(grid):
    protocol = udr([grid, grid], [KL, KL], "lasso").protocol
    assert protocol["variant"] == "lasso, alpha=0.1, standardized codes"
    assert protocol["num_models"] == 2


def test_bad_input(grid):
    with pytest.raises(ValueError, match="got 'pearson', expected one of"):
        udr([grid, grid], [KL, KL], "pearson")
    with pytest.raises(ValueError, match="got codes of 1 and divergences of 1 models"):
        udr([grid], [KL])
    with pytest.raises(ValueError, match="encode the same images with every model"):
        udr([grid, grid[1:]], [KL, KL])
    with pytest.raises(ValueError, match="encode the same images with every model"):
        udr([grid, grid], [KL, KL[:3]])
