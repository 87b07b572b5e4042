import itertools
import math

import numpy as np
import pytest
import screens
from copairs.map.normalization import expected_ap

from cellfx.profiles.chance.random_ranking import (
    enumerated,
    exact_p_value,
    expected_average_precision,
    from_places,
    sampled,
)

reference = screens.reference("profiles_average_precision")

SIZES = [(1, 1), (1, 7), (2, 2), (2, 9), (3, 8), (5, 9), (7, 8), (8, 8)]


@pytest.mark.parametrize(("k", "n"), SIZES)
def test_enumeration_equals_the_reference(k, n):
    null = enumerated(k, n, 2**22)
    assert np.all(np.diff(null.values) > 0)
    np.testing.assert_allclose(np.repeat(*null), np.sort(reference.all_random(k, n)), rtol=1e-14)


@pytest.mark.parametrize(("k", "n"), SIZES)
def test_expectation_is_the_mean_of_all_rankings(k, n):
    expected = expected_average_precision(np.array([k]), np.array([n]))
    np.testing.assert_allclose(expected, reference.all_random(k, n).mean(), rtol=1e-13)
    np.testing.assert_allclose(expected, expected_ap(k, n - k), rtol=1e-12)


def test_expectation_of_many_equals_copairs():
    k, n = np.array([1, 3, 40, 500]), np.array([3000, 67, 41, 1000])
    np.testing.assert_allclose(
        expected_average_precision(k, n), [expected_ap(*x) for x in zip(k, n - k, strict=True)], rtol=1e-12
    )


@pytest.mark.parametrize(("k", "n"), [(1, 5), (3, 40), (2, 3000), (32, 60), (33, 60), (150, 200)])
def test_samples_have_the_moments_of_random_rankings(k, n):
    null = sampled(k, n, 20_000, seed=1)
    assert null.shape == (20_000,)
    error = null.std() / np.sqrt(20_000)
    assert abs(null.mean() - expected_average_precision(k, n)) < 4 * error


@pytest.mark.parametrize(("k", "n"), [(2, 6), (3, 7)])
def test_samples_have_every_value_as_often_as_it_comes_about(k, n):
    values = np.repeat(*enumerated(k, n, 2**20))
    steps = np.flatnonzero(np.diff(values) > 1e-9)
    edges = np.concatenate([[0.0], (values[steps] + values[steps + 1]) / 2, [2.0]])
    counts, found = (np.histogram(x, edges)[0] for x in (values, sampled(k, n, 40_000, 0)))
    assert len(counts) > 5
    expected = counts / counts.sum() * 40_000
    chi_square = np.sum((found - expected) ** 2 / expected)
    assert chi_square < len(counts) + 4 * np.sqrt(2 * len(counts))


def test_both_ways_of_sampling_agree(monkeypatch):
    from cellfx.profiles.chance import random_ranking

    one = sampled(5, 30, 20_000, seed=0)
    monkeypatch.setattr(random_ranking, "FEW_POSITIVES", 4)
    monkeypatch.setattr(random_ranking, "SAMPLED_ENTRIES", 1000)
    other = sampled(5, 30, 20_000, seed=0)
    for share in (0.05, 0.5, 0.95, 0.99):
        assert abs(np.mean(other <= np.quantile(one, share)) - share) < 0.01


def test_a_configuration_has_one_null_per_seed():
    one, same, other = (sampled(3, 400, 100, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_limit_counts_places():
    # 3 of 8: 56 sets of 3 places
    assert enumerated(3, 8, 168).counts.sum() == 56
    assert enumerated(3, 8, 167) is None
    assert enumerated(1, 1, 0) is None
    for k, n in ((1, 2**22), (2, 2048), (3, 204), (5, 41)):
        assert enumerated(k, n, 2**22).counts.sum() == math.comb(n, k)
        assert enumerated(k, n + 1, 2**22) is None
    assert enumerated(50_000, 100_000, 2**22) is None


def test_p_value_of_one_configuration_is_its_tail():
    null = enumerated(2, 6, 2**22)
    values = reference.all_random(2, 6)
    for observed in [*np.unique(values), 0.05, 1.0]:
        found = exact_p_value(observed, np.ones(1), [null], 2**22)
        np.testing.assert_allclose(found, np.mean(values >= observed - 1e-9), rtol=1e-12)
    # 1 of the 15 pairs of places is the best
    np.testing.assert_allclose(exact_p_value(1.0, np.ones(1), [null], 0), 1 / 15, rtol=1e-12)


def test_p_value_of_several_configurations_is_a_sum_over_all_of_their_rankings():
    sizes, shares = [(2, 5), (1, 7), (3, 6)], np.array([0.5, 0.2, 0.3])
    nulls = [enumerated(k, n, 2**22) for k, n in sizes]
    every = [reference.all_random(k, n) for k, n in sizes]
    sums = np.array([shares @ combination for combination in itertools.product(*every)])
    for observed in np.quantile(sums, [0, 0.3, 0.9, 0.99, 1]):
        found = exact_p_value(observed, shares, nulls, 2**22)
        np.testing.assert_allclose(found, np.mean(sums >= observed - 1e-9), rtol=1e-12)
    fewer = math.prod(sorted(len(null.values) for null in nulls)[:2])
    assert exact_p_value(0.5, shares, nulls, fewer) is not None
    assert exact_p_value(0.5, shares, nulls, fewer - 1) is None


def test_from_places():
    np.testing.assert_allclose(from_places(np.array([[1, 2], [1, 4], [3, 4]])), [1.0, 0.75, (1 / 3 + 1 / 2) / 2])
