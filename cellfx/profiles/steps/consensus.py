"""One profile for each treatment from its replicates: their median, their mean, or a mean that trusts those that agree.

The last is the moderated z-score, MODZ, of Subramanian et al. 2017 (doi:10.1016/j.cell.2017.10.049).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.steps.correlate import METHODS as CORRELATIONS
from cellfx.profiles.steps.correlate import correlations
from cellfx.profiles.tables.aggregate import COUNT, aggregate
from cellfx.profiles.tables.table import METADATA, Profiles, check_finite, groups

METHODS = ("median", "mean", "modz")
REPLICATES = f"{METADATA}Replicate_Count"
"""How many rows a consensus is of."""


def consensus(
    profiles: Profiles,
    by: Sequence[str],
    method: str = "median",
    correlation: str = "spearman",
    min_weight: float = 0.01,
    precision: int | None = 4,
) -> Profiles:
    """One row for all rows that agree in some metadata.

    MODZ weighs a replicate by its mean correlation with the others, negative ones counting as 0 and no weight being
    less than ``min_weight``; weights are divided by their sum, then rounded. A replicate that stands alone is taken as
    it is.

    Equal to pycytominer 1.7.1, save one case: a replicate without correlations, because all of its features are equal,
    is left out of the sum there while its weight is not given to the others; here its correlations are 0.

    Args:
        profiles: N rows.
        by: metadata columns that replicates agree in, kept by the result; others are not. Missing values agree with
            each other.
        method: "median" or "mean", both of what is not missing, or "modz".
        correlation: for "modz", "spearman" or "pearson".
        min_weight: for "modz", before weights are divided by their sum.
        precision: for "modz", decimals of the weights, as the method was published; None: all.

    Returns:
        G rows, sorted by ``by``, with these columns, ``Metadata_Replicate_Count`` and, where the profiles have it, the
        sum of ``Metadata_Cell_Count``.

    Raises:
        ValueError: an unknown method or column, a weight below 0, or for "modz" NaN or infinite features.
    """
    if method not in METHODS:
        raise UserError(f"unknown method: got {method!r}, expected one of {', '.join(METHODS)}; choose one of them")
    # The order of the rows and the counts are those of aggregation, whatever the method.
    pooled = aggregate(profiles, by, "mean" if method == "modz" else method)
    counts = profiles.metadata.group_by(by).agg(pl.len().cast(pl.Int64).alias(REPLICATES)).sort(by, nulls_last=True)
    metadata = pooled.metadata.with_columns(counts[REPLICATES])
    pooled = pooled._replace(metadata=metadata if COUNT in profiles.metadata.columns else metadata.drop(COUNT))
    if method != "modz":
        return pooled
    _check(profiles, correlation, min_weight)
    members = groups(profiles.metadata, by)
    first = profiles.metadata.select(by)[[int(rows[0]) for rows in members]].with_row_index("row")
    order = first.sort(by, nulls_last=True)["row"]
    rows = (profiles.features[members[place]] for place in order)
    features = np.stack([_modz(x, correlation, min_weight, precision) for x in rows])
    return pooled._replace(features=features)


def modz_weights(
    replicates: np.ndarray, correlation: str = "spearman", min_weight: float = 0.01, precision: int | None = 4
) -> np.ndarray:
    """How much each replicate is trusted.

    Args:
        replicates: (n, D) finite; n is 2 or more.
        correlation: see ``consensus``.
        min_weight: see ``consensus``.
        precision: see ``consensus``.

    Returns:
        (n,) float64; the sum is 1 but for rounding.
    """
    table = np.clip(np.nan_to_num(correlations(replicates.T, correlation), nan=0.0), 0, None)
    np.fill_diagonal(table, 0)
    weights = np.maximum(table.sum(axis=1) / (len(table) - 1), min_weight)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(table), 1 / len(table))
    return weights if precision is None else np.round(weights, precision)


def _modz(replicates: np.ndarray, correlation: str, min_weight: float, precision: int | None) -> np.ndarray:
    """(n, D) -> (D,)."""
    if len(replicates) == 1:
        return replicates[0]
    return modz_weights(replicates, correlation, min_weight, precision) @ replicates


def _check(profiles: Profiles, correlation: str, min_weight: float) -> None:
    if correlation not in CORRELATIONS:
        raise UserError(
            f"unknown correlation: got {correlation!r}, expected one of {', '.join(CORRELATIONS)}; choose one of them"
        )
    if not 0 <= min_weight < np.inf:
        raise UserError(
            f"min_weight is no weight: got {min_weight}, expected a number of 0 or more; the default is 0.01"
        )
    check_finite(profiles, "modz")
