import numpy as np
import pytest
from scipy.stats import bootstrap, false_discovery_control

from cellfx.profiles.chance.resampling import benjamini_hochberg, bootstrap_interval, p_value, permutation_null

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_correction_equals_scipy(count):
    for values in (RNG.uniform(size=count) ** 3, RNG.choice([0.0, 0.01, 0.5, 1.0], count)):
        np.testing.assert_allclose(benjamini_hochberg(values), false_discovery_control(values), rtol=1e-14)


def test_correction_of_nothing():
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_interval_equals_scipy():
    values = RNG.exponential(size=60)
    found = bootstrap_interval(values, num_resamples=20_000, level=0.9)
    settings = {"n_resamples": 20_000, "confidence_level": 0.9, "method": "percentile", "rng": 0}
    expected = bootstrap((values,), np.mean, **settings).confidence_interval
    np.testing.assert_allclose(found.estimate, values.mean(), rtol=1e-14)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], atol=0.02)
    assert found.low < found.estimate < found.high


def test_any_statistic_has_an_interval_and_the_mean_has_one_both_ways():
    values, groups = RNG.normal(size=90), np.repeat(np.arange(30), 3)
    fast = bootstrap_interval(values, groups, num_resamples=300, seed=4)
    slow = bootstrap_interval(values, groups, np.mean, num_resamples=300, seed=4)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    median = bootstrap_interval(values, groups, np.median, num_resamples=300)
    assert median.estimate == np.median(values)
    assert median.low < median.estimate < median.high


def test_repeats_do_not_narrow_an_interval():
    values = RNG.normal(size=40)
    repeated, groups = np.repeat(values, 9), np.repeat([f"compound {i:02d}" for i in range(40)], 9)
    alone = bootstrap_interval(values)
    np.testing.assert_allclose(bootstrap_interval(repeated, groups), alone, rtol=1e-9)
    pretended = bootstrap_interval(repeated)
    assert pretended.high - pretended.low < 0.5 * (alone.high - alone.low)


def test_groups_of_different_sizes_need_no_order():
    values, groups = RNG.normal(size=60), RNG.integers(0, 12, 60)
    order = RNG.permutation(60)
    one, other = (bootstrap_interval(v, g) for v, g in ((values, groups), (values[order], groups[order])))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_permutations_stay_within():
    within = RNG.permutation(np.repeat([5, 1, 9], [4, 3, 8]))
    seen = []

    def score(permutation):
        assert sorted(permutation.tolist()) == list(range(15))
        np.testing.assert_array_equal(within[permutation], within)
        seen.append(permutation)
        return float(permutation[0])

    null = permutation_null(score, 15, within, num_permutations=400)
    members = np.flatnonzero(within == within[0])
    assert set(null.tolist()) == set(members.tolist())
    _, counts = np.unique(null, return_counts=True)
    assert np.all(np.abs(counts - 400 / len(members)) < 5 * np.sqrt(400 / len(members)))
    assert len({tuple(p) for p in seen}) > 350


def test_p_values_of_a_score_without_meaning_are_uniform():
    rng = np.random.default_rng(1)
    found = []
    for seed in range(200):
        x, y = rng.normal(size=(2, 12))
        null = permutation_null(lambda p, x=x, y=y: float(x[p] @ y), 12, num_permutations=99, seed=seed)
        found.append(p_value(float(x @ y), null))
    assert 0.4 < np.mean(found) < 0.6
    assert 0.02 < np.mean(np.array(found) <= 0.1) < 0.18


def test_p_value_counts_the_observed_and_ties():
    assert p_value(3.0, np.arange(4)) == 2 / 5
    assert p_value(9.0, np.arange(4)) == 1 / 5
    assert p_value(0.0, np.arange(4)) == 1.0
    assert p_value(0.1 + 0.2, np.array([0.3, 0.0])) == 2 / 3


def test_bad_input():
    for values in ([0.1, 1.1], [-0.1], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match=r"no p-values: got shape \(.*\) with the values \[.*\], expected \(m,\)"):
            benjamini_hochberg(np.array(values))
    with pytest.raises(ValueError, match=r"got shape \(3,\) in groups of shape \(2,\), 0 not finite, expected"):
        bootstrap_interval(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match=r"got shape \(2,\) in groups of shape \(2,\), 1 not finite"):
        bootstrap_interval(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match=r"got shape \(0,\) in groups"):
        bootstrap_interval(np.array([]))
    for level in (0, 1, np.nan):
        with pytest.raises(ValueError, match=f"no interval: got level {level} and 2000 resamples, expected"):
            bootstrap_interval(np.zeros(3), level=level)
    with pytest.raises(ValueError, match=r"got level 0\.95 and 0 resamples"):
        bootstrap_interval(np.zeros(3), num_resamples=0)
    with pytest.raises(ValueError, match=r"got 3 rows, codes of shape \(2,\) and 1000 permutations, expected"):
        permutation_null(np.sum, 3, np.zeros(2))
    with pytest.raises(ValueError, match=r"got 0 rows, codes of shape \(0,\) and 1000"):
        permutation_null(np.sum, 0)
    with pytest.raises(ValueError, match=r"got 3 rows, codes of shape \(3,\) and 0 permutations"):
        permutation_null(np.sum, 3, num_permutations=0)
    with pytest.raises(ValueError, match=r"got the score 1\.0 and 0 scores by chance, 0 of them no numbers"):
        p_value(1.0, np.array([]))
    with pytest.raises(ValueError, match="got the score nan and 1 scores by chance"):
        p_value(np.nan, np.array([1.0]))
    with pytest.raises(ValueError, match="2 scores by chance, 1 of them no numbers"):
        p_value(1.0, np.array([1.0, np.nan]))


def test_an_infinite_score_is_as_good_as_others_that_are():
    assert p_value(np.inf, np.array([1.0, np.inf, 2.0])) == pytest.approx(2 / 4)
