import numpy as np
import polars as pl
import pytest

from cellfx.checks import UserError
from cellfx.profiles.chance.resampling import bootstrap_interval
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.enrichment import batch_enrichment, enrichment
from cellfx.profiles.scores.grit import grit
from cellfx.profiles.scores.nearest import classify
from cellfx.profiles.scores.replicates import replicating, reproducibility
from cellfx.profiles.scores.retrieval import at_k, at_r, find_hits, macro_mean
from cellfx.profiles.screen.rules import USUAL
from cellfx.profiles.screen.score import attempt, score, subset_means
from cellfx.profiles.screen.scoring import Effort
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import encode, pair_rule
from cellfx.profiles.steps import spherize
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import Profiles, take

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
        "NSCB": classify(treated, USUAL.exclusion(True), kernel="pearson").accuracy,
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
    scored = {name for name in scores.numbers if not name.endswith("unreachable rows")}
    assert set(scores.p_values) == set(scores.intervals) == scored
    assert scores.p_values["precision@R"] == scores.p_values["NSC"] == 1 / 21
    assert all(not np.isnan(value) for value in scores.numbers.values())


def test_noise_is_within_its_nulls():
    """Whatever the score, p-values of screens without effects are spread, and not all near 0."""
    profiles = simulated(6, 4, num_controls=20, num_features=40, sizes=Sizes(0, 0, 0, 0, 0, 0), seed=5)
    controls = profiles.metadata["Metadata_Control"].to_numpy()
    effort = FAST._replace(num_permutations=99, num_mp_permutations=99)
    found = score(profiles, controls, effort=effort)
    p_values = np.array(list(found.p_values.values()))
    assert np.all((p_values > 0) & (p_values <= 1))
    assert 0.2 < np.median(p_values) < 1
    strong = ("replicate average precision", "reproducibility", "percent replicating", "percent mp-value below .05")
    assert all(found.p_values[name] > 0.01 for name in strong)


def test_few_pairs_above_a_percentile_get_an_interval(screen, monkeypatch):
    from cellfx.profiles.screen import scoring

    monkeypatch.setattr(scoring, "DRAWN_PAIRS", 20)
    found = score(*screen, effort=FAST, wanted=("enrichment",))
    assert set(found.intervals) == set(found.p_values) == {"enrichment@0.995", "enrichment@0.999"}
    assert "enrichment@0.95" in found.numbers


def test_intervals_of_mechanism_scores_draw_mechanisms(screen, scores):
    """Compounds of one mechanism find each other: drawn by themselves they would look like independent evidence."""
    metadata = screen[0].metadata
    for name in ("precision@R", "NSC", "grit", "average precision"):
        values = scores.per_row[name]
        has = ~np.isnan(values)
        drawn = metadata["Metadata_MOA"].filter(pl.Series(has)).to_numpy().astype(str)
        assert scores.intervals[name] == bootstrap_interval(values[has], drawn, num_resamples=20)


def test_of_one_mechanism_there_is_no_interval():
    profiles = simulated(1, 6, num_controls=20, num_features=40, num_batches=1, plates_per_batch=3)
    found = score(profiles, profiles.metadata["Metadata_Control"].to_numpy(), effort=FAST, wanted=("grit",))
    assert "grit" in found.numbers
    assert found.intervals == {}
    reason = "one group to draw again: got 1, expected 2 or more"
    assert found.left_out == {"interval of grit": reason, "interval of grit of treatments": reason}


def test_blank_mechanisms_and_wells_without_a_treatment_take_no_part(screen, scores):
    profiles, controls = screen
    metadata = profiles.metadata.with_columns(pl.col("Metadata_MOA").fill_null(" "))
    assert score(profiles._replace(metadata=metadata), controls, effort=FAST).numbers == scores.numbers
    more = profiles.features[:9] + 1.0
    unknown = metadata[:9].with_columns(pl.lit("").alias(name) for name in ("Metadata_Compound", "Metadata_MOA"))
    wells = profiles._replace(
        features=np.concatenate([profiles.features, more]), metadata=pl.concat([metadata, unknown])
    )
    found = score(wells, np.append(controls, np.zeros(9, bool)), effort=FAST)
    for name in ("replicate average precision", "percent replicating", "NSC", "precision@R", "grit"):
        np.testing.assert_allclose(found.numbers[name], scores.numbers[name], rtol=1e-9, err_msg=name)


def test_plates_that_differ_are_no_batches():
    """Plates differ and batches do not: wells of a plate are alike, and only an exchange of plates can tell."""
    rates = []
    for seed in range(8):
        sizes = Sizes(mechanism=0, compound=0, batch=0, plate=4, place=0, typical=1)
        profiles = simulated(
            2, 2, num_controls=16, num_features=20, num_batches=3, plates_per_batch=4, sizes=sizes, seed=seed
        )
        controls = profiles.metadata["Metadata_Control"].to_numpy()
        effort = FAST._replace(num_permutations=99)
        rates.append(
            score(profiles, controls, effort=effort, wanted=("batch enrichment",)).p_values["batch enrichment"]
        )
    assert np.mean(rates) > 0.2
    assert np.sum(np.array(rates) < 0.05) <= 2


def test_mp_values_leave_out_plates_without_controls(screen):
    """Their wells would change places among themselves only: p = 1 whatever they do."""
    profiles, controls = screen
    plate = profiles.metadata["Metadata_Plate"]
    bare = (plate == plate[0]).to_numpy()
    kept = ~(bare & controls)
    bare, rows = bare[kept], take(profiles, kept)
    found = score(rows, controls[kept], effort=FAST, wanted=("mp-values",))
    without = score(take(rows, ~bare), controls[kept][~bare], effort=FAST, wanted=("mp-values",))
    assert len(found.details["mp_values"].p_value) == len(without.details["mp_values"].p_value)
    np.testing.assert_allclose(found.details["mp_values"].distance, without.details["mp_values"].distance, rtol=1e-6)


def test_odds_of_equal_profiles_are_left_out_and_not_nan(screen):
    profiles, controls = screen
    features = np.where(controls[:, None], profiles.features, 1.0)
    features[~controls, :2] = [2.0, 3.0]
    found = score(profiles._replace(features=features), controls, effort=FAST, wanted=("enrichment",))
    assert found.numbers == {}
    assert "no odds: got 0 pairs above the percentile of the similarities and" in found.left_out["enrichment@0.995"]


def test_more_positives_than_nearest_rows_leave_a_reason():
    profiles = simulated(1, 300, num_controls=5, num_features=20, num_batches=1, plates_per_batch=1)
    controls = profiles.metadata["Metadata_Control"].to_numpy()
    found = score(profiles, controls, effort=FAST, wanted=("retrieval",))
    assert "got 299, expected 256 or fewer" in found.left_out["p-value of precision@R"]


def test_no_score_is_there_and_not_computed(screen):
    """A treatment that half of the wells have, such as a positive control: its size has no random groups."""
    profiles, controls = screen
    half = np.flatnonzero(~controls)[:60]
    names = profiles.metadata["Metadata_Compound"].to_numpy().copy()
    names[half] = "compound 001"
    wells = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_Compound=pl.Series(names)))
    found = score(wells, controls, effort=FAST, wanted=("reproducibility", "percent replicating", "replicates"))
    assert {"reproducibility", "percent replicating", "replicate average precision"} <= set(found.numbers)
    assert {"reproducibility", "percent replicating"} <= set(found.p_values)
    assert set(found.left_out) == {"percent replicating of large groups"}
    assert "got 1 with more rows than there are groups" in found.left_out["percent replicating of large groups"]
    alone = profiles.metadata.with_columns(Metadata_Compound=pl.lit("compound 001"))
    found = score(profiles._replace(metadata=alone), controls, effort=FAST)
    assert not set(found.numbers) & set(found.left_out)
    assert {"reproducibility", "percent replicating", "NSC"} <= set(found.left_out)


def test_subsets_are_averages_of_rows(screen, scores):
    subset = (screen[0].metadata["Metadata_MOA"] == "mechanism 02").fill_null(False).to_numpy()
    means = subset_means(scores, subset)
    np.testing.assert_allclose(means["precision@R"], np.mean(scores.per_row["precision@R"][subset]), rtol=1e-12)
    assert subset_means(scores, screen[1]) == {}


def test_what_a_screen_has_no_rows_for_is_named(screen):
    profiles, controls = screen
    found = score(take(profiles, ~controls), columns=USUAL._replace(batch=None), effort=FAST)
    assert set(found.left_out) == {"grit", "mp-values", "NSCB", "batch enrichment"}
    assert "no column of batches: got columns.batch None" in found.left_out["NSCB"]
    assert found.left_out["grit"].startswith("no negative controls: got 0, expected 2 or more")
    alone = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_MOA=pl.col("Metadata_Compound")))
    found = score(alone, controls, effort=FAST._replace(num_mp_permutations=0))
    of_mechanisms = {"retrieval", "enrichment", "grit", "NSC", "NSCB", "percent matching"}
    assert set(found.left_out) == {*of_mechanisms, "mp-values"}
    assert "no positive pairs" in found.left_out["retrieval"]
    assert "got num_mp_permutations=0" in found.left_out["mp-values"]
    assert "replicate average precision" in found.numbers
    nothing = profiles.metadata.with_columns(Metadata_MOA=pl.lit(None, pl.String))
    found = score(profiles._replace(metadata=nothing), controls, effort=FAST)
    assert "no treated row with a mechanism" in found.left_out["percent matching"]
    without = score(profiles, controls, USUAL._replace(mechanism=None), effort=FAST)
    assert of_mechanisms <= set(without.left_out)
    assert without.numbers == found.numbers


def test_scores_that_are_wanted_are_those_of_all(screen, scores):
    found = score(*screen, effort=FAST, wanted=("grit", "percent matching"))
    assert set(found.numbers) == {"grit", "grit of treatments", "percent matching"}
    for name in found.numbers:
        assert (found.numbers[name], found.intervals[name]) == (scores.numbers[name], scores.intervals[name])
    assert found.p_values == {name: scores.p_values[name] for name in found.numbers}
    assert found.left_out == {}


def test_wells_of_another_dose_are_no_replicates():
    profiles = simulated(4, 3, (0.1, 10.0), num_controls=20, num_features=30, num_batches=1, plates_per_batch=3)
    controls = profiles.metadata["Metadata_Control"].to_numpy()
    columns = USUAL._replace(treatment=("Metadata_Compound", "Metadata_Dose_um"))
    steps = ("replicates", "percent replicating", "mp-values", "NSC")
    found = score(profiles, controls, columns, effort=FAST, wanted=steps)
    assert len(found.details["replicating"].groups) == len(found.details["mp_values"].treatments) == 24
    treated = take(profiles, ~controls)
    code = encode(treated.metadata, columns.treatment)
    expected = replicating(prepare(treated, "pearson"), code, null_size=100)
    np.testing.assert_allclose(found.numbers["percent replicating"], 100 * expected.replicating_rate, rtol=1e-12)
    assert found.numbers["NSC"] == classify(treated, kernel="pearson").accuracy
    # Both doses of a compound are drawn together, so the interval is that of 12 and not of 24.
    strong = pl.DataFrame({"compound": treated.metadata["Metadata_Compound"], "code": code}).unique(maintain_order=True)
    above = 100.0 * (expected.median > expected.high)
    compound = strong.sort("code")["compound"].to_numpy().astype(str)
    assert found.intervals["percent replicating"] == bootstrap_interval(above, compound, num_resamples=20)


def test_lists_of_mechanisms_reach_every_score_that_takes_them(screen):
    profiles, controls = screen
    number = pl.col("Metadata_MOA").str.slice(-2).cast(pl.Int64)
    shared = profiles.metadata.with_columns(
        Metadata_MOA=pl.col("Metadata_MOA") + pl.when(number % 2 == 0).then(pl.lit("|even")).otherwise(pl.lit(""))
    )
    profiles = profiles._replace(metadata=shared)
    columns = USUAL._replace(multilabel=True)
    found, whole = (score(profiles, controls, each, effort=FAST) for each in (columns, USUAL))
    assert found.left_out == {}
    treated = take(profiles, ~controls)
    prepared, metadata = prepare(treated, "pearson"), treated.metadata
    same = pair_rule(metadata, ["Metadata_MOA"], multilabel="Metadata_MOA")
    across = pair_rule(metadata, diffby=["Metadata_Compound"])
    both = pair_rule(profiles.metadata, ["Metadata_MOA"], ["Metadata_Compound"], "Metadata_MOA")
    known = {
        "precision@R": macro_mean(at_r(find_hits(prepared, same, across))),
        "enrichment@0.995": enrichment(prepared, same, [0.995], across)[0].odds_ratio,
        "NSC": classify(treated, columns.exclusion(False), kernel="pearson").accuracy,
        "NSCB": classify(treated, columns.exclusion(True), kernel="pearson").accuracy,
        "grit": np.nanmean(grit(prepare(profiles, "pearson"), both, controls).grit),
    }
    for name, value in known.items():
        np.testing.assert_allclose(found.numbers[name], value, err_msg=name, rtol=1e-10)
        assert found.numbers[name] != whole.numbers[name], name
    assert found.numbers["percent matching"] == whole.numbers["percent matching"]


def test_an_infinite_odds_ratio_is_as_likely_as_chance_makes_it():
    """One pair is above the percentile and matches: 3 of 15 pairs do, so that a fifth of all exchanges do as well."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 30))
    features[1] = features[0]
    names = [f"compound {i}" for i in range(6)]
    metadata = pl.DataFrame({"Metadata_Compound": names, "Metadata_MOA": ["a", "a", "b", "b", "c", "c"]})
    profiles = Profiles(features, tuple(f"f{i}" for i in range(30)), metadata)
    effort = FAST._replace(num_permutations=2000)
    found = score(profiles, columns=USUAL._replace(batch=None), effort=effort, wanted=("enrichment",))
    assert found.numbers["enrichment@0.995"] == np.inf
    assert abs(found.p_values["enrichment@0.995"] - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 2000)


def test_controls_that_spherizing_made_equally_unlike_have_no_batches():
    profiles = simulated(4, 3, num_controls=10, num_features=80, num_batches=2, plates_per_batch=2, seed=1)
    controls = profiles.metadata["Metadata_Control"].to_numpy()
    fitted = spherize.fit(profiles, controls, regularization="pycytominer")
    found = score(spherize.apply(fitted, profiles), controls, None, "cosine", FAST, ("batch enrichment",))
    reason = found.left_out["batch enrichment"]
    assert "controls that are all equally similar: got similarities from -0.025641 to -0.025641, expected" in reason
    assert found.numbers == {}


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
        score(profiles, controls, USUAL._replace(batch="Metadata_Day"))
    with pytest.raises(ValueError, match=r"unknown score: got 'NCS', expected some of retrieval, enrichment, "):
        score(profiles, controls, wanted=("NCS",))
    for name, least in (("num_permutations", 1), ("num_resamples", 1), ("null_size", 1), ("num_mp_permutations", 0)):
        with pytest.raises(ValueError, match=rf"too little effort: got {name}={least - 1}, expected {least} or more"):
            score(profiles, controls, effort=FAST._replace(**{name: least - 1}))
    for wrong in ({"ks": (0,)}, {"percentiles": (99.5,)}):
        with pytest.raises(ValueError, match=r"neighbors or percentiles out of range: got ks=\[.*\] and percentiles="):
            score(profiles, controls, effort=FAST._replace(**wrong))
    features = profiles.features.copy()
    features[1, 1] = np.inf
    with pytest.raises(
        ValueError, match=r"cannot be used for similarities: got 1 of .* the first inf in feature '.*' of row 1,"
    ):
        score(profiles._replace(features=features), controls)


def test_a_score_is_left_out_by_the_class_of_its_error_and_not_by_its_text():
    def fail(error):
        raise error

    left_out = {}
    assert attempt(left_out, "grit", fail, UserError("no rows")) is None
    assert left_out == {"grit": "no rows"}
    with pytest.raises(ValueError, match="shapes: got 3"):
        attempt(left_out, "mAP", fail, ValueError("shapes: got 3, expected 4"))
