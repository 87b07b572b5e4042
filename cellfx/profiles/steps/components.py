"""Principal components of profiles, on which differences between batches are seen."""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError


class Components(NamedTuple):
    """Profiles on their principal components.

    Attributes:
        projected: (N, P).
        explained: (P,) share of the variance, largest first.
    """

    projected: np.ndarray
    explained: np.ndarray


def principal_components(features: np.ndarray, count: int = 2) -> Components:
    """Profiles on their first principal components.

    Args:
        features: (N, D), finite.
        count: P, at most the smaller of N and D.

    Raises:
        ValueError: more components than there can be.
    """
    if not 1 <= count <= min(features.shape):
        raise UserError(
            f"no such number of components: got {count}, expected 1 to {min(features.shape)}, the smaller of rows and "
            "features; lower count"
        )
    centred = features - features.mean(axis=0)
    rows, columns = centred.shape
    if columns <= rows:
        variance, axes = np.linalg.eigh(centred.T @ centred)
        axes = axes[:, ::-1][:, :count]
    else:
        variance, weights = np.linalg.eigh(centred @ centred.T)
        axes = centred.T @ weights[:, ::-1][:, :count]
        axes = axes / np.maximum(np.linalg.norm(axes, axis=0), np.finfo(np.float64).tiny)
    variance = np.maximum(variance[::-1], 0)
    # Of each axis, its largest weight is positive, so that the same profiles always give the same picture.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(count)] < 0, -1, 1)
    return Components(centred @ axes, variance[:count] / max(variance.sum(), np.finfo(np.float64).tiny))
