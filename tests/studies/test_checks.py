"""Slips in a study's config are refused before anything is trained, and changed inputs train anew."""

import copy
import hashlib
import os
import re

import pytest

from cellfx.cli import config
from cellfx.settings import to_dict
from cellfx.studies import run
from cellfx.studies.stages import train


def loaded(name="discover"):
    settings = to_dict(config.load(f"configs/studies/{name}.py:tiny").values)
    for section in settings.values():
        if section.get("stage", "train") == "train" and "train" in section:
            section["train"]["num_devices"] = 1
    if "distill" in settings:
        settings["distill"]["backend"] = "operon"
    return settings


DISCOVER, CYTOMETRY = loaded(), loaded("cytometry")


def changed(settings, key, value):
    settings = copy.deepcopy(settings)
    *path, last = key.split(".")
    section = settings
    for name in path:
        section = section.setdefault(name, {})
    section[last] = value
    return settings


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("train.optim.name", "adm", "unknown optimizer: got 'adm', expected one of adam"),
        ("train.optim.lr", 1e-3, "unknown config key optim.lr"),
        ("train.optim.learning_rate", -1.0, "learning_rate is not positive: got -1.0"),
        ("train.probe.head", "svmm", "unknown probe.head: got 'svmm'"),
        ("train.probe.classes", {"a": ["interphse"]}, "unknown class in probe.classes: got 'interphse'"),
        ("cnn.repeats.runs", 3, "unknown config key repeats.runs; did you mean num_runs?"),
        ("cnn.repeats.over", "sed", "unknown repeats.over: got 'sed'"),
        ("cnn.model.dropout", 1.5, "model.dropout is out of range: got 1.5"),
        ("cnn.model.widths", [8, 0], "widths (8, 0)"),
        ("train.model.activation", "dense", "unknown activation: got 'dense'"),
        ("train.model.latents", 0, "0 latents"),
        ("train.input.flip", True, "unknown config key input.flip; did you mean flips?"),
        ("train.input.batch_size", 0, "stage train: the devices do not divide the batch: got a batch size of 0"),
        ("train.input.crop_px", 16, "crop_px out of range: got 16"),
        ("train.data.seed", -1, "data.seed=-1"),
        ("train.data.image_size", 4, "data.image_size=4, expected 8 or more"),
        ("train.train.compute_dtype", "float8", "unknown compute dtype: got 'float8'"),
        ("cnn.data.grouped", {"a": ["interphase"]}, "data.grouped tells no classes apart"),
        ("embed.train", "trian", "a stage reads one that it does not come after: got embed.train 'trian'"),
        ("embed.train", "cnn", "got embed.train 'cnn', expected one of train"),
        ("embed.max_train", 0, "embed.max_train=0, expected 1 or more"),
        ("heads.dense.method", "rigl", "config key heads.dense.method cannot be set: got 'rigl'"),
        ("heads.sparse.method", "dense", "no way to sparsity: got heads.sparse.method='dense'"),
        ("heads.sparse.sparsty", 0.9, "unknown config key heads.sparse.sparsty; did you mean sparsity?"),
        ("heads.sparse.warm_up_rate", 1.0, "sparsity that never comes: got warm_up_rate=1.0"),
        ("heads.sparse.sparsity", 0.9999, "sparsity 0.9999 leaves 0 of 1184 weights, expected at least one for"),
        ("heads.num_seeds", 0, "no head to train: got num_seeds=0"),
        ("heads.dense", 3, "wrong type for config key heads.dense: got 3"),
        ("distill.targets", ["labls"], "unknown target of a formula: got ['labls']"),
        ("distill.targets", 3, "wrong type for config key distill.targets: got 3"),
        ("distill.max_nodes", 0, "distill.max_nodes=0"),
        ("distill.budget.populaton", 3, "unknown config key distill.budget.populaton"),
        ("attack.num_images", 0, "attack.num_images=0"),
        ("attack.epsilons_latent", [-1.0], "attack.epsilons_latent[0]=-1.0"),
        ("attack.cnn", "cn", "got attack.cnn 'cn', expected one of train, cnn, embed, heads, distill"),
        ("report.questions", {"Two": {"haeds": "heads"}}, "unknown config key report.questions.Two.haeds"),
        ("report.questions", {"Two": 3}, "wrong type for config key report.questions.Two: got 3"),
    ],
)
def test_a_slip_is_refused_before_anything_is_run(tmp_path, key, value, part):
    with pytest.raises(ValueError, match=re.escape(part)):
        run.run(changed(DISCOVER, key, value), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("vae_dna.data.fold", 9, "no such fold: fold=9"),
        ("vae_dna.data.channel", ["PI"], "unknown config key data.channel; did you mean channels?"),
        ("unet.model.inputs", 2, "no channel to predict, or none to predict it from: got model.inputs=2 of 2 channels"),
        ("cnn_cytometry.repeats", {"over": "fold", "num_runs": 9}, "unknown kind of stage 'cnn_cytometry'"),
        ("cnn_dna.repeats", {"over": "fold", "num_runs": 9}, "more runs than folds: got repeats.num_runs=9"),
        ("cnn_dna.repeats", {"over": "fold", "num_runs": 2}, "config key data.fold cannot be set: got 1"),
        ("screen_cell_filter.filter", "cell_filtr", "got screen_cell_filter.filter 'cell_filtr'"),
        ("screen_cell_filter.max_false_positive_rate", 2.0, "max_false_positive_rate is no share: got 2.0"),
        ("quality.judges", {"vae_dna": "infogan_dna"}, "quality.judges"),
        ("quality.num_generated", 0, "quality.num_generated=0"),
    ],
)
def test_a_slip_in_another_study_is_refused(tmp_path, key, value, part):
    settings = changed(CYTOMETRY, key, value)
    if key == "cnn_dna.repeats":
        settings["cnn_dna"]["data"]["fold"] = int(value["num_runs"] == 2)
    settings = {name: settings[name] for name in settings if name in (key.partition(".")[0], "cell_filter")}
    for section in settings.values():
        section["after"] = [name for name in section.get("after", ()) if name in settings]
    with pytest.raises(ValueError, match=re.escape(part)):
        run.run(settings, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_model_without_latents_is_not_embedded():
    settings = changed(changed(DISCOVER, "embed.train", "cnn"), "embed.after", ["cnn"])
    with pytest.raises(ValueError, match="nothing to embed with: got stage 'cnn' with a model without latents"):
        run.check(run.read_stages(settings))


def test_a_page_says_which_stages_it_leaves_out(capsys):
    settings = {name: copy.deepcopy(DISCOVER[name]) for name in DISCOVER if name != "attack"}
    settings["report"]["after"].remove("attack")
    run.check(run.read_stages(settings))
    assert "report leaves out attack: report.attack names no stage that report comes after" in capsys.readouterr().out


@pytest.fixture
def section(tmp_path):
    """Data of a folder, a table of labels and a list of images."""
    (tmp_path / "cells").mkdir()
    for name in ("cells/a.tif", "labels.csv", "kept.csv"):
        (tmp_path / name).write_text("1")
    files = {"labels": str(tmp_path / "labels.csv"), "kept": str(tmp_path / "kept.csv"), "data_dir": str(tmp_path)}
    return {"name": "flowcytometry", "folder": str(tmp_path / "cells"), **files}


@pytest.mark.parametrize("name", ["cells/a.tif", "labels.csv", "kept.csv"])
def test_every_file_that_the_data_is_read_from_counts(tmp_path, section, name):
    before = train.outside(section)
    assert train.outside(section) == before
    os.utime(tmp_path / name, ns=(0, 0))
    assert train.outside(section) != before


def test_a_new_file_counts_and_one_that_is_gone_is_named(tmp_path, section):
    before = train.outside(section)
    (tmp_path / "cells" / "b.tif").write_text("1")
    assert train.outside(section) != before
    (tmp_path / "kept.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: got data\.kept .*kept\.csv, expected one"):
        train.outside(section)


def test_what_an_older_version_finished_over_a_folder_alone_is_not_done_again(tmp_path, section):
    os.utime(tmp_path / "cells" / "a.tif", ns=(7, 7))
    then = hashlib.sha256(b'[["a.tif", 1, 7]]').hexdigest()  # as 54d23ea wrote it
    assert train.outside({"name": "nuclei", "folder": section["folder"]}) == then
    assert train.outside(section) != then


def test_data_that_is_drawn_is_read_from_nowhere():
    assert train.outside({"name": "synthetic"}) is None
