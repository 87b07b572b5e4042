import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn.convolution import (
    Conv,
    TransposedConv,
    UpsampleConv,
    convolve,
    kernel_gradient,
    transposed,
    transposed_native,
    upsample_convolve,
)
from cellfx.nn.cpu_convolution import transposed_phases


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


@pytest.mark.parametrize(("stride", "size", "kernel_size"), [(1, 7, 3), (2, 8, 4), (2, 7, 4), (2, 7, 3)])
@pytest.mark.parametrize("outputs", [3, 16])
def test_the_three_forms_are_one_product(stride, size, kernel_size, outputs):
    """<y, convolve(x, k)> = <x, transposed(y, k)> = <k, kernel_gradient(x, y)> for any x, y and k."""
    rng = np.random.default_rng(2)
    x, k = rng.normal(size=(2, size, size + 1, 5)), rng.normal(size=(kernel_size, kernel_size, 5, outputs))
    convolved = loops(x, k, stride, (1, 1))
    y = rng.normal(size=convolved.shape)
    x32, k32, y32 = (jnp.asarray(part, jnp.float32) for part in (x, k, y))
    expected = np.sum(y * convolved)
    back = transposed(y32, k32, stride, (1, 1), (size, size + 1))
    assert back.shape == x.shape
    assert float(jnp.sum(back * x32)) == pytest.approx(expected, rel=1e-4)
    slope = kernel_gradient(x32, y32, stride, (1, 1), kernel_size)
    assert slope.shape == k.shape
    assert float(jnp.sum(slope * k32)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("stride", "kernel_size", "padding"),
    [(1, 3, (1, 1)), (1, 2, (0, 1)), (2, 3, (1, 1)), (2, 4, (1, 1)), (2, 5, (1, 2)), (2, 1, (0, 0)), (3, 4, (1, 2))],
)
def test_the_form_for_cpus_is_xlas_own(stride, kernel_size, padding):
    key = jax.random.key(0)
    for size in ((9, 8), (6, 11)):
        small = [(length + sum(padding) - kernel_size) // stride + 1 for length in size]
        y, kernel = jax.random.normal(key, (2, *small, 5)), jax.random.normal(key, (kernel_size, kernel_size, 3, 5))
        ours, theirs = (form(y, kernel, stride, padding, size) for form in (transposed_phases, transposed_native))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stride", "kernel_size"), [(1, 3), (2, 4)])
def test_the_gradient_of_a_gradient(stride, kernel_size):
    """The slope by the kernel of a penalty on the slope by the image, against XLA's own convolution."""
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    k = jnp.asarray(rng.normal(size=(kernel_size, kernel_size, 3, 8)), jnp.float32)

    def plain(x, k):
        return jax.lax.conv_general_dilated(
            x, k, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def penalty(convolution):
        def of(k):
            slope = jax.grad(lambda x: jnp.sum(jnp.sin(convolution(x, k))))(x)
            return jnp.sum(jnp.square(slope))

        return jax.value_and_grad(of)(k)

    for found, expected in zip(penalty(lambda x, k: convolve(x, k, stride, (1, 1))), penalty(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("size", [(8, 10), (9, 11)])
def test_a_transposed_layer_doubles_the_image_and_the_spread(size):
    x = jax.random.normal(jax.random.key(0), (4, 4, 5, 64))
    layer = TransposedConv(32, size)
    y = layer.apply(layer.init(jax.random.key(1), x), x)
    assert y.shape == (4, *size, 32)
    assert float(jnp.std(y[:, 2:-2, 2:-2])) == pytest.approx(1.0, rel=0.1)


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
