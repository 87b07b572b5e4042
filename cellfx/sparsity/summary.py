"""What is left of sparse networks: weights, inputs and units."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cellfx.sparsity.prune import layers_of
from cellfx.types import PyTree


class Summary(NamedTuple):
    """One network in numbers; biases are not counted as weights.

    Attributes:
        weights: weights that are not zero, by layer.
        sizes: weights that the dense network has, by layer.
        units: units that are fed and feed, by layer; the last are the outputs, which only have to be fed.
        latents: indices of the inputs with a weight that is not zero.
        sparsity: fraction of all weights that are zero.
    """

    weights: dict[str, int]
    sizes: dict[str, int]
    units: dict[str, int]
    latents: tuple[int, ...]
    sparsity: float


def summary(params: Mapping[str, PyTree]) -> Summary:
    """Counts of one network as it stands; prune it first to leave out what does no work.

    Args:
        params: as in ``prune``, of one network.
    """
    kernels = [kernel for kernel, _ in layers_of(params)]
    fed = [np.any(kernel != 0, axis=0) for kernel in kernels]
    feeding = [np.any(kernel != 0, axis=1) for kernel in kernels[1:]] + [np.ones_like(fed[-1])]
    alive = [int(np.sum(one & other)) for one, other in zip(fed, feeding, strict=True)]
    return Summary(
        weights={f"dense{i}": int(np.count_nonzero(kernel)) for i, kernel in enumerate(kernels)},
        sizes={f"dense{i}": kernel.size for i, kernel in enumerate(kernels)},
        units={f"dense{i}": count for i, count in enumerate(alive)},
        latents=tuple(np.flatnonzero(latents_used(params)).tolist()),
        sparsity=float(sparsity(params)),
    )


def sparsity(params: Mapping[str, PyTree]) -> np.ndarray:
    """Fraction of all weights, biases not counted, that are zero: (...) over the axes in front of the kernels."""
    kernels = [kernel for kernel, _ in layers_of(params)]
    left = sum(np.count_nonzero(kernel, axis=(-2, -1)) for kernel in kernels)
    return 1 - left / sum(kernel.shape[-2] * kernel.shape[-1] for kernel in kernels)


def latents_used(params: Mapping[str, PyTree]) -> np.ndarray:
    """Whether each input has a weight that is not zero: (..., L) bool."""
    return np.any(layers_of(params)[0][0] != 0, axis=-1)
