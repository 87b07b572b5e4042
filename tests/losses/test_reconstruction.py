import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.losses.reconstruction import centre_window, cross_entropy, reconstruction_loss, squared_error


def test_squared_error_is_the_normal_log_density_less_its_constant():
    rng = np.random.default_rng(0)
    x, logits = rng.uniform(size=(2, 3, 3, 1)), rng.normal(size=(2, 3, 3, 1))
    mean, scale = 1 / (1 + np.exp(-logits)), 0.2
    density = -((x - mean) ** 2) / (2 * scale**2) - np.log(scale * np.sqrt(2 * np.pi))
    expected = -density.sum((1, 2, 3)) - 9 * np.log(scale * np.sqrt(2 * np.pi))
    got = squared_error(jnp.asarray(x, jnp.float32), jnp.asarray(logits, jnp.float32), scale, jnp.ones((1, 3, 3, 1)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_cross_entropy_against_numpy():
    rng = np.random.default_rng(0)
    x, logits = rng.uniform(size=(2, 3, 3, 1)), rng.normal(size=(2, 3, 3, 1))
    p = 1 / (1 + np.exp(-logits))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3))
    got = cross_entropy(jnp.asarray(x, jnp.float32), jnp.asarray(logits, jnp.float32), jnp.ones((1, 3, 3, 1)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_window_is_one_at_the_centre_and_half_at_its_half_width():
    window = np.asarray(centre_window((65, 65, 1), 10.0))[0, :, :, 0]
    assert window[32, 32] == 1
    np.testing.assert_allclose(window[32, 42], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_array_equal(window, window.T)
    assert np.all(np.asarray(centre_window((8, 8, 3), None)) == 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gaussian", 0.1, None), ["'gaussian'", "normal", "bernoulli", "model.likelihood"]),
        (("normal", 0.0, None), ["model.scale", "0.0"]),
        (("normal", 0.1, -3.0), ["model.window_px", "-3.0"]),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        reconstruction_loss((8, 8, 1), *arguments)
    assert all(word in str(caught.value) for word in words)
