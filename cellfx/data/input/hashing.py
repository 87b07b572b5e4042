"""Random numbers without state: one integer hash, the same on every device and in every order of evaluation."""

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = np.uint32(0x9E3779B9)
"""2^32 divided by the golden ratio: an odd step that spreads counters over all of uint32."""


def mix(x: jax.Array) -> jax.Array:
    """Bijective hash of uint32, any shape: every input bit changes every output bit about half of the time.

    Source of the constants: C. Wellons, "Prospecting for hash functions", 2018, the function called lowbias32. Good
    for simulation and shuffling; no cipher.
    """
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def uniform(seed: jax.Array, count: int, stream: int) -> jax.Array:
    """(count,) float32 numbers in [0, 1) from one seed, () uint32; a stream of its own for each purpose."""
    counters = np.arange(count, dtype=np.uint32) * GOLDEN + np.uint32(stream << 16)
    return (mix(mix(seed) ^ counters) >> 8).astype(jnp.float32) * (2.0**-24)
