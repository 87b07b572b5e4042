"""Every config, found by itself: it loads, builds, trains and reports at size tiny."""

import ast
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from cellfx import settings
from cellfx.cli import config
from cellfx.files.workdir import read_config
from cellfx.runs import experiment, repeats, results
from cellfx.studies import run

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(str(path.relative_to(FOLDER.parent)) for path in FOLDER.rglob("[!_]*.py"))
STUDIES = [path for path in CONFIGS if "/studies/" in path]
TUNED = ["configs/sparse_head.py"]
PROFILED = [path for path in CONFIGS if "/profile_" in path]
TRAINED = [path for path in CONFIGS if path not in [*STUDIES, *TUNED, *PROFILED]]
CLASSES = ("Interphase", "Metaphase", "MetaphaseAlignment", "Apoptosis", "Prometaphase", "Anaphase")
CLASSES += ("OutOfFocus", "Polylobed", "Binuclear", "Hole")
PLATES, CELLS = 10, 2


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Images named as the config for nuclei expects: of every class ``CELLS`` cells on each of ``PLATES`` plates."""
    folder, rng = tmp_path_factory.mktemp("data") / "cells", np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for plate in range(PLATES):
            for cell in range(CELLS):
                image = rng.integers(0, 60, (20, 18), np.uint8) + np.uint8(19 * label)
                tifffile.imwrite(
                    folder / name / f"PL{plate}--x___P0000{cell}_01___T00071___X0566___Y0129____.tif", image
                )
    return folder


@pytest.fixture(scope="module")
def folders(cells, flow):
    """Folder of images by the data source that reads it."""
    return {"nuclei": cells, "flowcytometry": flow}


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path_factory.getbasetemp() / "prepared"))


def tiny(path, folders):
    loaded = settings.to_dict(config.load(f"{path}:tiny").values)
    loaded["train"]["num_devices"] = 1
    if "folder" in loaded["data"]:
        loaded["data"]["folder"] = str(folders[loaded["data"]["name"]])
    return loaded


def test_configs_are_found():
    assert {"configs/tcvae.py", "configs/tcvae_nuclei.py", "configs/cnn.py", "configs/cnn_nuclei.py"} <= set(CONFIGS)


@pytest.mark.parametrize("path", TRAINED)
def test_a_config_trains_and_reports_at_size_tiny(path, folders, own_cache, compiled_once, tmp_path):
    loaded, workdir = tiny(path, folders), tmp_path / "run"
    scores = repeats.run(loaded, workdir)
    assert read_config(workdir) == loaded
    written = json.loads((workdir / "scores.json").read_text())
    assert written == json.loads(json.dumps(scores, default=float))
    assert (workdir / "report.html").stat().st_size > 10_000
    if "classifier" in scores:
        assert "reconstruction_mse" not in scores
        drawn = ("G1", "G2", "S_phase") if loaded["data"]["name"] == "flowcytometry" else ("interphase", "metaphase")
        assert list(scores["classifier"]["classes"]) == list(loaded["data"].get("grouped") or drawn)
        assert np.sum(scores["classifier"]["confusion"]) == scores["classifier"]["test_images"] > 0
        return
    if "translation" in scores:
        assert list(scores["translation"]["channels"]) == ["PI"]
        assert scores["translation"]["inputs"] == ["brightfield"]
        assert scores["translation"]["test_images"] == scores["judged_images"] > 0
        return
    assert np.isfinite(scores["reconstruction_mse"])
    if "classes" in loaded.get("probe", {}):
        assert list(scores["probe"]["classes"]) == list(loaded["probe"]["classes"])
        assert np.sum(scores["probe"]["confusion"]) == scores["probe"]["test_images"] > 0


@pytest.mark.parametrize("path", TRAINED)
def test_every_key_of_the_full_size_is_known(path, folders, own_cache):
    """Built on the data of size tiny, because nothing else of a section depends on how much data there is."""
    full = settings.to_dict(config.load(path).values)
    small = tiny(path, folders)
    small["model"] = {**full["model"], "filters": small["model"]["filters"]}
    small["optim"], small["probe"] = full["optim"], full.get("probe", {})
    small["train"] = {**full["train"], "num_devices": 1}
    small["input"] = {**full["input"], "batch_size": small["input"]["batch_size"]}
    assert set(full["data"]) <= {*small["data"], *settings.to_dict(config.load(f"{path}:tiny").values)["data"]}
    built = experiment.build(small)
    assert built.num_steps == full["train"]["num_epochs"] * built.feed.steps_per_epoch


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_is_short_and_says_what_it_is_for(path):
    text = (FOLDER.parent / path).read_text()
    assert len(text.splitlines()) <= 80
    command = "study" if path in STUDIES else "tune" if path in TUNED else "profile" if path in PROFILED else "train"
    assert f"bin/{command} --config {path}" in ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_gives_a_new_object_every_time(path):
    first, second = config.load(path).values, config.load(path).values
    section = next(name for name, part in first.items() if hasattr(part, "items"))
    first[section].made_up = 99
    assert "made_up" not in second[section]
    assert config.load(path).values == second


@pytest.mark.parametrize("path", STUDIES)
@pytest.mark.parametrize("size", ["", ":tiny"])
def test_the_stages_of_a_study_take_their_settings(path, size):
    loaded = settings.to_dict(config.load(path + size).values)
    for section in loaded.values():
        if "train" in section:
            section["train"]["num_devices"] = 1  # four, as in these tests, do not divide every batch
    stages = run.read_stages(loaded)
    assert stages[-1].name == "report"
    run.check(stages)


def test_data_too_large_for_memory_trains_is_measured_and_embedded(cells, own_cache, compiled_once, tmp_path):
    loaded, workdir = tiny("configs/tcvae_nuclei.py", {"nuclei": cells}), tmp_path / "run"
    loaded["data"]["in_memory_gib"] = 0.0
    scores = repeats.run(loaded, workdir)
    assert repeats.evaluate(workdir) == scores
    found = pl.read_parquet(results.embed(workdir, workdir / "latents.parquet"))
    assert sorted(found["Metadata_File"]) == sorted(str(path.relative_to(cells)) for path in cells.rglob("*.tif"))
    assert found["Metadata_Class"].to_list() == [name.partition("/")[0] for name in found["Metadata_File"]]
    loaded["data"]["in_memory_gib"] = 1.0
    whole = experiment.load_source(loaded["data"])
    encode, _ = experiment.coder(experiment.restore(workdir))
    for name, split in whole.splits.items():
        mean = np.asarray(encode(split.arrays["x"].astype(np.float32) / 255)[0])
        expected = dict(zip(split.metadata["Metadata_File"], mean, strict=True))
        rows = found.filter(pl.col("Metadata_Split") == name)
        latents = rows.select([column for column in found.columns if column.startswith("z")]).to_numpy()
        for file, row in zip(rows["Metadata_File"], latents, strict=True):
            np.testing.assert_allclose(row, expected[file], rtol=1e-4, atol=1e-5)


def test_real_nuclei_train_and_report(data_folder, own_cache, compiled_once, tmp_path):
    folder = data_folder / "mitocheck"
    if not folder.is_dir():
        pytest.skip(f"no mitocheck in CELLFX_DATA={data_folder}")
    loaded = tiny("configs/tcvae_nuclei.py", {"nuclei": folder})
    loaded["probe"].update({"head": "logistic", "symmetries": False})
    scores = repeats.run(loaded, tmp_path / "run")
    assert list(scores["probe"]["classes"]) == ["interphase", "metaphase"]
    assert scores["probe"]["train_images"] + scores["probe"]["test_images"] == 420 + 74 + 176
    splits = experiment.restore(tmp_path / "run").source.splits
    plates = {name: set(split.metadata["Metadata_Plate"]) for name, split in splits.items()}
    assert all(plates.values())
    assert not plates["test"] & (plates["train"] | plates["valid"])
    assert sum(split.num_examples for split in splits.values()) == 3277
