import numpy as np
import polars as pl
import pytest
import scipy.stats
from screens import grouped, profiles_of, reference

from cellfx.profiles.scores.enrichment import batch_enrichment, enrichment
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import pair_rule
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import take

slow = reference("profiles_scores")


def screen(num_groups=12, size=4, effect=0.8, seed=0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(num_groups), size)
    return profiles_of(grouped(rng, group, 20, effect), MOA=group)


@pytest.mark.parametrize("which", ["Metadata_broad_sample", "Metadata_moa", "noDMSO"])
def test_published_values_of_cytominer_eval(cytominer_plate, cytominer_values, which):
    """It was given the whole matrix, so each pair counts twice."""
    profiles = cytominer_plate
    if which == "noDMSO":
        profiles = take(profiles, (profiles.metadata["Metadata_broad_sample"] != "DMSO").to_numpy())
    rule = pair_rule(profiles.metadata, ["Metadata_broad_sample" if which == "noDMSO" else which])
    known = cytominer_values[f"enrichment_{which}"]
    ours = enrichment(
        prepare(profiles, "pearson"), rule, [row["enrichment_percentile"] for row in known], each_twice=True
    )
    assert len(ours) == (1 if which == "noDMSO" else 5)
    for score, row in zip(ours, known, strict=True):
        np.testing.assert_allclose(score.threshold, row["threshold"], atol=1e-9)
        np.testing.assert_allclose(score.odds_ratio, row["ods_ratio"], atol=1e-9)
        np.testing.assert_allclose(score.p_value, row["p-value"], rtol=1e-8)
        assert score.log10_p < -70


@pytest.mark.parametrize("each_twice", [False, True])
def test_agrees_with_a_list_of_all_pairs_and_scipy(each_twice):
    profiles = screen()
    groups = profiles.metadata["Metadata_MOA"].to_numpy()
    percentiles = [0.99, 0.95, 0.5, 0.001, 0.9]
    ours = enrichment(
        prepare(profiles, "pearson"), pair_rule(profiles.metadata, ["Metadata_MOA"]), percentiles, each_twice=each_twice
    )
    for score, percentile in zip(ours, percentiles, strict=True):
        threshold, table = slow.pairs_table(slow.pearson(profiles.features), groups, percentile, each_twice)
        known = scipy.stats.fisher_exact(table, alternative="greater")
        np.testing.assert_allclose(score.threshold, threshold, rtol=1e-12)
        assert score.table.tolist() == table
        np.testing.assert_allclose(score.odds_ratio, known.statistic, rtol=1e-12)
        np.testing.assert_allclose(score.p_value, known.pvalue, rtol=1e-9)


def test_noise_is_not_enriched_and_groups_far_apart_are():
    noise = screen(num_groups=100, effect=0.0)
    (score,) = enrichment(prepare(noise, "pearson"), pair_rule(noise.metadata, ["Metadata_MOA"]), [0.9])
    # 600 of 79,800 pairs match; a tenth of them is above, give or take 7.3.
    assert 0.6 < score.odds_ratio < 1.5
    assert score.p_value > 0.001
    clear = screen(effect=100.0)
    (score,) = enrichment(prepare(clear, "pearson"), pair_rule(clear.metadata, ["Metadata_MOA"]), [1 - 72 / 1128])
    assert score.table.tolist() == [[72, 0], [0, 1056]]
    assert score.odds_ratio == np.inf


def test_equal_similarities_are_not_above_themselves():
    profiles = profiles_of(np.ones((30, 7)) / 3, MOA=np.arange(30) // 3)
    (score,) = enrichment(prepare(profiles), pair_rule(profiles.metadata, ["Metadata_MOA"]), [0.9])
    assert score.table.tolist() == [[0, 0], [30, 405]]
    assert np.isnan(score.odds_ratio)
    assert score.p_value == 1.0


def test_batches_that_differ_enrich_controls():
    scores = []
    for size in (0.0, 2.0, 8.0):
        profiles = simulated(sizes=Sizes(batch=size, place=0.0, plate=0.0), seed=1, num_controls=20)
        (score,) = batch_enrichment(profiles, profiles.metadata["Metadata_Control"].to_numpy())
        scores.append(score.odds_ratio)
        controls = take(profiles, profiles.metadata["Metadata_Control"].to_numpy())
        rule = pair_rule(controls.metadata, ["Metadata_Batch"])
        assert enrichment(prepare(controls, "pearson"), rule, [0.995])[0].odds_ratio == score.odds_ratio
        assert score.table.sum() == 180 * 179 / 2
    assert scores[0] < 2
    assert scores[0] < scores[1] < scores[2]


def test_refused():
    profiles = screen()
    prepared = prepare(profiles, "pearson")
    rule = pair_rule(profiles.metadata, ["Metadata_MOA"])
    for percentiles in ([99.5], [-0.1], [np.nan], []):
        with pytest.raises(ValueError, match="no quantiles: got"):
            enrichment(prepared, rule, percentiles)
    for groups, counts in (
        (range(48), "got 0 that match and 1128 that do not"),
        ([1] * 48, "got 1128 that match and 0"),
    ):
        with pytest.raises(ValueError, match=counts):
            enrichment(prepared, pair_rule(pl.DataFrame({"Metadata_MOA": list(groups)}), ["Metadata_MOA"]))
    with pytest.raises(ValueError, match="a rule of other rows: got one of 10 rows for 48"):
        enrichment(prepared, pair_rule(profiles.metadata[:10], ["Metadata_MOA"]))
    with pytest.raises(ValueError, match="got 1 row, expected 2 or more"):
        enrichment(prepare(take(profiles, np.arange(1))), pair_rule(profiles.metadata[:1], ["Metadata_MOA"]))
    with pytest.raises(ValueError, match=r"got int64 of shape \(48,\), expected bool of shape \(48,\)"):
        batch_enrichment(profiles, np.arange(48))
    with pytest.raises(ValueError, match="too few controls to compare batches: got 2, expected 3"):
        batch_enrichment(profiles, np.arange(48) < 2)
