"""A run that an older version began keeps the images that it trained on, validated on and was tested on."""

import json

import numpy as np
import pytest
import tifffile

from cellfx.data.nuclei import nuclei
from cellfx.findings import measure
from cellfx.runs import experiment

COUNTS = {"common": 32, "rare": 5}


@pytest.fixture
def cells(tmp_path):
    for label, (name, count) in enumerate(COUNTS.items()):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for number in range(count):
            image = np.arange(64, dtype=np.uint8).reshape(8, 8) + np.uint8(90 * label + number)
            tifffile.imwrite(tmp_path / "cells" / name / f"{number:02}.tif", image)
    return tmp_path / "cells"


def files(source):
    return {name: split.metadata["Metadata_File"].tolist() for name, split in source.splits.items()}


def test_every_class_has_its_share_of_every_split(cells, tmp_path):
    """Before, a class of five could be missing from a fold."""
    for fold in range(5):
        source = nuclei(cells, 8, fold=fold, valid_rate=0.25, data_dir=tmp_path / "prepared")
        counts = {name: np.bincount(split.arrays["label"]).tolist() for name, split in source.splits.items()}
        assert counts["test"][1] == 1
        assert abs(counts["test"][0] - 32 / 5) < 1
        assert counts["valid"] == [round(0.25 * (32 - counts["test"][0])), 1]
    again = nuclei(cells, 8, fold=4, valid_rate=0.25, data_dir=tmp_path / "prepared")
    assert files(again) == files(source)


@pytest.mark.parametrize("saved", [True, False])
def test_the_splits_of_an_older_run_are_restored_and_trained_on(cells, tmp_path, monkeypatch, saved):
    settings = {
        "data": {"name": "nuclei", "folder": str(cells), "image_size": 8, "data_dir": str(tmp_path / "prepared")},
        "input": {"pipeline": "device", "batch_size": 8},
        "model": {"name": "pooling_cnn", "filters": [2], "hidden": 2, "normalise": False},
        "optim": {"name": "adam", "learning_rate": 1e-2},
        "train": {"num_epochs": 1, "num_devices": 1},
    }
    trained = []
    monkeypatch.setattr(
        experiment, "report", lambda run, workdir: trained.append(run) or measure.Found(*[None] * 3, scores={})
    )
    older = {**settings, "data": {**settings["data"], "by_class": False}}
    experiment.run(older, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps(settings))  # which said nothing of classes then
    expected = files(trained[0].source)
    assert expected != files(experiment.build(settings).source)
    if saved:
        assert files(experiment.restore(tmp_path / "run").source) == expected
    else:
        experiment.run(settings, tmp_path / "run")
        assert files(trained[1].source) == expected


def test_other_images_under_an_older_run_are_still_refused(cells, tmp_path, monkeypatch):
    source = nuclei(cells, 8, by_class=False, data_dir=tmp_path / "prepared")
    experiment.check_data(tmp_path, source)
    (cells / "rare" / "00.tif").rename(cells / "rare" / "new.tif")
    settings = {"data": {"name": "nuclei", "folder": str(cells), "image_size": 8, "data_dir": str(tmp_path / "p")}}
    settings["model"] = {"name": "pooling_cnn", "filters": [2], "hidden": 2, "normalise": False}
    found, *_ = experiment._load(settings, None, tmp_path)
    with pytest.raises(ValueError, match="has changed since"):
        experiment.check_data(tmp_path, found)


def test_a_new_run_is_not_split_as_older_ones_were(cells, tmp_path):
    for path in sorted((cells / "rare").iterdir())[1:]:
        path.unlink()
    settings = {"data": {"name": "nuclei", "folder": str(cells), "image_size": 8, "data_dir": str(tmp_path / "p")}}
    settings["model"] = {"name": "pooling_cnn", "filters": [2], "hidden": 2, "normalise": False}
    with pytest.raises(ValueError, match="too few examples of class rare: got 1"):
        experiment._load(settings, None, tmp_path)
