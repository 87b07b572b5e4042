"""Spherizing: a linear map after which negative controls have no correlations and unit variance along every axis.

What varies among untreated wells is by definition not what a treatment did; dividing by it makes such directions as
short as any other. Fitted to each batch's controls by itself it gives every batch the same controls, zero and identity:
what Ando, McLean & Berndl 2017 (doi:10.1101/161422) call typical variation normalization. Kessy, Lewin & Strimmer 2018
(arXiv:1512.00809) name the four maps; with C = V diag(l) V' the covariance of the controls, or their correlation,

    PCA  V diag(l)^-1/2        axes are principal components, the largest first
    ZCA  V diag(l)^-1/2 V'     axes stay the features; of all such maps the one that changes them least

and -cor standardises the features first.

The smallest variances of few controls are far too small, and are zero where there are no more controls than features;
a map that divides by them makes profiles of what no control varied in. ``regularization`` says which variances l are
divided by, of m, those measured with n - 1 in the denominator:

    ledoit_wolf    (1 - s) m + s mean(m), s as Ledoit & Wolf 2004 estimate it (doi:10.1016/S0047-259X(03)00096-4,
                   section 3.2): the mixture with the identity that is nearest to the true covariance
    mean_floor     max(m, f mean), of those that are not zero; f is ``floor``
    median_floor   max(m, f median), likewise
    pycytominer    m, as measured

The first three are then the same for directions of all variances. With the last, rank-deficient controls say nothing
about some directions (``Spherizing.ranks``), and these get the smallest variance that was seen. ``unseen`` = "drop"
removes directions that no control varies in, whatever the regularization: all profiles lie in the controls' subspace.

Which one is the default was chosen by controls that nothing was fitted on, see docs/results/spherizing.md.

Differs from Ando et al.: they align the batches' covariances after one global map (CORAL); here each has its own map.

"pycytominer" differs from pycytominer 1.7.1: epsilon is added to a variance, so that its effect does not depend on the
number of controls, there to a singular value of the controls (its default, 1e-6, is here 1e-12 / (n - 1) for a variance
of zero); with epsilon 0 both are the same, up to the signs of principal components, which there are arbitrary and here
such that the largest weight of each is positive. It refuses controls whose rank is below both D and n - 1, which is no
error here, and computes all n singular vectors of n controls, (n, n).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.errors import UserError
from cellfx.profiles import fitted
from cellfx.profiles.table import Profiles, check_finite

METHODS = ("ZCA-cor", "ZCA", "PCA-cor", "PCA")
UNSEEN = ("smallest", "drop")
REGULARIZATIONS = ("ledoit_wolf", "mean_floor", "median_floor", "pycytominer")
REGULARIZATION, FLOOR = "mean_floor", 1.0
"""What is done where nothing is said."""
_KIND = "spherizing"
_EXACT = 1e-8
"""Least ratio of variances that products of features keep to 1e-6 and better; below it QR is used, which keeps all."""


class Spherizing(NamedTuple):
    """A map for each of G groups; K is D, or the rank for "PCA" with "drop".

    Attributes:
        method: one of ``METHODS``.
        by: metadata columns that define the groups; none: all rows are one group.
        labels: (G,) values of these columns, as text.
        names: (D,) of the features.
        outputs: (K,) names of what the map makes: the features' for ZCA, PC1, PC2, ... for PCA.
        centre: (G, D) float64, mean of the controls.
        weights: (G, D, K) float64; the map is (x - centre) @ weights.
        ranks: (G,) int, the number of directions in which the controls vary.
    """

    method: str
    by: tuple[str, ...]
    labels: tuple[fitted.Label, ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    centre: np.ndarray
    weights: np.ndarray
    ranks: np.ndarray


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


def fit(
    profiles: Profiles,
    controls: np.ndarray | None,
    method: str = "ZCA-cor",
    by: Sequence[str] | str = (),
    regularization: str = REGULARIZATION,
    epsilon: float = 1e-12,
    floor: float = FLOOR,
    unseen: str = "smallest",
) -> Spherizing:
    """Finds the map that makes the covariance of controls the identity, as far as they are enough to know it.

    Args:
        profiles: N rows.
        controls: (N,) bool, negative controls. None: all rows.
        method: one of ``METHODS``.
        by: metadata columns or one, for instance the batch; each group is mapped by its own controls. None at all, ():
            one map, which can be applied to any profiles.
        regularization: what the controls' variances are taken for, one of ``REGULARIZATIONS``. With "pycytominer" the
            controls have the identity to the last digit, and with few of them that is all that it does.
        epsilon: added to these variances, in units of the features squared, or of a feature's variance for -cor.
        floor: of "mean_floor" and "median_floor", as a share of the mean or median.
        unseen: what becomes of directions in which no control varies: "smallest" gives them the smallest of the
            variances, "drop" removes them.

    Raises:
        ValueError: an unknown method or regularization, a floor that is none, NaN or infinite features, a group
            with fewer than two controls, controls that do not vary at all, or for -cor a feature that does not vary
            among the controls of a group.
    """
    by = fitted.columns(by)
    _check(profiles, method, by, regularization, unseen)
    _check_numbers(epsilon, floor)
    labels, groups = fitted.reference(profiles, by, controls)
    found = [principal(profiles, rows, method) for rows in groups]
    divisors = [_divisors(one, regularization, epsilon, floor) for one in found]
    weights = np.stack([_weights(one, *by, method, unseen) for one, by in zip(found, divisors, strict=True)])
    centre, ranks = np.stack([one.centre for one in found]), np.array([len(one.variances) for one in found])
    components = tuple(f"PC{i + 1}" for i in range(weights.shape[2]))
    outputs = components if method.startswith("PCA") else profiles.names
    return Spherizing(method, by, labels, profiles.names, outputs, centre, weights, ranks)


def apply(spherizing: Spherizing, profiles: Profiles) -> Profiles:
    """Maps profiles; they have the features it was fitted to, in any order.

    Raises:
        ValueError: other features, NaN or infinite ones, or a group that it was not fitted to.
    """
    check_finite(profiles, "spherizing")
    features = fitted.aligned(profiles, spherizing.names)
    result = np.empty((len(features), len(spherizing.outputs)))
    for place, rows in fitted.assign(profiles, spherizing.by, spherizing.labels):
        result[rows] = (features[rows] - spherizing.centre[place]) @ spherizing.weights[place]
    return Profiles(result, spherizing.outputs, profiles.metadata)


def save(spherizing: Spherizing, path: Path | str) -> None:
    """Writes it to a ``.npz`` with JSON inside; nothing is pickled."""
    description = spherizing._asdict()
    arrays = {name: description.pop(name) for name in ("centre", "weights", "ranks")}
    fitted.save(path, _KIND, arrays, description)


def load(path: Path | str) -> Spherizing:
    """Reads what ``save`` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    arrays, description = fitted.load(path, _KIND)
    labels = tuple(tuple(label) for label in description["labels"])
    by, names, outputs = (tuple(description[name]) for name in ("by", "names", "outputs"))
    return Spherizing(description["method"], by, labels, names, outputs, **arrays)


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
    """Ledoit and Wolf's estimate for centred rows (n, D), by their squared singular values.

    Their d^2 is the squared distance of the covariance from the multiple of the identity that has its trace, b^2 that
    of single rows' products from the covariance, over n; as scikit-learn's ``ledoit_wolf_shrinkage``, without (D, D).
    """
    num_rows, num_features = x.shape
    covariance = values / num_rows
    square = np.sum(covariance**2)
    distance = square - covariance.sum() ** 2 / num_features
    noise = (np.mean(np.sum(x**2, axis=1) ** 2) - square) / num_rows
    return float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0


def _divisors(found: Principal, regularization: str, epsilon: float, floor: float) -> tuple[np.ndarray, float]:
    """Variances (r,) to divide by along the axes, and the one for directions in which no control varies."""
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


def _weights(found: Principal, variances: np.ndarray, rest: float, method: str, unseen: str) -> np.ndarray:
    """(D, K)."""
    axes, inside = found.axes, 1 / np.sqrt(variances)
    num_features, rank = axes.shape
    outside = 1 / np.sqrt(rest) if unseen == "smallest" and rank < num_features else 0.0
    if method.startswith("ZCA"):
        weights = (axes * (inside - outside)) @ axes.T
        weights[np.diag_indices(num_features)] += outside
    else:
        weights = axes * inside
        if outside:
            # The last columns of a full QR are an orthonormal basis of what the first do not span.
            others = np.linalg.qr(axes, mode="complete")[0][:, rank:]
            largest = np.take_along_axis(others, np.abs(others).argmax(axis=0)[None], axis=0)
            weights = np.concatenate([weights, others * np.where(largest < 0, -outside, outside)], axis=1)
    return weights / found.scale[:, None]


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


def _check(profiles: Profiles, method: str, by: Sequence[str], regularization: str, unseen: str) -> None:
    choices = {"method": (method, METHODS), "unseen": (unseen, UNSEEN)}
    choices["regularization"] = regularization, REGULARIZATIONS
    for name, (value, known) in choices.items():
        if value not in known:
            raise UserError(f"unknown {name}: got {value!r}, expected one of {', '.join(known)}; choose one of them")
    if by and method.startswith("PCA"):
        raise UserError(
            f"components of one group are not those of another: got {method} by {tuple(by)}, expected ZCA or ZCA-cor, "
            "whose axes are the features; choose one of them, or fit all groups together"
        )
    check_finite(profiles, "spherizing")


def _check_numbers(epsilon: float, floor: float) -> None:
    if not 0 <= epsilon < np.inf:
        raise UserError(f"epsilon is no variance: got {epsilon}, expected a number of 0 or more; keep the default")
    if not 0 < floor < np.inf:
        raise UserError(f"floor is no share: got {floor}, expected a number above 0; keep the default")
