"""What a user can get wrong: one line on stderr that says what was wrong, exit status 2, and no run left behind."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import cellfx
from cellfx import cli

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


def refused(capsys, *argv):
    """The one line with which a command refuses."""
    status = cli.main(list(argv))
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (2, 1), err
    return err


def train(capsys, tmp_path, *argv, config="configs/tcvae.py:tiny"):
    workdir = tmp_path / "run"
    line = refused(capsys, "train", f"--config={config}", f"--workdir={workdir}", *argv)
    assert line.startswith("train: ")
    assert not workdir.exists()
    return line


def nuclei(capsys, tmp_path, folder, *argv):
    (tmp_path / "nuclei.py").write_text(CONFIG)
    return train(capsys, tmp_path, f"--config.data.folder={folder}", *argv, config=tmp_path / "nuclei.py")


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
    ],
)
def test_a_wrong_setting_is_one_line(capsys, tmp_path, argument, parts):
    line = train(capsys, tmp_path, argument)
    assert [part for part in parts if part not in line] == [], line


def test_a_missing_folder_is_named(capsys, tmp_path, folder):
    line = nuclei(capsys, tmp_path, folder / "nothing")
    assert str(folder / "nothing") in line


def test_an_empty_class_is_named(capsys, tmp_path, folder):
    (folder / "Apoptosis").mkdir()
    assert "Apoptosis" in nuclei(capsys, tmp_path, folder)


def test_an_unreadable_image_is_named(capsys, tmp_path, folder):
    path = folder / "Metaphase" / file_name(10)
    path.write_bytes(b"no image")
    assert str(path) in nuclei(capsys, tmp_path, folder)


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


def test_mixed_channel_counts_are_named(capsys, tmp_path, folder):
    path = folder / "Metaphase" / file_name(10)
    write(path, np.zeros((2, 16, 16), np.uint8))
    line = nuclei(capsys, tmp_path, folder)
    assert str(path) in line
    assert "channel" in line


def test_one_image_alone_is_refused(capsys, tmp_path, folder):
    for path in sorted(folder.rglob("*.tif"))[1:]:
        path.unlink()
    for name in CLASSES[1:]:
        (folder / name).rmdir()
    line = nuclei(capsys, tmp_path, folder)
    assert str(folder) in line


def test_more_batch_than_images_is_refused(capsys, tmp_path, folder):
    line = nuclei(capsys, tmp_path, folder, "--config.input.batch_size=64")
    assert "64" in line
    assert "batch" in line


def test_a_file_name_that_the_pattern_does_not_match_is_named(capsys, tmp_path, folder):
    path = folder / "Metaphase" / "cell.tif"
    write(path, np.zeros((16, 16), np.uint8))
    assert "cell.tif" in nuclei(capsys, tmp_path, folder)


def test_the_workdir_of_another_config_is_refused_and_left_alone(capsys, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"model": {"name": "vae"}}')
    line = refused(capsys, "train", "--config=configs/tcvae.py:tiny", f"--workdir={workdir}")
    assert f"{workdir} belongs to another config" in line
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["evaluate", "embed", "traverse"])
def test_a_folder_that_is_no_run_is_named(capsys, tmp_path, name):
    line = refused(capsys, name, f"--workdir={tmp_path / 'nothing'}")
    assert f"no folder {tmp_path / 'nothing'}" in line
    assert f"{tmp_path} is no workdir" in refused(capsys, name, f"--workdir={tmp_path}")


def test_a_damaged_config_of_a_run_is_named(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{")
    line = refused(capsys, "evaluate", f"--workdir={tmp_path}")
    assert f"{tmp_path / 'config.json'} is damaged" in line
