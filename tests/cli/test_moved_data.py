"""A folder of images that is changed or moved after a run was trained on it."""

import os
import shutil

import numpy as np
import pytest
import tifffile

from cellfx import cli

CONFIG = """
from ml_collections import ConfigDict


def get_config(size="full"):
    data = {"name": "nuclei", "folder": "", "image_size": 16}
    model = {"name": "tcvae", "latents": 2, "filters": (2, 2), "hidden": 4}
    train = {"num_epochs": 1, "steps_per_call": 1, "num_devices": 1}
    optim = {"name": "adam", "learning_rate": 1e-3}
    sections = {"data": data, "input": {"pipeline": "device", "batch_size": 4}, "model": model, "optim": optim}
    return ConfigDict({**sections, "train": train})
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled_once):
    """A folder with a config, images of which one is larger than the config wants, and a run of it."""
    root = tmp_path_factory.mktemp("moved")
    rng = np.random.default_rng(0)
    for name in "ab":
        (root / "cells" / name).mkdir(parents=True)
        for cell in range(6):
            size = 20 if (name, cell) == ("b", 3) else 16
            tifffile.imwrite(root / "cells" / name / f"cell{cell}.tif", rng.integers(0, 256, (size, size), np.uint8))
    (root / "small.py").write_text(CONFIG)
    environment = os.environ | {"CELLFX_CACHE": str(root / "cache")}
    os.environ["CELLFX_CACHE"] = environment["CELLFX_CACHE"]
    assert _train(root, root / "cells") == 0
    del os.environ["CELLFX_CACHE"]
    return root


def _train(root, folder):
    return cli.main(
        ["train", "--config", str(root / "small.py"), f"--config.data.folder={folder}", "--workdir", str(root / "run")]
    )


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """Copies of the images and of the run, in which the images lie in ``cells``; the command line's options for it."""
    monkeypatch.setenv("CELLFX_CACHE", str(trained / "cache"))
    shutil.copytree(trained / "cells", tmp_path / "cells")
    shutil.copytree(trained / "run", tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace(str(trained / "cells"), str(tmp_path / "cells")))
    return ["--workdir", str(tmp_path / "run")]


def test_the_report_tells_what_training_noticed(trained):
    page = (trained / "run" / "report.html").read_text()
    assert "1 of 12 images are larger than image_size 16 and are cropped; the largest is 20x20" in page


def test_a_renamed_file_is_named(run, tmp_path, refused):
    (tmp_path / "cells" / "a" / "cell0.tif").rename(tmp_path / "cells" / "a" / "renamed.tif")
    line = refused("embed", *run)
    assert "was trained: 1 file is gone (a/cell0.tif), 1 file is new (a/renamed.tif)" in line


def test_files_of_another_content_are_noticed(run, tmp_path, capsys):
    for path in (tmp_path / "cells" / "a").iterdir():
        tifffile.imwrite(path, 255 - tifffile.imread(path))
    assert cli.main(["embed", *run]) == 0
    told = f"notice: 6 of 12 files of cells have another content than when {tmp_path / 'run'} was trained, such as a/"
    assert told in capsys.readouterr().err


def test_a_moved_folder_is_taken_from_its_new_place(run, tmp_path, refused, capsys):
    (tmp_path / "cells").rename(tmp_path / "moved")
    line = refused("embed", *run)
    assert f"the image folder {tmp_path / 'cells'} does not exist" in line
    assert "if it was moved, --config.data.folder (labels, kept) says where it is" in line
    place = f"--config.data.folder={tmp_path / 'moved'}"
    for command in ("embed", "traverse", "evaluate"):
        assert cli.main([command, *run, place]) == 0
    assert capsys.readouterr().err.count("another content") == 0
    other = ["--folder", str(tmp_path / "moved"), "--output", str(tmp_path / "judged")]
    assert cli.main(["evaluate", *run, place, *other]) == 0
    assert "of 12 images the run has the same pixels among its own" in capsys.readouterr().err
    line = refused("embed", *run, "--config.data.image_size=8")
    assert "config key data.image_size of a finished run cannot be set: got 8, expected only folder, data_dir" in line


def test_training_on_a_moved_folder_says_how(trained, run, tmp_path, refused):
    (tmp_path / "cells").rename(tmp_path / "moved")
    line = refused("train", "--config", str(trained / "small.py"), f"--config.data.folder={tmp_path / 'moved'}", *run)
    assert f"if the same data was only moved, write its new place into {tmp_path / 'run' / 'config.json'}" in line


def test_the_home_folder_is_found_in_paths_of_a_config(trained, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = ["--config", str(trained / "small.py")]
    assert cli.main(["prepare", *config, "--config.data.folder=~/cells"]) == 0
    assert "cells: 16x16x1 images" in capsys.readouterr().out


def test_names_that_are_no_utf_8_are_refused_in_one_line(trained, run, tmp_path, refused):
    config = ["--config", str(trained / "small.py")]
    name = os.fsencode(tmp_path / "cells" / "a") + b"/cell_\xb5m.tif"
    try:
        shutil.copy(tmp_path / "cells" / "a" / "cell0.tif", name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    line = refused("prepare", *config, f"--config.data.folder={tmp_path / 'cells'}")
    assert rf"a name in {tmp_path / 'cells'} is not UTF-8: got b'a/cell_\xb5m.tif'; expected UTF-8" in line
    line = refused("prepare", *config, os.fsdecode(b"--config.data.folder=cells_\xb5"))
    assert "an option is not UTF-8: got '--config.data.folder=cells_?', expected UTF-8" in line
