"""Spherizing: a linear map after which negative controls have no correlations and unit variance along every axis.

What varies among untreated wells is by definition not what a treatment did; dividing by it makes such directions as
short as any other. Fitted to each batch's controls by itself it gives every batch the same controls, zero and identity:
what Ando, McLean & Berndl 2017 (doi:10.1101/161422) call typical variation normalization. Kessy, Lewin & Strimmer 2018
(arXiv:1512.00809) name the four maps; with C = V diag(l) V' the covariance of the controls, or their correlation,

    PCA  V diag(l + epsilon)^-1/2        axes are principal components, the largest first
    ZCA  V diag(l + epsilon)^-1/2 V'     axes stay the features; of all such maps the one that changes them least

and -cor standardises the features first.

Rank-deficient controls, in particular no more controls than features, say nothing about some directions. Which is
stated by ``Spherizing.ranks``, and ``unseen`` decides: "smallest" gives these directions the smallest variance that was
seen, so that nothing that a treatment did there is lost; "drop" removes them, all profiles lie in the controls'
subspace. Either way the controls have the identity there and zero elsewhere.

Differs from Ando et al.: they align the batches' covariances after one global map (CORAL); here each has its own map.

Differs from pycytominer 1.7.1: epsilon is added to a variance, so that its effect does not depend on the number of
controls, there to a singular value of the controls (its default, 1e-6, is here 1e-12 / (n - 1) for a variance of
zero); with epsilon 0 both are the same, up to the signs of principal components, which there are arbitrary and here
such that the largest weight of each is positive. It refuses controls whose rank is below both D and n - 1, which is no
error here, and computes all n singular vectors of n controls, (n, n).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.profiles import fitted
from cellfx.profiles.table import Profiles, check_finite

METHODS = ("ZCA-cor", "ZCA", "PCA-cor", "PCA")
UNSEEN = ("smallest", "drop")
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


def fit(
    profiles: Profiles,
    controls: np.ndarray | None,
    method: str = "ZCA-cor",
    by: Sequence[str] | str = (),
    epsilon: float = 1e-12,
    unseen: str = "smallest",
) -> Spherizing:
    """Finds the map that makes the covariance of controls the identity.

    Args:
        profiles: N rows.
        controls: (N,) bool, negative controls. None: all rows.
        method: one of ``METHODS``.
        by: metadata columns or one, for instance the batch; each group is mapped by its own controls. None at all, ():
            one map, which can be applied to any profiles.
        epsilon: added to the variances, in units of the features squared, or of a feature's variance for -cor. The
            controls' variances become l / (l + epsilon), so that the default only limits what has next to none. Raise
            it where directions of small variance are noise.
        unseen: what becomes of directions in which controls do not vary, "smallest" or "drop".

    Raises:
        ValueError: an unknown method, NaN or infinite features, a group with fewer than two controls, controls that
            do not vary at all, or for -cor a feature that does not vary among the controls of a group.
    """
    by = fitted.columns(by)
    _check(profiles, method, by, epsilon, unseen)
    labels, groups = fitted.reference(profiles, by, controls)
    maps = [_map(profiles, rows, method, epsilon, unseen) for rows in groups]
    centre, weights, ranks = (np.stack(parts) for parts in zip(*maps, strict=True))
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


def _map(
    profiles: Profiles, rows: np.ndarray, method: str, epsilon: float, unseen: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Centre (D,), weights (D, K) and rank of one group."""
    x = profiles.features[rows]
    centre = x.mean(axis=0)
    x = x - centre
    scale = np.ones(x.shape[1])
    if method.endswith("-cor"):
        scale = x.std(axis=0)
        # The mean of equal values is not always exactly that value.
        still = np.flatnonzero(scale <= 10 * np.finfo(np.float64).eps * np.abs(centre))
        if len(still):
            raise ValueError(
                f"{method} divides by a spread that is zero: got {len(still)} features that do not vary among the "
                f"{len(rows)} controls, the first {profiles.names[still[0]]!r}, expected none; drop them with "
                "select.variance_threshold of the controls, or choose ZCA or PCA"
            )
        x /= scale
    variances, axes, rank = _principal(x, unseen == "smallest")
    if not rank:
        raise ValueError(
            f"controls that do not vary: got {len(rows)} equal rows, expected different ones; check which rows are "
            "controls"
        )
    weights = axes / np.sqrt(variances + epsilon)
    if method.startswith("ZCA"):
        weights = weights @ axes.T
    return centre, weights / scale[:, None], rank


def _principal(x: np.ndarray, whole: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Variances and axes of centred rows, largest first.

    Args:
        x: (n, D).
        whole: complete the axes to all of D; those that are added have the smallest variance of the others.

    Returns:
        (K,) positive variances with n - 1 in the denominator, (D, K) orthonormal axes, and the rank of x.
    """
    num_rows, num_features = x.shape
    possible = min(num_rows - 1, num_features)
    values, axes = _by_products(x, possible)
    if len(values) < possible:
        values, axes = _by_triangle(x)
    rank = len(values)
    if whole and 0 < rank < num_features:
        # The last columns of a full QR are an orthonormal basis of what the first do not span.
        rest = np.linalg.qr(axes, mode="complete")[0][:, rank:]
        axes = np.concatenate([axes, rest], axis=1)
        values = np.append(values, np.full(num_features - rank, values[-1]))
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return values / (num_rows - 1), axes * np.where(largest < 0, -1.0, 1.0), rank


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


def _check(profiles: Profiles, method: str, by: Sequence[str], epsilon: float, unseen: str) -> None:
    for name, value, choices in (("method", method, METHODS), ("unseen", unseen, UNSEEN)):
        if value not in choices:
            raise ValueError(f"unknown {name}: got {value!r}, expected one of {', '.join(choices)}; choose one of them")
    if by and method.startswith("PCA"):
        raise ValueError(
            f"components of one group are not those of another: got {method} by {tuple(by)}, expected ZCA or ZCA-cor, "
            "whose axes are the features; choose one of them, or fit all groups together"
        )
    if not 0 <= epsilon < np.inf:
        raise ValueError(f"epsilon is no variance: got {epsilon}, expected a number of 0 or more; keep the default")
    check_finite(profiles, "spherizing")
