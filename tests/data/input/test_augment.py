"""Augmentations against NumPy, one image at a time, and the distribution of what is drawn."""

import jax
import numpy as np
import pytest

from cellfx.data.input import augment

COUNT = 512
ALL = {"flips": True, "rotations": True, "crop_px": 3, "brightness": 0.2, "contrast": 0.3}


@pytest.fixture(scope="module")
def draws():
    return augment.draw(jax.random.key(5), COUNT, **ALL)


def _reference(image, flip, turns, shift_px, contrast, brightness):
    """float64, from the definition of each augmentation."""
    height, width, _ = image.shape
    image = image[::-1] if flip[0] else image
    image = image[:, ::-1] if flip[1] else image
    image = np.rot90(image, turns)
    shifted = np.broadcast_to(image.min(axis=(0, 1)), image.shape).copy()
    for row in range(height):
        for column in range(width):
            if 0 <= row - shift_px[0] < height and 0 <= column - shift_px[1] < width:
                shifted[row, column] = image[row - shift_px[0], column - shift_px[1]]
    mean = shifted.mean(axis=(0, 1))
    shifted = np.clip(mean + contrast * (shifted - mean), 0, 1)
    return np.clip(shifted + brightness, 0, 1)


def test_apply_equals_the_definition(draws):
    images = np.random.default_rng(0).random((COUNT, 6, 6, 2), np.float32)
    out = np.asarray(jax.jit(augment.apply)(images, draws))
    drawn = [np.asarray(values) for values in draws]
    for i in range(0, COUNT, 4):
        expected = _reference(images[i].astype(np.float64), *(values[i] for values in drawn))
        np.testing.assert_allclose(out[i], expected, rtol=0, atol=3e-7)
    assert out.min() >= 0
    assert out.max() <= 1


def test_geometric_augmentation_keeps_stored_pixels(draws):
    images = np.random.default_rng(0).integers(0, 2**16, (COUNT, 6, 6, 1)).astype(np.uint16)
    turned = np.asarray(augment.apply_geometric(images, draws._replace(shift_px=None)))
    assert turned.dtype == np.uint16
    np.testing.assert_array_equal(np.sort(turned.reshape(COUNT, -1)), np.sort(images.reshape(COUNT, -1)))


def test_nothing_drawn_changes_nothing():
    draws = augment.draw(jax.random.key(0), 4)
    assert draws == augment.Draws()
    images = np.random.default_rng(0).random((4, 5, 6, 1), np.float32)
    np.testing.assert_array_equal(augment.apply(images, draws), images)


def test_draws_are_uniform(draws):
    # 5 standard deviations of a binomial count of 512.
    counts = np.bincount(np.asarray(draws.quarter_turns), minlength=4)
    assert len(counts) == 4
    assert (abs(counts - 128) < 5 * np.sqrt(512 * 3 / 16)).all()
    assert (abs(np.asarray(draws.flip).sum(axis=0) - 256) < 5 * np.sqrt(128)).all()
    for axis in range(2):
        shifts, counts = np.unique(np.asarray(draws.shift_px)[:, axis], return_counts=True)
        np.testing.assert_array_equal(shifts, np.arange(-3, 4))
        assert (abs(counts - 512 / 7) < 5 * np.sqrt(512 * 6 / 49)).all()
    for values, low, high in ((draws.brightness, -0.2, 0.2), (draws.contrast, 0.7, 1.3)):
        values = np.asarray(values)
        assert low <= values.min() < low + 0.02
        assert high - 0.02 < values.max() <= high


def test_an_augmentation_draws_the_same_whichever_others_are_on(draws):
    for name, fields in (("flips", "flip"), ("rotations", "quarter_turns"), ("contrast", "contrast")):
        alone = augment.draw(jax.random.key(5), COUNT, **{name: ALL[name]})
        np.testing.assert_array_equal(getattr(alone, fields), getattr(draws, fields))
        assert sum(values is not None for values in alone) == 1


@pytest.mark.parametrize(
    ("shape", "augmentation", "message"),
    [
        ((8, 6, 1), {"rotations": True}, "height 8 and width 6; expected equal sides"),
        ((8, 6, 1), {"crop_px": 6}, "crop_px out of range: got 6; expected 0 to 5"),
        ((8, 8, 1), {"crop_px": -1}, "got -1"),
        ((8, 8, 1), {"brightness": 1.5}, "brightness out of range: got 1.5"),
        ((8, 8, 1), {"contrast": -0.1}, "contrast out of range: got -0.1"),
    ],
)
def test_augmentations_that_do_not_fit_are_refused(shape, augmentation, message):
    augment.check((8, 8, 1), **ALL)
    with pytest.raises(ValueError, match=message):
        augment.check(shape, **augmentation)
