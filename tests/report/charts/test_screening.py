import numpy as np
import pytest

from cellfx.analysis.images.screening import roc
from cellfx.report.charts import style
from cellfx.report.charts.screening import roc_curves, screened

RNG = np.random.default_rng(0)
LABELS = RNG.uniform(size=300) < 0.6
CURVES = {name: roc(gap * LABELS + RNG.normal(size=300), LABELS) for name, gap in (("CNN", 4), ("pixels", 2))}
LONG = {f"logistic regression on the pixels of channel {i}": curve for i, curve in enumerate(CURVES.values())}
PICTURES = RNG.uniform(size=(14, 16, 16, 2))

FIGURES = {
    "curves": lambda: roc_curves(CURVES),
    "one curve": lambda: roc_curves({"CNN": CURVES["CNN"]}, {"CNN": (0.02, 0.95)}, 0.03),
    "points": lambda: roc_curves(CURVES, {"size gate": (0.09, 0.83), "CNN": (0.0, 1.0)}, 0.1),
    "long names": lambda: roc_curves(LONG, dict.fromkeys(LONG, (1.0, 1.0)), 0.005),
    "points alone": lambda: roc_curves({}, {"size gate": (0.5, 0.5)}),
    "screened": lambda: screened({"kept": PICTURES, "kept by mistake": PICTURES[:3]}, "Threshold 0.94."),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_keeps_its_words_inside(name):
    figure = FIGURES[name]()
    assert style.to_png(figure).startswith(b"\x89PNG")
    assert figure.texts[0].get_text()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
    renderer = figure.canvas.get_renderer()
    keys = [legend.get_window_extent(renderer) for legend in figure.legends]
    for axes in figure.axes if keys else []:
        assert axes.get_tightbbox(renderer).y0 > keys[0].y1


def test_curves_and_points_stand_where_their_rates_are():
    figure = roc_curves(CURVES, {"size gate": (0.09, 0.83), "CNN": (0.02, 0.95)})
    for axes in figure.axes:
        lines = axes.get_lines()[1:]
        for line, curve in zip(lines, CURVES.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), curve.false_positive_rate)
            np.testing.assert_array_equal(line.get_ydata(), curve.true_positive_rate)
        gate, cnn = axes.collections
        np.testing.assert_array_equal(gate.get_offsets(), [[0.09, 0.83]])
        np.testing.assert_array_equal(cnn.get_offsets(), [[0.02, 0.95]])
        assert style.CLASS_COLORS.index(lines[0].get_color()) == 0
        np.testing.assert_allclose(cnn.get_facecolor()[0, :3], _rgb(style.CLASS_COLORS[0]), atol=1e-6)
        np.testing.assert_allclose(gate.get_facecolor()[0, :3], _rgb(style.CLASS_COLORS[2]), atol=1e-6)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        f"CNN  ·  area {CURVES['CNN'].area:.3f}  ·  dot: keeps 95.0 %, lets through 2.0 %",
        f"pixels  ·  area {CURVES['pixels'].area:.3f}",
        "size gate  ·  keeps 83.0 %, lets through 9.0 %",
    ]
    assert figure.axes[0].get_xlim()[1] > 1 > 0.2 > figure.axes[1].get_xlim()[1] > 0.1


def test_groups_say_how_many_images_they_have_and_empty_ones_are_left_out():
    figure = screened({"kept": PICTURES, "rejected by mistake": PICTURES[:0], "rejected": PICTURES[:2]}, columns=5)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["kept · 14", "rejected · 2"]
    wide, narrow = (axes.get_images()[0].get_array().shape[1] for axes in figure.axes)
    assert wide // narrow == 2  # five images and two, with the gaps between them
    with pytest.raises(ValueError, match=r"got no image in any of the groups \['kept'\], expected one or more"):
        screened({"kept": PICTURES[:0]})


def _rgb(color):
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
