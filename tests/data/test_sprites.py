"""Sprites against the geometry drawn pixel by pixel, and what is known of dSprites."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.data import sprites

_spec = importlib.util.spec_from_file_location("sprites_reference", Path(__file__).parents[1] / "reference/sprites.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

HEART = np.load(Path(sprites.__file__).with_name("heart_poly.npy"))


def _area(vertices):
    x, y = vertices.T.astype(np.float64)
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_images_equal_those_drawn_pixel_by_pixel():
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, size, 300) for size in sprites.FACTOR_SIZES], axis=-1)
    # The four corners of the grid of places too, where a sprite comes closest to the border.
    corners = np.array([[shape, 5, 7, x, y] for shape in range(3) for x in (0, 31) for y in (0, 31)])
    factors = np.concatenate([factors, corners])
    for image, row in zip(sprites.render(factors), factors, strict=True):
        values = [column[index] for column, index in zip(sprites.FACTOR_VALUES, row, strict=True)]
        expected = reference.draw(HEART, int(values[0]), *values[1:])
        np.testing.assert_array_equal(image[..., 0], expected * 255)


def test_the_order_is_the_official_one():
    assert np.prod(sprites.FACTOR_SIZES) == sprites.NUM_IMAGES == 737_280
    # 1 shape, 2 scales, 3 orientations, 4 columns and 5 rows on: the last factor varies fastest.
    index = 1 * (6 * 40 * 32 * 32) + 2 * (40 * 32 * 32) + 3 * (32 * 32) + 4 * 32 + 5
    np.testing.assert_array_equal(
        sprites.factor_indices(np.array([0, index, 737_279])), [[0] * 5, [1, 2, 3, 4, 5], [2, 5, 39, 31, 31]]
    )
    values = sprites.factor_values(np.array([[2, 5, 39, 31, 0]]))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [[2, 1.0, 2 * np.pi, 1, 0]], rtol=1e-6)


def test_sprites_cover_the_area_of_their_shapes():
    areas = {0: 19.2**2, 1: np.pi * 12.8 * 7.2, 2: _area(HEART)}
    for shape, area in areas.items():
        places = np.stack(np.meshgrid([shape], [5], np.arange(40), np.arange(0, 32, 3), [16], indexing="ij"), axis=-1)
        count = (sprites.render(places.reshape(-1, 5)) > 0).sum(axis=(1, 2, 3))
        # A mean over 440 places; a single one misses by some pixels of the outline.
        np.testing.assert_allclose(count.mean(), area, rtol=0.003)
        np.testing.assert_allclose(count, area, rtol=0.05)


def test_upright_square_at_the_first_place():
    image = sprites.render(np.array([[0, 0, 0, 0, 0]]))[0, :, :, 0]
    # Half a side is 4.8 px about (16, 16): centers 11.5 to 20.5, pixels 11 to 20.
    expected = np.zeros((64, 64), np.uint8)
    expected[11:21, 11:21] = 255
    np.testing.assert_array_equal(image, expected)


def test_first_and_last_orientation_look_alike():
    factors = np.array([[shape, 3, orientation, 9, 21] for orientation in (0, 39) for shape in range(3)])
    first, last = np.split(sprites.render(factors), 2)
    np.testing.assert_array_equal(first, last)


def test_heart_is_mirror_symmetric_and_points_down():
    # At x = 0 the center lies between two pixels, columns 15 and 16.
    image = sprites.render(np.array([[2, 5, 0, 0, 0]]))[0, :, :, 0] > 0
    np.testing.assert_array_equal(image[:, :16], image[:, 31:15:-1])
    rows = np.flatnonzero(image.any(axis=1))
    widths = image.sum(axis=1)[rows]
    assert widths[-1] < widths[len(rows) // 3] / 4
    # Two lobes: the topmost row is on at both sides of the axis and off on it.
    assert not image[rows[0], 15:17].any()


def test_a_mean_sprite_covers_the_mean_area_and_leaves_the_border_free():
    rng = np.random.default_rng(1)
    images = sprites.render(sprites.factor_indices(rng.choice(sprites.NUM_IMAGES, 4000))) > 0
    # Scales .5 to 1 in six steps have a mean square of 3.55 / 6.
    expected = 3.55 / 6 * (19.2**2 + np.pi * 12.8 * 7.2 + _area(HEART)) / 3
    # The areas' standard deviation is about 80 pixels; 5 of the mean of 4,000.
    assert abs(images.sum(axis=(1, 2, 3)).mean() - expected) < 5 * 80 / np.sqrt(4000)
    assert not images[:, [0, 1, -2, -1]].any()
    assert not images[:, :, [0, 1, -2, -1]].any()


def test_splits_are_disjoint_and_described():
    source = sprites.sprites(300, 20, 30, seed=2)
    assert list(source.splits) == ["train", "valid", "test"]
    indices = [split.metadata["Metadata_Index"] for split in source.splits.values()]
    assert [len(part) for part in indices] == [300, 20, 30]
    assert len(np.unique(np.concatenate(indices))) == 350
    train = source.splits["train"]
    factors = sprites.factor_indices(train.metadata["Metadata_Index"])
    np.testing.assert_array_equal(train.arrays["x"], sprites.render(factors))
    np.testing.assert_array_equal(train.arrays["label"], factors[:, 0])
    np.testing.assert_array_equal(train.arrays["factors"], sprites.factor_values(factors))
    assert train.arrays["label"].dtype == np.int32
    assert set(np.unique(train.arrays["x"])) == {0, 255}
    assert source.shape == train.arrays["x"].shape[1:]


def test_more_training_images_leave_the_other_splits_alone():
    few, many = sprites.sprites(10, 20, 30), sprites.sprites(50, 20, 30)
    for name, size in (("train", 10), ("valid", 20), ("test", 30)):
        ours, theirs = (source.splits[name].metadata["Metadata_Index"] for source in (few, many))
        np.testing.assert_array_equal(ours, theirs[:size])


def test_none_trains_on_all_that_is_left(monkeypatch):
    monkeypatch.setattr(sprites, "render", lambda factors: np.broadcast_to(np.uint8(0), (len(factors), 64, 64, 1)))
    source = sprites.sprites(None, 737_000, 200)
    assert source.splits["train"].num_examples == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 737_280, "num_valid": 1, "num_test": 0}, "num_train=737280, num_valid=1, num_test=0"),
        ({"num_valid": -5}, "num_valid=-5"),
        ({"num_train": None, "num_valid": 700_000, "num_test": 40_000}, "num_train=None, num_valid=700000"),
    ],
)
def test_impossible_splits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sprites.sprites(**arguments)


def test_factors_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"got indices \[0 0 0 0 0\] to \[3 0 0 0 0\]"):
        sprites.render(np.array([[0, 0, 0, 0, 0], [3, 0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"got shape \(2, 6\)"):
        sprites.render(np.zeros((2, 6), int))
