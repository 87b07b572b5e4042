"""What charts of profiles show: wells in their places, treatments in clusters, nothing that is not there."""

import itertools

import numpy as np
import pytest

from cellfx.analysis import profile_charts
from cellfx.analysis.figures import to_png


def test_wells_lie_where_their_names_say():
    grid = profile_charts.plate_grid(["A01", "H12", "B03", "B03"], np.array([1.0, 2.0, 3.0, 5.0]))
    assert grid.shape == (8, 12)
    assert (grid[0, 0], grid[7, 11], grid[1, 2]) == (1.0, 2.0, 4.0)
    assert np.isnan(grid).sum() == 93


@pytest.mark.parametrize(
    ("well", "shape"), [("H13", (16, 24)), ("P24", (16, 24)), ("Q1", (32, 48)), ("AF48", (32, 48))]
)
def test_the_plate_is_the_smallest_that_has_all_wells(well, shape):
    grid = profile_charts.plate_grid([well], np.ones(1))
    assert grid.shape == shape
    assert np.nansum(grid) == 1.0


def test_a_well_of_two_letters_comes_after_z():
    assert np.argwhere(profile_charts.plate_grid(["AA01"], np.ones(1)) == 1.0).tolist() == [[26, 0]]


@pytest.mark.parametrize("name", ["1A", "A0", "A49", "AG01", "", "A1B"])
def test_what_is_no_well_is_refused(name):
    with pytest.raises(ValueError, match=f"no name of a well: got '{name}', expected such as B07"):
        profile_charts.plate_grid([name], np.ones(1))


def test_a_plate_map_is_symmetric_about_zero_where_asked():
    figure = profile_charts.plate_map(["A01", "A02"], np.array([-1.0, 3.0]), "Shift", "units", symmetric=True)
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-3.0, 3.0)


def test_clustering_puts_what_is_alike_side_by_side():
    rng = np.random.default_rng(0)
    group = np.tile(np.arange(4), 3)
    similarity = np.corrcoef(rng.normal(size=(4, 50))[group] + 0.3 * rng.normal(size=(12, 50)))
    figure = profile_charts.clustering(similarity, [f"g{g}" for g in group], "Treatments", "Red: alike.")
    shown = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert sum(a != b for a, b in itertools.pairwise(shown)) == 3


def test_a_logarithmic_curve_leaves_out_what_is_not_positive():
    lines = {"raw": (np.arange(3), np.array([0.0, 1.0, 10.0]))}
    figure = profile_charts.curves(lines, "Enrichment", "", "x", "y", level=1.0, logarithmic=True)
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [True, False, False]


def test_components_say_how_much_they_explain():
    figure = profile_charts.components(np.zeros((4, 2)), np.array([0.5, 0.25]), ["a", "b", "a", "b"], "Batches")
    assert figure.axes[0].get_xlabel() == "component 1  (50.0%)"
    assert to_png(figure).startswith(b"\x89PNG")
