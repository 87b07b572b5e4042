import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.disentanglement.factors import mutual_information, rank_correlation
from cellfx.analysis.disentanglement.supervised import dci, dci_from_importance, mig, sap

_spec = importlib.util.spec_from_file_location(
    "reference_disentanglement", Path(__file__).parents[2] / "reference/disentanglement.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.fixture(scope="module")
def factors():
    """Every combination of 2, 4 and 5 values, 20 times."""
    grid = np.stack(np.meshgrid(np.arange(2.0), np.arange(4.0), np.arange(5.0), indexing="ij"), -1).reshape(-1, 3)
    return np.tile(grid, (20, 1))


@pytest.fixture(scope="module")
def rotation():
    return np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


@pytest.fixture(scope="module")
def continuous():
    return np.random.default_rng(3).normal(size=(2000, 3))


def test_mig_of_the_factors_themselves_is_one(factors):
    result = mig(factors[:, ::-1] * [-3, 1, 7] + 2, factors, "mean")
    np.testing.assert_allclose(result.gaps, 1, rtol=1e-12)
    np.testing.assert_allclose(result.score, 1, rtol=1e-12)
    np.testing.assert_allclose(result.information, np.diag(np.log([5, 4, 2]))[:, ::-1] * 1.0, atol=1e-12)


def test_mig_of_duplicated_codes_is_zero(factors):
    np.testing.assert_allclose(mig(np.tile(factors, 2), factors, "mean").score, 0, atol=1e-12)


def test_mig_of_constant_or_random_codes_is_near_zero(factors):
    assert mig(np.ones_like(factors), factors, "mean").score == 0
    noise = np.random.default_rng(0).normal(size=factors.shape)
    # The bias of the estimate, about 19 * 4 / (2 * 800) nats, divided by the entropy of the factor.
    assert mig(noise, factors, "mean").score < 0.05


def test_mig_of_rotated_codes_is_low_and_equals_the_reference(factors, rotation):
    codes = factors @ rotation
    score = mig(codes, factors, "mean", code_bins=10).score
    assert score < 0.5
    np.testing.assert_allclose(score, reference.mig(codes, factors, 10), rtol=1e-10)


def test_mig_of_one_latent_leads_over_nothing(factors):
    result = mig(factors[:, 1:2], factors, "mean")
    np.testing.assert_allclose(result.gaps, [0, 1, 0], atol=1e-12)


def test_a_constant_factor_is_left_out_or_counts_as_zero(factors):
    padded = np.concatenate([factors, np.full((len(factors), 1), 3.0)], axis=1)
    left_out = mig(factors, padded, "mean")
    np.testing.assert_allclose(left_out.score, 1, rtol=1e-12)
    assert np.isnan(left_out.gaps[3])
    assert left_out.protocol["factors"] == [0, 1, 2]
    counted = mig(factors, padded, "mean", count_constant=True)
    np.testing.assert_allclose(counted.score, 0.75, rtol=1e-12)
    assert counted.protocol["constant_factors"] == "count as 0"


def test_continuous_factors_are_cut_into_bins_of_equal_count(continuous):
    result = mig(continuous, continuous, "sampled", code_bins=20, factor_bins=10)
    assert result.score > 0.6
    assert result.protocol["factor_bins"] == "10 of equal count for factors [0, 1, 2]"
    assert result.protocol["codes"] == "sampled"
    edges = np.quantile(continuous, np.linspace(0, 1, 11)[1:-1], axis=0)
    binned = np.stack([np.sum(continuous[:, f, None] >= edges[:, f], axis=1) for f in range(3)], axis=1)
    np.testing.assert_array_equal(np.bincount(binned[:, 0]), 200)
    np.testing.assert_allclose(result.score, reference.mig(continuous, binned, 20), rtol=1e-10)


def test_mutual_information_of_a_channel_closed_form():
    # A binary symmetric channel that flips one in four: ln 2 minus the entropy of (1/4, 3/4).
    received = np.tile([0, 0, 0, 1, 1, 1, 1, 0], 50)
    sent = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 50)
    expected = np.log(2) + 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    np.testing.assert_allclose(mutual_information(sent, received), expected, rtol=1e-12)


def test_dci_closed_forms():
    np.testing.assert_allclose(dci_from_importance(np.eye(4)), (1, 1), rtol=1e-12)
    np.testing.assert_allclose(dci_from_importance(np.ones((4, 3))), (0, 0), atol=1e-12)
    # Two latents share each factor: every latent is pure, no factor is complete.
    half = np.kron(np.eye(2), [[0.5], [0.5]])
    np.testing.assert_allclose(dci_from_importance(half), (1, 0.5), rtol=1e-12)
    np.testing.assert_allclose(dci_from_importance(half.T), (0.5, 1), rtol=1e-12)
    assert dci_from_importance(np.zeros((2, 2))) == (0, 0)


def test_dci_equals_the_reference():
    importance = np.random.default_rng(0).uniform(size=(6, 4))
    np.testing.assert_allclose(dci_from_importance(importance), reference.dci(importance), rtol=1e-10)


def test_dci_of_the_factors_themselves(factors, rotation):
    codes = np.concatenate([factors, np.random.default_rng(0).normal(size=(len(factors), 1))], axis=1)
    right = dci(codes, factors, "mean")
    np.testing.assert_allclose([right.disentanglement, right.completeness, right.informativeness], 1, rtol=1e-9)
    turned = dci(factors @ rotation, factors, "mean")
    assert turned.disentanglement < 0.8
    assert turned.completeness < 0.8
    assert turned.informativeness > 0.9
    assert right.protocol["num_test"] == 267


def test_dci_repeats_with_its_seed_and_noise_tells_nothing(factors):
    codes = np.random.default_rng(0).normal(size=factors.shape)
    first, second = dci(codes, factors, "mean", seed=1), dci(codes, factors, "mean", seed=1)
    np.testing.assert_array_equal(first.importance, second.importance)
    # Chance is (1/2 + 1/4 + 1/5) / 3.
    np.testing.assert_allclose(first.informativeness, 0.317, atol=0.08)


def test_sap_of_continuous_factors_equals_the_reference(continuous, rotation):
    codes = continuous @ rotation + 0.1
    result = sap(codes, continuous, "mean", factor_bins=10)
    np.testing.assert_allclose(result.score, reference.sap_continuous(codes, continuous), rtol=1e-10)
    np.testing.assert_allclose(sap(continuous, continuous, "mean", factor_bins=10).score, 1, atol=0.01)


def test_sap_of_discrete_factors(factors):
    binary = factors[:, :1] * 2 - 1
    codes = np.concatenate([binary, np.zeros_like(binary)], axis=1)
    alone = sap(codes, factors[:, :1], "mean")
    np.testing.assert_array_equal(alone.predictability, [[1.0], [0.0]])
    assert alone.score == 1.0
    assert sap(np.tile(binary, 2), factors[:, :1], "mean").score == 0.0
    noise = np.random.default_rng(0).normal(size=binary.shape)
    lead = sap(np.concatenate([binary, noise], axis=1), factors[:, :1], "mean").score
    # Noise tells a coin's side in half the cases: five standard errors on 267 test examples.
    np.testing.assert_allclose(lead, 0.5, atol=5 * 0.5 / np.sqrt(267))


def test_rank_correlation():
    codes = np.stack([np.arange(50.0), np.exp(-np.arange(50.0)), np.zeros(50)], axis=1)
    expected = [[1, 0.0], [-1, 0.0], [0, 0]]
    factor = np.concatenate([np.arange(25), np.arange(25)[::-1]])
    result = rank_correlation(codes, np.stack([np.arange(50.0) ** 3, factor], axis=1))
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize("score", [mig, dci, sap])
def test_bad_input(score, factors):
    with pytest.raises(ValueError, match="got 'median', expected 'mean' or 'sampled'"):
        score(factors, factors, "median")
    with pytest.raises(ValueError, match=r"got \(799, 3\) and \(800, 3\)"):
        score(factors[1:], factors, "mean")
    with pytest.raises(ValueError, match="got 3 factors with one value each"):
        score(factors, np.ones_like(factors), "mean")
    with pytest.raises(ValueError, match="got 800 values in 800 examples"):
        score(factors, np.arange(800.0)[:, None], "mean")
