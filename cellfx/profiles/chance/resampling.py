"""What chance does to a score: bootstrap intervals, permutation nulls, p-values and their correction."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError

TIE = 1e-12
"""Scores that differ by less are equal: they were summed in another order."""


class Interval(NamedTuple):
    """A score with the percentiles of its bootstrap.

    Attributes:
        estimate: the score of all values.
        low: lower end of the interval.
        high: upper end.
    """

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) over groups of dependent values.

    Wells of one compound say the same thing several times; drawing whole compounds keeps that from looking like
    certainty.

    Args:
        values: (R,) finite, for example the average precision of each row.
        groups: (R,) codes of what is drawn, with replacement, for example compounds; by default each value alone.
        statistic: (R',) values of the drawn groups -> score; the mean by default, which is much faster.
        level: share of the bootstrap within the interval, in (0, 1).
        num_resamples: 1 or more.
        seed: names the draws.

    Raises:
        ValueError: no values, values that are not finite, groups that do not fit, or a wrong level or number.
    """
    values = np.asarray(values, np.float64)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    _check_bootstrap(values, groups, level, num_resamples)
    _, codes = np.unique(groups, return_inverse=True)
    num_groups = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    if statistic is None:
        sums, sizes = np.bincount(codes, values), np.bincount(codes)
        drawn = [rng.integers(num_groups, size=num_groups) for _ in range(num_resamples)]
        scores = [sums[chosen].sum() / sizes[chosen].sum() for chosen in drawn]
        estimate = values.mean()
    else:
        members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
        drawn = (rng.integers(num_groups, size=num_groups) for _ in range(num_resamples))
        scores = [statistic(values[np.concatenate([members[group] for group in chosen])]) for chosen in drawn]
        estimate = statistic(values)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))


def permutation_null(
    score: Callable[[np.ndarray], float],
    num_rows: int,
    within: np.ndarray | None = None,
    num_permutations: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Scores after the rows have been shuffled: what the score is where labels mean nothing.

    Args:
        score: (N,) permutation of the row numbers -> score, for example of labels[permutation] against the features.
        num_rows: N.
        within: (N,) codes; rows only change places with rows of the same code, for example of the same plate.
        num_permutations: 1 or more.
        seed: names the permutations.

    Returns:
        (num_permutations,) float64.

    Raises:
        ValueError: codes that do not fit, or no rows or permutations.
    """
    within = np.zeros(num_rows, int) if within is None else np.asarray(within)
    if within.shape != (num_rows,) or num_rows < 1 or num_permutations < 1:
        raise UserError(
            f"nothing to shuffle: got {num_rows} rows, codes of shape {within.shape} and {num_permutations} "
            "permutations, expected one code for each row and 1 or more of both; give the codes of all rows"
        )
    rng = np.random.default_rng(seed)
    order = np.argsort(within, kind="stable")
    scores = np.empty(num_permutations)
    for i in range(num_permutations):
        shuffled = rng.permutation(num_rows)
        permutation = np.empty(num_rows, int)
        permutation[order] = shuffled[np.argsort(within[shuffled], kind="stable")]
        scores[i] = score(permutation)
    return scores


def p_value(observed: float, null: np.ndarray) -> float:
    """Share of scores by chance that are as large as the observed one or larger, which is counted among them.

    (b + 1) / (m + 1) of Phipson & Smyth 2010, doi:10.2202/1544-6115.1585; it is never zero.

    Args:
        observed: score, larger is better.
        null: (m,) scores by chance.

    Raises:
        ValueError: no null, or values that are no numbers.
    """
    null = np.asarray(null, np.float64)
    if not null.size or np.isnan(null).any() or np.isnan(observed):
        raise UserError(
            f"no p-value: got the score {observed} and {null.size} scores by chance, {int(np.isnan(null).sum())} of "
            "them no numbers, expected numbers, one or more by chance; score the permutations first"
        )
    margin = TIE * abs(observed) if np.isfinite(observed) else 0.0
    return float((np.sum(null >= observed - margin) + 1) / (null.size + 1))


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """P-values adjusted so that rejecting those below q makes a share of at most q false discoveries on average.

    Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x: the smallest m p_(j) / j over all j of the same
    rank or above, at most 1.

    Args:
        p_values: (m,) in [0, 1], of tests that are independent or positively dependent.

    Returns:
        (m,) float64.

    Raises:
        ValueError: not one-dimensional, or not in [0, 1].
    """
    p_values = np.asarray(p_values, np.float64)
    if p_values.ndim != 1 or not np.all((p_values >= 0) & (p_values <= 1)):
        raise UserError(
            f"no p-values: got shape {p_values.shape} with the values {p_values.ravel()[:3].tolist()}, expected (m,) "
            "in [0, 1]; leave out what was not tested"
        )
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")[::-1]
    adjusted = np.empty(count)
    scaled = p_values[order] * count / np.arange(count, 0, -1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted


def _check_bootstrap(values: np.ndarray, groups: np.ndarray, level: float, num_resamples: int) -> None:
    if values.ndim != 1 or not len(values) or groups.shape != values.shape or not np.isfinite(values).all():
        raise UserError(
            f"values that cannot be drawn again: got shape {values.shape} in groups of shape {groups.shape}, "
            f"{int(np.sum(~np.isfinite(values)))} not finite, expected (R,) finite ones, 1 or more, with a group each; "
            "leave out what has no score"
        )
    if not 0 < level < 1 or num_resamples < 1:
        raise UserError(
            f"no interval: got level {level} and {num_resamples} resamples, expected a level in (0, 1) and 1 resample "
            "or more; keep the defaults"
        )
