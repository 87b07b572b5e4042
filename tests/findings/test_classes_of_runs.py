"""A model that predicts classes and has no latents, from its config to its report."""

import json

import numpy as np
import pytest
import tifffile

from cellfx.cli import config
from cellfx.data.source import Source, Split
from cellfx.findings import classes as probing
from cellfx.findings import measure, subject
from cellfx.runs import experiment, other_images, repeats, results
from cellfx.settings import to_dict
from cellfx.training.writer import read_metrics

NAMES = ("dark", "gray", "bright")
LEVELS = np.array([0.1, 0.5, 0.9])


@pytest.fixture(scope="module")
def workdir(compiled_once, tmp_path_factory):
    """Two short runs over seeds."""
    settings = to_dict(config.load("configs/cnn.py:tiny").values)
    settings["train"] |= {"num_devices": 1, "num_epochs": 1}
    settings["repeats"]["num_runs"] = 2
    workdir = tmp_path_factory.mktemp("runs") / "two"
    repeats.run(settings, workdir)
    return workdir


def test_the_scores_are_those_of_the_restored_model_over_all_views(workdir):
    scores = json.loads((workdir / "run1" / "scores.json").read_text())
    trained = experiment.restore(workdir / "run1")
    predict, arrays = experiment.bound(trained, trained.model.predict), trained.source.splits["test"].arrays
    views = [np.rot90(arrays["x"], k, (1, 2))[:, :, ::step] for k in range(4) for step in (1, -1)]
    logits = [np.asarray(predict(view.astype(np.float32) / 255), np.float64) for view in views]
    told = np.mean([np.exp(part) / np.exp(part).sum(axis=1, keepdims=True) for part in logits], axis=0).argmax(axis=1)
    counts = np.array([[np.sum((arrays["label"] == t) & (told == p)) for p in (0, 1)] for t in (0, 1)])
    assert scores["classifier"]["confusion"] == counts.tolist()
    assert scores["classifier"]["balanced_accuracy"] == pytest.approx(np.mean(np.diag(counts) / counts.sum(axis=1)))
    assert scores["classifier"]["views"] == 8
    assert scores["classifier"]["test_images"] == scores["judged_images"] == 128
    assert {"probe", "kl", "reconstruction_mse"} & set(scores) == set()
    assert set(scores["classifier"]["classes"]) == {"interphase", "metaphase"}


def test_training_and_validation_are_logged_with_their_accuracy(workdir):
    rows = read_metrics(workdir / "run0" / "metrics.jsonl")
    for kind in ("train", "valid"):
        found = [row[f"{kind}/accuracy"] for row in rows if f"{kind}/accuracy" in row]
        assert found
        assert all(0 <= value <= 1 for value in found)
    assert [row for row in rows if "valid/classifier/loss" in row] != []


def test_the_report_shows_the_classes_and_no_latent(workdir):
    page = (workdir / "run0" / "report.html").read_text()
    names = {path.stem for path in (workdir / "run0" / "figures").glob("*.png")}
    assert names == {"classifier_confusion", "classes", "curves"}
    for text in ("Class accuracy", "the model itself", "Confusion matrix", "data:image/png;base64,"):
        assert text in page
    assert "Active latents" not in page
    assert "traversal" not in page


def test_several_runs_are_summed_up_without_comparing_latents(workdir):
    whole = json.loads((workdir / "scores.json").read_text())
    single = [json.loads((workdir / f"run{k}" / "scores.json").read_text())["classifier"] for k in range(2)]
    part = whole["spread"]["balanced accuracy of the model itself"]
    assert part["values"] == [one["balanced_accuracy"] for one in single]
    assert "udr" not in whole
    page = (workdir / "report.html").read_text()
    assert "Agreement between the models" not in page
    assert (workdir / "figures" / "classifier_confusion.png").exists()
    assert repeats.evaluate(workdir) == whole


def test_what_needs_latents_is_refused(workdir, tmp_path):
    message = r"model cnn has no latents: got a model without encode and decode, expected one with both; choose"
    with pytest.raises(ValueError, match=message):
        results.embed(workdir / "run0", tmp_path / "latents.parquet")
    with pytest.raises(ValueError, match=message):
        results.traverse(workdir / "run0")


def test_another_folder_is_judged_by_the_classes_that_were_grouped(workdir, tmp_path, monkeypatch):
    """Named like a class of the data or like the one that it counts as."""
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path / "cache"))
    trained = experiment.restore(workdir / "run0")
    trained.settings["data"]["grouped"] = {"interphase": ["Resting"], "metaphase": ["Metaphase", "Alignment"]}
    for name, count in {"interphase": 3, "Metaphase": 2, "Alignment": 4}.items():
        (tmp_path / "cells" / name).mkdir(parents=True)
        for k in range(count):
            tifffile.imwrite(tmp_path / "cells" / name / f"{k}.tif", np.full((16, 16), 40 * k, np.uint8))
    source = other_images.beside(trained, tmp_path / "cells", workdir / "run0").source
    assert np.bincount(source.splits["test"].arrays["label"]).tolist() == [3, 6]


def told_by_brightness(x):
    """Logits that fall with the distance to a class's gray level."""
    return -50 * np.abs(np.mean(x, axis=(1, 2, 3))[:, None] - LEVELS)


def known(labels=(0, 0, 1, 2, 2, 2), seen=None):
    seen = labels if seen is None else seen
    images = np.ones((len(labels), 4, 4, 1), np.float32) * LEVELS[list(seen)].astype(np.float32)[:, None, None, None]
    split = Split(len(labels), {"x": images, "label": np.array(labels, np.int32)})
    return Source("known", (4, 4, 1), {"train": split, "test": split}, NAMES)


def judged(source, classes=None, predict=told_by_brightness):
    return probing.judge_classifier(subject.Subject(source, None, None, 3, predict), classes, True)


def test_a_classifier_that_knows_makes_no_mistake():
    found = judged(known())
    assert found.names == NAMES
    np.testing.assert_array_equal(found.confusion, np.diag([2, 1, 3]))
    assert found.scores["balanced_accuracy"] == found.scores["accuracy"] == 1


def test_mistakes_are_counted_by_their_true_class():
    found = judged(known(seen=(0, 2, 1, 2, 2, 0)))
    np.testing.assert_array_equal(found.confusion, [[1, 0, 1], [0, 1, 0], [1, 0, 2]])
    assert found.scores["accuracy"] == pytest.approx(4 / 6)
    assert found.scores["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)


def test_probabilities_of_classes_that_count_as_one_are_added_up():
    """Alone the third class is likelier than either of the others, together they are likelier than it."""

    def undecided(x):
        return np.log(np.tile([0.3, 0.3, 0.4], (len(x), 1)))

    together = {"low": ["dark", "gray"], "high": ["bright"]}
    np.testing.assert_array_equal(judged(known(), predict=undecided).confusion[:, 2], [2, 1, 3])
    found = judged(known(), together, undecided)
    np.testing.assert_array_equal(found.confusion, [[3, 0], [3, 0]])
    left_out = judged(known(), {"dark": ["dark"], "bright": ["bright"]})
    np.testing.assert_array_equal(left_out.confusion, np.diag([2, 3]))
    assert left_out.scores["test_images"] == 5


def test_views_are_averaged():
    """A classifier that looks at one corner sees it in two of the eight views."""
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 0, 0] = 1
    split = Split(1, {"x": image, "label": np.zeros(1, np.int32)})
    source = Source("corner", (4, 4, 1), {"train": split, "test": split}, ("no", "yes"))

    def corner(x):
        return np.stack([np.zeros(len(x)), 2 * np.asarray(x)[:, 0, 0, 0] - 1], axis=1)

    alone = probing.judge_classifier(subject.Subject(source, None, None, 0, corner), None, False)
    assert (alone.scores["views"], alone.confusion[0].tolist()) == (1, [0, 1])
    averaged = judged(source, predict=corner)
    assert (averaged.scores["views"], averaged.confusion[0].tolist()) == (8, [1, 0])


def test_no_image_of_the_classes_is_an_error():
    with pytest.raises(
        ValueError, match=r"no image to judge: got none of the classes \['gray', 'bright'\], expected some; change"
    ):
        judged(known(labels=(0, 0)), {"gray": ["gray"], "bright": ["bright"]})


def test_a_classifier_is_not_judged_on_what_it_learnt_from():
    source = known()
    source = source._replace(splits={"train": source.splits["train"]})
    found = measure.measure(subject.Subject(source, None, None, 3, told_by_brightness), 0, measure.Options())
    assert found.judged is None
    assert "classifier" not in found.scores
    assert found.scores["judged_on"] == "train"
    assert measure.summary(found.scores) == "6 images of the train split"
