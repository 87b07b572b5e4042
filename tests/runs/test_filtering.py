"""A filter of drawn frames and one of files: their scores, thresholds and lists."""

import numpy as np
import polars as pl
import pytest
import tifffile

from cellfx import cli, settings
from cellfx.cli import config
from cellfx.data.flowcytometry import flowcytometry
from cellfx.data.source import to_float
from cellfx.findings.subject import over
from cellfx.runs import experiment, filtering

CLASSES = ("usable", "unusable")
COUNT = 20


def frames(**data):
    loaded = settings.to_dict(config.load("configs/cell_filter.py:tiny").values)
    loaded["train"]["num_devices"] = 1
    loaded["data"].update(data)
    return loaded


def cells(folder, **data):
    """A filter of files: one convolution for one channel, fitted in a moment to what anybody tells apart."""
    own = {"name": "flowcytometry", "folder": str(folder), "image_size": 12, "channel_names": ("BF", "PI")}
    return {
        "data": {**own, "channels": ("BF",), "classes": CLASSES, "valid_rate": 0.25, "on_error": "raise", **data},
        "input": {"pipeline": "device", "batch_size": 8},
        "model": {"name": "pooling_cnn", "filters": (4,), "hidden": 8, "normalise": False},
        "optim": {"name": "adam", "learning_rate": 1e-2},
        "train": {"num_epochs": 12, "steps_per_call": 2, "num_devices": 1, "seed": 0},
    }


def write(folder, counts, seed=0):
    """Files of two channels by class: usable ones have a bright disc, in an image of its own size."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            side = 10 + number % 4
            y, x = np.mgrid[:side, :side] - (side - 1) / 2
            disc = (x**2 + y**2 < 9) * (150 if name == "usable" else 0)
            planes = np.stack([rng.normal(400 + disc, 10), rng.normal(50, 5, (side, side))]).astype(np.uint16)
            tifffile.imwrite(folder / name / f"{number:02}.tif", planes, photometric="minisblack")
    return folder


@pytest.fixture(scope="module")
def drawn(compiled_once, tmp_path_factory):
    """The workdir of a filter of frames; lists are written elsewhere."""
    workdir = tmp_path_factory.mktemp("runs") / "frames"
    experiment.run(frames(), workdir)
    return workdir


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "cells", dict.fromkeys(CLASSES, COUNT))


@pytest.fixture(scope="module")
def filed(compiled_once, folder, tmp_path_factory):
    """The workdir of a filter of the files of ``folder``."""
    workdir = tmp_path_factory.mktemp("runs") / "files"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLFX_CACHE", str(tmp_path_factory.getbasetemp() / "prepared"))
        experiment.run(cells(folder), workdir)
    return workdir


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path_factory.getbasetemp() / "prepared"))


@pytest.fixture(scope="module")
def loaded(drawn):
    return filtering.load(drawn, 0.25)


def lists(folder):
    return {name: pl.read_csv(folder / f"{name}.csv") for name in ("kept", "rejected")}


def differences(found, images):
    """Logit of usable minus that of unusable, one image at a time."""
    state, model = found.trained.state, found.trained.model
    x = np.stack([to_float(image) for image in images])
    logits = np.asarray(model.predict(state.params, state.extra, x), np.float64)
    usable = found.trained.source.class_names.index("usable")
    return logits[:, usable] - logits[:, 1 - usable]


def test_scores_and_labels_are_of_every_image_in_order(loaded):
    valid = loaded.trained.source.splits["valid"]
    found = over(loaded.score, valid)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, differences(loaded, valid.arrays["x"]), rtol=1e-4, atol=1e-6)
    assert (
        filtering.labels(loaded.trained.source, valid).tolist()
        == (valid.metadata["Metadata_Kind"] == "single").tolist()
    )


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_the_threshold_lets_through_the_wanted_share_of_validation_images(drawn, rate):
    found = filtering.load(drawn, rate)
    valid = found.trained.source.splits["valid"]
    scores, usable = over(found.score, valid), valid.metadata["Metadata_Kind"] == "single"
    assert np.mean(scores[~usable] >= found.threshold) <= rate
    lower = scores[scores < found.threshold]
    assert rate == 1 or np.mean(scores[~usable] >= lower.max()) > rate
    assert rate < 1 or not len(lower)
    pairs = scores[usable][:, None] - scores[~usable]
    assert found.curve.area == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), rel=1e-9)


def test_the_default_rate_is_the_published_one(drawn):
    assert filtering.MAX_FALSE_POSITIVE_RATE == 0.03
    assert filtering.load(drawn).threshold == filtering.load(drawn, 0.03).threshold


def test_the_threshold_is_said_with_the_images_that_it_was_chosen_on(drawn, capsys):
    found = filtering.load(drawn, 0.25)
    valid = found.trained.source.splits["valid"]
    scores, usable = over(found.score, valid), valid.metadata["Metadata_Kind"] == "single"
    through = scores >= found.threshold
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"threshold {found.threshold:.3g}, which lets {np.sum(through & usable)} of {np.sum(usable)} usable and "
        f"{np.sum(through & ~usable)} of {np.sum(~usable)} unusable validation images through"
    )


def test_drawn_frames_are_listed_by_their_numbers_once_each(drawn, loaded, tmp_path):
    output = filtering.apply(drawn, frames(), 0.25, tmp_path / "lists")
    assert output == tmp_path / "lists"
    found = lists(output)
    expected = {}
    for split in loaded.trained.source.splits.values():
        expected |= zip(split.metadata["Metadata_Index"].tolist(), differences(loaded, split.arrays["x"]), strict=True)
    assert len(expected) == 96 + 48 + 48
    written = pl.concat(found.values())
    assert written.columns == ["Metadata_Index", "Metadata_Score"]
    assert sorted(written["Metadata_Index"]) == sorted(expected)
    for number, score in written.iter_rows():
        assert score == pytest.approx(expected[number], rel=1e-4, abs=1e-6)
    assert found["kept"]["Metadata_Score"].min() >= loaded.threshold > found["rejected"]["Metadata_Score"].max()


def test_other_frames_are_sorted_too(drawn, tmp_path):
    found = lists(filtering.apply(drawn, frames(num_train=8, num_valid=0, num_test=4, seed=5), 1.0, tmp_path))
    assert sum(map(len, found.values())) == 12


def test_files_are_sorted_as_the_filter_reads_them(filed, tmp_path, capsys):
    """Other files than it learnt from, in other classes and with more channels named."""
    other = write(tmp_path / "day2", {"usable": 9, "unusable": 7}, seed=1)
    (other / "usable").rename(other / "G1")
    (other / "unusable").rename(other / "S")
    output = filtering.apply(filed, cells(other, channels=None, image_size=40, classes=None), 0.1)
    assert output == filed / "screened" / "day2"
    found, threshold = lists(output), filtering.load(filed, 0.1).threshold
    assert found["kept"].columns == ["Metadata_File", "Metadata_Score"]
    scores = dict(pl.concat(found.values()).iter_rows())
    assert len(scores) == len(found["kept"]) + len(found["rejected"])
    good, bad = ([f"{name}/{number:02}.tif" for number in range(count)] for name, count in (("G1", 9), ("S", 7)))
    assert sorted(scores) == [*good, *bad]
    assert min(scores[file] for file in good) > max(scores[file] for file in bad)
    kept = [file for file in scores if scores[file] >= threshold]
    assert sorted(found["kept"]["Metadata_File"]) == sorted(kept)
    assert 0 < len(kept) < 16
    out = capsys.readouterr().out
    assert f"{len(kept)} of 16 kept: {output / 'kept.csv'}" in out
    assert f"{16 - len(kept)} of 16 rejected: {output / 'rejected.csv'}" in out


def test_training_on_the_list_leaves_the_rejected_out(filed, folder, tmp_path):
    output = filtering.apply(filed, cells(folder), 0.1, tmp_path)
    kept = set(lists(output)["kept"]["Metadata_File"])
    assert 1 < len(kept) <= COUNT
    assert {file.split("/")[0] for file in kept} == {"usable"}
    source = flowcytometry(
        folder, 12, channel_names=("BF", "PI"), classes=("usable",), kept=str(output / "kept.csv"), normalise=False
    )
    used = np.concatenate([split.metadata["Metadata_File"] for split in source.splits.values()])
    assert sorted(used.tolist()) == sorted(kept)


@pytest.mark.parametrize(("threshold", "kept"), [(np.inf, 0), (-np.inf, 2 * COUNT)])
def test_a_list_may_be_empty(filed, folder, tmp_path, monkeypatch, threshold, kept):
    found = filtering.load(filed)._replace(threshold=threshold)
    monkeypatch.setattr(filtering, "load", lambda *_: found)
    written = lists(filtering.apply(filed, cells(folder), 0.1, tmp_path))
    assert {name: len(table) for name, table in written.items()} == {"kept": kept, "rejected": 2 * COUNT - kept}
    assert {tuple(table.columns) for table in written.values()} == {("Metadata_File", "Metadata_Score")}


def test_prepare_sorts_with_a_filter(drawn, tmp_path, capsys):
    argv = ["prepare", "--config=configs/cell_filter.py:tiny", f"--filter={drawn}", f"--output={tmp_path / 'lists'}"]
    assert cli.main([*argv, "--max_false_positive_rate=1"]) == 0
    assert capsys.readouterr().err == ""
    assert sum(map(len, lists(tmp_path / "lists").values())) == 192
    assert cli.main([*argv, "--max_false_positive_rate=3"]) == 2
    err = capsys.readouterr().err
    assert "max_false_positive_rate is no rate: got 3.0, expected a number in [0, 1]" in err
    assert err.count("\n") == 1


def test_a_run_without_a_classifier_is_no_filter(finished):
    with pytest.raises(ValueError, match="holds no filter: got a model tcvae for the classes interphase, metaphase, "):
        filtering.load(finished)


def test_a_filter_tells_two_classes_apart_and_has_seen_both(loaded, monkeypatch):
    source = loaded.trained.source
    valid = source.splits["valid"]
    one_kind = valid._replace(arrays={**valid.arrays, "label": np.zeros_like(valid.arrays["label"])})
    for changed, message in (
        (
            {"class_names": ("single", "clump", "empty")},
            "a model pooling_cnn for the classes single, clump, empty, exp",
        ),
        ({"class_names": ()}, "for the classes none, expected a classifier of usable and unusable; name"),
        ({"splits": {**source.splits, "valid": one_kind}}, "got valid images of here of one kind only, expected"),
        ({"splits": {**source.splits, "train": one_kind}}, "got train images of here of one kind only, expected"),
    ):
        other = loaded.trained._replace(source=source._replace(**changed))
        monkeypatch.setattr(filtering, "restore", lambda _, other=other: other)
        with pytest.raises(ValueError, match=message):
            filtering.load("here")


def test_images_that_do_not_fit_are_refused_and_nothing_is_written(drawn, tmp_path, loaded, monkeypatch):
    with pytest.raises(
        ValueError, match=r"images of frames do not suit the filter: got \(20, 20, 1\), expected \(16, 16, 1\) as in "
    ):
        filtering.apply(drawn, frames(image_size=20), 0.1, tmp_path / "lists")
    split = loaded.trained.source.splits["test"]._replace(metadata={"Metadata_Kind": np.zeros(48)})
    nameless = loaded.trained.source._replace(splits={"test": split})
    monkeypatch.setattr(filtering, "load_source", lambda _: nameless)
    with pytest.raises(ValueError, match=r"have no names: got the columns Metadata_Kind, expected one of Metadata_F"):
        filtering.apply(drawn, frames(), 0.1, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nothing")):
        filtering.load(tmp_path / "nothing")
