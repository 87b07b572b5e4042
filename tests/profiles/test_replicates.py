import numpy as np
import polars as pl
import pytest
from screens import grouped, profiles_of, reference

from cellfx.profiles.pairs import pair_rule
from cellfx.profiles.replicates import pairs_above, replicating, reproducibility
from cellfx.profiles.resampling import p_value
from cellfx.profiles.similarity import prepare

slow = reference("profiles_scores")


def screen(num_groups=40, size=4, effect=1.0, seed=0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(num_groups), size)
    features = grouped(rng, group, 30, effect)
    order = rng.permutation(len(group))
    return profiles_of(features[order], Compound=group[order]), group[order]


@pytest.mark.parametrize("kernel", ["pearson", "euclidean"])
def test_medians_and_null_are_those_of_the_definition(kernel):
    profiles, group = screen()
    group = np.where(group == 5, 4, group)
    result = replicating(prepare(profiles, kernel), group, null_size=3000)
    if kernel == "pearson":
        similarity = slow.pearson(profiles.features)
    else:
        similarity = 1 / (1 + np.linalg.norm(profiles.features[:, None] - profiles.features[None], axis=2))

    def median(rows):
        return np.median(similarity[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)])

    assert result.groups.tolist() == [code for code in range(40) if code != 5]
    assert result.num_rows.tolist() == [8 if code == 4 else 4 for code in result.groups]
    known = [median(np.flatnonzero(group == code)) for code in result.groups]
    np.testing.assert_allclose(result.median, known, rtol=1e-9)
    rng = np.random.default_rng(1)
    for size, of in ((4, result.num_rows == 4), (8, result.num_rows == 8)):
        null = []
        while len(null) < 3000:
            rows = rng.choice(160, size, replace=False)
            if len(set(group[rows])) == size:
                null.append(median(rows))
        spread = np.std(null)
        np.testing.assert_allclose(result.low[of], np.percentile(null, 5), atol=0.15 * spread)
        np.testing.assert_allclose(result.high[of], np.percentile(null, 95), atol=0.15 * spread)
        beyond = np.mean(np.array(null)[:, None] >= result.median[of], axis=0)
        np.testing.assert_allclose(result.p_value[of], beyond, atol=0.05)
    np.testing.assert_allclose(result.replicating_rate, np.mean(result.median > result.high), rtol=1e-12)


@pytest.mark.slow
def test_shares_by_chance_have_even_p_values():
    """Many groups share few random ones: a percentile and a pool are samples too."""
    p_values = []
    for seed in range(60):
        profiles, group = screen(600, 3, effect=0.0, seed=seed)
        prepared = prepare(profiles, "pearson")
        rate = replicating(prepared, group, null_size=100, seed=seed).rate_p_value
        similarity = (prepared.rows @ prepared.rows.T)[np.triu_indices(1800, 1)]
        _, shares, by_chance = pairs_above(prepared, group, np.quantile(similarity, 0.95), 100, seed)
        p_values.append((rate, p_value(shares.mean(), by_chance)))
    below = np.mean(np.array(p_values) <= 0.1, axis=0)
    assert np.all(below < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 60))


def test_a_rate_is_compared_with_that_of_random_groups():
    for effect, likely in ((0.0, True), (0.6, False)):
        profiles, group = screen(effect=effect)
        assert (replicating(prepare(profiles, "pearson"), group).rate_p_value > 0.02) == likely
    known = replicating(prepare(profiles, "pearson"), group, percentiles=(0.0, 100.0), null_size=1)
    assert known.rate_p_value > 0.01  # one random group says little


@pytest.mark.parametrize("kernel", ["pearson", "euclidean"])
def test_pairs_above_a_threshold_and_by_chance(kernel):
    """Groups of 4, 8 and 1; the null is that of permuted groups, but for pairs of one group that these have."""
    profiles, group = screen(num_groups=60, effect=1.5)
    group = np.where(group == 5, 4, np.where(group == 6, -1, group))
    group[np.flatnonzero(group == 7)[1:]] = -1
    prepared = prepare(profiles, kernel)
    similarity = prepared.rows @ prepared.rows.T
    if kernel == "euclidean":
        similarity = 1 / (1 + np.linalg.norm(profiles.features[:, None] - profiles.features[None], axis=2))
    i, j = np.triu_indices(len(group), 1)
    known = (group[i] >= 0) & (group[j] >= 0)
    i, j, values = i[known], j[known], similarity[i, j][known]
    threshold = np.quantile(values[group[i] != group[j]], 0.9)
    codes, shares, by_chance = pairs_above(prepared, group, threshold, 2000)
    assert codes.tolist() == [code for code in range(60) if code not in (5, 6, 7)]
    for code, share in zip(codes, shares, strict=True):
        of = (group[i] == code) & (group[j] == code)
        np.testing.assert_allclose(share, np.mean(values[of] > threshold), rtol=1e-12)
    assert abs(by_chance.mean() - 0.1) < 0.01
    permuted = []
    rng, rows = np.random.default_rng(0), np.flatnonzero(group >= 0)
    for _ in range(300):
        other = group.copy()
        other[rows] = rng.permutation(group[rows])
        of = other[i] == other[j]
        permuted.append(np.mean(values[of] > threshold))
    assert 0.8 < by_chance.std() / np.std(permuted) < 1.25


def test_noise_replicates_at_the_rate_of_the_percentile_and_effects_always():
    profiles, group = screen(400, 3, effect=0.0)
    noise = replicating(prepare(profiles, "pearson"), group)
    # A binomial share of 400 has a deviation of .011 at .05.
    assert 0.01 < noise.replicating_rate < 0.1
    assert 0.01 < noise.opposed_rate < 0.1
    assert 0.4 < noise.p_value.mean() < 0.6
    profiles, group = screen(40, 3, effect=3.0)
    clear = replicating(prepare(profiles, "pearson"), group)
    assert (clear.replicating_rate, clear.opposed_rate) == (1.0, 0.0)
    assert clear.p_value.tolist() == [1 / 1001] * 40


def test_groups_of_one_row_are_counted():
    profiles, group = screen()
    alone = np.where(np.arange(160) < 3, np.arange(160) + 40, group)
    alone[3] = -1
    result = replicating(prepare(profiles), alone)
    assert result.num_single == 3
    assert result.num_rows.sum() == 156


def test_reproducibility_is_that_of_cytominer_eval():
    profiles, group = screen()
    rule = pair_rule(profiles.metadata, ["Metadata_Compound"])
    for q in (0.95, 0.5):
        known = slow.reproducibility(slow.pearson(profiles.features), group, q)
        assert reproducibility(prepare(profiles, "pearson"), rule, q) == known


def test_refused():
    profiles, group = screen()
    prepared = prepare(profiles)
    with pytest.raises(ValueError, match=r"groups that do not fit: got codes of shape \(3,\), expected \(160,\)"):
        replicating(prepared, group[:3])
    for settings in ({"null_size": 0}, {"percentiles": (95.0, 5.0)}, {"percentiles": (5.0, 101.0)}):
        with pytest.raises(ValueError, match="no null: got percentiles"):
            replicating(prepared, group, **settings)
    with pytest.raises(ValueError, match="no group has a pair to compare: got 160 groups of 1 rows at most"):
        replicating(prepared, np.arange(160))
    with pytest.raises(ValueError, match="a group without a null: got one of 120 rows and 11 groups"):
        replicating(prepared, np.where(group < 30, 0, group))
    with pytest.raises(ValueError, match="no pairs of replicates: got 12720 pairs of which none matches"):
        reproducibility(prepared, pair_rule(pl.DataFrame({"Metadata_A": range(160)}), ["Metadata_A"]))
