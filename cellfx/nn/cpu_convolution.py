"""Gradients of convolutions in the forms that are fast on CPUs, see ``cellfx.nn.convolution``."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Padding = tuple[int, int]


def transposed_phases(
    y: jax.Array, kernel: jax.Array, stride: int, padding: Padding, image_size: tuple[int, int]
) -> jax.Array:
    """``convolution.transposed``: one convolution of y with s x s times the channels, then a pixel shuffle.

    Pixel s i + a, of phase a, is the sum of y[i + o] kernel[a + p - s o] over the offsets o whose tap is there.
    """
    size, inputs, outputs = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    first = [-((size - 1 - padding[0] - a) // stride) for a in range(stride)]  # the smallest offset of each phase
    taps = -(-size // stride)
    tap = np.array([[a + padding[0] - stride * (first[a] + t) for t in range(taps)] for a in range(stride)])
    tap = np.where((tap >= 0) & (tap < size), tap, size)  # the last tap, added here, is zero
    phases = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))[tap][:, :, tap]  # (a, t, b, u, I, O)
    phases = phases.transpose(1, 3, 5, 0, 2, 4).reshape(taps, taps, outputs, stride * stride * inputs)
    counts = [-(-length // stride) for length in image_size]
    places = [count + max(first) - min(first) for count in counts]
    ends = [place + taps - 1 - length + min(first) for place, length in zip(places, y.shape[1:3], strict=True)]
    grid = jax.lax.conv_general_dilated(
        y, phases, (1, 1), [(-min(first), end) for end in ends], dimension_numbers=("NHWC", "HWIO", "NHWC")
    ).reshape(y.shape[0], *places, stride, stride, inputs)
    whole = interleaved(grid, [offset - min(first) for offset in first], *counts)
    return whole[:, : image_size[0], : image_size[1]]


def kernel_gradient_products(x: jax.Array, y: jax.Array, stride: int, padding: Padding, size: int) -> jax.Array:
    """``convolution.kernel_gradient``: one matrix product for each tap (u, v).

    The sum over b, h, w of x[b, h s + u, w s + v, i] y[b, h, w, o].
    """
    height, width, outputs = y.shape[1:]
    padded = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    rows = y.reshape(-1, outputs)
    taps = [
        padded[:, u : u + stride * (height - 1) + 1 : stride, v : v + stride * (width - 1) + 1 : stride]
        for u in range(size)
        for v in range(size)
    ]
    products = [tap.reshape(-1, x.shape[-1]).T @ rows for tap in taps]
    return jnp.stack(products).reshape(size, size, x.shape[-1], outputs)


def interleaved(grid: jax.Array, starts: Sequence[int], height: int, width: int) -> jax.Array:
    """Pixel shuffle: (B, P, Q, s, s, C) -> (B, s height, s width, C), phase a from row or column ``starts[a]`` on."""
    batch, stride, channels = grid.shape[0], grid.shape[3], grid.shape[5]
    rows = []
    for a, top in enumerate(starts):
        parts = [grid[:, top : top + height, left : left + width, a, b] for b, left in enumerate(starts)]
        rows.append(jnp.stack(parts, axis=3).reshape(batch, height, stride * width, channels))
    return jnp.stack(rows, axis=2).reshape(batch, stride * height, stride * width, channels)
