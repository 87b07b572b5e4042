"""How often a latent takes each value, by class: kernel density estimates."""

import math
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError

_BLOCK, _REACH = 4096, 4.0
_MIN_POINTS = 16


class Densities(NamedTuple):
    """Smooth histograms of every latent.

    Attributes:
        grid: (L, P) values of the latent, evenly spaced and rising.
        density: (K, L, P) of each class; integrates to 1 over the grid, and is 0 for a class without examples.
    """

    grid: np.ndarray
    density: np.ndarray


def class_densities(
    codes: np.ndarray, labels: np.ndarray, num_points: int = 200, num_classes: int | None = None
) -> Densities:
    """Estimates the density of every latent within every class, by Gaussian kernels.

    The width of the kernels is Scott's: the class's own deviation times n to the power of -1/5, but at least one step
    of the grid. So a class of one example, or one whose latent never varies, is a spike as narrow as the grid can
    show, and the area below it is 1 as well. A grid reaches four kernel widths beyond the outermost codes; where a
    latent has one value for all classes, half a unit to either side.

    Scott 1992, Multivariate Density Estimation; drawn by class for every latent as Isaksson 2018, section 6.2.

    Args:
        codes: (N, L).
        labels: (N,) int in [0, K).
        num_points: P.
        num_classes: K; None takes the largest label + 1.

    Raises:
        ValueError: codes and labels that do not fit, codes that are not finite, too few points, or labels beyond K.
    """
    codes, labels = np.asarray(codes, np.float64), np.asarray(labels)
    num_classes = _check(codes, labels, num_points, num_classes)
    members = [codes[labels == label] for label in range(num_classes)]
    widths = np.array([z.std(axis=0, ddof=1) * len(z) ** -0.2 if len(z) > 1 else 0.0 * codes[0] for z in members])
    grid = _grid(codes, widths.max(axis=0), num_points)
    widths = np.maximum(widths, grid[:, 1] - grid[:, 0])
    density = np.zeros((num_classes, *grid.shape))
    for label, z in enumerate(members):
        for latent in range(codes.shape[1] if len(z) else 0):
            density[label, latent] = _density(z[:, latent], widths[label, latent], grid[latent])
    return Densities(grid, density)


def _grid(codes: np.ndarray, widths: np.ndarray, num_points: int) -> np.ndarray:
    low, high = codes.min(axis=0), codes.max(axis=0)
    # The widest kernel, or the step of a grid that reaches four of its own steps beyond the codes.
    step = (high - low) / (num_points - 1 - 2 * _REACH)
    margin = _REACH * np.maximum(widths, step)
    constant = high - low <= 1e-9 * np.maximum(np.abs(low), np.abs(high))
    margin = np.where(constant, 0.5, margin)
    return np.linspace(low - margin, high + margin, num_points, axis=1)


def _density(values: np.ndarray, width: float, grid: np.ndarray) -> np.ndarray:
    total = np.zeros_like(grid)
    for start in range(0, len(values), _BLOCK):
        distance = (grid[:, None] - values[start : start + _BLOCK]) / width
        total += np.exp(-0.5 * np.square(distance)).sum(axis=1)
    return total / (len(values) * width * math.sqrt(2 * math.pi))


def _check(codes: np.ndarray, labels: np.ndarray, num_points: int, num_classes: int | None) -> int:
    if codes.ndim != 2 or labels.shape != codes.shape[:1] or not len(codes):
        raise UserError(
            f"codes and labels do not belong together: got shapes {codes.shape} and {labels.shape}, expected (N, L) "
            "and (N,) with N of 1 or more; encode the labeled examples"
        )
    if not np.isfinite(codes).all():
        raise UserError(
            f"codes that are no numbers: got {int(np.sum(~np.isfinite(codes)))} infinite or undefined latents, "
            "expected finite ones; train the encoder anew"
        )
    if num_points < _MIN_POINTS:
        raise UserError(
            f"too few points for a density: got num_points={num_points}, expected {_MIN_POINTS} or more; raise "
            "num_points"
        )
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"labels beyond the classes: got {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1}; give "
            "num_classes or number the classes from 0"
        )
    return num_classes
