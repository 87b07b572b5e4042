"""Correlations between the columns of a matrix, each over the rows in which both are known."""

import numpy as np

from cellfx.checks import UserError

METHODS = ("pearson", "spearman")


def correlations(x: np.ndarray, method: str = "pearson") -> np.ndarray:
    """Correlations of columns.

    Args:
        x: (N, D), NaN where missing.
        method: "pearson", or "spearman": that of ranks, where equal values share their mean rank.

    Returns:
        (D, D) in [-1, 1]; NaN for a column that does not vary, and for two that have fewer than two rows in common.

    Raises:
        ValueError: an unknown method, infinite values, or missing ones for "spearman", where the ranks of a column
            would be others beside every other column.
    """
    if method not in METHODS:
        raise UserError(f"unknown method: got {method!r}, expected one of {', '.join(METHODS)}; choose one of them")
    known = ~np.isnan(x)
    if np.isinf(x).any() or (method == "spearman" and not known.all()):
        raise UserError(
            f"values that have no {method} correlation: got {int(np.isinf(x).sum())} infinite and "
            f"{int(np.sum(~known))} missing ones, expected finite values; drop these features first, for instance with "
            "drop_na_columns"
        )
    if method == "spearman":
        from scipy.stats import rankdata

        x = rankdata(x, axis=0)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, x, 0.0)
    # Centered and scaled by all that is known of a column, so that little is lost where differences are taken below.
    centred = np.where(known, x - filled.sum(axis=0) / count, 0.0)
    spread = np.sqrt(np.sum(centred**2, axis=0) / count)
    varies = spread > 10 * np.finfo(np.float64).eps * np.max(np.abs(filled), axis=0, initial=0)
    unit = centred / np.where(varies, spread, 1.0)
    if known.all():
        result = unit.T @ unit / np.maximum(len(x), 1)
    else:
        result = _pairwise(unit, known.astype(np.float64))
    result[~varies] = result[:, ~varies] = np.nan
    return np.clip(result, -1, 1)


def _pairwise(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Over the rows that two columns have in common; x (N, D) is 0 where unknown, known (N, D) 1 or 0."""
    count = known.T @ known
    sums, squares = x.T @ known, (x**2).T @ known
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = x.T @ x - sums * sums.T / count
        variance = squares - sums**2 / count
        # What rounding leaves of a column that does not vary in these rows.
        variance = np.where(variance > 1e-12 * squares, variance, np.nan)
        return covariance / np.sqrt(variance * variance.T)
