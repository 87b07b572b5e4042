"""Sums, gathers and random numbers over the global batch, the same numbers on any count of devices.

Every function takes the ``axis_name`` of the mapped program it is called in; with None it is the one-device case.
"""

import jax
import jax.numpy as jnp

from cellfx.types import Key


def axis_size(axis_name: str | None) -> int:
    """Number of devices along the axis."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def gather(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Global batch of a local one: (B, ...) -> (devices * B, ...), in the order of the devices."""
    return x if axis_name is None else jax.lax.all_gather(x, axis_name, axis=0, tiled=True)


def local_part(x: jax.Array, axis_name: str | None) -> jax.Array:
    """This device's rows of a global batch: (devices * B, ...) -> (B, ...)."""
    if axis_name is None:
        return x
    size = x.shape[0] // jax.lax.axis_size(axis_name)
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis_name) * size, size)


def batch_mean(values: jax.Array, mask: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of ``values`` (B,) over the real examples (``mask`` 1) of the global batch; 0 where there is none."""
    total, count = jnp.sum(values * mask), jnp.sum(mask)
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1.0)


def standard_normal(key: Key, shape: tuple[int, ...], axis_name: str | None) -> jax.Array:
    """Normal noise of local ``shape`` (B, ...), drawn for the global batch so that it does not depend on devices."""
    global_shape = (shape[0] * axis_size(axis_name), *shape[1:])
    return local_part(jax.random.normal(key, global_shape), axis_name)


def uniform(key: Key, shape: tuple[int, ...], axis_name: str | None) -> jax.Array:
    """Uniform numbers in [0, 1) of local ``shape`` (B, ...), drawn as ``standard_normal`` does."""
    global_shape = (shape[0] * axis_size(axis_name), *shape[1:])
    return local_part(jax.random.uniform(key, global_shape), axis_name)
