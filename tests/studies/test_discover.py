"""The study of configs/studies/discover.py at its tiny size, from images to its report."""

import json

import numpy as np
import pytest

from cellfx.cli import config
from cellfx.heads import codes
from cellfx.settings import to_dict
from cellfx.studies import run
from cellfx.studies.stages.attack import attack
from cellfx.studies.stages.distill import expressions_of, read_run
from cellfx.studies.stages.embed import read_arrays
from cellfx.studies.stages.report import report

ORDER = ("embed", "cnn", "heads", "distill", "attack")
SEEDS = {"1 CNN": 1, "2 dense head": 2, "3 sparse head": 2, "4 formula": 2}
STAGES = ("train", "cnn", "embed", "heads", "distill", "attack", "report")


def settings():
    loaded = to_dict(config.load("configs/studies/discover.py:tiny").values)
    for stage in ("train", "cnn"):
        loaded[stage]["train"]["num_devices"] = 1
    loaded["distill"]["backend"] = "operon"
    return loaded


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compiled_once):
    workdir = tmp_path_factory.mktemp("studies") / "discover"
    run.run(settings(), workdir)
    return workdir


def test_every_stage_is_marked_as_finished(finished):
    stages = run.read_stages(settings())
    prints = run.fingerprints(stages)
    names = [stage.name for stage in stages]
    assert sorted(names) == sorted(STAGES)
    assert all(names.index(need) < names.index(stage.name) for stage in stages for need in stage.after)
    assert all(run.is_finished(finished / stage.name, prints[stage.name]) for stage in stages)


def test_the_first_view_is_the_image_itself_and_all_images_have_a_split(finished):
    encoded = codes.load(finished / "embed" / "run0.npz")
    assert encoded.views.shape == (8, 96 + 32 + 64, 4)
    assert {name: int(np.sum(encoded.split == name)) for name in ("train", "valid", "test")} == {
        "train": 96,
        "valid": 32,
        "test": 64,
    }
    drawn = read_arrays(finished / "embed" / "run0-traversals.npz")
    assert drawn["images"].shape[0] == drawn["values"].shape[0] == 4


def test_the_table_holds_every_scheme_and_agrees_with_the_files_it_was_read_from(finished):
    (rows,) = json.loads((finished / "report" / "schemes.json").read_text()).values()
    names = [row["scheme"] for row in rows]
    assert names[:3] == ["1 CNN", "2 dense head", "3 sparse head"]
    assert all(name.startswith("4 formula") for name in names[3:])
    heads = json.loads((finished / "heads" / "run0" / "scores.json").read_text())
    values = [row["test"]["balanced_accuracy_of_views"] for row in heads["sparse"]]
    assert rows[2]["balanced_accuracy_of_views"]["values"] == values
    np.testing.assert_allclose(rows[2]["balanced_accuracy_of_views"]["mean"], np.mean(values), rtol=1e-12)


def test_formulas_are_small_and_know_only_latents_that_matter(finished):
    rows = read_run(finished / "distill" / "run0")
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        (expression,) = expressions_of(row)
        part = row["by_target"][row["target"]]
        assert part["nodes"] <= 20
        assert part["formulas"][0]["nodes"] == part["nodes"]
        assert expression is not None


def test_attacks_never_help_a_classifier(finished):
    curves = json.loads((finished / "attack" / "scores.json").read_text())["curves"]
    assert list(curves) == ["FGSM, L∞, on images", "PGD, L∞, on images"]
    for part in curves.values():
        assert len(part["accuracy"]) == 4
        assert {name: len(rows) for name, rows in part["by_seed"].items()} == SEEDS
        for values in part["accuracy"].values():
            assert len(values) == len(part["epsilons"])
            assert np.all(np.diff(values) <= 0)


def test_the_first_point_of_every_curve_is_the_accuracy_of_that_seed(finished):
    """Nothing is changed at size 0; heads were judged on the same images, all of them here."""
    curves = json.loads((finished / "attack" / "scores.json").read_text())
    for part in curves["curves"].values():
        assert part["epsilons"][0] == 0
        for name, rows in part["by_seed"].items():
            np.testing.assert_allclose(part["accuracy"][name], np.mean(rows, axis=0))
    assert curves["seeds"] == {"run0": [0, 1]}
    assert curves["shown"] == {"run": "run0", "seed": 0}


@pytest.mark.parametrize(
    ("changed", "part"),
    [({"run": "run7"}, "no such encoder: got run='run7', expected one of run0"), ({"seed": 9}, "expected one of 0, 1")],
)
def test_an_attack_on_what_is_not_there_is_refused(finished, tmp_path, changed, part):
    inputs = {name: finished / name for name in STAGES[:5]}
    with pytest.raises(ValueError, match=part):
        attack(tmp_path, inputs, **changed)


def test_a_second_start_runs_nothing(finished, capsys):
    before = (finished / "report.html").stat().st_mtime_ns
    run.run(settings(), finished)
    assert capsys.readouterr().out.count("finished before") == len(STAGES)
    assert (finished / "report.html").stat().st_mtime_ns == before


def test_the_page_shows_everything_and_is_whole(finished):
    page = (finished / "report.html").read_text()
    assert page.count("<img ") == 11
    assert "<math" in page
    assert "://" not in page.replace("http://www.w3.org/1998/Math/MathML", "")


def trimmed(finished, workdir, trims):
    """A study without some stages, the others as they were left."""
    for path in finished.iterdir():
        if path.name not in (*trims, "report", "report.html", "earlier"):
            (workdir / path.name).symlink_to(path)
    (workdir / "report").mkdir()
    return {name: workdir / name for name in STAGES[:-1] if name not in trims}


@pytest.mark.parametrize(
    "trims",
    [
        ("attack",),
        ("cnn", "attack"),
        ("distill", "attack"),
        ("heads", "distill", "attack"),
        ("embed", "heads", "distill", "attack"),
        ("cnn", "embed", "heads", "distill", "attack"),
    ],
)
def test_the_page_of_a_trimmed_study_leaves_out_what_is_not_there(finished, tmp_path, trims):
    inputs = trimmed(finished, tmp_path, trims)
    (path,) = report(tmp_path / "report", inputs)
    page = path.read_text()
    assert f"The study has no stage {', '.join(name for name in ORDER if name in trims)};" in page
    parts = {"The latents that matter": "heads", "Formulas": "distill", "Attacks": "attack", "Odd images": "attack"}
    for heading, stage in parts.items():
        assert (f"<h2>{heading}</h2>" in page) == (stage not in trims)
    (rows,) = json.loads((tmp_path / "report" / "schemes.json").read_text()).values()
    kinds = {row["scheme"][0] for row in rows}
    assert kinds == {
        kind for kind, stage in zip("1234", ("cnn", "heads", "heads", "distill"), strict=True) if stage in inputs
    }
