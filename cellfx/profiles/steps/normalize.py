"""Features on one scale: centered and divided by a spread, plate by plate or all together, by all wells or controls.

A normalization is fitted, applied, saved and applied again to other plates. Missing values are ignored when it is
fitted and stay missing when it is applied; infinite ones are refused. A feature that does not vary in the rows it is
fitted to is centered and not divided, so that it becomes zero there; one that is missing in all of them becomes
missing.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.steps import fitted
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import Profiles

METHODS = ("standardize", "robustize", "mad_robustize", "centre", "percentile")
_KIND = "normalization"
_MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation -> standard deviation, for normally distributed values, as the field rounds it."""


class Normalization(NamedTuple):
    """What to subtract from and divide by, for each of G groups.

    Attributes:
        method: one of ``METHODS``.
        by: metadata columns that define the groups; none: all rows are one group.
        labels: (G,) values of these columns, as text.
        names: (D,) of the features.
        centre: (G, D) float64.
        scale: (G, D) float64, positive.
    """

    method: str
    by: tuple[str, ...]
    labels: tuple[fitted.Label, ...]
    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray


def fit(
    profiles: Profiles,
    method: str = "mad_robustize",
    by: Sequence[str] | str | None = None,
    controls: np.ndarray | None = None,
    epsilon: float = 1e-18,
    percentiles: Sequence[float] = (1.0, 99.0),
) -> Normalization:
    """Finds center and spread of every feature in every group.

    Equal to pycytominer 1.7.1 for "standardize", "robustize" and "mad_robustize", except that it divides a feature
    whose median absolute deviation is zero by ``epsilon`` alone, which makes numbers of 1e18 of any other value; here
    such a feature is only centered. What counts as no spread is relative to a feature's values here and, for
    "robustize", absolute there (2e-15). It has no groups: apply it to one plate after another for the same.

    Args:
        profiles: N rows.
        method: "standardize" (mean and standard deviation, with n in the denominator), "robustize" (median and
            distance between the quartiles), "mad_robustize" (median and 1.4826 times the median absolute deviation),
            "centre" (mean, not divided: batches are brought to one mean) or "percentile" (the lower percentile becomes
            0 and the upper one 1; on the controls of every plate it is the scaling of Ljosa et al. 2013,
            doi:10.1177/1087057113503553, who scale cells before they are pooled).
        by: metadata columns, or one; rows that agree in them are normalized together. None: ``Metadata_Plate``, within
            ``Metadata_Batch`` where there is such a column. No columns, (): all rows are one group, and only then can
            the result be applied to plates that it was not fitted to.
        controls: (N,) bool, the rows to fit to, for instance negative controls. None: all.
        epsilon: added to the spread of "mad_robustize".
        percentiles: the lower and the upper one of "percentile", between them interpolated as NumPy does.

    Raises:
        ValueError: an unknown method, percentiles that are none, an infinite feature, or a group with fewer than two
            rows to fit to.
    """
    if method not in METHODS:
        raise UserError(f"unknown method: got {method!r}, expected one of {', '.join(METHODS)}; choose one of them")
    if not _are_percentiles(percentiles):
        raise UserError(
            f"percentiles that are none: got {percentiles}, expected two from 0 to 100, the lower one first, such as "
            "(1, 99); correct them"
        )
    by = plate_identity.usual(profiles.metadata.columns) if by is None else fitted.columns(by)
    labels, groups = fitted.reference(profiles, by, controls)
    pairs = [_centre_and_scale(profiles.features[rows], method, epsilon, percentiles) for rows in groups]
    centre, scale = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return Normalization(method, by, labels, profiles.names, centre, scale)


def apply(normalization: Normalization, profiles: Profiles) -> Profiles:
    """Normalizes profiles; they have the features it was fitted to, in any order, and get them in its order.

    Raises:
        ValueError: other features, or a group that it was not fitted to.
    """
    features = fitted.aligned(profiles, normalization.names)
    result = np.empty_like(features)
    for place, rows in fitted.assign(profiles, normalization.by, normalization.labels):
        result[rows] = (features[rows] - normalization.centre[place]) / normalization.scale[place]
    return Profiles(result, normalization.names, profiles.metadata)


def save(normalization: Normalization, path: Path | str) -> None:
    """Writes it to a ``.npz`` with JSON inside; nothing is pickled."""
    description = normalization._asdict()
    arrays = {name: description.pop(name) for name in ("centre", "scale")}
    fitted.save(path, _KIND, arrays, description)


def load(path: Path | str) -> Normalization:
    """Reads what ``save`` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    arrays, description = fitted.load(path, _KIND)
    labels = tuple(tuple(label) for label in description["labels"])
    names, by = tuple(description["names"]), tuple(description["by"])
    return Normalization(description["method"], by, labels, names, **arrays)


def _are_percentiles(given: object) -> bool:
    numbers = isinstance(given, list | tuple) and all(isinstance(value, int | float) for value in given)
    return numbers and len(given) == 2 and 0 <= given[0] < given[1] <= 100


def _centre_and_scale(
    x: np.ndarray, method: str, epsilon: float, percentiles: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Of the columns of (n, D): (D,) and (D,)."""
    with warnings.catch_warnings():
        # A column that is missing altogether has the center NaN, and becomes NaN, which is what is said of it.
        warnings.simplefilter("ignore", RuntimeWarning)
        if method in ("standardize", "centre"):
            centre, largest = np.nanmean(x, axis=0), np.nanmax(np.abs(x), axis=0)
            scale = np.nanstd(x, axis=0) if method == "standardize" else np.ones_like(centre)
        elif method == "mad_robustize":
            centre = np.nanmedian(x, axis=0)
            spread = _MAD_TO_DEVIATION * np.nanmedian(np.abs(x - centre), axis=0)
            scale, largest = np.where(spread > 0, spread + epsilon, 0), np.abs(centre)
        else:
            wanted = [0.25, 0.5, 0.75] if method == "robustize" else [percentiles[0] / 100, percentiles[1] / 100]
            low, *middle, high = np.nanquantile(x, wanted, axis=0)
            centre, scale, largest = (*middle, low)[0], high - low, np.maximum(np.abs(low), np.abs(high))
        # What rounding leaves of a spread of zero: values near m are known to m times the machine's precision. Values
        # that a method passes by must not count: one of 1e17 would make every spread look like zero.
        noise = 10 * np.finfo(np.float64).eps * largest
    return centre, np.where(scale > noise, scale, 1.0)
