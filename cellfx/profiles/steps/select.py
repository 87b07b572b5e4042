"""Which features to keep: those that vary, repeat, are known, and do not say what another one says already.

Every operation takes profiles and gives a ``Selection``: the names that are kept, in their order, and why each of the
others is not. ``select`` does several after one another, each with what the one before kept, and can limit what they
look at to some rows, for instance the negative controls. All are those of pycytominer 1.7.1 and give what it gives.
"""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.steps import fitted
from cellfx.profiles.steps.correlate import correlations
from cellfx.profiles.tables.table import Profiles, groups, take, take_features

_STAINS = ("AGP", "DNA", "ER", "Mito", "RNA")
BLOCKLIST = tuple(
    [f"Nuclei_Correlation_{kind}_{a}_{b}" for kind in ("Manders", "RWC") for a, b in itertools.permutations(_STAINS, 2)]
    + [f"Nuclei_Granularity_{size}_{stain}" for size in (14, 15, 16) for stain in _STAINS]
)
"""Features of CellProfiler that are known to be noise: Way 2019, doi:10.6084/m9.figshare.10255811."""


Operation = str | tuple[str, Mapping[str, Any]]
USUAL: tuple[Operation, ...] = (("drop_na_columns", {"cutoff": 0.0}), "variance_threshold", "correlation_threshold")
"""What is done where no operations are named. Not a value may be missing, since neither spherizing nor similarities
take missing ones; otherwise as the operations are by default."""
_KIND = "selection"


class Selection(NamedTuple):
    """Features that are kept.

    Attributes:
        kept: their names, in their order.
        dropped: name -> why, of all others.
    """

    kept: tuple[str, ...]
    dropped: dict[str, str]


def select(
    profiles: Profiles, operations: Operation | Sequence[Operation] = USUAL, rows: np.ndarray | None = None
) -> tuple[Profiles, Selection]:
    """Keeps the features that pass all operations.

    Args:
        profiles: N rows.
        operations: names of functions of this file, or (name, arguments), in the order in which they are done; also a
            single one.
        rows: (N,) bool or (M,) int, the rows that the operations look at. None: all.

    Returns:
        All rows of the features that are kept, and the selection.

    Raises:
        ValueError: an unknown operation or argument, or no feature is kept.
    """
    seen = profiles if rows is None else take(profiles, rows)
    dropped: dict[str, str] = {}
    for operation in _listed(operations):
        name, arguments = (operation, {}) if isinstance(operation, str) else operation
        if name not in OPERATIONS:
            raise UserError(
                f"unknown operation: got {name!r}, expected one of {', '.join(OPERATIONS)}; choose some of them"
            )
        known = list(inspect.signature(OPERATIONS[name]).parameters)[1:]
        if unknown := set(arguments) - set(known):
            raise UserError(
                f"arguments that {name} does not have: got {', '.join(sorted(unknown))}, expected some of "
                f"{', '.join(known)}; correct them"
            )
        kept, reasons = OPERATIONS[name](seen, **arguments)
        if not kept:
            why = next(iter(reasons.values()), "there was none")
            raise UserError(
                f"no feature is left after {name}: got {len(seen.names)} before it, of which the first goes because "
                f"{why}, expected at least one to stay; change its arguments or leave it out"
            )
        dropped |= {feature: f"{name}: {reason}" for feature, reason in reasons.items()}
        seen = take_features(seen, kept)
    return take_features(profiles, seen.names), Selection(seen.names, dropped)


def save(selection: Selection, path: Path | str) -> None:
    """Writes it to a ``.npz`` with JSON inside; nothing is pickled."""
    fitted.save(path, _KIND, {}, selection._asdict())


def load(path: Path | str) -> Selection:
    """Reads what ``save`` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    _, description = fitted.load(path, _KIND)
    return Selection(tuple(description["kept"]), description["dropped"])


def variance_threshold(profiles: Profiles, min_variance: float = 1e-6) -> Selection:
    """Drops features whose variance, with n in the denominator and missing values ignored, is not above a threshold."""
    variance = _ignoring_missing(np.nanvar, profiles.features)
    # Rounding may leave something of the variance of equal values.
    variance[_ignoring_missing(np.nanmax, profiles.features) == _ignoring_missing(np.nanmin, profiles.features)] = 0
    return _divide(profiles, ~(variance > min_variance), lambda i: f"variance {variance[i]:.3g}")


def frequency_threshold(profiles: Profiles, freq_cut: float = 0.05, unique_cut: float = 0.01) -> Selection:
    """Drops features of which most values are one value, or that have few different ones.

    Args:
        profiles: N rows; missing values are no values.
        freq_cut: least ratio of how often the second most frequent value occurs to how often the most frequent does.
        unique_cut: least ratio of the number of different values to N.
    """
    counts = [np.sort(np.unique(x[~np.isnan(x)], return_counts=True)[1])[::-1] for x in profiles.features.T]
    ratio = np.array([count[1] / count[0] if len(count) > 1 else 0.0 for count in counts])
    unique = np.array([len(count) for count in counts]) / max(len(profiles.features), 1)
    return _divide(
        profiles,
        (ratio < freq_cut) | (unique < unique_cut),
        lambda i: f"the second value is {ratio[i]:.3g} times as frequent as the first, {unique[i]:.3g} are different",
    )


def correlation_threshold(
    profiles: Profiles, threshold: float = 0.9, method: str = "pearson", absolute: bool = False
) -> Selection:
    """Drops, of every two features that correlate above a threshold, the one that correlates more with all others.

    More is the larger sum of absolute correlations with all features; where both sums are equal, the later one goes.
    All pairs are judged at once: a feature that goes still makes others go.

    Args:
        profiles: N rows; missing values are left out pair by pair.
        threshold: in [0, 1].
        method: "pearson" or "spearman"; the second takes no missing values.
        absolute: whether features that correlate below -threshold are a pair too. pycytominer leaves these, although
            they say the same.

    Raises:
        ValueError: a threshold that is no correlation, infinite values, or missing ones for "spearman".
    """
    if not 0 <= threshold <= 1:
        raise UserError(
            f"threshold is no correlation: got {threshold}, expected a number in [0, 1]; the default is 0.9"
        )
    table = correlations(profiles.features, method)
    weight = np.nansum(np.abs(table), axis=0)
    place = np.empty(len(weight), int)
    place[np.argsort(weight, kind="stable")] = np.arange(len(weight))
    above = (np.abs(table) if absolute else table) > threshold
    loses = above & (place[:, None] > place[None, :])
    partner = loses.argmax(axis=1)
    return _divide(
        profiles,
        loses.any(axis=1),
        lambda i: f"correlates {table[i, partner[i]]:.3g} with {profiles.names[partner[i]]}",
    )


def drop_na_columns(profiles: Profiles, cutoff: float = 0.05) -> Selection:
    """Drops features of which more than a fraction is missing."""
    missing = np.isnan(profiles.features).mean(axis=0)
    return _divide(profiles, missing > cutoff, lambda i: f"{missing[i]:.3g} of it is missing")


def drop_outliers(profiles: Profiles, cutoff: float = 500.0) -> Selection:
    """Drops features with an absolute value above a cutoff, in units that normalization gave them."""
    largest = _ignoring_missing(np.nanmax, np.abs(profiles.features))
    return _divide(profiles, largest > cutoff, lambda i: f"a value of {largest[i]:.3g}")


def blocklist(profiles: Profiles, names: Sequence[str] = BLOCKLIST) -> Selection:
    """Drops features that are listed; the list may name others too."""
    listed = set(names)
    return _divide(profiles, np.array([name in listed for name in profiles.names]), lambda i: "it is listed")


def noise_removal(profiles: Profiles, by: Sequence[str], cutoff: float = 0.8) -> Selection:
    """Drops features that differ between replicates.

    Args:
        profiles: N normalized rows; missing values are ignored.
        by: metadata columns in which replicates agree. Rows without a value in one of them are replicates of nothing.
        cutoff: largest standard deviation within replicates, averaged over what they are replicates of.

    Raises:
        ValueError: a column that is not there.
    """
    members = groups(profiles.metadata, by)
    members = [rows for rows in members if None not in profiles.metadata.select(by).row(int(rows[0]))]
    deviations = [_ignoring_missing(np.nanstd, profiles.features[rows]) for rows in members]
    noise = _ignoring_missing(np.nanmean, np.reshape(deviations, (-1, len(profiles.names))))
    return _divide(profiles, noise > cutoff, lambda i: f"replicates deviate by {noise[i]:.3g}")


OPERATIONS: dict[str, Callable[..., Selection]] = {
    operation.__name__: operation
    for operation in (
        variance_threshold,
        frequency_threshold,
        correlation_threshold,
        drop_na_columns,
        drop_outliers,
        blocklist,
        noise_removal,
    )
}


def _listed(operations: Operation | Sequence[Operation]) -> Sequence[Operation]:
    """Operations, of which a single one may stand for itself."""
    single = isinstance(operations, str) or (len(operations) == 2 and isinstance(operations[1], Mapping))
    return [operations] if single else operations


def _divide(profiles: Profiles, dropped: np.ndarray, reason: Callable[[int], str]) -> Selection:
    """By dropped (D,) bool."""
    kept = tuple(name for name, gone in zip(profiles.names, dropped, strict=True) if not gone)
    return Selection(kept, {profiles.names[i]: reason(i) for i in np.flatnonzero(dropped)})


def _ignoring_missing(statistic: Callable[..., np.ndarray], x: np.ndarray) -> np.ndarray:
    """Of the columns of (n, D): (D,), NaN where all is missing or infinity has no answer."""
    import warnings

    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return statistic(x, axis=0)
