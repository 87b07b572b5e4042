"""Images that a run was not given: how many of them it knows after all, and what is written of every one."""

import csv
import json
import shutil

import numpy as np
import polars as pl
import pytest
import tifffile

from cellfx import cli
from cellfx.findings import measure
from cellfx.runs import experiment, other_images

COUNTS = {"dim": 12, "bright": 12}


def write(folder, counts, seed, channels=2):
    """Files of two channels by class; in the first, bright cells have a disc of which dim ones have nothing."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            y, x = np.mgrid[:12, :12] - 5.5
            disc = (x**2 + y**2 < 9) * {"bright": 150, "dim": 0}.get(name, 70)
            planes = np.stack([rng.normal(400 + disc, 10), *rng.normal(50, 5, (channels - 1, 12, 12))])
            tifffile.imwrite(folder / name / f"{number:02}.tif", planes.astype(np.uint16), photometric="minisblack")
    return folder


def settings(folder, data_dir, **model):
    own = {"name": "flowcytometry", "folder": str(folder), "image_size": 12, "channel_names": ("BF", "PI")}
    own["metadata_regex"] = r"(?P<Number>[0-9]+)[.]tif$"
    return {
        "data": {**own, "channels": ("BF",), "valid_rate": 0.25, "data_dir": str(data_dir)},
        "input": {"pipeline": "device", "batch_size": 8},
        "model": {"name": "pooling_cnn", "filters": (4,), "hidden": 8, "normalise": False, **model},
        "optim": {"name": "adam", "learning_rate": 1e-2},
        "train": {"num_epochs": 12, "steps_per_call": 2, "num_devices": 1},
        "probe": {"head": "logistic", "symmetries": False},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("other")


@pytest.fixture(scope="module")
def workdir(compiled_once, place):
    """A classifier of dim and bright cells."""
    experiment.run(settings(write(place / "cells", COUNTS, 0), place / "prepared"), place / "run")
    return place / "run"


def evaluated(folder, output, workdir, *argv):
    assert cli.main(["evaluate", f"--workdir={workdir}", f"--folder={folder}", f"--output={output}", *argv]) == 0
    cells = pl.read_parquet(output / "cells.parquet")
    assert pl.read_csv(output / "cells.csv").columns == cells.columns
    return json.loads((output / "scores.json").read_text()), cells


def test_images_that_the_run_was_trained_on_are_counted(workdir, place, tmp_path, capsys):
    """Before, a folder of training images was called the test split."""
    source = experiment.restore(workdir).source
    taken = {
        name: source.splits[name].metadata["Metadata_File"][:count] for name, count in (("train", 5), ("valid", 2))
    }
    folder = write(tmp_path / "new", {"dim": 3, "bright": 2}, seed=1)
    for split, files in taken.items():
        for number, file in enumerate(files):  # under another name: the pixels tell
            shutil.copy(place / "cells" / file, folder / file.split("/")[0] / f"{split}{number}.tif")
    scores, cells = evaluated(folder, tmp_path / "out", workdir)
    assert scores["same_pixels"] == {"train": 5, "valid": 2, "test": 0}
    assert scores["folder"] == str(folder)
    said = capsys.readouterr()
    assert f"12 images of {folder}\n" in said.out
    assert "test split" not in said.out
    assert "notice: of 12 images the run has the same pixels among its own (5 in train, 2 in valid)" in said.err
    seen = dict(zip(cells["Metadata_File"], cells["Metadata_Seen"], strict=True))
    for file, split in seen.items():
        name = file.split("/")[1]
        assert split == (name[:5] if name[:5] in ("train", "valid") else "")


def test_the_whole_folder_of_a_run_is_known_to_it(workdir, place):
    trained = experiment.restore(workdir)
    other = other_images.beside(trained, place / "cells", workdir)
    assert other.seen == {name: split.num_examples for name, split in trained.source.splits.items()}
    assert other.unknown == {}


def test_every_cell_has_a_row_and_the_scores_follow_from_them(workdir, tmp_path, capsys):
    folder = write(tmp_path / "new", {"bright": 4, "dim": 3, "odd": 5}, seed=2)
    scores, cells = evaluated(folder, tmp_path / "out", workdir)
    assert len(cells) == scores["judged_images"] == 12
    assert scores["unknown_classes"] == {"odd": 5}
    assert scores["classifier"]["test_images"] == 7
    said, notices = capsys.readouterr()
    assert "notice: 5 of 12 images are of classes that the run was not trained on, odd (5)" in notices
    probability = cells.select("probability_bright", "probability_dim").to_numpy()
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-6)
    names = np.array(["bright", "dim"])
    assert cells["predicted"].to_list() == names[probability.argmax(axis=1)].tolist()
    truth = np.where(cells["Metadata_Class"] == "odd", "", cells["Metadata_Class"])
    assert cells["label"].to_list() == truth.tolist()
    known = truth != ""
    right = (cells["predicted"].to_numpy() == truth)[known]
    assert scores["classifier"]["accuracy"] == pytest.approx(right.mean())
    recall = [right[truth[known] == name].mean() for name in names]
    assert scores["classifier"]["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert f"balanced accuracy of the model itself {np.mean(recall):.4f}\n" in said
    assert f"\naccuracy of the model itself {right.mean():.4f}\n" in said
    with (tmp_path / "out" / "confusion.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true_class", "bright", "dim"]
    assert [[int(count) for count in row[1:]] for row in rows[1:]] == scores["classifier"]["confusion"]


@pytest.mark.parametrize("flat", [True, False])
def test_images_without_a_known_class_are_told_apart_and_not_judged(workdir, tmp_path, capsys, flat):
    folder = write(tmp_path / "new", {"plate 7": 6}, seed=3)
    scores, cells = evaluated(folder / "plate 7" if flat else folder, tmp_path / "out", workdir)
    assert scores["unknown_classes"] == {"plate 7": 6}
    assert "accuracy" not in scores["classifier"]
    said = capsys.readouterr()
    assert "accuracy" not in said.out
    assert ("6 images have no label, as they lie in no class folder" in said.err) == flat
    assert ("predicted and not judged (it knows bright, dim)" in said.err) == (not flat)
    assert set(cells["label"]) == {""}
    assert set(cells["predicted"]) <= {"bright", "dim"}
    assert not (tmp_path / "out" / "confusion.csv").exists()


def test_names_of_new_files_tell_what_those_of_the_run_told(workdir, tmp_path, capsys):
    folder = write(tmp_path / "new", {"bright": 3, "dim": 2}, seed=5)
    _, cells = evaluated(folder, tmp_path / "out", workdir)
    assert sorted(cells["Metadata_Number"]) == ["00", "00", "01", "01", "02"]
    assert "no metadata is read" not in capsys.readouterr().err
    (folder / "dim" / "00.tif").rename(folder / "dim" / "other.tif")
    _, cells = evaluated(folder, tmp_path / "again", workdir)
    assert "Metadata_Number" not in cells.columns
    assert "no metadata is read from the file names of" in capsys.readouterr().err
    asked_for = r"--config.data.metadata_regex=(?P<Number>[0-9]+)[.]tif$"
    assert cli.main(["evaluate", f"--workdir={workdir}", f"--folder={folder}", asked_for]) == 2


def test_fields_describe_the_new_files(workdir, tmp_path):
    """Channels in another order under their names, and labels from a table."""
    folder = write(tmp_path / "new", {"bright": 4, "dim": 3}, seed=4)
    expected, _ = evaluated(folder, tmp_path / "plain", workdir)
    for path in folder.rglob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path)[::-1], photometric="minisblack")
        path.rename(path.with_name(f"{path.parent.name}_{path.name}"))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tif"))
    kinds = ["dim" if file.startswith("bright") else "bright" for file in files]  # wrong on purpose
    pl.DataFrame({"file": files, "kind": kinds}).write_csv(tmp_path / "labels.csv")
    argv = [f"--config.data.labels={tmp_path / 'labels.csv'}", "--config.data.labels_class=kind"]
    scores, _ = evaluated(folder, tmp_path / "out", workdir, "--config.data.channel_names=('PI','BF')", *argv)
    (a, b), (c, d) = expected["classifier"]["confusion"]
    assert scores["classifier"]["confusion"] == [[c, d], [a, b]]


def test_the_test_images_of_a_run_have_their_rows_too(workdir, tmp_path):
    own = shutil.copytree(workdir, tmp_path / "run")
    assert cli.main(["evaluate", f"--workdir={own}"]) == 0
    before, scores = (json.loads((folder / "scores.json").read_text()) for folder in (workdir, own))
    assert scores == before
    cells = pl.read_parquet(own / "evaluated" / "test" / "cells.parquet")
    assert len(cells) == scores["judged_images"]
    assert np.mean((cells["label"] == cells["predicted"]).to_numpy()) == scores["classifier"]["accuracy"]


def test_a_model_with_latents_tells_apart_by_its_probe_and_says_how_well_it_draws(place, tmp_path, monkeypatch):
    own = settings(write(tmp_path / "cells", COUNTS, 0), place / "prepared")
    own["model"] = {"name": "vae", "latents": 2, "filters": (4,), "hidden": 8}
    own["train"]["num_epochs"] = 1
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "report", lambda *_: measure.Found(*[None] * 3, scores={}))
        experiment.run(own, tmp_path / "run")
    folder = write(tmp_path / "new", {"bright": 4, "odd": 3}, seed=2)
    scores, cells = evaluated(folder, tmp_path / "out", tmp_path / "run", "--config.probe.head=svm")
    assert {"score_bright", "score_dim", "predicted"} < set(cells.columns)
    assert scores["reconstruction_mse"] == pytest.approx(cells["reconstruction_mse"].mean())
    assert scores["probe"]["test_images"] == 4
