"""Distances that an attack is measured by, over all axes but the first: ``linf``, the largest change, and ``l2``."""

import jax
import jax.numpy as jnp

from cellfx.types import Key

NORMS = ("linf", "l2")
TINY = 1e-30


def distance(x: jax.Array, other: jax.Array, norm: str) -> jax.Array:
    """How far every example of ``other`` (B, ...) is from that of x (B, ...): (B,)."""
    return _size(other - x, norm).reshape(-1)


def steepest(gradient: jax.Array, norm: str) -> jax.Array:
    """The change of size 1 that a gradient (B, ...) says climbs most; none where it is flat."""
    if norm == "linf":
        return jnp.sign(gradient)
    # Divided by the largest first: squares of very small or large numbers are no float32.
    scaled = gradient / jnp.maximum(_size(gradient, "linf"), TINY)
    return scaled / jnp.maximum(_size(scaled, norm), TINY)


def project(point: jax.Array, x: jax.Array, radius: jax.Array, norm: str) -> jax.Array:
    """The nearest to ``point`` (B, ...) of what lies at most ``radius`` () from x (B, ...)."""
    change = point - x
    if norm == "linf":
        return x + jnp.clip(change, -radius, radius)
    return x + change * jnp.minimum(1.0, radius / jnp.maximum(_size(change, norm), TINY))


def draw(key: Key, x: jax.Array, norm: str) -> jax.Array:
    """Changes of the shape of x (B, ...), uniform among those of size 1 or less."""
    if norm == "linf":
        return jax.random.uniform(key, x.shape, x.dtype, -1.0, 1.0)
    direction_key, radius_key = jax.random.split(key)
    radius = jax.random.uniform(radius_key, (len(x), *[1] * (x.ndim - 1)), x.dtype) ** (len(x) / x.size)
    return radius * steepest(jax.random.normal(direction_key, x.shape, x.dtype), norm)


def _size(change: jax.Array, norm: str) -> jax.Array:
    """(B, 1, ...)."""
    axes = tuple(range(1, change.ndim))
    if norm == "linf":
        return jnp.max(jnp.abs(change), axis=axes, keepdims=True)
    return jnp.sqrt(jnp.sum(jnp.square(change), axis=axes, keepdims=True))
