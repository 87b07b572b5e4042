"""Own rules of pairs in a config: they give what copairs gives, and are refused where they cannot."""

import polars as pl
import pytest
from copairs.map import average_precision as copairs_average_precision
from copairs.map import mean_average_precision as copairs_mean_average_precision

from tests.screens.test_gaps import EFFORT, profile, screen

COMPOUND, PLATE, BATCH, MOA = "Metadata_Compound", "Metadata_Plate", "Metadata_Batch", "Metadata_MOA"
CONTROL = "Metadata_Control"
RULES = {
    "other_batches": {"pos_sameby": COMPOUND, "pos_diffby": BATCH, "neg_sameby": PLATE, "neg_diffby": COMPOUND},
    "other_plates": {"pos_sameby": (COMPOUND,), "pos_diffby": (PLATE,), "neg_diffby": (COMPOUND, PLATE)},
    "controls": {"pos_sameby": [COMPOUND], "neg_sameby": [PLATE], "neg_diffby": ["Metadata_Negative_Control"]},
    "mechanisms": {
        "pos_sameby": (MOA,), "pos_diffby": (COMPOUND,), "neg_diffby": (MOA,), "where": f"NOT {CONTROL}",
    },
}  # fmt: skip
ROWS = f"{CONTROL} OR NOT ({COMPOUND} = 'compound 002' AND {BATCH} = 'batch 1')"


def of_copairs(table, rule, tmp_path):
    """Mean average precision by group, of treated rows."""
    lists = [rule.get(name, []) for name in ("pos_sameby", "pos_diffby", "neg_sameby", "neg_diffby")]
    lists = [[names] if isinstance(names, str) else [*names] for names in lists]
    frame = table.with_columns(Metadata_Negative_Control=pl.col(CONTROL)).to_pandas()
    metadata = frame[[name for name in frame.columns if name.startswith("Metadata_")]]
    features = frame[[name for name in frame.columns if not name.startswith("Metadata_")]].to_numpy()
    rows = copairs_average_precision(metadata, features, *lists, progress_bar=False)
    rows = rows[~rows[CONTROL].astype(bool)]
    means = copairs_mean_average_precision(
        rows, lists[0], 100, 0.05, seed=0, cache_dir=tmp_path, progress_bar=False, max_workers=1
    )
    return dict(zip(means[lists[0][0]], means["mean_average_precision"], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    """Scores of a screen of which some wells are left out, the page, and its table."""
    return *profile(folder, pairs=RULES, rows={"where": ROWS}), pl.read_parquet(folder / "wells.parquet")


@pytest.mark.parametrize("name", RULES)
def test_own_rules_give_what_copairs_gives(name, run, tmp_path):
    scores, _, table = run
    left = pl.col(CONTROL) | (pl.col(COMPOUND) != "compound 002") | (pl.col(BATCH) != "batch 1")
    table = table.filter(left if name != "mechanisms" else left & ~pl.col(CONTROL))
    expected = of_copairs(table, RULES[name], tmp_path)
    found = scores["pairs"][name]
    (groups,) = found["groups"].values()
    ours = dict(zip(groups, found["mean_average_precision"], strict=True))
    assert ours.keys() == {group for group, value in expected.items() if value == value}
    assert len(ours) >= 3
    for group, value in ours.items():
        assert value == pytest.approx(expected[group], abs=1e-6)  # copairs compares in float32
    mean = scores["scores"][f"mAP: {name}"]
    assert mean["value"] == pytest.approx(sum(ours.values()) / len(ours), abs=1e-12)
    assert min(ours.values()) <= mean["interval"][0] <= mean["interval"][1] <= max(ours.values())
    assert 0 < mean["p_value"] <= 1
    assert 0 <= scores["scores"][f"fraction retrieved: {name}"]["value"] <= 1


def test_compounds_of_several_rows_are_said_where_positives_are_of_other_compounds(run, tmp_path):
    """Six wells each of compounds with random mechanisms: 0.2 of their p-values are 0.05 or less."""
    said = [line.partition(":")[0] for line in run[0]["notices"] if "rank as a clump" in line]
    assert said == ["pairs.mechanisms"]
    line = next(line for line in run[0]["notices"] if "rank as a clump" in line)
    assert "positive pairs are of different compounds, 6 of 6 of which have several wells" in line
    rule = {**RULES["mechanisms"], "level": "treatments", "where": None}
    scores, _ = profile(tmp_path, pairs={"mechanisms": rule})
    assert not any("rank as a clump" in line for line in scores["notices"])


def test_ties_of_own_rules_are_those_of_the_config(tmp_path):
    table = screen().with_columns(pl.col("^feature_.*$").sign())
    found = {}
    for ties in ("expected", "copairs"):
        scores, _ = profile(tmp_path / ties, table, pairs={"x": RULES["other_plates"]}, scores={**EFFORT, "ties": ties})
        (groups,) = scores["pairs"]["x"]["groups"].values()
        found[ties] = dict(zip(groups, scores["pairs"]["x"]["mean_average_precision"].tolist(), strict=True))
    known = of_copairs(table, RULES["other_plates"], tmp_path)
    assert found["copairs"] == pytest.approx({name: known[name] for name in found["copairs"]}, abs=1e-6)
    assert sum(found["expected"].values()) < sum(found["copairs"].values()) - 0.01


def test_own_rules_stand_on_the_page_beside_the_others(run):
    scores, page, _ = run
    for name in RULES:
        assert f"mAP: {name}</th>" in page
    assert "mAP: own rules of pairs" in page
    assert "left out by pairs.mechanisms.where: 32 of 54 wells" in scores["notices"]
    assert "left out by rows.where: 2 of 56 rows" in scores["notices"]
    assert "left out by rows.where: 2 of 56 rows</td>" in page


def test_groups_of_own_rules_are_a_table(run, folder):
    scores, _, _ = run
    table = pl.read_parquet(folder / "run" / "scores" / "raw" / "pairs.parquet")
    assert table["rule"].unique(maintain_order=True).to_list() == list(scores["pairs"])
    for (name,), rows in table.group_by("rule"):
        found = scores["pairs"][name]
        assert [rows["group"].to_list()] == list(found["groups"].values())
        assert rows["mean_average_precision_by_rule"].to_list() == found["mean_average_precision"].tolist()
        assert rows["corrected_p_value_by_rule"].to_list() == found["corrected_p_value"].tolist()
    meanings = pl.read_csv(folder / "run" / "scores" / "columns.csv").filter(pl.col("table") == "pairs")
    assert meanings["column"].to_list() == table.columns


def test_treatments_are_compared_by_own_rules_too(tmp_path):
    rule = {"pos_sameby": MOA, "pos_diffby": COMPOUND, "neg_diffby": MOA, "level": "treatments", "by": COMPOUND}
    scores, _ = profile(tmp_path, pairs={"mechanisms": rule})
    assert scores["pairs"]["mechanisms"]["groups"].keys() == {COMPOUND}
    assert scores["scores"]["mAP: mechanisms"]["level"] == "treatments"
    assert scores["scores"]["mAP: mechanisms"]["value"] == pytest.approx(
        scores["scores"]["average precision"]["value"], abs=1e-12
    )


def test_a_rule_without_a_pair_is_left_out_and_the_others_are_made(tmp_path):
    rule = {"pos_sameby": ("Metadata_Well", PLATE), "neg_diffby": COMPOUND}
    scores, _ = profile(tmp_path, pairs={"same_well": rule, "other_plates": RULES["other_plates"]})
    assert scores["left_out"]["mAP: same_well"].startswith("no row has both a positive and a negative pair")
    assert "mAP: other_plates" in scores["scores"]


WRONG = {
    "no section": ("", "wrong type for config key pairs.x: got '', expected a section; correct it"),
    "key": ({"pos_same": COMPOUND}, "unknown config key pairs.x.pos_same; did you mean pos_sameby?"),
    "kind": ({"pos_sameby": 3}, "wrong type for config key pairs.x.pos_sameby: got 3, expected"),
    "level": ({"pos_sameby": COMPOUND, "neg_diffby": COMPOUND, "level": "cells"}, "config key pairs.x.level"),
    "no negatives": ({"pos_sameby": COMPOUND}, "a rule without pairs: got pairs.x with pos_sameby, expected columns"),
    "no groups": ({"pos_diffby": PLATE, "neg_sameby": PLATE}, "a rule without groups: got pairs.x without pos_sameby"),
    "column": (
        {"pos_sameby": COMPOUND, "neg_diffby": "Metadata_Compuond"},
        "pairs.x, wells: no such column of metadata: got 'Metadata_Compuond', expected one of Metadata_MOA",
    ),
    "column of wells": (
        {"pos_sameby": MOA, "neg_diffby": PLATE, "level": "treatments"},
        "pairs.x, treatments: no such column of metadata: got 'Metadata_Plate'",
    ),
    "twice": (
        {"pos_sameby": COMPOUND, "pos_diffby": COMPOUND, "neg_diffby": COMPOUND},
        "pairs.x, wells: a rule of pairs that holds for none or all",
    ),
    "where": (
        {"pos_sameby": COMPOUND, "neg_diffby": COMPOUND, "where": "nothing >"},
        "no condition for rows: got pairs.x.where 'nothing >' (unable to parse",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_rules_that_cannot_be_are_refused_before_scoring(case, tmp_path):
    rule, message = WRONG[case]
    with pytest.raises(ValueError, match=r".") as caught:
        profile(tmp_path, pairs={"x": rule})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "scores.json").exists()
