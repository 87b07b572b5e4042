import numpy as np
import polars as pl
import pytest

from cellfx.profiles.average_precision import average_precision
from cellfx.profiles.enrichment import batch_enrichment, enrichment
from cellfx.profiles.grit import grit
from cellfx.profiles.nearest import classify
from cellfx.profiles.pairs import encode, pair_rule
from cellfx.profiles.replicates import replicating, reproducibility
from cellfx.profiles.retrieval import at_k, at_r, find_hits, macro_mean
from cellfx.profiles.scores import score, subset_means
from cellfx.profiles.scoring import Effort
from cellfx.profiles.screen_rules import Columns
from cellfx.profiles.similarity import prepare
from cellfx.profiles.simulated import Sizes, simulated
from cellfx.profiles.table import take

FAST = Effort(ks=(1, 5), num_permutations=20, num_resamples=20, num_mp_permutations=20, null_size=100)


@pytest.fixture(scope="module")
def screen():
    profiles = simulated(6, 4, num_controls=20, num_features=40, num_batches=2, plates_per_batch=2, seed=2)
    return profiles, profiles.metadata["Metadata_Control"].to_numpy()


@pytest.fixture(scope="module")
def scores(screen):
    return score(*screen, effort=FAST)


def test_all_at_once_are_those_one_at_a_time(screen, scores):
    profiles, controls = screen
    treated = take(profiles, ~controls)
    prepared, metadata = prepare(treated, "pearson"), treated.metadata
    same, across = pair_rule(metadata, ["Metadata_MOA"]), pair_rule(metadata, diffby=["Metadata_Compound"])
    compound = pair_rule(metadata, ["Metadata_Compound"])
    hits = find_hits(prepared, same, across)
    precision, recall = at_k(hits, 5)
    moa, drug = ["Metadata_MOA"], ["Metadata_Compound"]
    both = pair_rule(profiles.metadata, moa, drug)
    of_mechanisms = average_precision(treated, moa, drug, [], moa, "pearson")
    of_compounds = average_precision(treated, drug, [], [], drug, "pearson")
    known = {
        "precision@5": macro_mean(precision),
        "recall@5": macro_mean(recall),
        "precision@R": macro_mean(at_r(hits)),
        "average precision": of_mechanisms.average_precision.mean(),
        "replicate average precision": of_compounds.average_precision.mean(),
        "enrichment@0.99": enrichment(prepared, same, [0.99], across)[0].odds_ratio,
        "reproducibility": reproducibility(prepared, compound),
        "NSC": classify(treated, kernel="pearson").accuracy,
        "NSCB": classify(treated, Columns().exclusion(True), kernel="pearson").accuracy,
        "grit": np.nanmean(grit(prepare(profiles, "pearson"), both, controls).grit),
        "batch enrichment": batch_enrichment(profiles, controls)[0].odds_ratio,
        "percent replicating": 100 * replicating(prepared, encode(metadata, drug), null_size=100).replicating_rate,
    }
    for name, value in known.items():
        np.testing.assert_allclose(scores.numbers[name], value, err_msg=name, rtol=1e-10)
    assert scores.left_out == {}


def test_intervals_and_p_values_belong_to_their_scores(scores):
    for name, interval in scores.intervals.items():
        np.testing.assert_allclose(interval.estimate, scores.numbers[name], rtol=1e-12, err_msg=name)
        assert interval.low <= interval.estimate <= interval.high, name
    assert set(scores.p_values) == {
        *(f"{kind}@{k}" for kind in ("precision", "recall") for k in (1, 5)), "precision@R", "enrichment@0.995", "NSC",
        "NSCB", "batch enrichment",
    }  # fmt: skip
    assert scores.p_values["precision@R"] == scores.p_values["NSC"] == 1 / 21
    assert all(not np.isnan(value) for value in scores.numbers.values())


def test_subsets_are_averages_of_rows(screen, scores):
    subset = (screen[0].metadata["Metadata_MOA"] == "mechanism 02").fill_null(False).to_numpy()
    means = subset_means(scores, subset)
    np.testing.assert_allclose(means["precision@R"], np.mean(scores.per_row["precision@R"][subset]), rtol=1e-12)
    assert subset_means(scores, screen[1]) == {}


def test_what_a_screen_has_no_rows_for_is_named(screen):
    profiles, controls = screen
    found = score(take(profiles, ~controls), columns=Columns(batch=None), effort=FAST)
    assert set(found.left_out) == {"grit", "mp-values"}
    assert "controls that make no distribution: got bool" in found.left_out["grit"]
    alone = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_MOA=pl.col("Metadata_Compound")))
    found = score(alone, controls, effort=FAST._replace(num_mp_permutations=0))
    assert set(found.left_out) == {"retrieval", "enrichment", "grit", "NSC", "NSCB", "percent matching", "mp-values"}
    assert "no positive pairs" in found.left_out["retrieval"]
    assert "got num_mp_permutations=0" in found.left_out["mp-values"]
    assert "replicate average precision" in found.numbers
    nothing = profiles.metadata.with_columns(Metadata_MOA=pl.lit(None, pl.String))
    found = score(profiles._replace(metadata=nothing), controls, effort=FAST)
    assert "no treated row with a mechanism" in found.left_out["percent matching"]


def test_stronger_batches_lower_the_score_across_batches():
    rates = []
    for size in (0.0, 8.0):
        sizes = Sizes(mechanism=4.0, batch=size, place=0.0)
        profiles = simulated(6, 4, num_controls=20, num_features=40, num_batches=2, plates_per_batch=2, sizes=sizes)
        found = score(profiles, profiles.metadata["Metadata_Control"].to_numpy(), effort=FAST)
        rates.append((found.numbers["NSCB"], -found.numbers["batch enrichment"]))
    assert rates[0] > rates[1]
    assert rates[0][1] > rates[1][1]


def test_refused(screen):
    profiles, controls = screen
    with pytest.raises(ValueError, match=r"controls that cannot be told apart: got int64 of shape \(176,\)"):
        score(profiles, controls.astype(int))
    with pytest.raises(ValueError, match="no such column of metadata: got 'Metadata_Day'"):
        score(profiles, controls, Columns(batch="Metadata_Day"))
    features = profiles.features.copy()
    features[1, 1] = np.inf
    with pytest.raises(
        ValueError, match=r"cannot be used for similarities: got 1 of .* the first inf in feature '.*' of row 1,"
    ):
        score(profiles._replace(features=features), controls)
