import numpy as np
import pytest

from cellfx.preprocess import background

RNG = np.random.default_rng(0)


def test_the_deviation_map_is_that_of_every_position():
    images = RNG.integers(0, 65536, (2100, 3, 5)).astype(np.uint16)
    # More images than are read at once.
    np.testing.assert_allclose(background.deviation_map(images), images.astype(np.float64).std(axis=0), rtol=1e-12)


def test_otsu_equals_a_search_over_all_cuts():
    for values in (RNG.normal(size=200), RNG.integers(0, 4, 50), 1e9 + RNG.integers(0, 9, 60), np.array([3.0, 5.0])):

        def apart(cut, values=values):
            low, high = values[values <= cut], values[values > cut]
            return len(low) * len(high) * (low.mean() - high.mean()) ** 2

        cuts = np.unique(values)[:-1]
        assert background.otsu(values) == max(cuts, key=apart)


def test_cells_lie_where_images_differ():
    deviations = np.ones((6, 6))
    deviations[2:5, 1:4] = 9
    is_cell, threshold = background.cell_positions(deviations)
    np.testing.assert_array_equal(is_cell, deviations == 9)
    assert threshold == 1
    # The gain of the camera changes nothing.
    np.testing.assert_array_equal(background.cell_positions(37 * deviations)[0], is_cell)
    deviations[0, 0] = 5
    is_cell, threshold = background.cell_positions(deviations, 4)
    assert (is_cell[0, 0], threshold) == (True, 4.0)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 2), (5, 8)])
def test_positions_that_deviate_alike_leave_the_middle(shape):
    is_cell, threshold = background.cell_positions(np.full(shape, 2.5))
    assert threshold is None
    assert 0 < is_cell.sum() < is_cell.size


def test_a_threshold_without_cells_or_background_is_refused():
    deviations = np.array([[1.0, 2.0], [3.0, 4.0]])
    for threshold in (0.5, 4, float("nan")):
        with pytest.raises(ValueError, match=f"got threshold={threshold:g}, expected at least 1 and less than 4, "):
            background.cell_positions(deviations, threshold)
    assert background.cell_positions(deviations, 1)[0].sum() == 3


def test_background_and_deviation_of_each_image():
    is_cell = np.array([[True, False, False], [True, False, True]])
    images = np.array([[[0, 7, 9], [4, 8, 8]], [[5, 65535, 1], [5, 1, 5]]], np.uint16)
    medians, deviations = background.background_and_deviation(images, is_cell)
    np.testing.assert_array_equal(medians, [8, 1])
    np.testing.assert_allclose(deviations, [np.sqrt((16 + 0 + 16) / 3), 0], rtol=1e-12)
