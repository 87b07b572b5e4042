import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.input import augment, augment_tf
from cellfx.data.source import to_float

ALL = {"flips": True, "rotations": True, "crop_px": 3, "brightness": 0.2, "contrast": 0.3}
NUM_DRAWS = 4096


@pytest.fixture(scope="module")
def tf():
    return import_tensorflow()


def _images(shape, dtype):
    rng = np.random.default_rng(0)
    if dtype == np.float32:
        return rng.random(shape, np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


def _as_tensors(tf, draws):
    return augment.Draws(*(None if values is None else tf.constant(np.asarray(values)) for values in draws))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((64, 8, 8, 1), {"flips": True, "rotations": True, "crop_px": 3}),
        ((64, 8, 8, 3), {"flips": True, "rotations": True, "crop_px": 7}),
        ((64, 8, 6, 2), {"flips": True, "crop_px": 1}),
        ((64, 8, 8, 1), {"rotations": True}),
    ],
)
def test_flips_turns_and_shifts_equal_those_of_jax(tf, shape, dtype, settings):
    images = _images(shape, dtype)
    draws = augment.draw(jax.random.key(1), len(images), **settings)
    ours = augment_tf.apply(tf.constant(images), _as_tensors(tf, draws), settings.get("crop_px", 0)).numpy()
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, np.asarray(augment.apply(jnp.asarray(images), draws)))


def test_brightness_and_contrast_equal_those_of_jax(tf):
    images = _images((64, 8, 8, 2), np.float32)
    draws = augment.draw(jax.random.key(2), len(images), **ALL)
    ours = augment_tf.apply(tf.constant(images), _as_tensors(tf, draws), ALL["crop_px"]).numpy()
    # The mean of an image is summed in another order: the last bits differ.
    np.testing.assert_allclose(ours, np.asarray(augment.apply(jnp.asarray(images), draws)), rtol=0, atol=3e-7)


def test_float_images_equal_those_of_jax(tf):
    for dtype in (np.uint8, np.uint16, np.float32):
        images = _images((4, 5, 6, 1), dtype)
        ours = augment_tf.to_float(tf.constant(images)).numpy()
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, to_float(images))


@pytest.fixture(scope="module")
def both_draws(tf):
    return (
        augment_tf.draw(tf.constant([3, 4]), NUM_DRAWS, **ALL),
        augment.draw(jax.random.key(5), NUM_DRAWS, **ALL),
    )


@pytest.mark.parametrize("name", augment.Draws._fields)
def test_draws_are_distributed_as_those_of_jax(both_draws, name):
    ours, theirs = (np.asarray(getattr(draws, name)).astype(np.float64) for draws in both_draws)
    assert np.asarray(getattr(both_draws[0], name)).dtype == np.asarray(getattr(both_draws[1], name)).dtype
    assert ours.shape == theirs.shape
    if name in ("flip", "quarter_turns", "shift_px"):
        values = np.unique(theirs)
        counts = np.array([[np.sum(drawn == value) for value in values] for drawn in (ours, theirs)])
        assert counts.sum() == ours.size + theirs.size  # the same values are drawn
        assert np.abs(counts[0] - counts[1]).max() < 5 * np.sqrt(2 * ours.size / len(values))
    else:
        assert abs(ours.mean() - theirs.mean()) < 5 * np.sqrt(2 / NUM_DRAWS) * theirs.std()
        quantiles = np.linspace(0, 1, 11)
        spread = theirs.max() - theirs.min()
        np.testing.assert_allclose(
            np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=5 * spread * np.sqrt(0.5 / NUM_DRAWS)
        )


def test_an_augmentation_draws_the_same_whatever_else_is_on(tf):
    seed = tf.constant([3, 4])
    alone = augment_tf.draw(seed, 32, crop_px=3)
    together = augment_tf.draw(seed, 32, **ALL)
    assert alone.flip is None
    np.testing.assert_array_equal(alone.shift_px, together.shift_px)
    other = augment_tf.draw(tf.constant([3, 5]), 32, crop_px=3)
    assert np.any(other.shift_px != alone.shift_px)
