"""How many weights each layer may keep when the whole network keeps a given fraction.

The density may be a number, which gives NumPy results, or a traced scalar, which gives JAX results: sweeps map over it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Density = float | jax.Array | np.ndarray
Shapes = Mapping[str, Sequence[int]]
Allocation = Callable[[Shapes, Density], dict[str, Any]]


def erdos_renyi(shapes: Shapes, density: Density) -> dict[str, Any]:
    """Densities proportional to (inputs + outputs) / (inputs * outputs) of each layer: small layers stay denser.

    Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3, with the scaling of Evci et al. 2020, arXiv:1911.11134, section
    3.1, convolutions included (the sizes of a kernel are summed as those of a layer are). No density exceeds 1: what a
    layer cannot hold goes to the others, in proportion, so that the sum of density times weights over the layers is
    the requested density times all weights.

    Args:
        shapes: (inputs, outputs), or the longer shape of a convolution's kernel, by name of the weight.
        density: fraction of all weights that stay, 1 - S; 0 to 1.

    Returns:
        Density of each, () each, by name.
    """
    xp = _library(density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    scales = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    order = sorted(scales, key=scales.get, reverse=True)
    wanted = xp.asarray(density) * float(sum(sizes.values()))
    factor = xp.zeros_like(wanted)
    # Full layers come first in this order; the fewest of them that leave no density above 1 are the answer.
    for num_full in reversed(range(len(order))):
        full, rest = order[:num_full], order[num_full:]
        candidate = (wanted - sum(sizes[name] for name in full)) / sum(scales[name] * sizes[name] for name in rest)
        allowed = (candidate * scales[rest[0]] <= 1) | (len(rest) == 1)
        factor = xp.where(allowed, candidate, factor)
    return {name: xp.clip(factor * scale, 0.0, 1.0) for name, scale in scales.items()}


def uniform(shapes: Shapes, density: Density) -> dict[str, Any]:
    """The same density in every layer, () each, by name; arguments as in ``erdos_renyi``."""
    xp = _library(density)
    return {name: xp.asarray(density) for name in shapes}


def counts(densities: Mapping[str, Any], sizes: Mapping[str, int], density: Density) -> dict[str, Any]:
    """Whole numbers of weights by largest remainder, ties to the earlier layer.

    Args:
        densities: fraction of each layer's weights that stay, by name; from an allocation.
        sizes: number of weights of each layer, by name.
        density: fraction of all weights that stay.

    Returns:
        Weights that stay in each layer, () int32 each, by name; they sum to round(density * all weights).
    """
    xp = _library(density)
    shares = xp.stack([densities[name] * float(size) for name, size in sizes.items()])
    whole = xp.floor(shares)
    left = xp.astype(xp.round(xp.asarray(density) * float(sum(sizes.values()))) - xp.sum(whole), np.int32)
    rest = shares - whole
    place = xp.arange(len(sizes))
    earlier = (rest[None, :] == rest[:, None]) & (place[None, :] < place[:, None])
    rank = xp.sum((rest[None, :] > rest[:, None]) | earlier, axis=1)
    total = xp.astype(whole, np.int32) + xp.astype(rank < left, np.int32)
    return {name: total[i] for i, name in enumerate(sizes)}


def _library(density: Density) -> ModuleType:
    return jnp if isinstance(density, jax.Array) else np
