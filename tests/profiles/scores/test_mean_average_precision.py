import math

import numpy as np
import polars as pl
import pytest
from copairs.map import average_precision as copairs_average_precision
from copairs.map import mean_average_precision as copairs_mean_average_precision
from scipy.stats import false_discovery_control
from screens import grouped, numbered

from cellfx.profiles.chance.random_ranking import enumerated, expected_average_precision
from cellfx.profiles.scores.average_precision import AveragePrecision, average_precision
from cellfx.profiles.scores.mean_average_precision import mean_average_precision, null_of_mean
from cellfx.profiles.tables.table import Profiles

COMPOUND = ["Metadata_Compound"]


def screen(num_compounds, replicates, num_features=8, seed=0, effect=0.5):
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(num_compounds), replicates)
    features = grouped(rng, compound, num_features, effect)
    metadata = pl.DataFrame(
        {
            "Metadata_Compound": [f"compound {c:03d}" for c in compound],
            "Metadata_Plate": rng.integers(0, 2, len(compound)),
        }
    )
    return numbered(features, metadata)


def scored(profiles):
    return average_precision(profiles, COMPOUND, [], [], COMPOUND)


def made(average, num_positives, num_pairs):
    average, k, n = np.array(average, float), np.array(num_positives), np.array(num_pairs)
    chance = expected_average_precision(k, n)
    nobody = np.zeros(0, np.int32)
    rows = np.arange(len(average), dtype=np.int32)
    return AveragePrecision(rows, average, (average - chance) / (1 - chance), k, n, nobody, nobody)


def named(values):
    return pl.DataFrame({"Metadata_Compound": pl.Series(values, dtype=pl.String)})


def theirs_of(profiles, tmp_path, null_size):
    frame = profiles.metadata.to_pandas()
    rows = copairs_average_precision(frame, profiles.features, COMPOUND, [], [], COMPOUND, progress_bar=False)
    return copairs_mean_average_precision(
        rows, COMPOUND, null_size, 0.05, seed=0, cache_dir=tmp_path, progress_bar=False, max_workers=1
    )


def probability_of(means, k, n):
    """Probability that a random ranking scores the same: copairs leaves these out, or not, as float32 rounds them."""
    values = np.repeat(*enumerated(k, n, 2**22))
    return np.array([np.mean(np.abs(values - mean) < 1e-6) for mean in means])


@pytest.mark.parametrize("replicates", [2, 3])
def test_exact_p_values_are_those_copairs_samples(replicates, tmp_path):
    profiles = screen(12, replicates)
    ours = mean_average_precision(scored(profiles), profiles.metadata, COMPOUND)
    theirs = theirs_of(profiles, tmp_path, 20_000)
    assert ours.groups["Metadata_Compound"].to_list() == theirs["Metadata_Compound"].tolist()
    np.testing.assert_allclose(ours.mean_average_precision, theirs["mean_average_precision"], rtol=0, atol=1e-9)
    assert ours.exact.all()
    tied = probability_of(ours.mean_average_precision, replicates - 1, 12 * replicates - 1)
    error = 4 * np.sqrt(ours.p_value / 20_000) + 1e-4
    assert np.all(theirs["p_value"] < ours.p_value + error)
    assert np.all(theirs["p_value"] > ours.p_value - tied - error)
    assert np.ptp(ours.p_value) > 0.3


def test_sampled_p_values_agree_with_copairs(tmp_path):
    profiles = screen(40, 6, effect=0.8)
    ours = mean_average_precision(scored(profiles), profiles.metadata, COMPOUND, null_size=20_000)
    theirs = theirs_of(profiles, tmp_path, 20_000)
    assert not ours.exact.any()
    np.testing.assert_allclose(ours.mean_normalised, theirs["mean_normalized_average_precision"], rtol=0, atol=1e-9)
    # Both are samples: the variances of two of them add up.
    assert np.all(np.abs(ours.p_value - theirs["p_value"]) < 4 * np.sqrt(2 * ours.p_value / 20_000) + 1e-4)
    np.testing.assert_allclose(ours.corrected_p_value, false_discovery_control(ours.p_value), rtol=1e-12)
    assert ours.retrieved.tolist() == (ours.corrected_p_value < 0.05).tolist()
    assert ours.fraction_retrieved == ours.retrieved.mean()
    assert 0 < ours.fraction_retrieved < 1


def test_exact_and_sampled_p_values_agree():
    profiles = screen(15, 4)
    result = scored(profiles)
    exact = mean_average_precision(result, profiles.metadata, COMPOUND)
    sampled = mean_average_precision(result, profiles.metadata, COMPOUND, null_size=50_000, max_enumerated=0)
    assert exact.exact.all()
    assert not sampled.exact.any()
    assert np.all(np.abs(exact.p_value - sampled.p_value) < 4 * np.sqrt(exact.p_value / 50_000) + 1e-4)


def test_groups_of_different_configurations():
    rng = np.random.default_rng(0)
    profiles = screen(12, 6, seed=1)
    keep = np.sort(rng.permutation(72)[:40])
    profiles = Profiles(profiles.features[keep], profiles.names, profiles.metadata[keep])
    rules = (COMPOUND, [], ["Metadata_Plate"], COMPOUND)
    result = average_precision(profiles, *rules)
    per_compound = {}
    for row, n in zip(result.rows, result.num_pairs, strict=True):
        per_compound.setdefault(profiles.metadata["Metadata_Compound"][int(row)], set()).add(int(n))
    assert max(len(sizes) for sizes in per_compound.values()) > 1
    exact = mean_average_precision(result, profiles.metadata, COMPOUND)
    sampled = mean_average_precision(result, profiles.metadata, COMPOUND, null_size=50_000, max_enumerated=0)
    assert exact.exact.any()
    assert np.all(np.abs(exact.p_value - sampled.p_value) < 4 * np.sqrt(2 * exact.p_value / 50_000) + 1e-4)


def test_too_many_sums_are_sampled():
    result = made([0.3, 0.6, 0.5], [2, 2, 3], [30, 31, 20])
    exact = mean_average_precision(result, named(list("aaa")), COMPOUND)
    # All nulls have at most 3 x 1,140 places, but the first two have 435 x 465 sums.
    sampled = mean_average_precision(result, named(list("aaa")), COMPOUND, null_size=50_000, max_enumerated=4000)
    assert exact.exact.tolist() == [True]
    assert sampled.exact.tolist() == [False]
    np.testing.assert_allclose(sampled.p_value, exact.p_value, atol=4 * np.sqrt(exact.p_value[0] / 50_000))


def test_a_perfect_score_is_as_significant_as_it_can_be():
    result = made([1.0, 1.0, 0.1], [3, 3, 1], [67, 67, 10])
    found = mean_average_precision(result, named(["a", "a", "b"]), COMPOUND)
    np.testing.assert_allclose(found.p_value, [1 / math.comb(67, 3), 1.0], rtol=1e-12)
    assert found.num_rows.tolist() == [2, 1]
    np.testing.assert_allclose(found.mean_average_precision, [1.0, 0.1], rtol=1e-12)
    assert found.retrieved.tolist() == [True, False]
    assert found.fraction_retrieved == 0.5


def test_p_values_of_rankings_by_chance_are_uniform():
    places = np.arange(1, 41)
    found = mean_average_precision(made(1 / places, [1] * 40, [40] * 40), named(map(str, places)), COMPOUND)
    np.testing.assert_allclose(found.p_value, places / 40, rtol=1e-12)
    assert not found.retrieved.any()


def test_the_order_of_rows_does_not_matter():
    profiles = screen(10, 6)
    order = np.random.default_rng(3).permutation(60)
    shuffled = Profiles(profiles.features[order], profiles.names, profiles.metadata[order])
    one, other = (mean_average_precision(scored(p), p.metadata, COMPOUND) for p in (profiles, shuffled))
    match = np.argsort(other.groups["Metadata_Compound"].to_numpy().astype(str))
    for name in ("mean_average_precision", "mean_normalised", "p_value", "corrected_p_value", "num_rows"):
        np.testing.assert_allclose(getattr(other, name)[match], getattr(one, name), rtol=1e-12)


def test_groups_are_in_the_order_of_their_first_row_and_missing_ones_are_counted():
    result = made([0.5, 0.25, 1.0, 0.5, 0.1], [1] * 5, [10] * 5)
    metadata = pl.DataFrame({"Metadata_A": ["z", None, "a", "z", "a"], "Metadata_B": [1, 1, 1, 1, 2]})
    found = mean_average_precision(result, metadata, ["Metadata_A", "Metadata_B"])
    assert found.groups.rows() == [("z", 1), ("a", 1), ("a", 2)]
    np.testing.assert_allclose(found.mean_average_precision, [0.5, 1.0, 0.1], rtol=1e-12)
    assert found.num_ungrouped == 1


def test_only_scored_rows_count():
    result = made([0.5, 0.25], [1, 1], [10, 10])._replace(rows=np.array([1, 3], np.int32))
    found = mean_average_precision(result, named(["a", "b", "c", "b"]), COMPOUND)
    assert found.groups.rows() == [("b",)]
    np.testing.assert_allclose(found.mean_average_precision, [0.375], rtol=1e-12)


def test_bad_input():
    result, metadata = made([0.5], [1], [10]), named(["a"])
    for threshold in (0, 1, np.nan):
        with pytest.raises(ValueError, match=f"no test: got threshold {threshold} and null_size 10000, expected"):
            mean_average_precision(result, metadata, COMPOUND, threshold=threshold)
    with pytest.raises(ValueError, match=r"got threshold 0\.05 and null_size 0"):
        mean_average_precision(result, metadata, COMPOUND, null_size=0)
    with pytest.raises(ValueError, match=r"no groups: got sameby \[\], expected one column"):
        mean_average_precision(result, metadata, [])
    with pytest.raises(ValueError, match="got 'Metadata_Z', expected one of Metadata_Compound"):
        mean_average_precision(result, metadata, ["Metadata_Z"])
    with pytest.raises(
        ValueError, match=r"got 1 scored rows, in all of which one of \['Metadata_Compound'\] is missing"
    ):
        mean_average_precision(result, named([None]), COMPOUND)


def test_the_mean_over_groups_by_chance_is_that_of_random_rankings():
    """Groups of 1 and 2 positives among 5 and 9 pairs, one of them of rows of both kinds."""
    k, n = np.array([1, 1, 2, 2, 1]), np.array([5, 5, 9, 9, 5])
    groups = named(["a", "a", "b", "c", "c"])
    null = null_of_mean(made(np.full(5, 0.5), k, n), groups, COMPOUND, 20_000, seed=3)
    one, two = (enumerated(*configuration, 2**22) for configuration in ((1, 5), (2, 9)))
    mean, variance = [], []
    for values, counts in (one, two):
        mean.append(np.average(values, weights=counts))
        variance.append(np.average((values - mean[-1]) ** 2, weights=counts))
    # Rows of one configuration in a group share a ranking, groups do not.
    expected = (mean[0] + mean[1] + (mean[0] + mean[1]) / 2) / 3
    spread = (variance[0] + variance[1] + (variance[0] + variance[1]) / 4) / 9
    np.testing.assert_allclose(null.mean(), expected, atol=4 * np.sqrt(spread / 20_000))
    np.testing.assert_allclose(null.var(), spread, rtol=0.05)
    assert np.array_equal(null, null_of_mean(made(np.full(5, 0.5), k, n), groups, COMPOUND, 20_000, seed=3))
