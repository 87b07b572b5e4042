import numpy as np
import pytest

from cellfx.preprocess.mixture import Mixture
from cellfx.preprocess.normalisation import Fluorescence
from cellfx.report.charts import cytometry, style

RNG = np.random.default_rng(0)
THREE = Mixture((0.6, 0.3, 0.1), (3.0, 4.5, 7.0), (0.1, 0.3, 0.5), 54_321)
LOG_PIXELS = np.log(np.rint(np.exp(np.concatenate([RNG.normal(3, 0.1, 6000), RNG.normal(7, 0.5, 1000)]))))


def inside(figure):
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


FIGURES = {
    "three": (LOG_PIXELS, Fluorescence(THREE, -3.0)),
    "low floor": (LOG_PIXELS, Fluorescence(THREE, -8.0)),
    "one": (LOG_PIXELS, Fluorescence(Mixture((0.07,), (4.0,), (1.0,), 10), -3.0)),
    "one value": (np.full(9, np.log(20)), Fluorescence(Mixture((1.0,), (np.log(20),), (1.0,), 9), -3.0)),
    "nothing but zeros": (np.zeros(4), Fluorescence(Mixture((1.0,), (0.0,), (1.0,), 4), -3.0)),
    "all of 16 bits": (np.log(np.arange(1.0, 65536)), Fluorescence(THREE, -3.0)),
    "a spike": (np.repeat(np.log([20, 4095]), [9999, 9]), Fluorescence(Mixture((1.0,), (3.0,), (0.02,), 9), -3.0)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_figure_has_a_title_and_keeps_its_words_inside(name):
    figure = cytometry.pixel_mixture(*FIGURES[name], "side scatter")
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text() == "Log intensities of side scatter"
    assert inside(figure)


def test_curves_bars_and_numbers_are_those_of_the_mixture():
    figure = cytometry.pixel_mixture(*FIGURES["three"], "DNA")
    note = figure.texts[1].get_text().replace("\n", " ")
    for part in ("7,000 pixels shown, 54,321 fitted", "the brightest component, mean 7.00, deviation 0.50"):
        assert part in note
    axes = figure.axes[0]
    *curves, together = axes.get_lines()
    assert len(curves) == 3
    np.testing.assert_allclose(together.get_ydata(), sum(curve.get_ydata() for curve in curves), rtol=1e-12)
    brightest = curves[-1]
    x = brightest.get_xdata()
    expected = 0.1 / (0.5 * np.sqrt(2 * np.pi)) * np.exp(-2 * (x - 7) ** 2)
    np.testing.assert_allclose(brightest.get_ydata(), expected, rtol=1e-10)
    bars = next(patch for patch in axes.patches if hasattr(patch, "get_data"))
    values, edges, _ = bars.get_data()
    assert values @ np.diff(edges) == pytest.approx(1, rel=1e-12)
    # No edge at a stored intensity, and no bar without one.
    np.testing.assert_allclose(np.exp(edges) % 1, 0.5, atol=1e-9)


def test_what_becomes_0_and_1_is_gray():
    def gray(low):
        axes = cytometry.pixel_mixture(LOG_PIXELS, Fluorescence(THREE, low), "DNA").axes[0]
        spans = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
        return [(span.x0, span.x1) for span in spans if span.y1 > 0.99 * axes.get_ylim()[1]]

    first, *_ = gray(-3.0)
    assert first[1] == pytest.approx(7 - 3 * 0.5)
    assert all(start > 5 for start, _ in gray(-20.0))
