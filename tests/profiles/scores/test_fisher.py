import numpy as np
import pytest
import scipy.stats

from cellfx.profiles.scores.fisher import fisher_greater


def test_agrees_with_scipy_on_tables_of_all_kinds():
    rng = np.random.default_rng(0)
    for scale in (3, 20, 300, 5000):
        for _ in range(60):
            a, b, c, d = (int(count) + 1 for count in rng.integers(0, scale, 4))
            known = scipy.stats.fisher_exact([[a, b], [c, d]], alternative="greater")
            ours = fisher_greater(a, b, c, d)
            np.testing.assert_allclose(ours.odds_ratio, known.statistic, rtol=1e-12)
            # Where p is nearly 1, SciPy's own error is of the order of 1e-12.
            np.testing.assert_allclose(ours.p_value, known.pvalue, rtol=1e-8, atol=1e-300)
            np.testing.assert_allclose(10**ours.log10_p, ours.p_value, rtol=1e-9)


@pytest.mark.parametrize("table", [(0, 5, 3, 9), (7, 0, 3, 9), (7, 2, 0, 9), (7, 2, 3, 0), (4, 0, 0, 4), (0, 4, 4, 0)])
def test_tables_with_a_zero(table):
    known = scipy.stats.fisher_exact(np.reshape(table, (2, 2)), alternative="greater")
    ours = fisher_greater(*table)
    assert ours.odds_ratio == known.statistic
    np.testing.assert_allclose(ours.p_value, known.pvalue, rtol=1e-12)


def test_nothing_to_compare():
    for table in ((0, 0, 3, 4), (3, 4, 0, 0), (0, 3, 0, 4), (3, 0, 4, 0)):
        ours = fisher_greater(*table)
        assert np.isnan(ours.odds_ratio)
        assert (ours.p_value, ours.log10_p) == (1.0, 0.0)


def test_p_values_far_below_what_a_float_holds():
    # Every match is similar: p is one term, 1 / C(total, similar) with as many similar as matching pairs.
    similar, total = 1000, 50_000_000
    ours = fisher_greater(similar, 0, 0, total - similar)
    one_by_one = -np.sum(np.log10((total - np.arange(similar)) / (np.arange(similar) + 1)))
    np.testing.assert_allclose(ours.log10_p, one_by_one, rtol=1e-12)
    assert ours.log10_p < -5000
    assert ours.p_value == 0.0


def test_five_billion_pairs_at_the_mean_are_half_likely():
    # 1e5 rows: the count has mean 50,000 and deviation 222; the normal limit with half a step of continuity.
    total, similar, matching = 5_000_000_000, 25_000_000, 10_000_000
    deviation = np.sqrt(similar * (matching / total) * (1 - matching / total) * (total - similar) / (total - 1))
    for a in (50_000, 50_000 - 300, 50_000 + 400):
        ours = fisher_greater(a, similar - a, matching - a, total - similar - matching + a)
        near = scipy.stats.norm.sf((a - 0.5 - 50_000) / deviation)
        np.testing.assert_allclose(ours.p_value, near, atol=1e-3)
        exact = scipy.stats.hypergeom.sf(a - 1, total, matching, similar)
        np.testing.assert_allclose(ours.p_value, exact, rtol=1e-4)


def test_refused():
    with pytest.raises(ValueError, match=r"got \[3, -1, 2, 2\], expected four whole numbers"):
        fisher_greater(3, -1, 2, 2)
    with pytest.raises(ValueError, match=r"got \[0.5, 1, 2, 2\]"):
        fisher_greater(0.5, 1, 2, 2)
