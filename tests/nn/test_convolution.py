import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn.convolution import Conv, UpsampleConv, convolve, upsample_convolve


def loops(x, kernel, stride, padding):
    """Float64 NumPy, one output pixel at a time."""
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    out = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = np.einsum("buvi,uvio->bo", patch, kernel)
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("outputs", [3, 16])
def test_forward_and_both_gradients(stride, size, outputs):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, size, size + 1, 5)), rng.normal(size=(3, 3, 5, outputs))
    expected = loops(x, kernel, stride, (1, 1))
    x32, kernel32 = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    got, pullback = jax.vjp(lambda x, k: convolve(x, k, stride, (1, 1)), x32, kernel32)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    # The map is linear in each argument, so <dy, f(e)> along any direction e is the directional derivative.
    dy = rng.normal(size=expected.shape)
    dx, dk = pullback(jnp.asarray(dy, jnp.float32))
    ex, ek = rng.normal(size=x.shape), rng.normal(size=kernel.shape)
    np.testing.assert_allclose(np.sum(dx * ex), np.sum(dy * loops(ex, kernel, stride, (1, 1))), rtol=1e-3)
    np.testing.assert_allclose(np.sum(dk * ek), np.sum(dy * loops(x, ek, stride, (1, 1))), rtol=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
@pytest.mark.parametrize("outputs", [1, 8])
def test_subpixel_form_equals_upsampling_then_convolving(shape, outputs):
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, *shape, 6)), rng.normal(size=(3, 3, 6, outputs))
    expected = loops(x.repeat(2, axis=1).repeat(2, axis=2), kernel, 1, (1, 1))
    got = upsample_convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_layers_keep_the_dtype_of_their_input():
    for layer in (Conv(4, stride=2), UpsampleConv(4)):
        x = jnp.ones((1, 6, 6, 2), jnp.bfloat16)
        params = layer.init(jax.random.key(0), x)
        assert layer.apply(params, x).dtype == jnp.bfloat16
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
