import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.studies.attacked import centred


@pytest.mark.parametrize(("size", "cropped"), [(64, 48), (65, 48), (64, 47), (8, 8)])
def test_an_image_cropped_twice_is_the_image_cropped_once(size, cropped):
    images = np.random.default_rng(0).random((2, size + 6, size + 6, 1)).astype(np.float32)
    once = centred(jnp.asarray(images), (cropped, cropped, 1))
    twice = centred(centred(jnp.asarray(images), (size, size, 1)), (cropped, cropped, 1))
    assert once.shape == (2, cropped, cropped, 1)
    if (size - cropped) % 2 == 0:
        np.testing.assert_array_equal(once, twice)


def test_padding_is_black_and_undone_by_cropping():
    images = np.random.default_rng(0).random((2, 5, 6, 3)).astype(np.float32)
    padded = centred(jnp.asarray(images), (8, 9, 3))
    assert padded.shape == (2, 8, 9, 3)
    np.testing.assert_allclose(np.sum(padded), np.sum(images), rtol=1e-6)
    np.testing.assert_array_equal(centred(padded, (5, 6, 3)), images)
