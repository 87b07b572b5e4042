"""What a user can get wrong: one line on stderr that says what was wrong, exit status 2, and no run left behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import cellfx
from cellfx import cli, settings
from cellfx.cli import config
from cellfx.files import workdir as lock

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    data = {"name": "nuclei", "folder": "", "image_size": 16, "group": "Metadata_Plate", "on_error": "raise"}
    data["metadata_regex"] = "(?P<Plate>.+?)___"
    model = {"name": "tcvae", "latents": 4, "filters": (4, 4), "hidden": 16}
    return ConfigDict({
        "data": data,
        "input": {"pipeline": "device", "batch_size": 8},
        "model": model,
        "optim": {"name": "adam", "learning_rate": 1e-3},
        "train": {"num_epochs": 1, "steps_per_call": 1},
    })
"""
CLASSES = ("Interphase", "Metaphase", "MetaphaseAlignment")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images of three classes from ten plates."""
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "cells" / name).mkdir(parents=True)
        for plate in range(10):
            write(tmp_path / "cells" / name / file_name(plate), rng.integers(0, 255, (16, 16), np.uint8))
    return tmp_path / "cells"


def file_name(plate):
    return f"plate{plate}___P00001_01___T00001___X0001___Y0001____img.tif"


def write(path, image):
    tifffile.imwrite(path, image)


def train(refused, tmp_path, *argv, config="configs/tcvae.py:tiny"):
    workdir = tmp_path / "run"
    line = refused("train", f"--config={config}", f"--workdir={workdir}", *argv)
    assert line.startswith("train: ")
    assert not workdir.exists()
    return line


def nuclei(refused, tmp_path, folder, *argv):
    (tmp_path / "nuclei.py").write_text(CONFIG)
    return train(refused, tmp_path, f"--config.data.folder={folder}", *argv, config=tmp_path / "nuclei.py")


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--config.model.beta=4", ["unknown config key model.beta", "expected one of", "balanced"]),
        ("--config.model.dropout=1", ["model.dropout", "1", "0 <= dropout < 1"]),
        ("--config.model.widths=(8,0)", ["widths (8, 0)", "1 or more of each"]),
        ("--config.model.filters=()", ["filters ()", "one convolution or more"]),
    ],
)
def test_a_wrong_setting_of_a_classifier_is_named(refused, tmp_path, argument, parts):
    line = train(refused, tmp_path, argument, config="configs/cnn.py:tiny")
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(
    ("grouped", "parts"),
    [
        ({"a": ("Interphase",), "b": ("Metphase",)}, ["data.grouped", "'Metphase'", "Metaphase"]),
        ({"a": ("Interphase",)}, ["tells no classes apart", "two or more"]),
        ({"a": ("Interphase",), "b": ("Apoptosis",)}, ["missing", "no example of b", "test split"]),
    ],
)
def test_classes_that_cannot_be_grouped_are_named(refused, tmp_path, folder, grouped, parts):
    (folder / "Apoptosis").mkdir()
    for plate in (3, 4):  # the fullest plates, the first to be dealt out: one is in fold 0, one in fold 1
        write(folder / "Apoptosis" / file_name(plate), np.zeros((16, 16), np.uint8))
    text = CONFIG.replace('"on_error": "raise"}', f'"on_error": "raise", "fold": 2, "grouped": {grouped}}}')
    model = 'model = {"name": "cnn", "filters": (4, 4), "widths": (4,)}'
    (tmp_path / "cnn.py").write_text(
        "\n".join(f"    {model}" if "model =" in line else line for line in text.split("\n"))
    )
    line = train(refused, tmp_path, f"--config.data.folder={folder}", config=tmp_path / "cnn.py")
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--config.model.bta=4", ["unknown config key model.bta", "did you mean model.beta?"]),
        ("--config.model.dropout=4", ["unknown config key model.dropout", "expected one of", "beta"]),
        ("--config.model.name=tcvea", ["tcvea", "did you mean tcvae?"]),
        ("--config.data.name=synthetc", ["synthetc", "did you mean synthetic?"]),
        ("--config.data.name=feed", ["feed", "expected one of", "synthetic"]),
        ("--config.input.pipeline=devise", ["devise", "did you mean device?"]),
        ("--config.optim.name=adm", ["adm", "expected", "adam"]),
        ("--config.input.batch_size=18", ["18", "4 devices"]),
        ("--config.input.batch_size=128", ["128", "96"]),
        ("--config.train.compute_dtype=float8", ["float8", "float32", "bfloat16"]),
        ("--config.train.num_devices=9", ["num_devices", "9", "1 to 4"]),
        ("--config.modle.beta=4", ["unknown config key modle.beta", "did you mean model.beta?"]),
        ("--config.model=4", ["config key model is a section", "model.beta"]),
        ("--config.input.batch_size=many", ["wrong type for config key input.batch_size", "'many'", "int"]),
        ("--config.input.batch_size=None", ["input.batch_size", "None", "whole number"]),
        ("--config.input.batch_size=0", ["0", "4 devices", "positive multiple"]),
        ("--config.input.brightness=abc", ["wrong type for config key input.brightness", "'abc'", "float"]),
        ("--config.input.crop_px=16", ["crop_px", "16", "0 to 15"]),
        ("--config.model.beta=None", ["wrong type for config key model.beta", "None", "float"]),
        ("--config.model.filters=8", ["wrong type for config key model.filters", "'8'", "tuple of int"]),
        ("--config.model.filters=()", ["filters ()", "one convolution or more"]),
        ("--config.model.latents=0", ["0 latents", "1 or more"]),
        ("--config.model.estimator=wighted", ["'wighted'", "weighted", "stratified"]),
        ("--config.model.activation=rleu", ["'rleu'", "relu"]),
        ("--config.optim.name=optax", ["'optax'", "adam"]),
        ("--config.optim.clip_norm=abc", ["wrong type for config key optim.clip_norm", "'abc'", "float"]),
        ("--config.optim.learning_rate=-1", ["learning_rate", "-1"]),
        ("--config.train.num_epochs=0", ["train.num_epochs", "0", "1 or more"]),
        ("--config.train.steps_per_call=0", ["train.steps_per_call", "0", "1 or more"]),
        ("--config.train.log_every=0", ["train.log_every", "0", "1 or more"]),
        ("--config.train.keep=0", ["train.keep", "0", "1 or more"]),
        ("--config.train.num_devices=abc", ["wrong type for config key train.num_devices", "'abc'", "int"]),
        ("--config.data.seed=abc", ["wrong type for config key data.seed", "'abc'", "int"]),
        ("--config.data.image_size=4", ["image_size=4", "8 or more"]),
        ("--config.data.num_train=0", ["nothing to train on", "synthetic"]),
        ("--config.probe.hed=svm", ["unknown config key probe.hed", "did you mean probe.head?"]),
        ("--config.probe.color=1", ["unknown config key probe.color", "head"]),
        ("--config.probe.head=svmm", ["'svmm'", "svm"]),
        ("--config.probe.classes={'a': ('interphse',)}", ["'interphse'", "interphase, metaphase"]),
        ("--config.input.steps_per_call=2", ["input.steps_per_call cannot be set: got 2", "train.steps_per_call"]),
        ("--config.input.seed=3", ["input.seed cannot be set: got 3", "train.seed"]),
        ("--config.input.axis_name=x", ["input.axis_name cannot be set: got 'x'", "train.num_devices"]),
        ("--config.optim.total_steps=20", ["optim.total_steps cannot be set: got 20", "train.num_epochs"]),
        ("--config.train.seed=-1", ["train.seed=-1", "0 to"]),
        ("--config.data.seed=-1", ["data.seed=-1", "0 to"]),
        ("--config.model.beta=-1", ["model.beta=-1", "0 or more"]),
        ("--config.model.beta=1e999", ["model.beta=inf", "0 or more"]),
        ("--config.model.warm_up_steps=-5", ["model.warm_up_steps=-5", "0 or more"]),
        ("--config.data.num_valid=-1", ["data.num_valid=-1", "0 or more"]),
        ("--config.repeats.over=sed", ["repeats.over", "'sed'", "fold"]),
        ("--config.repeats.num_runs=0", ["repeats.num_runs", "0", "1 or more"]),
    ],
)
def test_a_wrong_setting_is_one_line(refused, tmp_path, argument, parts):
    line = train(refused, tmp_path, argument)
    assert [part for part in parts if part not in line] == [], line


def test_an_unknown_size_is_named(refused, tmp_path):
    for name in ("tcvae", "tcvae_nuclei", "tcvae_sprites"):
        line = train(refused, tmp_path, config=f"configs/{name}.py:tny")
        assert "unknown size: got 'tny', expected one of ('full', " in line


def test_a_section_that_nothing_reads_is_named(refused, tmp_path):
    (tmp_path / "own.py").write_text(CONFIG.replace('"train": {', '"trian": {'))
    line = train(refused, tmp_path, config=tmp_path / "own.py")
    assert "unknown config section trian; did you mean train?" in line


def test_a_section_that_is_missing_is_named(refused, tmp_path):
    (tmp_path / "own.py").write_text(CONFIG.replace('"optim": {"name": "adam", "learning_rate": 1e-3},', ""))
    assert "config section optim is missing" in train(refused, tmp_path, config=tmp_path / "own.py")


def test_a_missing_folder_is_named(refused, tmp_path, folder):
    line = nuclei(refused, tmp_path, folder / "nothing")
    assert str(folder / "nothing") in line


def test_an_empty_class_is_named(refused, tmp_path, folder):
    (folder / "Apoptosis").mkdir()
    assert "Apoptosis" in nuclei(refused, tmp_path, folder)


def test_an_unreadable_image_is_named(refused, tmp_path, folder):
    path = folder / "Metaphase" / file_name(10)
    path.write_bytes(b"no image")
    assert str(path) in nuclei(refused, tmp_path, folder)


def test_a_truncated_image_is_named_in_a_process_of_its_own(tmp_path, folder):
    path = folder / "Metaphase" / file_name(3)
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "nuclei.py").write_text(CONFIG)
    quiet = {name: value for name, value in os.environ.items() if name not in ("TQDM_DISABLE", "TF_CPP_MIN_LOG_LEVEL")}
    result = subprocess.run(
        [sys.executable, "-m", "cellfx", "train", "--config=nuclei.py", f"--config.data.folder={folder}"],
        env={**quiet, "PYTHONPATH": str(Path(cellfx.__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"train: cannot read the image {path}: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_what_cannot_be_read_is_skipped_only_where_the_config_says_so_and_counted(capsys, refused, tmp_path, folder):
    (folder / "Metaphase" / file_name(10)).write_bytes(b"no image")
    (folder / "Interphase" / file_name(11)).write_bytes(b"")
    (tmp_path / "nuclei.py").write_text(CONFIG)
    argv = ["prepare", f"--config={tmp_path / 'nuclei.py'}", f"--config.data.folder={folder}"]
    assert f"Interphase/{file_name(11)}" in refused(*argv)
    assert cli.main([*argv, "--config.data.on_error=skip"]) == 0
    said = capsys.readouterr().out
    assert "2 files skipped" in said
    assert f"Metaphase/{file_name(10)}" in said
    assert f"Interphase/{file_name(11)}" in said


def test_mixed_channel_counts_are_named(refused, tmp_path, folder):
    path = folder / "Metaphase" / file_name(10)
    write(path, np.zeros((2, 16, 16), np.uint8))
    line = nuclei(refused, tmp_path, folder)
    assert str(path) in line
    assert "channel" in line


def test_one_image_alone_is_refused(refused, tmp_path, folder):
    for path in sorted(folder.rglob("*.tif"))[1:]:
        path.unlink()
    for name in CLASSES[1:]:
        (folder / name).rmdir()
    line = nuclei(refused, tmp_path, folder)
    assert str(folder) in line


def test_more_batch_than_images_is_refused(refused, tmp_path, folder):
    line = nuclei(refused, tmp_path, folder, "--config.input.batch_size=64")
    assert "64" in line
    assert "batch" in line


def test_a_file_name_that_the_pattern_does_not_match_is_named(refused, tmp_path, folder):
    path = folder / "Metaphase" / "cell.tif"
    write(path, np.zeros((16, 16), np.uint8))
    assert "cell.tif" in nuclei(refused, tmp_path, folder)


def test_the_workdir_of_another_config_is_refused_and_left_alone(refused, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"model": {"name": "vae"}}')
    line = refused("train", "--config=configs/tcvae.py:tiny", f"--workdir={workdir}")
    assert f"{workdir} belongs to another config" in line
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["evaluate", "embed", "traverse"])
def test_a_folder_that_is_no_run_is_named(refused, tmp_path, name):
    line = refused(name, f"--workdir={tmp_path / 'nothing'}")
    assert f"no folder {tmp_path / 'nothing'}" in line
    assert f"{tmp_path} is no workdir" in refused(name, f"--workdir={tmp_path}")


def test_a_damaged_config_of_a_run_is_named(refused, tmp_path):
    (tmp_path / "config.json").write_text("{")
    line = refused("evaluate", f"--workdir={tmp_path}")
    assert f"{tmp_path / 'config.json'} is damaged" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1]", "config.json is damaged: got list, expected a JSON object; restore it or use a new workdir"),
        ("\xff", "config.json is damaged: got 'utf-8' codec"),
        ("{}", "config section data is missing: got none, expected data, input, model, optim, train; add it"),
        ('{"data": 1, "input": 2, "model": 3, "optim": 4, "train": 5}', "config section data is no section: got 1"),
    ],
)
@pytest.mark.parametrize("name", ["evaluate", "embed", "traverse"])
def test_a_config_of_a_run_that_is_none_is_named(refused, tmp_path, name, content, told):
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    assert told in refused(name, f"--workdir={tmp_path}")


def claimed(workdir, **sections):
    """A workdir in which nothing was trained yet."""
    loaded = settings.to_dict(config.load("configs/tcvae.py:tiny").values)
    for section, fields in sections.items():
        loaded[section].update(fields)
    lock.claim(workdir, loaded)
    return workdir


@pytest.mark.parametrize("name", ["evaluate", "embed", "traverse"])
def test_a_run_that_has_saved_nothing_is_named(refused, tmp_path, name):
    workdir = claimed(tmp_path / "run")
    assert f"{workdir} holds no checkpoint yet" in refused(name, f"--workdir={workdir}")


@pytest.mark.parametrize("name", ["embed", "traverse"])
def test_of_several_runs_one_must_be_chosen(refused, tmp_path, name):
    workdir = claimed(tmp_path / "run", repeats={"num_runs": 3})
    line = refused(name, f"--workdir={workdir}")
    assert f"{workdir} holds several runs" in line
    assert str(workdir / "run0") in line


@pytest.mark.parametrize(
    ("output", "part"),
    [("latents.csv", ".parquet or .h5ad"), ("missing/latents.parquet", "missing"), (".", "unknown kind of table")],
)
def test_a_table_that_cannot_be_written_is_refused(refused, tmp_path, output, part):
    line = refused("embed", f"--workdir={claimed(tmp_path / 'run')}", f"--output={tmp_path / output}")
    assert part in line


def test_a_workdir_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused("train", "--config=configs/tcvae.py:tiny", f"--workdir={tmp_path / 'file'}")
    assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_without_a_whole_checkpoint_is_refused(capsys, tmp_path, finished):
    workdir = shutil.copytree(finished, tmp_path / "run")
    for path in (workdir / "checkpoints").glob("*/manifest.json"):
        path.write_text("{}")
    assert cli.main(["evaluate", f"--workdir={workdir}"]) == 2
    out, err = capsys.readouterr()
    assert out.count("passing over the checkpoint of step") == 2
    assert err.count("\n") == 1
    assert str(workdir / "checkpoints") in err


def test_other_images_must_fit_the_run(refused, finished, folder):
    line = refused("evaluate", f"--workdir={finished}", f"--folder={folder}", "--config.data.image_size=8")
    assert "config key data.image_size does not describe other images; expected one of classes, data_dir" in line
    line = refused("evaluate", f"--workdir={finished}", "--config.data.classes=('interphase',)")
    assert "--config.data.classes describes other images: got no --folder, expected one; add it" in line
    line = refused("evaluate", f"--workdir={finished}", "--config.model.beta=2")
    assert "a finished run keeps its config: got --config.model.beta, expected data or probe" in line
    line = refused("evaluate", f"--workdir={finished}", f"--folder={folder / 'nothing'}")
    assert str(folder / "nothing") in line


def test_a_missing_peer_is_refused_before_anything_is_measured(refused, tmp_path):
    argv = [f"--output={tmp_path / 'b.json'}", f"--peer={tmp_path / 'peer.py'}"]
    line = refused("benchmark", "--config=configs/tcvae.py:tiny", *argv)
    assert f"no such peer: {tmp_path / 'peer.py'}" in line
