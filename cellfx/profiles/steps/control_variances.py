"""How much controls vary, and along which directions: what spherizing divides by where they are too few to know it.

The smallest variances of few controls are far too small, and are zero where there are no more controls than features;
a map that divides by them makes profiles of what no control varied in. ``regularization`` says which variances l are
divided by, of m, those measured with n - 1 in the denominator:

    ledoit_wolf    (1 - s) m + s mean(m), s as Ledoit & Wolf 2004 estimate it (doi:10.1016/S0047-259X(03)00096-4,
                   section 3.2): the mixture with the identity that is nearest to the true covariance
    mean_floor     max(m, f mean), of those that are not zero; f is ``floor``
    median_floor   max(m, f median), likewise
    pycytominer    m, as measured

A direction that no control varies in (there are such where their rank is below the number of features) has the smallest
of these. Which one is the default was chosen by controls that nothing was fitted on, see docs/results/spherizing.md.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles

REGULARIZATIONS = ("ledoit_wolf", "mean_floor", "median_floor", "pycytominer")
REGULARIZATION, FLOOR = "mean_floor", 1.0
"""What is done where nothing is said."""
_EXACT = 1e-8
"""Least ratio of variances that products of features keep to 1e-6 and better; below it QR is used, which keeps all."""


class Principal(NamedTuple):
    """Directions in which the n controls of a group vary.

    Attributes:
        centre: (D,) their mean.
        scale: (D,) what features are divided by first: 1, or with -cor their standard deviation.
        variances: (r,) positive, with n - 1 in the denominator, largest first.
        axes: (D, r) orthonormal.
        shrinkage: in [0, 1], the share of the identity in Ledoit and Wolf's mixture.
    """

    centre: np.ndarray
    scale: np.ndarray
    variances: np.ndarray
    axes: np.ndarray
    shrinkage: float


def principal(profiles: Profiles, rows: np.ndarray, method: str) -> Principal:
    """Directions in which rows vary, as ``fit`` finds them.

    Args:
        profiles: N rows, finite.
        rows: (n,) int places of the controls of a group.
        method: one of ``METHODS``.

    Raises:
        ValueError: rows that are all equal, or for -cor a feature that does not vary among them.
    """
    x = profiles.features[rows]
    centre = x.mean(axis=0)
    x = x - centre
    scale = np.ones(x.shape[1])
    if method.endswith("-cor"):
        scale = x.std(axis=0)
        # The mean of equal values is not always exactly that value.
        still = np.flatnonzero(scale <= 10 * np.finfo(np.float64).eps * np.abs(centre))
        if len(still):
            raise UserError(
                f"{method} divides by a spread that is zero: got {len(still)} features that do not vary among the "
                f"{len(rows)} controls, the first {profiles.names[still[0]]!r}, expected none; drop them with "
                "select.variance_threshold of the controls, or choose ZCA or PCA"
            )
        x /= scale
    possible = min(len(rows) - 1, x.shape[1])
    values, axes = _by_products(x, possible)
    if len(values) < possible:
        values, axes = _by_triangle(x)
    if not len(values):
        raise UserError(
            f"controls that do not vary: got {len(rows)} equal rows, expected different ones; check which rows are "
            "controls"
        )
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    return Principal(centre, scale, values / (len(rows) - 1), axes, _shrinkage(x, values))


def _shrinkage(x: np.ndarray, values: np.ndarray) -> float:
    """Ledoit and Wolf's estimate for centered rows (n, D), by their squared singular values.

    Their d^2 is the squared distance of the covariance from the multiple of the identity that has its trace, b^2 that
    of single rows' products from the covariance, over n; as scikit-learn's ``ledoit_wolf_shrinkage``, without (D, D).
    """
    num_rows, num_features = x.shape
    covariance = values / num_rows
    square = np.sum(covariance**2)
    distance = square - covariance.sum() ** 2 / num_features
    noise = (np.mean(np.sum(x**2, axis=1) ** 2) - square) / num_rows
    return float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0


def divisors(found: Principal, regularization: str, epsilon: float, floor: float) -> tuple[np.ndarray, float]:
    """Variances to divide by.

    Args:
        found: directions in which controls vary.
        regularization: one of ``REGULARIZATIONS``.
        epsilon: added to all of them.
        floor: f above.

    Returns:
        (r,) along the axes, and the one for directions in which no control varies.
    """
    measured = found.variances
    if regularization == "ledoit_wolf":
        added = found.shrinkage * measured.sum() / len(found.scale)
        variances = (1 - found.shrinkage) * measured + added
        # Two controls are no reason to shrink, for the estimate.
        rest = added or variances[-1]
    elif regularization == "pycytominer":
        variances, rest = measured, measured[-1]
    else:
        rest = floor * (np.mean(measured) if regularization == "mean_floor" else np.median(measured))
        variances = np.maximum(measured, rest)
    return variances + epsilon, float(rest) + epsilon


def _by_products(x: np.ndarray, possible: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values and right vectors by the smaller of x'x and xx'; only those known to enough digits."""
    wide = x.shape[0] <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values, vectors = values[::-1][:possible], vectors[:, ::-1][:, :possible]
    known = values > _EXACT * max(values[0], 0) if len(values) else values > 0
    values, vectors = values[known], vectors[:, known]
    return values, x.T @ vectors / np.sqrt(values) if wide else vectors


def _by_triangle(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by x = QR and the singular values of R, to the precision of the machine; several times slower."""
    _, singular, axes = np.linalg.svd(np.linalg.qr(x, mode="r"), full_matrices=False)
    kept = singular > max(x.shape) * np.finfo(np.float64).eps * singular[0]
    return singular[kept] ** 2, axes[kept].T
