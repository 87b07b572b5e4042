import numpy as np
import pytest
from scipy.stats import norm

from cellfx.profiles.chance.hierarchical import hierarchical
from cellfx.profiles.chance.resampling import benjamini_hochberg

SIZES = np.array([1, 2, 3, 4, 6, 6, 1, 4, 2, 6])
LEVEL = 0.05


def discovered(p_values, families, level):
    """Benjamini & Bogomolov 2014, step by step: which families, and which tests of these."""
    codes = np.unique(families)
    simes = []
    for code in codes:
        falling = np.sort(p_values[families == code])
        simes.append(np.min(falling * len(falling) / np.arange(1, len(falling) + 1)))
    chosen = np.zeros(len(codes), bool)
    order = np.argsort(simes)
    below = [rank for rank, i in enumerate(order, 1) if simes[i] <= level * rank / len(codes)]
    chosen[order[: max(below, default=0)]] = True
    share, tests = level * chosen.sum() / len(codes), np.zeros(len(p_values), bool)
    for code in codes[chosen]:
        rows = np.flatnonzero(families == code)
        order = rows[np.argsort(p_values[rows])]
        below = [rank for rank, i in enumerate(order, 1) if p_values[i] <= share * rank / len(rows)]
        tests[order[: max(below, default=0)]] = True
    return chosen, tests


def test_adjusted_p_values_are_those_of_the_procedure_at_every_level():
    rng = np.random.default_rng(0)
    for _ in range(40):
        families = rng.permutation(np.repeat(np.arange(10), SIZES))
        p_values = rng.uniform(size=len(families)) ** rng.choice([1, 2, 8])
        found = hierarchical(p_values, families)
        assert found.num_tests.tolist() == SIZES.tolist()
        for level in (0.01, 0.05, 0.1, 0.3, 0.7, 0.99):
            chosen, tests = discovered(p_values, families, level)
            np.testing.assert_array_equal(found.corrected_families <= level, chosen)
            np.testing.assert_array_equal(found.corrected <= level, tests)


def test_one_test_a_family_is_benjamini_hochberg_and_one_family_too():
    p_values = np.random.default_rng(1).uniform(size=30) ** 3
    for families in np.arange(30), np.zeros(30, int):
        np.testing.assert_allclose(hierarchical(p_values, families).corrected, benjamini_hochberg(p_values), rtol=1e-12)


def test_by_hand():
    """Two of three families are selected at .05: their tests are judged at .05 x 2 / 3."""
    found = hierarchical(np.array([0.001, 0.04, 0.02, 0.9, 0.6]), np.array([7, 7, 9, 9, 8]))
    assert found.families.tolist() == [7, 8, 9]
    np.testing.assert_allclose(found.simes, [0.002, 0.6, 0.04], rtol=1e-12)
    np.testing.assert_allclose(found.corrected_families, [0.006, 0.6, 0.06], rtol=1e-12)
    np.testing.assert_allclose(found.corrected, [0.006, 0.06, 0.06, 0.9, 0.6], rtol=1e-12)


def average_false_share(statistics, effects, families, correct):
    """The false share among the discoveries of each family with one, averaged over these families; 0 without any."""
    shares = []
    for noise in statistics:
        tests = correct(norm.sf(noise + effects))
        chosen = np.unique(families[tests])
        false = [np.mean(effects[tests & (families == family)] == 0) for family in chosen]
        shares.append(np.mean(false) if false else 0.0)
    return np.array(shares)


def flat(p_values):
    return benjamini_hochberg(p_values) <= LEVEL


@pytest.mark.parametrize("shared", [0.0, 0.5])
@pytest.mark.parametrize("with_effect", [0, 2, 6, 10])
def test_false_discoveries_of_selected_compounds_are_within_the_level(with_effect, shared):
    """Without an effect, and where the highest half of the doses of some compounds has one; doses alike or not."""
    rng = np.random.default_rng(with_effect)
    families = np.repeat(np.arange(40), np.tile(SIZES, 4))
    dose = np.arange(len(families)) - np.searchsorted(families, families)
    high = dose >= np.tile(SIZES, 4)[families] // 2
    effects = np.where((families % 10 < with_effect) & high, 3.0, 0.0)
    noise = np.sqrt(1 - shared) * rng.normal(size=(500, len(families)))
    noise += np.sqrt(shared) * rng.normal(size=(500, 40))[:, families]
    shares = average_false_share(noise, effects, families, lambda p: hierarchical(p, families).corrected <= LEVEL)
    error = shares.std() / np.sqrt(len(shares))
    assert shares.mean() <= LEVEL + 2 * error
    if with_effect == 0:
        assert shares.mean() > 0.02


def test_correcting_all_doses_at_once_does_not_keep_the_level_within_compounds():
    """Few strong compounds of many doses lend their discoveries to all others: what the hierarchy is for."""
    rng = np.random.default_rng(0)
    families = np.concatenate([np.repeat(np.arange(5), 20), np.arange(5, 105)])
    effects = np.where(families < 5, 5.0, 0.0)
    noise = rng.normal(size=(200, len(families)))
    assert average_false_share(noise, effects, families, flat).mean() > 2 * LEVEL
    kept = average_false_share(noise, effects, families, lambda p: hierarchical(p, families).corrected <= LEVEL)
    assert kept.mean() <= LEVEL + 2 * kept.std() / np.sqrt(200)


def test_refused():
    with pytest.raises(ValueError, match=r"tests without a family: got p-values of shape \(3,\) and families of shape"):
        hierarchical(np.ones(3), np.zeros(2, int))
    with pytest.raises(ValueError, match="tests without a family"):
        hierarchical(np.ones(0), np.zeros(0, int))
    with pytest.raises(ValueError, match="no p-values: got shape"):
        hierarchical(np.array([0.1, np.nan]), np.zeros(2, int))
