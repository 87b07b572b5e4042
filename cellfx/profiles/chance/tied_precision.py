"""Precision of positives in a ranking in which some negatives are exactly as alike: what it is on average.

Pairs that cannot be told apart have no order. Ranking positives before them, as copairs does, makes 96 identical
profiles perfect; behind them, worthless. ``precisions`` takes the mean over all orders of the tied pairs (McSherry &
Najork 2008, doi:10.1007/978-3-540-78646-7_38, section 3.1), so that what cannot be told apart scores as chance does.
"""

from typing import Literal, get_args

import numpy as np

from cellfx.checks import UserError

Ties = Literal["expected", "copairs"]
"""Tied pairs in every order, or positives before negatives."""


def check_ties(ties: str) -> None:
    """Raises a UserError for a rule of ties that is none."""
    if ties not in get_args(Ties):
        raise UserError(
            f"unknown rule of ties: got {ties!r}, expected one of {', '.join(get_args(Ties))}; keep 'expected'"
        )


def precisions(row: np.ndarray, ahead: np.ndarray, tied: np.ndarray | None = None) -> np.ndarray:
    """Precision at the place of each positive, the mean over all orders of tied pairs.

    Where p positives and q negatives are tied, n = p + q, behind P positives and N pairs in all, a positive is at each
    of the n places with probability p / n, and there has i - 1 of the other n - 1 tied pairs before it:

        sum_i  p / n  (P + 1 + (i - 1) a) / (N + i)  =  p / n  ((P + 1 - a (N + 1)) (H_(N + n) - H_N) + a n),

    with a = (p - 1) / (n - 1) and H_n = 1 + 1/2 + ... + 1/n. Each of the p positives is given a p-th of it.

    Args:
        row: (H,) int, rising, whose positive it is; those of a row are ordered, the most similar first.
        ahead: (H,) int, how many negatives are more similar.
        tied: (H,) int, how many are as similar; None where none is, or where positives rank before them.

    Returns:
        (H,) float64 in (0, 1].
    """
    number = np.arange(len(row))
    before = number - _start(number, _changes(row))
    plain = (before + 1) / (before + 1 + ahead)
    if tied is None or not np.any(tied):
        return plain
    new = _changes(row) | _changes(ahead) | _changes(tied)
    start = _start(number, new)
    p = np.bincount(start, minlength=len(row))[start]
    n, above, pairs = p + tied, before[start], before[start] + ahead
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(np.max(pairs + n)) + 1))])
    share = (p - 1) / np.maximum(n - 1, 1)
    mean = ((above + 1 - share * (pairs + 1)) * (harmonic[pairs + n] - harmonic[pairs]) + share * n) / n
    return np.where(tied > 0, mean, plain)


def _changes(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[True], values[1:] != values[:-1]]) if len(values) else np.zeros(0, bool)


def _start(number: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Where the run begins that each one is in."""
    return np.maximum.accumulate(np.where(new, number, 0)) if len(number) else number
