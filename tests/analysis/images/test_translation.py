import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.images.translation import Comparison, explained
from cellfx.report.charts import style, translation

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[2] / "reference/translation.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

RNG = np.random.default_rng(0)


def images(count=30, channels=2):
    """Cells of differing brightness, and a prediction that knows something of them."""
    rng = np.random.default_rng(1)
    bright = rng.uniform(0.1, 0.9, (count, 1, 1, channels))
    target = (bright * rng.uniform(0.5, 1, (count, 5, 6, channels))).astype(np.float32)
    predicted = (0.7 * target + 0.1 * rng.uniform(size=target.shape)).astype(np.float32)
    return target, predicted, np.arange(count) % 3


def test_it_is_what_numpy_says_of_the_whole_arrays():
    target, predicted, label = images()
    found = explained(target, predicted, label, 3)
    for channel, (pixels, totals, ranks, by_class) in enumerate(reference.explained(target, predicted, label)):
        assert found.pixels[channel] == pytest.approx(pixels, rel=1e-9)
        assert found.totals[channel] == pytest.approx(totals, rel=1e-9)
        assert found.total_rank[channel] == pytest.approx(ranks, rel=1e-9)
        np.testing.assert_allclose(found.class_correlation[:, channel], by_class, rtol=1e-9)
    np.testing.assert_allclose(found.target_totals, target.sum((1, 2), np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.predicted_totals, predicted.sum((1, 2), np.float64), rtol=1e-12)


def test_batches_of_any_size_say_the_same():
    target, predicted, label = images()
    whole, parts = explained(target, predicted, label, 3), Comparison()
    for start, stop in ((0, 1), (1, 1), (1, 12), (12, 30)):
        parts.add(target[start:stop], predicted[start:stop])
    for one, other in zip(whole, parts.result(label, 3), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


def test_an_exact_prediction_explains_all_and_the_mean_image_nothing():
    target, _, label = images()
    exact = explained(target, target, label, 3)
    assert (exact.pixels == 1).all()
    assert (exact.totals == 1).all()
    np.testing.assert_allclose(exact.total_rank, 1)
    np.testing.assert_allclose(exact.class_correlation, 1)
    mean = np.broadcast_to(target.mean(0, np.float64), target.shape)
    nothing = explained(target, mean, label, 3)
    np.testing.assert_allclose(nothing.pixels, 0, atol=1e-12)
    np.testing.assert_allclose(nothing.totals, 0, atol=1e-12)
    assert (nothing.total_rank == 0).all()
    assert np.isnan(nothing.class_correlation).all()
    # Twice the distance from the mean image is four times the squares.
    mirrored = explained(target, 2 * mean - target)
    np.testing.assert_allclose(mirrored.pixels, -3)
    np.testing.assert_allclose(mirrored.total_rank, -1)


def test_a_small_variation_of_bright_images_is_not_lost():
    target = 1e6 + RNG.normal(size=(50, 4, 4, 1))
    predicted = target + 0.5 * (RNG.random(target.shape) > 0.5)
    expected = reference.share(target, predicted, target.mean(0))
    assert explained(target, predicted).pixels[0] == pytest.approx(expected, rel=1e-6)


def test_of_a_channel_that_never_varies_there_is_nothing_to_explain():
    target, predicted, label = images()
    target[..., 1] = 0.1
    found = explained(target, predicted, label, 4)
    assert np.isnan(found.pixels).tolist() == np.isnan(found.totals).tolist() == [False, True]
    assert found.total_rank[1] == 0
    # The second channel, and in both the fourth class, of which there is no image.
    assert np.isnan(found.class_correlation).tolist() == [[False, True]] * 3 + [[True, True]]


@pytest.mark.parametrize(
    ("target", "predicted", "label", "message"),
    [
        ((3, 4, 4, 1), (3, 4, 4, 2), None, r"do not belong together: got \(3, 4, 4, 1\) and \(3, 4, 4, 2\), expected"),
        ((3, 4, 4), (3, 4, 4), None, r"got \(3, 4, 4\) and \(3, 4, 4\), expected \(B, H, W, C'\) twice"),
        ((0, 4, 4, 1), (0, 4, 4, 1), None, "nothing to compare: got 0 images, expected one or more images and as"),
        ((3, 4, 4, 1), (3, 4, 4, 1), 2, "nothing to compare: got 3 images and 2 labels, expected one or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(target, predicted, label, message):
    with pytest.raises(ValueError, match=message):
        explained(np.zeros(target), np.zeros(predicted), None if label is None else np.zeros(label, np.int64), 2)


def test_images_of_another_size_are_refused():
    parts = Comparison()
    parts.add(np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"got \(2, 5, 4, 1\) and \(2, 5, 4, 1\), expected .* of one size throughout"):
        parts.add(np.zeros((2, 5, 4, 1)), np.zeros((2, 5, 4, 1)))


def inside(figure):
    """Nothing that is drawn is cut off by the edge of the figure."""
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def totals(channels=1, labels=None, class_names=()):
    names = ("propidium iodide", "side scatter", "third")[:channels]
    known = RNG.uniform(0, 900, (60, channels))
    return translation.total_intensities(known, 0.8 * known + 20, names, labels, class_names)


FIGURES = {
    "pictures": lambda: translation.channel_pictures(
        RNG.random((6, 20, 20, 3)), RNG.random((6, 20, 20, 2)), ("brightfield", "PI", "side scatter")
    ),
    "one cell": lambda: translation.channel_pictures(
        RNG.random((1, 9, 12, 2)), RNG.random((1, 9, 12, 1)), ("channel 1", "channel 2")
    ),
    "totals": totals,
    "three channels": lambda: totals(3),
    "classes": lambda: totals(2, np.arange(60) % 5, ("G1", "S_phase", "MetaphaseAlignment", "none", "G2", "absent")),
    "many classes": lambda: totals(1, np.arange(60) % 9, [f"class {k}" for k in range(9)]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_keeps_its_words_inside(name):
    figure = FIGURES[name]()
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text()
    assert inside(figure)


def test_a_prediction_stands_below_its_channel():
    x = RNG.random((2, 8, 8, 2))
    figure = translation.channel_pictures(x, x[..., 1:], ("seen", "hidden"))
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["seen", "hidden", "hidden, predicted", "difference"]
    shown = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(shown[1], shown[2])
    assert not np.array_equal(shown[0], shown[1])
    assert shown[3][:8, :8].max() == 0


def test_every_cell_is_drawn_at_its_two_intensities():
    known, predicted = RNG.uniform(size=(40, 1)), RNG.uniform(size=(40, 1))
    figure = translation.total_intensities(known, predicted, ("hidden",))
    points = figure.axes[0].collections[0].get_offsets()
    expected = np.concatenate([known, predicted], axis=1)
    np.testing.assert_allclose(sorted(map(tuple, points)), sorted(map(tuple, expected)))
