"""Data sets that are drawn, not read: their examples are numbered, and a number and the seed make all of an example.

An example i of a split depends on (seed, split, i) alone, so a larger data set begins with the smaller one. Drawing
happens on the CPU wherever there is a CPU backend, so that every machine with an accelerator gets the same images;
CPUs of different makers may round single pixels differently by one gray level.
"""

import contextlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.data.input.hashing import GOLDEN, mix

FIRST_INDEX = {"train": 0, "valid": 1 << 29, "test": 1 << 30}
"""Number of the first example of each split."""

_BLOCK = 256


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Makes sure that a data set can be drawn.

    Args:
        sizes: split -> number of examples.

    Raises:
        ValueError: a size is negative or too large.
    """
    for name, size in sizes.items():
        if not 0 <= size <= FIRST_INDEX["valid"]:
            raise ValueError(
                f"number of examples out of range: num_{name}={size}; expected 0 to {FIRST_INDEX['valid']}; "
                f"change num_{name}"
            )


def example_seeds(indices: jax.Array, seed: int | jax.Array) -> jax.Array:
    """Seeds (N,) uint32 of the examples with the numbers ``indices`` (N,) uint32 of the data set ``seed``."""
    first = mix(jnp.asarray(seed).astype(jnp.uint32))
    # Bijective in the index: no two examples of a data set share a seed.
    return mix(mix(indices ^ first) + mix(first + GOLDEN))


def draw_split(
    block: Callable[[np.ndarray, np.uint32], tuple[jax.Array, ...]], name: str, size: int, seed: int
) -> tuple[np.ndarray, ...]:
    """All examples of a split, a block at a time.

    Args:
        block: compiled; (indices (B,) uint32, seed () uint32) -> arrays (B, ...).
        name: of the split.
        size: N.
        seed: of the data set.

    Returns:
        Numbers (N,) int64 of the examples, then what ``block`` returns, (N, ...) each.
    """
    first = FIRST_INDEX[name]
    numbers, seed = np.arange(_BLOCK), np.uint32(seed % 2**32)
    kinds = jax.eval_shape(block, numbers.astype(np.uint32), seed)
    arrays = tuple(np.zeros((size, *kind.shape[1:]), kind.dtype) for kind in kinds)
    with _on_cpu():
        for start in range(0, size, _BLOCK):
            drawn = block((numbers + first + start).astype(np.uint32), seed)
            for array, part in zip(arrays, drawn, strict=True):
                array[start : start + _BLOCK] = np.asarray(part)[: size - start]
    return np.arange(first, first + size), *arrays


def _on_cpu() -> contextlib.AbstractContextManager[None]:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # a JAX that was told to start no CPU backend
        return contextlib.nullcontext()
