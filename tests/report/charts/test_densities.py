import itertools

import numpy as np
import pytest

from cellfx.analysis.latents.density import class_densities
from cellfx.report.charts import style
from cellfx.report.charts.densities import density_grid

RNG = np.random.default_rng(0)


def densities(num_latents, num_classes, count=600):
    labels = RNG.integers(0, num_classes, count)
    codes = RNG.normal(size=(count, num_latents)) * np.logspace(-6, 6, num_latents) + labels[:, None] % 3
    return class_densities(codes, labels, num_classes=num_classes)


def names(count):
    return [f"MetaphaseAlignment {i}" for i in range(count)]


def constant():
    codes = np.stack([np.full(40, 0.3), np.where(np.arange(40) < 20, RNG.normal(size=40), 1.0)], axis=1)
    return density_grid(class_densities(codes, np.arange(40) // 20, num_classes=3), ["a", "b", "nobody"])


FIGURES = {
    "32 latents, 6 classes": lambda: density_grid(densities(32, 6), ["WTdox", "WTmon", "WTneg", "A", "B", "C"]),
    "10 latents, 8 classes": lambda: density_grid(densities(10, 8), names(8)),
    "12 classes": lambda: density_grid(densities(5, 12), names(12), ["z31 · nuclear eccentricity"] * 5),
    "one latent, one class": lambda: density_grid(densities(1, 1), ["all"]),
    "nothing varies": constant,
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_no_word_is_cut_or_covered(name):
    figure = FIGURES[name]()
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
    texts = [*figure.texts, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [axes._left_title, *ticks]
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    covered = [
        (first, second)
        for (first, box), (second, other) in itertools.combinations(boxes, 2)
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
    ]
    assert covered == []


def test_every_latent_has_its_curves_in_the_colors_of_the_classes():
    known = densities(3, 2)
    figure = density_grid(known, ["a", "b"], ["z0", "area", "z2"])
    assert [axes._left_title.get_text() for axes in figure.axes] == ["z0", "area", "z2"]
    for latent, axes in enumerate(figure.axes):
        for label, line in enumerate(axes.get_lines()):
            np.testing.assert_array_equal(line.get_xdata(), known.grid[latent])
            np.testing.assert_array_equal(line.get_ydata(), known.density[label, latent])
            assert line.get_color() == style.CLASS_COLORS[label]
        assert axes.get_ylim()[1] >= known.density[:, latent].max()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_a_spike_does_not_flatten_the_other_classes():
    figure = constant()
    hill, spike, nobody = figure.axes[1].get_lines()
    assert spike.get_ydata().max() > 5 * hill.get_ydata().max()
    np.testing.assert_allclose(figure.axes[1].get_ylim()[1], 4.24 * hill.get_ydata().max(), rtol=1e-9)
    assert np.isnan(nobody.get_ydata()).all()


def test_more_classes_than_colors_are_dashed():
    lines = density_grid(densities(1, 10), names(10)).axes[0].get_lines()
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert len(set(looks)) == 10


def test_bad_input():
    with pytest.raises(ValueError, match="got 3 classes and 2 latents, expected 2 and 2; name every one"):
        density_grid(densities(2, 2), names(3))
    with pytest.raises(ValueError, match="got 2 classes and 1 latents, expected 2 and 2"):
        density_grid(densities(2, 2), names(2), ["z0"])
