import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.images.screening import judge_screen
from cellfx.analysis.images.size_gate import SizeGate, extent, fit_size_gate, gate

_spec = importlib.util.spec_from_file_location(
    "reference_size_gate", Path(__file__).parents[2] / "reference/size_gate.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def frames(count, seed):
    """Single cells are 20 to 30 px and round; others are small, large, long or empty, and some look the same."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=count) < 0.6
    kind = rng.integers(0, 5, count)
    rows = rng.integers(20, 31, count)
    columns = rows + rng.integers(-3, 4, count)
    bad = ~labels
    rows = np.where(bad & (kind == 0), rng.integers(3, 12, count), rows)
    columns = np.where(bad & (kind == 0), rng.integers(3, 12, count), columns)
    rows = np.where(bad & (kind == 1), 2 * rows, rows)
    rows, columns = (np.where(bad & (kind == 2), f * x, x) for f, x in ((2, rows), (2, columns)))
    sizes = np.stack([rows, columns], axis=1)
    sizes[bad & (kind == 3)] = 0
    return sizes, labels


@pytest.mark.parametrize(("num_values", "seed"), [(2, 0), (4, 1), (5, 2)])
def test_the_gate_equals_a_search_one_by_one(num_values, seed):
    sizes, labels = frames(60, seed)
    accuracy, _, limits = reference.best_size_gate(sizes, labels, num_values)
    found = fit_size_gate(sizes, labels, num_values)
    assert found == SizeGate(*limits)
    np.testing.assert_allclose(np.mean(gate(found, sizes) == labels), accuracy, rtol=1e-12)


def test_the_gate_of_sizes_that_say_nothing_is_the_widest():
    sizes = np.repeat([[10, 20], [40, 30], [25, 25]], 4, axis=0)
    labels = np.tile([True, True, True, False], 3)
    assert fit_size_gate(sizes, labels) == SizeGate(10, 40, 20, 30, 2)


def test_a_gate_finds_single_cells():
    found = fit_size_gate(*frames(2000, 0))
    sizes, labels = frames(2000, 1)
    result = judge_screen(gate(found, sizes).astype(float), labels, 0.5)
    # A fifth of the other images, of 40 %, has the size of single cells.
    np.testing.assert_allclose(result.accuracy, 0.92, atol=0.03)
    assert 10 <= found.min_rows <= 20
    assert 30 <= found.max_rows <= 40


def test_every_limit_is_inclusive_and_stops_what_is_beyond():
    limits = SizeGate(10, 20, 8, 25, 2.0)
    inside = [[10, 8], [20, 25], [16, 8], [10, 20]]
    outside = [[9, 12], [21, 20], [10, 7], [20, 26], [17, 8], [10, 21], [0, 0], [0, 12]]
    assert gate(limits, np.array(inside)).all()
    assert not gate(limits, np.array(outside)).any()
    assert not gate(SizeGate(0, 99, 0, 99, np.inf), np.array([[0, 0], [0, 5], [5, 0]])).any()


def test_the_extent_of_boxes_is_known():
    images = np.full((6, 20, 24, 2), 0.5, np.float32)
    images[0, 3:10, 5:20, 0] = 0.9
    images[1, 3:10, 5:20, 1] = 0.1  # darker, in the other channel
    images[2, 3:8, 2:6, 0] = images[2, 10:17, 12:22, 1] = 0.8  # two cells measure as both together
    images[3, 4:6, 4:8, 0] = 0.9  # a speck of 8 px
    images[4, 3:10, 5:20, 0] = 0.54  # too faint
    assert extent(images).tolist() == [[7, 15], [7, 15], [14, 20], [0, 0], [0, 0], [0, 0]]
    assert extent(images[3:5], min_area_px=8, min_contrast=0.03).tolist() == [[2, 4], [7, 15]]


def test_noise_is_not_an_object():
    rng = np.random.default_rng(0)
    images = 0.5 + 0.06 * rng.normal(size=(200, 32, 32, 1))
    assert not extent(images).any()
    images[:, 8:20, 10:25] += 0.4
    sizes = extent(images)
    np.testing.assert_allclose(sizes.mean(axis=0), [12, 15], atol=0.1)


def test_every_image_is_measured_by_itself(monkeypatch):
    rng = np.random.default_rng(0)
    images = 0.3 + 0.02 * rng.normal(size=(9, 16, 16, 1))
    for i, image in enumerate(images):
        image[2 : 4 + i, 3:9] = 0.9
    alone = np.concatenate([extent(image[None]) for image in images])
    assert alone.tolist() == [[2 + i, 6] for i in range(9)]
    monkeypatch.setattr("cellfx.analysis.images.size_gate._BLOCK", 4)
    np.testing.assert_array_equal(extent(images), alone)


def test_bad_input():
    sizes, labels = frames(20, 0)
    with pytest.raises(ValueError, match=r"got labels of shape \(19,\) for 20 images, expected \(20,\)"):
        fit_size_gate(sizes, labels[1:])
    with pytest.raises(ValueError, match=r"got the labels \[True\]"):
        fit_size_gate(sizes, np.ones(20, bool))
    with pytest.raises(ValueError, match=r"sizes that are none: got shape \(20,\) with 0 negative"):
        fit_size_gate(sizes[:, 0], labels)
    with pytest.raises(ValueError, match=r"got shape \(1, 2\) with 1 negative or undefined numbers, expected \(N, 2\)"):
        gate(SizeGate(1, 2, 1, 2, 1), np.array([[-1, 3]]))
    with pytest.raises(ValueError, match="num_values makes no grid: got 1, expected 2 or more"):
        fit_size_gate(sizes, labels, 1)
    with pytest.raises(ValueError, match="got 20 images without anything in them"):
        fit_size_gate(0 * sizes, labels)
    with pytest.raises(ValueError, match=r"got shape \(4, 8, 8\), expected \(N, H, W, C\)"):
        extent(np.zeros((4, 8, 8)))
