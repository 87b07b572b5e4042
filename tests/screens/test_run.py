"""From tables to a report: a simulated screen, real plates with published scores, and everything that can be wrong."""

import ast
import html
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from cellfx import settings
from cellfx.cli import config
from cellfx.profiles.scores.hit_curve import hit_curve
from cellfx.profiles.scores.retrieval import find_hits
from cellfx.profiles.screen import treatments
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import pair_rule
from cellfx.profiles.steps import normalize, spherize
from cellfx.profiles.steps import variant as variants
from cellfx.profiles.tables import reading
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import to_frame
from cellfx.screens import controls as profile_controls
from cellfx.screens import run, setting
from cellfx.screens import scores as profile_scores
from cellfx.screens.page import tables
from tests.browser import CHROMIUM, REASON, Browser


def tiny(**changed):
    loaded = settings.to_dict(config.load("configs/profile_simulated.py:tiny").values)
    return {**loaded, **changed}


def read_wells(loaded):
    """Wells and negative controls (N,) bool as ``screens.run.run`` reads them."""
    wells, controls = run.read_wells(loaded, Columns(**loaded["columns"]))
    return wells, controls.judged


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "profile"
    return workdir, run.run(tiny(), workdir)


def test_every_variant_has_its_levels_and_scores(finished):
    workdir, scores = finished
    names = [name for name, _ in tiny()["variants"]]
    assert list(scores) == names
    kept = json.loads((workdir / "scores.json").read_text())
    assert list(kept) == names
    for name in names:
        treated = reading.read(workdir / "profiles" / name / "screen_consensus.parquet")
        assert sorted(treated.metadata["Metadata_Compound"]) == [f"compound {i + 1:03d}" for i in range(12)]
        assert set(profile_scores.HEADLINES) <= set(kept[name]["scores"])
        assert kept[name]["fitted_on_controls"] == name.startswith("spherized")
        assert len(kept[name]["replicates"]["groups"]["Metadata_Compound"]) == 12
        assert set(kept[name]["subsets"]) == {"strong phenotype", "weak phenotype"}
        for score, number in kept[name]["scores"].items():
            low, high = (float(end) for end in number.get("interval", (-np.inf, np.inf)))
            assert low - 1e-12 <= float(number["value"]) <= high + 1e-12, score
            assert 0 < number.get("p_value", 1) <= 1, score
    wells = reading.read(workdir / "profiles" / "spherized" / "screen_spherized.parquet")
    controls = wells.features[wells.metadata["Metadata_Control"].to_numpy()]
    raw = read_wells(tiny())[0].features[wells.metadata["Metadata_Control"].to_numpy()]
    variances, axes = np.linalg.eigh(np.cov(((raw - raw.mean(axis=0)) / raw.std(axis=0)).T))
    # By default what varies less than the mean is divided by the mean.
    expected = axes * (variances / np.maximum(variances, variances.mean())) @ axes.T
    np.testing.assert_allclose(np.cov(controls.T), expected, atol=1e-9)


def test_the_page_shows_every_score_with_its_certainty_and_what_is_left_out(finished):
    workdir, scores = finished
    text = html.unescape((workdir / "report.html").read_text())
    for variant in scores.values():
        for name, number in variant["scores"].items():
            row = next(line for line in text.split("<tr>") if line.startswith(f"<td>{name}</td>"))
            assert f"<td>{tables.certain(number)}</td>" in row
        for name, reason in variant["left_out"].items():
            assert f"<td>{name}</td><td>all</td><td>{reason}</td>" in text
        for name, part in variant["subsets"].items():
            assert f"<td>{name}</td><td>{part['num_treatments']}</td>" in text.replace(' class="number"', "")
    assert set(scores["raw"]["left_out"]) == {
        *("precision@20, recall@20", "precision@50, recall@50", "percent matching", "top 50 mechanisms")
    }


def test_certain_numbers_are_short():
    number = {"value": 0.4213, "interval": [-0.0384, np.inf], "p_value": 1 / 201}
    assert tables.certain(number) == "0.421 (\N{MINUS SIGN}0.0384 to inf), p = .005"
    assert tables.certain({"value": 12345.6}) == "12,346"
    assert tables.certain({"value": np.inf, "p_value": 1.0}) == "inf, p = 1"


def test_subsets_are_those_that_the_thesis_takes():
    """Five treatments of three mechanisms in a plane; controls point to the right."""
    angles = np.radians([10, 170, 90, 120, 20])
    features = np.stack([np.cos(angles), np.sin(angles), -np.cos(angles) - np.sin(angles)], axis=1)
    names = [f"compound {i}" for i in range(5)]
    metadata = pl.DataFrame({"c": names, "m": ["a", "a", "b", "b", "b"]})
    treated = run.take(profile_scores.Profiles(features, ("x", "y", "z"), metadata), np.arange(5) < 5)
    wells = treated._replace(features=np.array([[1.0, 0, -1], [1, 0.1, -1.1], [1, -0.1, -0.9]]), metadata=metadata[:3])
    variant = profile_scores.Variant("v", wells, np.ones(3, bool), treated)
    columns = run.Columns(("c",), "c", "m")
    found = profile_scores.find_subsets(variant, columns, setting.Asked(num_top_mechanisms=1))
    likeness = np.corrcoef(np.concatenate([features, np.median(wells.features, axis=0)[None]]))[-1, :5]
    assert set(np.flatnonzero(found.chosen["strong phenotype"])) == set(np.argsort(likeness)[:2])
    assert found.chosen["top 1 mechanisms"].tolist() == [False, False, True, True, True]
    assert found.chosen["other mechanisms"].tolist() == [True, True, False, False, False]
    assert found.left_out == {}
    nothing = variant._replace(wells=wells._replace(features=np.array([[1.0, 0, 0], [0, 0, 0], [-1, 0, 0]])))
    left_out = profile_scores.find_subsets(nothing, columns, setting.Asked()).left_out
    assert left_out["strong phenotype"].startswith("a profile without pearson similarity: got row 6 that is constant")
    assert left_out["top 50 mechanisms"] == "they are all: got 2, expected more than 50"
    most = profile_scores.find_subsets(variant, columns, setting.Asked(strong_rate=0.95))
    assert most.left_out["weak phenotype"] == "no treatment is left: got 0, expected 1 or more"
    assert "weak phenotype" not in most.chosen


def test_scores_of_a_subset_are_its_own_or_averages_over_it(finished):
    _, scores = finished
    variant = scores["spherized"]
    parts = variant["subsets"]["strong phenotype"], variant["subsets"]["weak phenotype"]
    sizes = [part["num_treatments"] for part in parts]
    assert sizes == [5, 7]
    for name in profile_scores.MEANS:
        mean = np.average([part["scores"][name]["value"] for part in parts], weights=sizes)
        np.testing.assert_allclose(mean, variant["scores"][name]["value"], rtol=1e-12)
    treated = reading.read(finished[0] / "profiles" / "spherized" / "screen_consensus.parquet")
    last = reading.read(finished[0] / "profiles" / "spherized by batch" / "screen_consensus.parquet")
    wells = reading.read(finished[0] / "profiles" / "spherized by batch" / "screen_spherized.parquet")
    controls = wells.metadata["Metadata_Control"].to_numpy()
    median = np.median(wells.features[controls], axis=0)
    strong = np.isin(np.arange(12), np.argsort(np.corrcoef([*last.features, median])[-1, :12])[:5])
    rows = prepare(run.take(treated, strong), "cosine")
    same, across = (
        pair_rule(treated.metadata.filter(strong), *by) for by in ((["Metadata_MOA"],), ((), ["Metadata_Compound"]))
    )
    area = hit_curve(find_hits(rows, same, across)).area
    np.testing.assert_allclose(parts[0]["scores"]["hits above chance"]["value"], area, rtol=1e-9)


@pytest.mark.parametrize("word", ["", "nan"])
def test_mechanisms_that_are_hardly_known_leave_their_scores_out(word, tmp_path):
    """Two compounds share the only mechanism: words for nothing are none that the others share."""
    wells = to_frame(simulated(3, 4, num_batches=1, plates_per_batch=2, num_controls=8, num_features=8))
    pair = wells.drop_nulls("Metadata_MOA").sort("Metadata_MOA", "Metadata_Compound")["Metadata_Compound"].unique()
    known = pl.col("Metadata_Compound").is_in(pair.sort()[:2].to_list())
    moa = pl.when(known).then(pl.col("Metadata_MOA")).otherwise(pl.lit(word)).alias("Metadata_MOA")
    wells.with_columns(moa).write_csv(tmp_path / "wells.csv")
    asked = {"num_permutations": 4, "num_resamples": 10, "num_mp_permutations": 9, "null_size": 50}
    loaded = tiny(profiles={"path": str(tmp_path / "wells.csv")}, compared={}, scores=asked, pictures={})
    found = run.run({**loaded, "variants": [("raw", ())]}, tmp_path / "run")["raw"]
    assert "replicate average precision" in found["scores"]
    assert not any(name.startswith("precision@") for name in found["scores"])
    told = [line for line in found["notices"] if line.startswith("taken for missing: 'nan' in Metadata_MOA of ")]
    assert len(told) == (word == "nan")


def test_the_effort_is_that_of_the_config(tmp_path):
    asked = {
        "num_permutations": 4,
        "num_resamples": 10,
        "num_mp_permutations": 9,
        "null_size": 50,
        "ks": (2,),
        "seed": 3,
    }
    loaded = tiny(scores=asked, variants=[("raw", ())], files={"formats": ("csv", "gct")})
    found = run.run(loaded, tmp_path / "run")["raw"]
    names = [path.name for path in sorted((tmp_path / "run" / "profiles" / "raw").glob("screen*"))]
    assert names == ["screen_consensus.csv", "screen_consensus.gct", "screen_consensus.parquet"]
    precisions = [name for name in found["scores"] if name.startswith("precision@")]
    assert precisions == ["precision@2", "precision@R"]
    permuted = ("precision@2", "average precision", "NSC", "grit", "batch enrichment", "replicate average precision")
    permuted += ("reproducibility", "percent replicating")
    assert all(found["scores"][name]["p_value"] * 5 in (1, 2, 3, 4, 5) for name in permuted)
    assert "the share of 4 permutations that do as well" in (tmp_path / "run" / "report.html").read_text()


def test_lists_of_mechanisms_are_compared_by_their_labels():
    names = [f"compound {i}" for i in range(8)]
    labels = ["a|b", "b | c", "d", "c", None, "|", " | ", "|e|"]
    metadata = pl.DataFrame({"c": names, "m": labels})
    whole = run.Columns(("c",), "c", "m")
    with pytest.raises(ValueError, match="no treatment left to compare"):
        treatments.compared(metadata, whole, mechanism_size=2)
    taken = treatments.compared(metadata, whole._replace(multilabel=True), mechanism_size=2)
    assert taken.tolist() == [True, True, False, True, False, False, False, False]
    with pytest.raises(
        ValueError, match=r"mechanisms that are no lists of labels: got Int32 in m with columns.multila"
    ):
        treatments.compared(metadata.with_columns(m=1), whole._replace(multilabel=True), mechanism_size=2)


def test_lists_of_mechanisms_are_a_choice_of_the_config(tmp_path):
    drawn = simulated(6, 3, num_batches=2, plates_per_batch=2, num_controls=20, num_features=10, sizes=Sizes(2.0))
    two = pl.col("Metadata_MOA").replace("mechanism 01", "x|mechanism 02")
    table = to_frame(drawn).with_columns(two)
    table.write_parquet(tmp_path / "wells.parquet")
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, variants=[("raw", ())])
    whole = run.run(loaded, tmp_path / "whole")["raw"]["scores"]
    loaded["columns"] = {**loaded["columns"], "multilabel": True}
    labels = run.run(loaded, tmp_path / "labels")["raw"]["scores"]
    for name in ("precision@R", "NSC", "NSCB", "grit"):
        assert labels[name]["value"] != whole[name]["value"], name


def test_what_was_fitted_can_be_applied_to_other_plates(finished):
    workdir, _ = finished
    wells, _ = read_wells(tiny())
    fitted = spherize.load(workdir / "profiles" / "spherized" / "spherize.npz")
    again = spherize.apply(fitted, wells)
    written = reading.read(workdir / "profiles" / "spherized" / "screen_spherized.parquet")
    np.testing.assert_array_equal(again.features, written.features)
    by_plate = normalize.load(workdir / "profiles" / "standardized by plate" / "standardize.npz")
    assert by_plate.by == ("Metadata_Batch", "Metadata_Plate")


def test_the_same_run_gives_the_same_scores(finished, tmp_path):
    _, scores = finished
    again = run.run(tiny(), tmp_path / "again")
    assert json.dumps(profile_scores.plain(again)) == json.dumps(profile_scores.plain(scores))


@pytest.mark.skipif(CHROMIUM is None, reason=REASON)
def test_the_page_is_whole_in_a_browser(finished):
    workdir, _ = finished
    with Browser() as browser:
        seen = browser.look_at(workdir / "report.html")
    assert (seen.complaints, seen.requests) == ([], [])
    for word in (
        "Variants",
        "How certain",
        "Subsets",
        "Mechanisms",
        "Batches",
        "Plates",
        "Treatments",
        "spherized by batch",
    ):
        assert word in seen.drawn["words"]
    assert len(seen.drawn["images"]) >= 9
    assert all(image["pixels"][0] > 0 and image["alt"] for image in seen.drawn["images"])
    assert seen.drawn["width"][0] <= seen.drawn["width"][1]


def test_published_scores_of_real_plates_are_repeated(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLFX_DATA", str(data_folder))
    loaded = settings.to_dict(config.load("configs/profile_jump.py").values)
    loaded["variants"] = [("as published", ())]
    found = run.run(loaded, tmp_path / "jump")["as published"]["replicates"]
    own = dict(zip(found["groups"]["Metadata_broad_sample"], found["mean_average_precision"], strict=True))
    published = json.loads((data_folder / "jump" / "published_map.json").read_text())["mean_average_precision"]
    assert len(published) == 14
    assert max(abs(own[name] - value) for name, value in published.items()) < 1e-9
    assert 0 < found["fraction_retrieved"] < 1


@pytest.mark.parametrize("name", ["profile_jump", "profile_lincs"])
def test_configs_for_real_plates_run_at_their_tiny_size(name, data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLFX_DATA", str(data_folder))
    loaded = config.load(f"configs/{name}.py:tiny").values
    scores = run.run(loaded, tmp_path / "run")
    assert list(scores) == [variant for variant, _ in loaded.variants]
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A table of single cells as ``configs/profile_bbbc021.py`` reads it: three around each well of a screen."""
    folder = tmp_path_factory.mktemp("data")
    wells = to_frame(simulated(3, 2, (1.0, 10.0), num_batches=2, plates_per_batch=2, num_controls=20, num_features=10))
    dose = pl.col("Metadata_Dose_um").fill_null(0.0).alias("Metadata_Concentration")
    repeated = pl.concat([wells.with_columns(dose).drop("Metadata_Dose_um", "Metadata_Control")] * 3)
    (folder / "bbbc021").mkdir()
    repeated.write_parquet(folder / "bbbc021" / "cells.parquet")
    return folder


def test_cells_become_wells_and_wells_treatments(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLFX_DATA", str(cells))
    loaded = config.load("configs/profile_bbbc021.py:tiny").values
    wells, controls = read_wells(settings.to_dict(loaded))
    assert (len(controls), controls.sum()) == (4 * (12 + 20), 80)
    assert set(wells.metadata["Metadata_Cell_Count"]) == {3}
    run.run(loaded, tmp_path / "run")
    treated = reading.read(tmp_path / "run" / "profiles" / "means" / "screen_consensus.parquet")
    assert len(treated.features) == 12
    rows = wells.metadata["Metadata_Compound"] == treated.metadata["Metadata_Compound"][0]
    rows &= wells.metadata["Metadata_Concentration"] == treated.metadata["Metadata_Concentration"][0]
    np.testing.assert_allclose(treated.features[0], np.median(wells.features[rows.to_numpy()], axis=0), rtol=1e-12)


def test_spherizing_takes_batches_out_and_the_more_the_larger_they_are(tmp_path):
    gains = []
    for size in (0.0, 4.0):
        loaded = settings.to_dict(config.load("configs/profile_simulated.py").values)
        loaded["profiles"]["simulated"]["sizes"]["batch"] = size
        loaded["variants"] = [("raw", ()), ("spherized", ("spherize",))]
        scores = run.run(loaded, tmp_path / str(size))
        raw, spherized = (scores[name] for name in ("raw", "spherized"))
        assert spherized["scores"]["precision@R"]["value"] > raw["scores"]["precision@R"]["value"]
        at_98 = [scored["scores"]["enrichment@0.98"]["value"] for scored in (raw, spherized)]
        gains.append((at_98[1] / at_98[0], spherized["batches"]["log10_p"] - raw["batches"]["log10_p"]))
    (small_enrichment, small_batch), (large_enrichment, large_batch) = gains
    assert 1 < small_enrichment < large_enrichment
    assert max(small_batch, 0) < large_batch


def test_planted_mechanisms_are_found_where_they_are_strong():
    loaded = tiny(variants=[("spherized", ("spherize",))])
    loaded["profiles"]["simulated"]["sizes"] = {"mechanism": 12.0, "compound": 1.0}
    wells, controls = read_wells(loaded)
    columns = run.Columns(**loaded["columns"])
    spherized = spherize.apply(spherize.fit(wells, controls), wells)
    treated = run.consensus.consensus(run.take(spherized, ~controls), columns.described())
    variant = profile_scores.Variant("spherized", spherized, controls, treated)
    assert profile_scores.score(variant, columns)["scores"]["NSC"]["value"] == 1.0


WRONG = {
    "unknown section": ({"variant": ()}, "unknown config section variant; did you mean variants?"),
    "no variants": (
        {"variants": ()},
        "no variants to compare: got [], expected a tuple of pairs of a name and steps, ",
    ),
    "a name alone": (
        {"variants": (("a",),)},
        "a variant that is no pair: got ['a'], expected a name and steps, all pairs",
    ),
    "a pair alone": (
        {"variants": ("raw", ())},
        "a variant that is no pair: got 'raw', expected a name and steps, all pa",
    ),
    "steps of nothing": ({"variants": (("a", None),)}, "a variant that is no pair: got ['a', None], expected a name"),
    "twice": (
        {"variants": (("a", ()), ("a", ()))},
        "variants of one name: got 'a' and 'a', expected a name of its own for each; rename one of them",
    ),
    "one folder": (
        {"variants": (("a/b", ()), ("raw", ()), ("a_b", ()))},
        "variants of one folder: got 'a/b' and 'a_b', expected a folder of its own for each, where / becomes _; rename",
    ),
    "no folder": ({"variants": (("..", ()),)}, "a variant without a name for its folder: got '..', expected a name"),
    "unknown step": ({"variants": (("a", ("whiten",)),)}, "variant 'a': unknown step of a variant: got 'whiten'"),
    "a near step": (
        {"variants": (("a", "spherise"),)},
        "variant 'a': unknown step of a variant: got 'spherise'; did you mean spherize?",
    ),
    "a step that is a number": (
        {"variants": (("a", (3,)),)},
        "variant 'a': a step that is none: got 3, expected a name",
    ),
    "unknown setting": (
        {"variants": (("a", ({"name": "spherize", "epsilom": 1.0},)),)},
        "variant 'a': unknown config key spherize.epsilom; did you mean epsilon?",
    ),
    "unknown setting of a normalization": (
        {"variants": (("a", ({"name": "standardize", "controls": "wells"},)),)},
        "variant 'a': unknown config key standardize.controls; did you mean percentiles?",
    ),
    "columns that are no columns": (
        {"variants": (("a", ({"name": "standardize", "by": "Metadata_Batsch"},)),)},
        "variant 'a': step 1, standardize: no such metadata: got 'Metadata_Batsch', expected some of",
    ),
    "on": (
        {"variants": (("a", ({"name": "standardize", "on": "all"},)),)},
        "variant 'a': step 1, standardize: fitted on nothing known: got on='all', expected wells or controls; correct ",
    ),
    "unknown rule": ({"compared": {"highest_doze": True}}, "unknown config key compared.highest_doze; did you mean hi"),
    "unknown score": ({"scores": {"replicate": True}}, "unknown config key scores.replicate; did you mean replicates?"),
    "unknown effort": (
        {"scores": {"num_permutation": 3}},
        "unknown config key scores.num_permutation; did you mean num_permutations?",
    ),
    "effort that is no number": (
        {"scores": {"num_resamples": "many"}},
        "wrong type for config key scores.num_resamples: got 'many', expected int; correct it",
    ),
    "no effort": ({"scores": {"num_permutations": 0}}, "too little effort: got num_permutations=0, expected 1 or more"),
    "no subset": (
        {"scores": {"strong_rate": 1.0}},
        "subsets of none or all: got scores.strong_rate 1.0 and scores.num_top_mechanisms 50, expected a share in",
    ),
    "half of the controls": (
        {"controls": {"column": "Metadata_Control"}},
        "config key controls.values is missing; expected a value, it has no default",
    ),
    "unknown key of an annotation": (
        {"annotate": ({"path": "a.csv", "on": {}, "colums": {}},)},
        "unknown config key annotate.colums; did you mean columns?",
    ),
    "no control": (
        {"controls": {"column": "Metadata_Control", "values": ("negcon",)}},
        "no negative controls: got no well whose Metadata_Control is negcon, expected one or more; there are false, ",
    ),
    "control column": (
        {"controls": {"column": "Metadata_control", "values": ("true",)}},
        "no column of controls: got 'Metadata_control', expected one of Metadata_MOA, ",
    ),
    "column": (
        {"columns": {"treatment": ("Metadata_Compound",), "compound": "Metadata_compound"}},
        "no such column: got columns.compound 'Metadata_compound', expected one of Metadata_MOA, ",
    ),
    "rule": (
        {
            "columns": {"treatment": ("Metadata_Compound",), "compound": "Metadata_Compound"},
            "compared": {"highest_dose": True},
        },
        (
            "a rule without its column: got compared.highest_dose=True and columns.dose None, expected the name of a "
            "column; give it, or remove compared.highest_dose or set it to False"
        ),
    ),
    "rule of mechanisms": (
        {
            "columns": {"treatment": ("Metadata_Compound",), "compound": "Metadata_Compound", "mechanism": None},
            "compared": {"mechanism_size": 2},
        },
        (
            "a rule without its column: got compared.mechanism_size=2 and columns.mechanism None, expected the name of "
            "a column; give it, or remove compared.mechanism_size or set it to 0"
        ),
    ),
    "none left": (
        {"compared": {"mechanism_size": 99}},
        "no treatment left to compare: got none of 12 by highest_dose=False and mechanism_size=99",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_in_one_line(case, tmp_path):
    changed, message = WRONG[case]
    with pytest.raises(ValueError, match=r".") as caught:
        run.run(tiny(**changed), tmp_path / "run")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_finished_variant_is_applied_to_new_plates(finished):
    """The wells of the run come out as its level 4, all others by what was fitted."""
    workdir, _ = finished
    wells, _ = read_wells(tiny())
    new = {"simulated": {**tiny()["profiles"]["simulated"], "seed": 1}}
    others, _ = read_wells(tiny(profiles=new))
    levels = {"raw": None, "standardized by plate": "screen_normalized", "spherized": "screen_spherized"}
    for name, level in levels.items():
        again = variants.apply(workdir / "profiles" / name, wells)
        written = wells if level is None else reading.read(workdir / "profiles" / name / f"{level}.parquet")
        np.testing.assert_array_equal(again.features, written.features)
        assert variants.apply(workdir / "profiles" / name, others).features.shape == wells.features.shape
    fitted = spherize.load(workdir / "profiles" / "spherized" / "spherize.npz")
    applied = variants.apply(workdir / "profiles" / "spherized", others)
    np.testing.assert_array_equal(applied.features, spherize.apply(fitted, others).features)


def test_single_texts_stand_for_tuples_of_one(finished, tmp_path):
    _, scores = finished
    loaded = tiny(variants=(("spherized", "spherize"), ("batch", {"name": "spherize", "by": "Metadata_Batch"})))
    loaded["controls"]["values"] = True
    loaded["columns"]["treatment"] = "Metadata_Compound"
    found = run.run(loaded, tmp_path / "run")
    for ours, theirs in (("spherized", "spherized"), ("batch", "spherized by batch")):
        for name in profile_scores.OF_SUBSETS:
            assert found[ours]["scores"][name]["value"] == scores[theirs]["scores"][name]["value"]


def test_missing_values_are_refused_with_a_step_that_takes_them_out(tmp_path):
    """Two of a hundred values of three features are missing; the step that the message names is enough."""
    table = _table(lambda t: t)
    for i in range(3):
        missing = pl.int_range(pl.len()) % 50 == i
        table = table.with_columns(pl.when(~missing).then(pl.col(f"feature_00{i}")).alias(f"feature_00{i}"))
    table.write_parquet(tmp_path / "wells.parquet")
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, variants=[("mad", ("mad_robustize",))])
    loaded["pictures"] = {"nearest": 0}
    with pytest.raises(ValueError, match=r"^variant 'mad': features that are not finite .* 3 of 10 features") as caught:
        run.run(loaded, tmp_path / "run")
    step = ast.literal_eval(re.search(r"by the step (.*), or take", str(caught.value))[1])
    loaded["variants"] = [("mad", (step, "mad_robustize")), ("usual", ("select", "mad_robustize"))]
    run.run(loaded, tmp_path / "run")
    for name in ("mad", "usual"):
        wells = reading.read(tmp_path / "run" / "profiles" / name / "screen_normalized.parquet")
        assert wells.names == tuple(f"feature_00{i}" for i in range(3, 10))


def test_notices_are_said_once_and_kept_with_every_variant(tmp_path, capsys):
    """51 features, 24 controls; a plate without controls, wells of nothing, a counter, mechanisms of one compound."""
    drawn = to_frame(simulated(4, 2, num_batches=2, plates_per_batch=2, num_controls=8, num_features=50))
    place, plate = pl.int_range(pl.len()).over("Metadata_Plate"), pl.col("Metadata_Plate")
    treated = ~pl.col("Metadata_Control")
    table = drawn.filter(treated | (plate != "plate 1-2")).with_columns(
        Metadata_Compound=pl.when(treated & (place == 7)).then(None).otherwise("Metadata_Compound"),
        ImageNumber=pl.int_range(pl.len()),
    ).with_columns(
        Metadata_MOA=pl.when(pl.col("Metadata_Compound") == "compound 001").then(None).otherwise("Metadata_MOA")
    )  # fmt: skip
    table.write_parquet(tmp_path / "wells.parquet")
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, variants=[("raw", ()), ("white", ("spherize",))])
    loaded["pictures"] = {"nearest": 0}
    scores = run.run(loaded, tmp_path / "run")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "56 wells with 51 features on 4 plates, 24 of them negative controls"
    of_all = scores["raw"]["notices"]
    for notice, start in zip(of_all, (
        "no negative control on 1 plate with 8 wells: plate 1-2; what compares",
        "1 feature of 51 named like a counter or an id: 'ImageNumber'; leave",
        "no treatment in 4 wells that are no controls: nothing in Metadata_Compound; they are left out of",
        "4 of 7 treatments are compared: 3 have no mechanism of 2 compounds or more (compared.mechanism_size)",
    ), strict=True):  # fmt: skip
        assert notice.startswith(start)
    alike = (
        "white: fitted on 24 controls, which are no more than the 51 features, so that these controls are more alike "
        "than other untreated wells by construction; scores against them say less than they seem; hold some out with "
        "controls.held_out"
    )
    (share,) = [line for line in scores["white"]["notices"] if "a treated well's squared norm" in line]
    assert share.startswith("white: 24 controls do not vary in 28 of 51 directions: ")
    assert sorted(scores["white"]["notices"]) == sorted([*of_all, share, alike])
    assert [line for line in said if line in scores["white"]["notices"]] == [*of_all, share, alike]
    kept = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert kept["white"]["notices"] == scores["white"]["notices"]
    treated = reading.read(tmp_path / "run" / "profiles" / "raw" / "screen_consensus.parquet")
    assert treated.metadata["Metadata_Compound"].null_count() == 0
    assert set(treated.metadata["Metadata_Replicate_Count"]) == {4}


def test_controls_that_are_held_out_are_marked_and_fitted_by_nothing(tmp_path):
    loaded = tiny(variants=[("robust", ("mad_robustize", "select")), ("white", ("spherize",))])
    loaded["controls"]["held_out"] = 0.5
    scores = run.run(loaded, tmp_path / "run")
    wells, controls = run.read_wells(loaded, Columns(**loaded["columns"]))
    written = reading.read(tmp_path / "run" / "profiles" / "robust" / "screen_normalized.parquet")
    assert written.metadata["Metadata_Held_Out"].to_list() == controls.held_out.tolist()
    expected = normalize.apply(normalize.fit(wells, controls=~controls.held_out), wells)
    np.testing.assert_array_equal(written.features, expected.features)
    again = variants.apply(tmp_path / "run" / "profiles" / "robust", profile_controls.mark(wells, controls))
    last = reading.read(tmp_path / "run" / "profiles" / "robust" / "screen_normalized_feature_select.parquet")
    np.testing.assert_array_equal(again.features, last.features)
    assert not any("fitted on" in notice for each in scores.values() for notice in each["notices"])
    assert not any(each["fitted_on_controls"] for each in scores.values())
    written = profile_controls.mark(written, controls._replace(fitted=controls.all, judged=controls.all))
    assert "Metadata_Held_Out" not in written.metadata.columns


@pytest.mark.parametrize("folder", ["file/run", "file"])
def test_a_workdir_that_cannot_be_made_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("")
    message = (
        r"a workdir that cannot be made: got .*file.* \((Not a directory|File exists)\), expected a folder .*; choose"
    )
    with pytest.raises(ValueError, match=message):
        run.run(tiny(), tmp_path / folder)


def test_controls_that_are_held_out_judge_and_do_not_fit(tmp_path):
    """No treatment does anything, and yet some are told from controls that spherizing was fitted on; from no others."""
    sizes = {**dict.fromkeys(Sizes._fields, 0.0), "typical": 3.0}
    drawn = {"num_mechanisms": 8, "compounds_per_mechanism": 4, "num_batches": 1, "plates_per_batch": 4}
    simulated = {**drawn, "num_controls": 32, "num_features": 200, "sizes": sizes}
    found = {}
    for held_out in (0.0, 0.5):
        controls = {"column": "Metadata_Control", "values": ("true",), "held_out": held_out}
        loaded = tiny(profiles={"simulated": simulated}, controls=controls, compared={}, pictures={"nearest": 0})
        step = {"name": "spherize", "regularization": "pycytominer"}
        loaded["variants"] = [("raw", ()), ("spherized", (step,))]
        workdir = tmp_path / str(held_out)
        scores = run.run(loaded, workdir)
        found[held_out] = scores["spherized"]["scores"]["fraction retrieved"]["value"]
        wells = reading.read(workdir / "profiles" / "spherized" / "screen_spherized.parquet")
        assert len(wells.features) == 4 * (32 + 32)  # all wells, also those that are not scored
    assert found[0.0] > 0.1
    assert found[0.5] == 0


def test_controls_are_held_out_of_every_plate_by_their_seed():
    wells, _ = read_wells(tiny())
    settings = {"column": "Metadata_Control", "values": ("true",), "held_out": 0.25}
    found, again, other = (
        profile_controls.find(wells.metadata, "Metadata_Plate", **settings, seed=seed) for seed in (0, 0, 1)
    )
    plates = wells.metadata["Metadata_Plate"].to_numpy()
    assert {int(found.judged[plates == plate].sum()) for plate in plates} == {6}
    assert {int(found.fitted[plates == plate].sum()) for plate in plates} == {18}
    assert not np.any(found.judged & found.fitted)
    np.testing.assert_array_equal(found.judged, again.judged)
    assert not np.array_equal(found.judged, other.judged)
    np.testing.assert_array_equal(~found.scored, found.fitted)
    with pytest.raises(ValueError, match=r"cannot be held out: got controls.held_out=0.99 of 24 on plate"):
        profile_controls.find(wells.metadata, "Metadata_Plate", **{**settings, "held_out": 0.99})


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ({"plates": ("feature_01",)}, "no column to draw on a plate: got 'feature_01'"),
        ({"treatments": ("compound 99",)}, "got 'compound 99'"),
        ({"cells": "{folder}/cells.csv", "root": "{folder}"}, "got no column 'Metadata_File'"),
    ],
)
def test_pictures_that_cannot_be_drawn_are_refused_before_anything_is_scored(pictures, said, tmp_path):
    (tmp_path / "cells.csv").write_text("Metadata_Compound,area\ncompound 001,1.0\n")
    given = {name: v.format(folder=tmp_path) if isinstance(v, str) else v for name, v in pictures.items()}
    with pytest.raises(ValueError, match=said) as caught:
        run.run(tiny(pictures=given), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "scores.json").exists()


def test_a_missing_section_is_named(tmp_path):
    loaded = tiny()
    del loaded["columns"]
    with pytest.raises(ValueError, match="config section columns is missing; expected columns, profiles, variants"):
        run.run(loaded, tmp_path / "run")


def _table(change):
    return change(to_frame(simulated(3, 2, num_batches=2, plates_per_batch=2, num_controls=20, num_features=10)))


SPOILT = {
    "missing value": (
        lambda t: t.with_columns(feature_003=pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("feature_003")),
        "raw",
        (
            "variant 'only': features that are not finite cannot be used for similarities: got 1 of 1040 values, the "
            "first nan in feature 'feature_003' of row 5"
        ),
    ),
    "infinite": (
        lambda t: t.with_columns(
            feature_003=pl.when(pl.int_range(pl.len()) == 5).then(np.inf).otherwise("feature_003")
        ),
        "spherize",
        "variant 'only': step 1, spherize: features that are not finite cannot be used for",
    ),
    "text": (
        lambda t: t.with_columns(feature_003=pl.lit("bright")),
        "raw",
        "text in a feature column: got 'bright' in row 0 of 'feature_003'",
    ),
    "constant under spherizing": (
        lambda t: t.with_columns(feature_003=pl.lit(1.0)),
        "spherize",
        "variant 'only': step 1, spherize: ZCA-cor divides by a spread that is zero: got 1 features that do not vary ",
    ),
    "a plate without controls": (
        lambda t: t.filter(~(pl.col("Metadata_Control") & (pl.col("Metadata_Plate") == "plate 1-2"))),
        "on controls",
        (
            "variant 'only': step 1, mad_robustize: too few controls to fit to: got 0 in Metadata_Batch 'batch 1', "
            "Metadata_Plate 'plate 1-2', "
        ),
    ),
}
STEPS = {"raw": (), "spherize": ("spherize",), "on controls": ({"name": "mad_robustize", "on": "controls"},)}


@pytest.mark.parametrize("case", SPOILT)
def test_spoilt_tables_are_refused_in_one_line(case, tmp_path):
    change, step, message = SPOILT[case]
    _table(change).write_parquet(tmp_path / "wells.parquet")
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, variants=[("only", STEPS[step])])
    with pytest.raises(ValueError, match=r"got .*expected .*; ") as caught:
        run.run(loaded, tmp_path / "run")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_plate_without_replicates_has_every_other_score(tmp_path):
    _table(lambda t: t.filter(pl.col("Metadata_Plate") == "plate 1-1")).write_parquet(tmp_path / "wells.parquet")
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, variants=[("only", ())])
    found = run.run(loaded, tmp_path / "run")["only"]
    assert found["left_out"]["fraction retrieved"].startswith("no row has both a positive and a negative pair")
    assert {"NSC", "precision@R"} <= set(found["scores"])


def test_an_annotation_is_joined_and_what_lacks_one_is_said(tmp_path, capsys):
    table = _table(lambda t: t.drop("Metadata_MOA"))
    table.write_parquet(tmp_path / "wells.parquet")
    names = [f"compound {i + 1:03d}" for i in range(5)]
    pl.DataFrame({"name": names, "moa": ["a", "a", "b", "b", "c"], "smiles": ["C"] * 5}).write_csv(tmp_path / "a.csv")
    annotation = {
        "path": str(tmp_path / "a.csv"),
        "on": {"Metadata_Compound": "name"},
        "columns": {"moa": "Metadata_MOA"},
    }
    loaded = tiny(profiles={"path": str(tmp_path / "wells.parquet")}, annotate=(annotation,))
    wells, _ = read_wells(loaded)
    assert "Metadata_smiles" not in wells.metadata.columns
    known = wells.metadata.filter(pl.col("Metadata_Compound") == "compound 003")["Metadata_MOA"]
    assert set(known) == {"b"}
    assert (
        "no annotation in a.csv for 84 of 104 wells, such as Metadata_Compound 'compound 006'"
        in capsys.readouterr().out
    )
    annotation["columns"] = {"mao": "Metadata_MOA"}
    with pytest.raises(ValueError, match=r"no such column in .*: got 'mao', expected one of name, moa, smiles;"):
        read_wells(loaded)


def test_a_run_is_kept_whole_when_it_is_repeated(finished, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    before = (workdir / "scores.json").read_bytes()
    run.run(tiny(), workdir)
    assert (workdir / "scores.json").read_bytes() == before
    assert not list(workdir.rglob(".*.parquet.*"))


def test_sizes_of_the_config_are_those_of_the_screen():
    assert set(tiny()["profiles"]["simulated"]["sizes"]) <= set(Sizes._fields)
