"""What charts of profiles show: wells in their places, treatments in clusters, nothing that is not there."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from cellfx.report.charts import plates, profiles, treatments
from cellfx.report.charts.style import FADED, to_png


def said(figure):
    """The note below the title."""
    return figure.texts[1].get_text().replace("\n", " ")


def test_wells_lie_where_their_names_say():
    grid = plates.plate_grid(["A01", "H12", "B03", "B03"], np.array([1.0, 2.0, 3.0, 5.0]))
    assert grid.shape == (8, 12)
    assert (grid[0, 0], grid[7, 11], grid[1, 2]) == (1.0, 2.0, 4.0)
    assert np.isnan(grid).sum() == 93


@pytest.mark.parametrize(
    ("well", "shape"), [("H13", (16, 24)), ("P24", (16, 24)), ("Q1", (32, 48)), ("AF48", (32, 48))]
)
def test_the_plate_is_the_smallest_that_has_all_wells(well, shape):
    grid = plates.plate_grid([well], np.ones(1))
    assert grid.shape == shape
    assert np.nansum(grid) == 1.0


def test_a_well_of_two_letters_comes_after_z():
    assert np.argwhere(plates.plate_grid(["AA01"], np.ones(1)) == 1.0).tolist() == [[26, 0]]


@pytest.mark.parametrize(
    "name", ["B07", "b07", "B7", "B007", "B-07", "b_7", "B 07", " B07 ", "r02c07", "R2C7", "r02-c07", "R02_C07"]
)
def test_one_well_has_many_names(name):
    assert plates.well_place(name) == (1, 6)


def test_a_row_called_r_and_the_last_row_are_known():
    assert plates.well_place("R01") == (17, 0)
    assert plates.well_place("r32c48") == plates.well_place("AF48") == (31, 47)
    assert plates.has_place(["A01", None, 7, "empty", "A01"]).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("name", ["1A", "A0", "A49", "AG01", "", "A1B", "r00c01", "r33c01", "r01c49", "7", "A0001"])
def test_what_is_no_well_is_refused(name):
    with pytest.raises(ValueError, match=f"no name of a well: got '{name}', expected such as B07"):
        plates.plate_grid([name], np.ones(1))


def test_a_plate_map_is_symmetric_about_zero_where_asked():
    figure = plates.plate_map(["A01", "A02"], np.array([-1.0, 3.0]), "Shift", "units", symmetric=True)
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-3.0, 3.0)


def test_a_plate_map_says_what_its_colors_are():
    figure = plates.plate_map(["A01"], np.ones(1), "Shift", "units", note="Mean of two.")
    assert said(figure) == "Color: units. Gray: no well, or none with a value. Mean of two."
    assert figure.axes[0].get_facecolor() == to_rgba(FADED)


def test_clustering_puts_what_is_alike_side_by_side():
    rng = np.random.default_rng(0)
    group = np.tile(np.arange(4), 3)
    similarity = np.corrcoef(rng.normal(size=(4, 50))[group] + 0.3 * rng.normal(size=(12, 50)))
    figure = profiles.clustering(similarity, [f"g{g}" for g in group], "Treatments", "Red: alike.")
    shown = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert sum(a != b for a, b in itertools.pairwise(shown)) == 3


def test_clustering_names_up_to_a_hundred_treatments_and_has_a_scale():
    rng = np.random.default_rng(0)
    for number, named in ((100, True), (101, False)):
        similarity = np.corrcoef(rng.normal(size=(number, 20)))
        names = [f"compound {i:03d} of a mechanism with a very long name" for i in range(number)]
        figure = profiles.clustering(similarity, names, "Treatments", "Red: alike.")
        labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
        assert sorted(labels) == ([profiles.short(name, 44) for name in names] if named else [])
        largest = np.abs(similarity - 2 * np.eye(number))[~np.eye(number, dtype=bool)].max()
        assert figure.axes[1].images[0].get_clim() == (-largest, largest)
        assert [text.get_text() for text in figure.axes[2].get_xticklabels()][1:] == ["0", f"{largest:.2f}"]
        assert f"Colors end at {largest:.2f}." in said(figure)
        assert ("Names are left out" in said(figure)) != named
        assert figure.get_size_inches()[0] < 9  # a page at full width


def test_a_name_is_cut_where_it_is_too_long():
    assert profiles.short("abc", 3) == "abc"
    assert profiles.short("abcd", 3) == "ab\N{HORIZONTAL ELLIPSIS}"


def test_an_infinite_value_is_a_triangle_on_the_upper_edge_and_said():
    lines = {"raw": (np.arange(3), np.array([1.0, 2.0, np.inf])), "new": (np.arange(3), np.array([1.0, 2.0, 3.0]))}
    figure = profiles.curves(lines, "Enrichment", "Odds.", "x", "y")
    of_raw, of_new = figure.axes[0].collections
    assert of_raw.get_offsets().tolist() == [[2.0, 1.0]]
    assert not len(of_new.get_offsets())
    assert said(figure) == "Odds. Triangles on the upper edge: infinite."
    lines = {"new": lines["new"]}
    assert said(profiles.curves(lines, "Enrichment", "Odds.", "x", "y")) == "Odds."


@pytest.mark.parametrize("log_y", [False, True])
def test_triangles_lie_within_the_axes_also_where_all_values_are_infinite(log_y):
    x = np.array([0.98, 0.99, 0.995])
    for finite in (0, 1):
        y = np.where(np.arange(3) < finite, 3.0, np.inf)
        figure = profiles.curves({"raw": (x, y)}, "Enrichment", "", "x", "y", level=1.0, log_y=log_y)
        figure.canvas.draw()
        (axes,) = figure.axes
        low, high = axes.get_xlim()
        assert 0.97 < low < x[finite] < x[-1] < high < 1
        low, high = axes.get_ylim()
        assert low < 1 < high <= 10


def test_curves_that_coincide_are_told_apart_by_color_dashes_and_width():
    same = (np.arange(3), np.ones(3))
    figure = profiles.curves({f"variant {i}": same for i in range(20)}, "Recall", "", "x", "y")
    lines = figure.axes[0].lines
    assert len({(line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in lines}) == 20
    for earlier, later in itertools.pairwise(lines):
        assert earlier.get_color() != later.get_color()
        assert str(earlier._dash_pattern) != str(later._dash_pattern)
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True)
    assert widths[-2] > widths[-1]


def test_a_logarithmic_curve_leaves_out_what_is_not_positive():
    lines = {"raw": (np.arange(3), np.array([0.0, 1.0, 10.0]))}
    figure = profiles.curves(lines, "Enrichment", "", "x", "y", level=1.0, log_y=True)
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [True, False, False]


def test_what_stands_between_dollars_is_text():
    r"""``\frac{`` would end in an error, and x be set in italics, as mathematics."""
    odd = r"costs $\frac{$ or $x$"
    lines = {odd: (np.arange(3), np.array([0.01, 1.0, 1e5]))}
    figures = [profiles.curves(lines, odd, odd, odd, odd, log_y=True)]
    figures.append(profiles.heatmap(np.eye(2), [odd, "b"], [odd, "d"], odd, odd))
    figures.append(profiles.clustering(np.eye(3), [odd, "b", "c"], odd, odd))
    figures.append(profiles.components(np.eye(2), np.ones(2), [odd, "b"], odd, odd))
    figures.append(treatments.treatment_map(np.eye(2), [odd, None], odd, odd))
    for figure in figures:
        assert to_png(figure).startswith(b"\x89PNG")
        texts = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert len(texts) >= 3
        assert not any(text.get_parse_math() for text in texts)
    ticks = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert not any("mathdefault" in tick for tick in ticks)


def test_components_say_how_much_they_explain():
    figure = profiles.components(np.zeros((4, 2)), np.array([0.5, 0.25]), ["a", "b", "a", "b"], "Batches")
    assert figure.axes[0].get_xlabel() == "component 1  (50.0%)"
    assert to_png(figure).startswith(b"\x89PNG")
