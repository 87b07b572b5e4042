"""Max pooling that is fast on CPUs: the largest of four strided slices, whose gradient needs no search."""

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array) -> jax.Array:
    """The largest value of every 2x2 block: (B, H, W, C) -> (B, H // 2, W // 2, C); an odd last row or column is cut.

    Values that tie share the gradient.
    """
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return jnp.maximum(jnp.maximum(*corners[:2]), jnp.maximum(*corners[2:]))
