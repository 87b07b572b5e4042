"""Dropout that does not depend on the number of devices."""

import jax
import jax.numpy as jnp

from cellfx.collectives import axis_size, local_part
from cellfx.types import Key


def drop(x: jax.Array, key: Key, rate: float, axis_name: str | None) -> jax.Array:
    """Sets a random part of the values to zero and scales the others up, so that the mean stays.

    Srivastava et al. 2014, JMLR 15:1929. Differs from the paper: the scaling happens here, in training, not at test.

    Args:
        x: (B, ...) of this device.
        key: what is dropped is drawn for the global batch and cut into the devices' parts.
        rate: in [0, 1), probability of a value to be dropped; 0 returns x.
        axis_name: device axis of the mapped program, None outside one.

    Returns:
        Same shape and dtype.
    """
    if rate == 0:
        return x
    shape = (x.shape[0] * axis_size(axis_name), *x.shape[1:])
    kept = local_part(jax.random.bernoulli(key, 1 - rate, shape), axis_name)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x))
