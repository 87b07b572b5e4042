"""Spherizing: a linear map after which negative controls have no correlations and unit variance along every axis.

What varies among untreated wells is by definition not what a treatment did; dividing by it makes such directions as
short as any other. Fitted to each batch's controls by itself it gives every batch the same controls, zero and identity:
what Ando, McLean & Berndl 2017 (doi:10.1101/161422) call typical variation normalization. Kessy, Lewin & Strimmer 2018
(arXiv:1512.00809) name the four maps; with C = V diag(l) V' the covariance of the controls, or their correlation,

    PCA  V diag(l)^-1/2        axes are principal components, the largest first
    ZCA  V diag(l)^-1/2 V'     axes stay the features; of all such maps the one that changes them least

and -cor standardizes the features first.

l is the variance as measured, or what ``control_variances`` makes of it where controls are too few to know it. Then the
controls become the identity only as far as they are enough to know it. ``unseen`` = "drop" removes directions that no
control varies in, whatever the regularization: all profiles lie in the controls' subspace.

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

from cellfx.checks import UserError
from cellfx.profiles.steps import fitted
from cellfx.profiles.steps.control_variances import (
    FLOOR,
    REGULARIZATION,
    REGULARIZATIONS,
    Principal,
    divisors,
    principal,
)
from cellfx.profiles.tables.table import Profiles, check_finite

METHODS = ("ZCA-cor", "ZCA", "PCA-cor", "PCA")
UNSEEN = ("smallest", "drop")
_KIND = "spherizing"


class Spherizing(NamedTuple):
    """A map for each of G groups; K is D, or the rank for "PCA" with "drop".

    Attributes:
        method: one of ``METHODS``.
        by: metadata columns that define the groups; none: all rows are one group.
        labels: (G,) values of these columns, as text.
        names: (D,) of the features.
        outputs: (K,) names of what the map makes: the features' for ZCA, PC1, PC2, ... for PCA.
        centre: (G, D) float64, mean of the controls.
        weights: (G, D, K) float64; the map is (x - center) @ weights.
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
        regularization: what the controls' variances are taken for, see ``control_variances``. With "pycytominer" the
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
    squares = [divisors(one, regularization, epsilon, floor) for one in found]
    weights = np.stack([_weights(one, *by_axis, method, unseen) for one, by_axis in zip(found, squares, strict=True)])
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
