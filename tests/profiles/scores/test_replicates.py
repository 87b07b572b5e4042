import numpy as np
import polars as pl
import pytest
from screens import grouped, profiles_of, reference

from cellfx.profiles.scores.replicates import replicating, reproducibility
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import pair_rule

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
def test_rates_by_chance_have_even_p_values():
    """Many groups share few random ones: a percentile is a sample too."""
    p_values = []
    for seed in range(60):
        profiles, group = screen(600, 3, effect=0.0, seed=seed)
        p_values.append(replicating(prepare(profiles, "pearson"), group, null_size=100, seed=seed).rate_p_value)
    assert np.mean(np.array(p_values) <= 0.1) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 60)


def test_a_rate_is_compared_with_that_of_random_groups():
    for effect, likely in ((0.0, True), (0.6, False)):
        profiles, group = screen(effect=effect)
        assert (replicating(prepare(profiles, "pearson"), group).rate_p_value > 0.02) == likely
    known = replicating(prepare(profiles, "pearson"), group, percentiles=(0.0, 100.0), null_size=1)
    assert known.rate_p_value > 0.01  # one random group says little


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


def test_one_large_group_does_not_keep_the_others_from_being_judged():
    """No random group is as large as that of 120 rows, such as a positive control; ten groups of four are left."""
    profiles, group = screen(effect=3.0)
    result = replicating(prepare(profiles), np.where(group < 30, 0, group))
    assert (result.num_large, result.num_single) == (1, 0)
    assert result.groups.tolist() == list(range(30, 40))
    assert result.replicating_rate == 1.0


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
    with pytest.raises(ValueError, match="groups without a null: got one of 160 rows and 1 groups, expected one with"):
        replicating(prepared, np.zeros(160, int))
    with pytest.raises(ValueError, match="no pairs of replicates: got 12720 pairs of which none matches"):
        reproducibility(prepared, pair_rule(pl.DataFrame({"Metadata_A": range(160)}), ["Metadata_A"]))
