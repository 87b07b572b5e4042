"""Convolutions that are fast on CPUs as well as on accelerators.

XLA's CPU backend computes the kernel gradient of a convolution up to 20 times slower than the forward pass. Written
as one matrix product per tap it costs about as much as the forward pass; on other backends XLA's own gradient is used.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

Padding = tuple[int, int]

MIN_PRODUCT_CHANNELS = 8
"""Output channels from which a matrix product per tap beats XLA's CPU kernel gradient (256 x 33 x 33 x 8 to 4 channels:
18 ms against 7; 256 x 9 x 9 x 32 to 64 channels: 4 ms against 66)."""


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Two-dimensional cross-correlation.

    Args:
        x: (B, H, W, I).
        kernel: (k, k, I, O).
        stride: of both image axes.
        padding: zeros before and after both image axes.

    Returns:
        (B, H', W', O) with H' = (H + sum(padding) - k) // stride + 1.
    """
    return _convolve(x, kernel, stride, padding)


def _forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> tuple[jax.Array, tuple]:
    return _convolve(x, kernel, stride, padding), (x, kernel)


def _backward(stride: int, padding: Padding, saved: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    (dx,) = jax.vjp(lambda x: _convolve(x, kernel, stride, padding), x)[1](dy)
    if dy.shape[-1] < MIN_PRODUCT_CHANNELS:
        return dx, _kernel_gradient_native(x, kernel, dy, stride, padding)
    gradient = jax.lax.platform_dependent(
        x,
        kernel,
        dy,
        cpu=partial(_kernel_gradient_products, stride=stride, padding=padding),
        default=partial(_kernel_gradient_native, stride=stride, padding=padding),
    )
    return dx, gradient


convolve.defvjp(_forward, _backward)


def _kernel_gradient_native(x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: Padding) -> jax.Array:
    return jax.vjp(lambda kernel: _convolve(x, kernel, stride, padding), kernel)[1](dy)[0]


def _kernel_gradient_products(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """Sum over b, h, w of x[b, h s + u, w s + v, i] dy[b, h, w, o], one matrix product for each tap (u, v)."""
    size, _, inputs, outputs = kernel.shape
    height, width = dy.shape[1:3]
    padded = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    rows = dy.reshape(-1, outputs)
    taps = [
        padded[:, u : u + stride * (height - 1) + 1 : stride, v : v + stride * (width - 1) + 1 : stride]
        for u in range(size)
        for v in range(size)
    ]
    products = [tap.reshape(-1, inputs).T @ rows for tap in taps]
    return jnp.stack(products).reshape(kernel.shape)


def upsample_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Nearest-neighbour upsampling by 2 followed by a 3x3 convolution with zero padding, without the upsampled tensor.

    Each of the four output phases is a 2x2 convolution of the small image, whose taps are sums of the 3x3 taps: one
    convolution with four times the channels, then a pixel shuffle; 4/9 of the multiplications.

    Args:
        x: (B, H, W, I).
        kernel: (3, 3, I, O).

    Returns:
        (B, 2 H, 2 W, O).
    """
    batch, height, width, _ = x.shape
    outputs = kernel.shape[-1]
    phases = _phase_kernel(kernel)
    grid = convolve(x, phases, 1, (1, 1)).reshape(batch, height + 1, width + 1, 2, 2, outputs)
    rows = [
        jnp.stack([grid[:, a : a + height, b : b + width, a, b] for b in (0, 1)], axis=3).reshape(
            batch, height, 2 * width, outputs
        )
        for a in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, outputs)


def _phase_kernel(kernel: jax.Array) -> jax.Array:
    """(3, 3, I, O) -> (2, 2, I, 4 O): phase 0 sees the taps (0 | 1 + 2), phase 1 (0 + 1 | 2), along each axis."""
    fold = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype)
    folded = jnp.einsum("aup,bvq,pqio->uviabo", fold, fold, kernel)
    return folded.reshape(2, 2, kernel.shape[2], 4 * kernel.shape[3])


class Conv(nn.Module):
    """3x3 convolution with padding 1, and a bias unless told otherwise; stride 2 halves the image (rounding up)."""

    features: int
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, I) -> (B, ceil(H / stride), ceil(W / stride), features)."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        y = convolve(x, kernel.astype(x.dtype), self.stride, (1, 1))
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(x.dtype).reshape(1, 1, 1, -1)


class UpsampleConv(nn.Module):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution with bias, see ``upsample_convolve``."""

    features: int
    initial_bias: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, I) -> (B, 2 H, 2 W, features)."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.constant(self.initial_bias), (self.features,))
        return upsample_convolve(x, kernel.astype(x.dtype)) + bias.astype(x.dtype).reshape(1, 1, 1, -1)
