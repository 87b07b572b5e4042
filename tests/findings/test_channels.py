"""Known answers: a model that is told the hidden channel, or half of it, and what is said of it."""

import json

import numpy as np
import pytest

from cellfx.analysis.images.translation import explained
from cellfx.data.source import Source, Split
from cellfx.findings import headlines, measure, subject
from cellfx.findings import page as presentation

NAMES = ("brightfield", "PI", "side scatter")
CLASSES = ("round", "odd")


def source(count=300, names=NAMES, labels=True):
    """More images than fit a batch; the second channel is half of the first one plus what cannot be seen in it."""
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(count, 6, 5, 3)).astype(np.float32)
    image[..., 1] = 0.5 * image[..., 0] + 0.5 * rng.uniform(size=(count, 1, 1))
    arrays = {"x": image, "label": np.arange(count, dtype=np.int32) % 2}
    split = Split(count, arrays if labels else {"x": image})
    splits = {"train": split, "test": split}
    return Source("known", (6, 5, 3), splits, CLASSES if labels else (), channel_names=names)


def half(x):
    """What the first channel tells of the second; the third as a gray image."""
    return np.stack([0.5 * x[..., 0] + 0.25, np.full(x.shape[:3], 0.5, np.float32)], axis=-1)


def measured(of, translate=half):
    return measure.measure(subject.Subject(of, None, None, 7, None, translate), 0, measure.Options())


def test_every_image_is_compared_once_and_padding_never():
    of = source()
    images, label = (of.splits["test"].arrays[name] for name in ("x", "label"))
    expected = explained(images[..., 1:], half(images), label, 2)
    found = measured(of)
    scores = found.scores["translation"]
    assert (scores["test_images"], scores["judged_on"], scores["inputs"]) == (300, "test", ["brightfield"])
    for index, name in enumerate(NAMES[1:]):
        part = scores["channels"][name]
        assert part["explained"] == pytest.approx(expected.pixels[index], rel=1e-9)
        assert part["total_explained"] == pytest.approx(expected.totals[index], rel=1e-9)
        assert part["total_rank_correlation"] == pytest.approx(expected.total_rank[index], rel=1e-9)
    assert scores["explained"] == pytest.approx(np.mean(expected.pixels), rel=1e-9)
    assert scores["total_explained"] == pytest.approx(np.mean(expected.totals), rel=1e-9)
    by_class = scores["channels"]["PI"]["total_correlation_by_class"]
    assert list(by_class) == list(CLASSES)
    np.testing.assert_allclose(list(by_class.values()), expected.class_correlation[:, 0], rtol=1e-9)
    np.testing.assert_array_equal(found.translated.predicted, half(found.images))
    np.testing.assert_array_equal(found.translated.label, label)


def test_the_summary_says_what_is_explained():
    """Half of the second channel's variance is the first one's and half is not; gray explains nothing."""
    found = measured(source())
    part = found.scores["translation"]["channels"]
    assert part["PI"]["explained"] == pytest.approx(0.5, abs=0.05)
    lines = measure.summary(found.scores).splitlines()
    expected = ["300 images of the test split"]
    for name in NAMES[1:]:
        pixels, total = (f"{part[name][key]:.1%}" for key in ("explained", "total_explained"))
        expected.append(f"{name} from brightfield: {pixels} explained; of its total intensity {total}")
    assert lines == expected


def test_channels_and_classes_without_names():
    found = measured(source(20, names=(), labels=False))
    scores = found.scores["translation"]
    assert scores["inputs"] == ["channel 1"]
    assert list(scores["channels"]) == ["channel 2", "channel 3"]
    assert scores["channels"]["channel 2"]["total_correlation_by_class"] == {}
    assert found.translated.label is None


def test_what_never_varies_is_undefined_and_not_an_error(tmp_path):
    of = source(20)
    of.splits["test"].arrays["x"][..., 2] = 0.25
    found = measured(of)
    scores = found.scores["translation"]
    part = scores["channels"]["side scatter"]
    assert part["explained"] is part["total_explained"] is None
    assert scores["explained"] == scores["channels"]["PI"]["explained"]
    line = "side scatter from brightfield: undefined explained; of its total intensity undefined"
    assert measure.summary(found.scores).splitlines()[2] == line
    presentation.write(found, tmp_path, [], {"model": {"name": "told"}})
    assert json.loads((tmp_path / "scores.json").read_text()) == found.scores
    assert "undefined" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("of", [source(24), source(24, labels=False)])
def test_a_report_shows_the_channels(of, tmp_path):
    found = measured(of)
    presentation.write(found, tmp_path, [], {"model": {"name": "told"}})
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["channels.png", "total_intensities.png"]
    page = (tmp_path / "report.html").read_text()
    assert "Channels of some cells, with PI, side scatter as predicted from the others" in page
    assert json.loads((tmp_path / "scores.json").read_text()) == found.scores
    cards = headlines.key_numbers(found.scores, [])
    assert [card.label for card in cards] == ["PI, explained", "side scatter, explained"]
    assert cards[0].value == f"{found.scores['translation']['channels']['PI']['explained']:.1%}"
    (section,) = headlines.score_tables(found.scores)
    classes = [] if not of.class_names else [f"total intensity among {name}, correlation" for name in CLASSES]
    (table,) = section.parts
    assert table.columns == ("score", "PI", "side scatter")
    assert [row[0] for row in table.rows][3:] == classes
    assert all(row[0] in page for row in table.rows)
