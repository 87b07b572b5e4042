"""Convolutions that are fast on CPUs as well as on accelerators, and may be differentiated any number of times.

XLA's CPU backend computes the kernel gradient of a convolution up to 20 times slower than the forward pass, and the
gradient by the image, inside a loop such as a scan over steps, up to 60 times. Written as one matrix product per tap,
and as one convolution for all phases, they cost about as much as the forward pass; other backends use XLA's own.

<dy, convolve(x, kernel)> is linear in each of its three factors. Its slope by one of them is a function of the other
two: ``convolve``, ``transposed`` and ``kernel_gradient``. So each one's derivatives are the other two, and a penalty on
a gradient, whose own gradient differentiates twice, is as fast as all else.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.nn.cpu_convolution import Padding, interleaved, kernel_gradient_products, transposed_phases

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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def transposed(
    y: jax.Array, kernel: jax.Array, stride: int, padding: Padding, image_size: tuple[int, int]
) -> jax.Array:
    """Transposed convolution: the slope of <y, convolve(x, kernel)> by x.

    Args:
        y: (B, H', W', O).
        kernel: (k, k, I, O).
        stride: of the convolution.
        padding: of the convolution.
        image_size: H and W of x; several give the same H' and W'.

    Returns:
        (B, H, W, I).
    """
    settings = {"stride": stride, "padding": padding, "image_size": image_size}
    return jax.lax.platform_dependent(
        y, kernel, cpu=partial(transposed_phases, **settings), default=partial(transposed_native, **settings)
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def kernel_gradient(x: jax.Array, y: jax.Array, stride: int, padding: Padding, kernel_size: int) -> jax.Array:
    """The slope of <y, convolve(x, kernel)> by the kernel.

    Args:
        x: (B, H, W, I).
        y: (B, H', W', O).
        stride: of the convolution.
        padding: of the convolution.
        kernel_size: k.

    Returns:
        (k, k, I, O).
    """
    settings = {"stride": stride, "padding": padding, "size": kernel_size}
    if y.shape[-1] < MIN_PRODUCT_CHANNELS:
        return _kernel_gradient_native(x, y, **settings)
    return jax.lax.platform_dependent(
        x, y, cpu=partial(kernel_gradient_products, **settings), default=partial(_kernel_gradient_native, **settings)
    )


def _convolve_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> tuple[jax.Array, tuple]:
    return convolve(x, kernel, stride, padding), (x, kernel)


def _convolve_backward(stride: int, padding: Padding, saved: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    dx = transposed(dy, kernel, stride, padding, x.shape[1:3])
    return dx, kernel_gradient(x, dy, stride, padding, kernel.shape[0])


def _transposed_forward(
    y: jax.Array, kernel: jax.Array, stride: int, padding: Padding, image_size: tuple[int, int]
) -> tuple[jax.Array, tuple]:
    return transposed(y, kernel, stride, padding, image_size), (y, kernel)


def _transposed_backward(
    stride: int, padding: Padding, image_size: tuple[int, int], saved: tuple, dx: jax.Array
) -> tuple[jax.Array, jax.Array]:
    y, kernel = saved
    return convolve(dx, kernel, stride, padding), kernel_gradient(dx, y, stride, padding, kernel.shape[0])


def _kernel_gradient_forward(
    x: jax.Array, y: jax.Array, stride: int, padding: Padding, kernel_size: int
) -> tuple[jax.Array, tuple]:
    return kernel_gradient(x, y, stride, padding, kernel_size), (x, y)


def _kernel_gradient_backward(
    stride: int, padding: Padding, kernel_size: int, saved: tuple, dk: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, y = saved
    return transposed(y, dk, stride, padding, x.shape[1:3]), convolve(x, dk, stride, padding)


convolve.defvjp(_convolve_forward, _convolve_backward)
transposed.defvjp(_transposed_forward, _transposed_backward)
kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


def transposed_native(
    y: jax.Array, kernel: jax.Array, stride: int, padding: Padding, image_size: tuple[int, int]
) -> jax.Array:
    """``transposed`` as XLA has it."""
    images = jnp.zeros((y.shape[0], *image_size, kernel.shape[2]), y.dtype)
    return jax.vjp(lambda x: _convolve(x, kernel, stride, padding), images)[1](y)[0]


def _kernel_gradient_native(x: jax.Array, y: jax.Array, stride: int, padding: Padding, size: int) -> jax.Array:
    kernel = jnp.zeros((size, size, x.shape[-1], y.shape[-1]), x.dtype)
    return jax.vjp(lambda kernel: _convolve(x, kernel, stride, padding), kernel)[1](y)[0]


def upsample_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Nearest-neighbor upsampling by 2 followed by a 3x3 convolution with zero padding, without the upsampled tensor.

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
    return interleaved(grid, (0, 1), height, width)


def _phase_kernel(kernel: jax.Array) -> jax.Array:
    """(3, 3, I, O) -> (2, 2, I, 4 O): phase 0 sees the taps (0 | 1 + 2), phase 1 (0 + 1 | 2), along each axis."""
    fold = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype)
    folded = jnp.einsum("aup,bvq,pqio->uviabo", fold, fold, kernel)
    return folded.reshape(2, 2, kernel.shape[2], 4 * kernel.shape[3])


class Conv(nn.Module):
    """3x3 convolution with padding 1, and a bias unless told otherwise; stride 2 halves the image (rounding up).

    ``size`` 4 with stride 2 halves it too, rounding down.
    """

    features: int
    stride: int = 1
    use_bias: bool = True
    size: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, I) -> (B, (H + 2 - size) // stride + 1, and W likewise, features)."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        y = convolve(x, kernel.astype(x.dtype), self.stride, (1, 1))
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(x.dtype).reshape(1, 1, 1, -1)


class TransposedConv(nn.Module):
    """4x4 convolution of stride 2 and padding 1 in reverse: doubles the image.

    Attributes:
        features: O.
        image_size: of the result, twice that of the input or one more.
        use_bias: whether an offset is learnt for every channel.
        initial_bias: what it starts from.
    """

    features: int
    image_size: tuple[int, int]
    use_bias: bool = True
    initial_bias: float = 0.0

    @nn.compact
    def __call__(self, y: jax.Array) -> jax.Array:
        """(B, H', W', I) -> (B, H, W, features)."""
        # Four of the sixteen taps reach a pixel of the result, through every channel.
        initializer = nn.initializers.variance_scaling(4.0, "fan_out", "truncated_normal")
        kernel = self.param("kernel", initializer, (4, 4, self.features, y.shape[-1]))
        x = transposed(y, kernel.astype(y.dtype), 2, (1, 1), self.image_size)
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.constant(self.initial_bias), (self.features,))
        return x + bias.astype(x.dtype).reshape(1, 1, 1, -1)


class UpsampleConv(nn.Module):
    """Nearest-neighbor upsampling by 2, then a 3x3 convolution with bias, see ``upsample_convolve``."""

    features: int
    initial_bias: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, I) -> (B, 2 H, 2 W, features)."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.constant(self.initial_bias), (self.features,))
        return upsample_convolve(x, kernel.astype(x.dtype)) + bias.astype(x.dtype).reshape(1, 1, 1, -1)
