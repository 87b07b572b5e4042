"""Tables with gaps, through to the page: columns that are not there, odd wells, names, batches and profiles."""

import html
import json

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.chance import permuted_ranking, replicate_null
from cellfx.profiles.tables.simulated import simulated
from cellfx.profiles.tables.table import to_frame
from cellfx.screens import run
from cellfx.screens.page import page as profile_page
from cellfx.screens.page import pictures

KNOWN = {"mechanism": "Metadata_MOA", "well": "Metadata_Well", "batch": "Metadata_Batch", "dose": "Metadata_Dose_um"}
EFFORT = {"num_permutations": 2, "num_resamples": 4, "num_mp_permutations": 2, "null_size": 10, "ks": (2,)}
ROW = pl.int_range(pl.len())


def screen():
    return to_frame(simulated(3, 2, num_batches=2, plates_per_batch=2, num_controls=8, num_features=8))


def profile(workdir, table=None, columns=None, **changed):
    """Scores of the only variant, and its page."""
    workdir.mkdir(exist_ok=True)
    (screen() if table is None else table).write_parquet(workdir / "wells.parquet")
    settings = {
        "profiles": {"path": str(workdir / "wells.parquet")},
        "columns": {"treatment": "Metadata_Compound", "compound": "Metadata_Compound", **KNOWN, **(columns or {})},
        "controls": {"column": "Metadata_Control", "values": True},
        "scores": EFFORT,
        "variants": [("raw", ())],
        **changed,
    }
    scores = run.run(settings, workdir / "run")
    return next(iter(scores.values())), html.unescape((workdir / "run" / "report.html").read_text())


@pytest.mark.parametrize("absent", [*KNOWN, tuple(KNOWN)])
def test_every_optional_column_may_be_absent(absent, tmp_path):
    absent = (absent,) if isinstance(absent, str) else absent
    table = screen().drop(KNOWN[name] for name in absent)
    scores, page = profile(tmp_path, table, dict.fromkeys(absent))
    assert {"mAP of replicates", "replicate average precision", "percent replicating"} <= set(scores["scores"])
    assert ("precision@R" in scores["scores"]) == ("mechanism" not in absent)
    assert (">Mechanisms</h2>" in page) == ("mechanism" not in absent)
    assert (">Plates</h2>" in page) == ("well" not in absent)
    assert ("batch enrichment" in scores["scores"]) == ("batch" not in absent)
    for name in ("retrieval", "NSC", "grit", "percent matching", "subsets") if "mechanism" in absent else ():
        assert scores["left_out"][name].startswith("no column of mechanisms: got columns.mechanism None"), name
    assert "What this page does not show" not in page
    json.loads((tmp_path / "run" / "scores.json").read_text())


def renamed(name):
    """Wells with other names, made of the row and the column, from 1."""
    table = screen()
    places = [("ABCDEFGHIJKLMNOP".index(well[0]) + 1, int(well[1:])) for well in table["Metadata_Well"]]
    return table.with_columns(Metadata_Well=pl.Series([name(*place) for place in places]))


def test_wells_named_by_numbers_of_rows_and_columns_have_the_same_maps(tmp_path):
    profile(tmp_path / "usual")
    _, page = profile(tmp_path / "other", renamed(lambda row, column: f"r{row:02d}c{column:02d}"))
    assert "What this page does not show" not in page
    maps = [folder / "run" / "figures" / "plate_strength.png" for folder in (tmp_path / "usual", tmp_path / "other")]
    assert maps[0].read_bytes() == maps[1].read_bytes()


def test_wells_that_are_numbered_have_no_map_and_it_is_said(tmp_path, capsys):
    scores, page = profile(tmp_path, renamed(lambda row, column: str(24 * (row - 1) + column)))
    reason = "no map of a plate without places: got '"
    assert f"left out of the page: maps of plates; {reason}" in capsys.readouterr().out
    assert f"<td>maps of plates</td><td>{reason}" in page
    assert ">Plates</h2>" not in page
    assert "NSC" in scores["scores"]


def test_wells_without_a_place_are_left_out_of_maps_and_counted(tmp_path):
    odd = (
        pl.when(ROW == 3)
        .then(pl.lit("empty"))
        .when(ROW == 5)
        .then(None)
        .otherwise("Metadata_Well")
        .alias("Metadata_Well")
    )
    scores, page = profile(tmp_path, screen().with_columns(odd), pictures={"plates": ("feature_000",)})
    notice = "no place on a plate for 2 wells, named 'empty', None in Metadata_Well; maps of plates leave them out"
    assert notice in scores["notices"]
    assert (tmp_path / "run" / "figures" / "plate_map_0.png").is_file()
    assert "What this page does not show" not in page


def test_names_may_be_mathematics_and_batches_missing(tmp_path):
    """Matplotlib would typeset what is between dollars, or fail."""
    table = screen().with_columns(
        Metadata_MOA=pl.lit("costs $\\frac{1}$ or $x^{ ") + pl.col("Metadata_MOA"),
        Metadata_Compound=pl.lit("$\\foo$") + pl.col("Metadata_Compound"),
        Metadata_Batch=pl.when(pl.col("Metadata_Batch") == "batch 1").then("Metadata_Batch"),
    )
    scores, page = profile(tmp_path, table, pictures={"map": True})
    assert "What this page does not show" not in page
    for figure in ("components_0", "clustering", "confusion", "mechanism_features", "treatment_map"):
        assert (tmp_path / "run" / "figures" / f"{figure}.png").is_file()
    assert "NSC" in scores["scores"]


def test_profiles_without_a_correlation_are_left_out_of_pictures_and_counted(tmp_path):
    """One treatment of zeros, which the euclidean similarity takes."""
    features = pl.col("^feature_.*$")
    zero = pl.when(pl.col("Metadata_Compound") == "compound 001").then(0.0).otherwise(features).name.keep()
    table, euclidean = screen().with_columns(zero), {**EFFORT, "similarity": "euclidean"}
    _, page = profile(tmp_path, table, scores=euclidean, pictures={"map": True, "treatments": ("compound 001",)})
    assert (
        "1 of 6 have a profile that is constant over its features, such as one of zeros, which has no Pearson" in page
    )
    assert (tmp_path / "run" / "figures" / "clustering.png").is_file()
    assert ">Neighbours</h2>" not in page
    with pytest.raises(
        ValueError, match=r"variant 'raw': a profile without cosine similarity: got row \d+ that is all"
    ):
        profile(tmp_path / "cosine", table)
    assert not (tmp_path / "cosine" / "run" / "scores.json").exists()


def test_one_feature_is_refused_before_scoring_unless_distances_compare(tmp_path):
    """Bug 20: one feature left, or all of them constant."""
    one = screen().select(pl.col("^Metadata_.*$"), "feature_000")
    message = r"variant 'raw': too few features for cosine .* got 1, 'feature_000', expected 2 or more; keep more"
    with pytest.raises(ValueError, match=message):
        profile(tmp_path, one)
    two = screen().select(pl.col("^Metadata_.*$"), "feature_000", "feature_001")
    with pytest.raises(ValueError, match=r"variant 'raw': too few features for pearson .* expected 3 or more"):
        profile(tmp_path, two, scores={**EFFORT, "similarity": "pearson"})
    same = screen().with_columns(pl.lit(1.5).alias(f"feature_{i:03d}") for i in range(8))
    with pytest.raises(ValueError, match=r"variant 'raw': profiles that are all the same: got 8 features of 56 rows"):
        profile(tmp_path, same)
    assert not (tmp_path / "run" / "scores.json").exists()
    scores, page = profile(tmp_path, one, scores={**EFFORT, "similarity": "euclidean"})
    assert {"NSC", "mAP of replicates"} <= set(scores["scores"])
    assert "6 of 6 have a profile that is constant over its features" in page


def test_a_feature_that_the_variant_dropped_is_said_to_be(tmp_path):
    table = screen().with_columns(feature_003=pl.lit(1.0))
    _, page = profile(
        tmp_path, table, variants=[("raw", ({"name": "select", "operations": ("variance_threshold",)},))],
        pictures={"plates": ("feature_003", "feature_000")},
    )  # fmt: skip
    assert "<td>plate map of feature_003</td><td>variant 'raw' dropped this feature: variance_threshold" in page
    assert (tmp_path / "run" / "figures" / "plate_map_0.png").is_file()
    with pytest.raises(ValueError, match="no column to draw on a plate: got 'feature_0003'"):
        profile(tmp_path, table, pictures={"plates": ("feature_0003",)})


def test_a_screen_without_controls_has_every_score_that_needs_none(tmp_path):
    table = screen().filter(~pl.col("Metadata_Control"))
    scores, page = profile(tmp_path, table, controls=None, variants=[("standardized", ("standardize",))])
    assert {"replicate average precision", "percent replicating", "NSC", "precision@R"} <= set(scores["scores"])
    for name in ("fraction retrieved", "grit", "mp-values", "batch enrichment"):
        assert scores["left_out"][name] == (
            "no negative controls: got 0, expected 2 or more; say which rows are controls"
        )
    assert "replicate average precision, positions kept" in scores["scores"]
    starts = [notice[:79] for notice in scores["notices"]]
    assert starts.count("no negative controls: the config has no section controls; scores that compare w") == 1
    assert ">replicate average precision</th>" in page.partition(">How certain</h2>")[0]
    for step in ("spherize", {"name": "standardize", "on": "controls"}):
        with pytest.raises(ValueError, match=r"variant 'a': step 2, \w+: no negative controls to fit on: got none"):
            profile(tmp_path / "fitted", table, controls={"column": None}, variants=[("a", ("standardize", step))])
    assert not (tmp_path / "fitted" / "run").exists()


def test_rows_that_were_left_out_are_told_before_a_refusal(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"no negative controls: got no well whose Metadata_Control is true"):
        profile(tmp_path, rows={"where": "NOT Metadata_Control"})
    assert capsys.readouterr().out == "left out by rows.where: 32 of 56 rows\n"


def test_treatments_of_too_many_wells_to_exchange_have_no_p_values(tmp_path, monkeypatch):
    """Random rankings and random groups know of no plates: they are not taken in place of exchanges."""
    monkeypatch.setattr(permuted_ranking, "MAX_LOOKUPS", 1)
    monkeypatch.setattr(replicate_null, "MAX_VALUES", 1)
    scores, _ = profile(tmp_path)
    mean, share = "replicate average precision", "replicate average precision: percent retrieved"
    assert scores["left_out"][share].startswith("no exchanges of treatments to compare with: got too many")
    assert {mean, "percent replicating", "reproducibility"} <= set(scores["scores"])
    assert "p_value" not in scores["scores"][mean] | scores["scores"]["percent replicating"]
    assert share not in scores["scores"]
    table = pl.read_parquet(tmp_path / "run" / "scores" / "raw" / "treatments.parquet")
    assert table["replicating_median_similarity"].null_count() == 0
    for name in ("replicating_p_value", "replicating_corrected_p_value"):
        assert table[name].null_count() == len(table) > 0
    assert "p_value_vs_treatments" not in table.columns


def test_one_mechanism_or_one_treatment_is_scored_as_far_as_it_goes(tmp_path):
    scores, page = profile(tmp_path / "mechanism", screen().with_columns(Metadata_MOA=pl.lit("x")))
    assert "retrieval" in scores["left_out"]
    assert "precision@R" not in scores["scores"]
    assert "mAP of replicates" in scores["scores"]
    assert "What this page does not show" not in page
    one = screen().filter(pl.col("Metadata_Control") | (pl.col("Metadata_Compound") == "compound 001"))
    scores, page = profile(tmp_path / "treatment", one)
    assert "mAP of replicates" in scores["scores"]
    assert "<td>no clustering of treatments: got 1, expected two or more; compare more treatments</td>" in page


def test_a_defect_of_a_picture_keeps_the_run_and_its_traceback(tmp_path, monkeypatch, capsys):
    def broken(*args):
        raise KeyError("a\nb")

    monkeypatch.setattr(profile_page, "clustering", broken)
    _, page = profile(tmp_path)
    assert "<td>clustering of treatments</td><td>a defect of cellfx, please report it: KeyError: 'a\\nb'</td>" in page
    assert "Traceback" in capsys.readouterr().err


def test_metadata_that_are_text_are_drawn_where_they_are_numbers():
    table = {"Metadata_Plate": ["p"] * 3, "Metadata_Well": ["A01", "A02", "A03"], "Metadata_Count": ["1", " 2", None]}
    wells = run.Profiles(np.zeros((3, 1)), ("x",), pl.DataFrame(table))
    np.testing.assert_array_equal(pictures._values(wells, "Count"), [1.0, 2.0, np.nan])
