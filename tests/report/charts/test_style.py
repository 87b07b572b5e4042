import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from cellfx.report.charts import style

RNG = np.random.default_rng(0)


def pixels(figure):
    return imread(io.BytesIO(style.to_png(figure)))[..., :3]


def texts(figure):
    return [
        text.get_text().replace("\n", " ") for text in [*figure.texts, *(t for axes in figure.axes for t in axes.texts)]
    ]


def test_nothing_global_changes_and_pyplot_stays_out():
    before = dict(matplotlib.rcParams)
    style.samples(np.zeros((3, 8, 8, 1)))
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, numpy as np, cellfx.report.charts.latents\n"
        "from cellfx.report.charts import style\n"
        "assert 'matplotlib' not in sys.modules\n"
        "style.to_png(style.samples(np.zeros((3, 8, 8, 1))))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gray_is_fixed_from_black_at_0_to_white_at_1():
    faint = np.full((1, 8, 8, 1), 0.2)
    shown = style.composite(faint)
    np.testing.assert_allclose(shown, 0.2, rtol=1e-6)
    image = pixels(style.samples(np.concatenate([faint, faint / 2])))
    levels = np.unique(image.reshape(-1, 3), axis=0)
    for value in (0.2, 0.1):
        assert np.any(np.all(np.abs(levels - value) < 1.5 / 255, axis=1))


def test_values_outside_are_clipped_and_nan_is_black():
    shown = style.composite(np.array([-1.0, 2.0, np.nan]).reshape(1, 3, 1, 1))
    np.testing.assert_array_equal(shown[0, :, 0, 0], [0, 1, 0])


def test_channels_become_colors():
    two = style.composite(np.eye(2).reshape(1, 2, 1, 2))
    np.testing.assert_array_equal(two[0, :, 0], [[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(style.composite(np.ones((1, 1, 1, 2))).ravel(), [1, 1, 1])
    five = style.composite(np.eye(5).reshape(1, 5, 1, 5))[0, :, 0]
    assert len(np.unique(five, axis=0)) == 5
    assert five.max(axis=1).tolist() == [1.0] * 5


def test_images_are_shown_pixel_by_pixel():
    image = RNG.uniform(size=(1, 8, 8, 1))
    shown = pixels(style.samples(image))[..., 0]
    enlarged = image[0, :, :, 0].repeat(16, 0).repeat(16, 1)
    tops, lefts = np.nonzero(np.abs(shown - enlarged[0, 0]) < 1e-3 + 0.5 / 255)
    found = [
        np.abs(shown[t : t + 128, a : a + 128] - enlarged).max()
        for t, a in zip(tops, lefts, strict=True)
        if shown[t : t + 128, a : a + 128].shape == (128, 128)
    ]
    assert min(found) <= 1.01 / 255  # PNG has 256 levels


def test_reconstructions_state_their_error():
    figure = style.reconstructions(np.zeros((5, 8, 8, 1)), np.full((5, 8, 8, 1), 0.5), columns=3)
    words = texts(figure)
    assert "Images and what the model makes of them" in words
    assert any("error per pixel 0.25" in word for word in words)
    assert words.count("reconstruction") == 2
    assert len(figure.axes) == 4


def test_traversals_with_shared_values_have_heads():
    images, values = np.zeros((2, 3, 8, 8, 1)), np.tile([-2.0, 0.0, 2.0], (2, 1))
    words = texts(style.traversals(images, values, ["z3", "z1"]))
    assert {"z3", "z1", "\N{MINUS SIGN}2.0", "0", "+2.0"} <= set(words)


def test_traversals_with_values_of_their_own_show_them_beside():
    words = texts(style.traversals(np.zeros((2, 2, 8, 8, 1)), np.array([[-1, 1], [0, 3]]), ["a", "b"]))
    assert {"\N{MINUS SIGN}1.0 to +1.0", "0 to +3.0"} <= set(words)


def test_interpolations_show_how_far():
    assert {"0%", "50%", "100%"} <= set(texts(style.interpolations(np.zeros((2, 3, 8, 8, 2)))))


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (3, 200, 150, 1), (11, 12, 20, 4)])
def test_any_size_and_channel_count(shape):
    assert style.to_png(style.samples(RNG.uniform(size=shape))).startswith(b"\x89PNG")


def test_the_same_figure_has_the_same_bytes():
    first, second = (style.to_png(style.samples(np.zeros((2, 8, 8, 1)))) for _ in range(2))
    assert first == second
