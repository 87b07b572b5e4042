"""Fisher's exact one-sided test for tables of billions of pairs: in logarithms, so that no p-value is rounded to 0.

A table counts pairs by two marks, [similar, not similar] x [matching, not matching]. With its margins given, the count
of similar and matching pairs is hypergeometric; p is the chance of that count or a larger one.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from cellfx.checks import UserError

CHUNK = 1 << 16
"""Terms of the tail that are summed at once."""
NEGLIGIBLE = 45.0
"""Terms this many nats below the sum so far, of a tail that falls at least geometrically from there, are left out."""


class Fisher(NamedTuple):
    """What a 2 x 2 table says of the association of its marks.

    Attributes:
        odds_ratio: (a / b) / (c / d). Infinity where b or c is 0 and a and d are not, as no odds are above; NaN where
            a row or a column of the table is empty: nothing was compared.
        log10_p: decimal logarithm of p, in (-inf, 0].
        p_value: the same as a number, 0 where that is below the smallest of float64.
    """

    odds_ratio: float
    log10_p: float
    p_value: float


def fisher_greater(a: int, b: int, c: int, d: int) -> Fisher:
    """Fisher's exact test against the alternative that the odds ratio is above 1.

    Loader 2000, "Fast and accurate computation of binomial probabilities": one term of the tail is computed from
    deviances, without differences of large numbers, and the others follow by ratios. Errors of log p stay near 1e-9
    for tables of 5e9 pairs, where differences of gammaln lose 1e-5.

    Args:
        a: similar and matching pairs.
        b: similar and not matching.
        c: not similar and matching.
        d: neither.

    Raises:
        ValueError: a count is negative or not whole.
    """
    counts = (a, b, c, d)
    if any(count < 0 or count != int(count) for count in counts):
        raise UserError(
            f"a table of no counts: got {list(counts)}, expected four whole numbers of 0 or more; count pairs"
        )
    a, b, c, d = (int(count) for count in counts)
    if not (a + b and c + d and a + c and b + d):
        return Fisher(float("nan"), 0.0, 1.0)
    odds = a * d / (b * c) if b * c else (float("inf") if a * d else 0.0)
    log_p = _log_tail(a, b, c, d)
    return Fisher(float(odds), float(log_p / np.log(10)), float(np.exp(log_p)))


def _log_tail(a: int, b: int, c: int, d: int) -> float:
    """Log of P(count >= a); summed on the side of the mode that is smaller, so that 1 - p keeps its digits too."""
    similar, matching, total = a + b, a + c, a + b + c + d
    lowest, highest = max(0, similar + matching - total), min(similar, matching)
    if a <= lowest:
        return 0.0
    if a * total > similar * matching:
        return min(_log_sum(a, highest, similar, matching, total), 0.0)
    # P(count <= a - 1) is the upper tail of the matching pairs that are not similar, whose count then is c + 1 or more.
    below = _log_sum(c + 1, min(total - similar, matching), total - similar, matching, total)
    return float(np.log1p(-np.exp(min(below, 0.0)))) if below < 0 else -np.inf


def _log_sum(first: int, last: int, drawn: int, marked: int, total: int) -> float:
    """Log of the sum of hypergeometric probabilities of first, ..., last; first is at the mode or above."""
    log_term = _log_probability(first, drawn, marked, total)
    log_total, start = -np.inf, first
    while start <= last:
        x = np.arange(start, min(start + CHUNK, last + 1), dtype=np.float64)
        ratios = (marked - x) * (drawn - x) / ((x + 1) * (total - marked - drawn + x + 1))
        steps = np.cumsum(np.log(np.where(x < last, ratios, 1.0)))
        terms = log_term + np.concatenate([[0.0], steps[:-1]])
        log_total = np.logaddexp(log_total, logsumexp(terms))
        if terms[-1] < log_total - NEGLIGIBLE:
            break
        log_term, start = log_term + steps[-1], start + CHUNK
    return float(log_total)


def _log_probability(x: int, drawn: int, marked: int, total: int) -> float:
    rate = drawn / total
    parts = (_log_binomial(x, marked, rate), _log_binomial(drawn - x, total - marked, rate))
    return sum(parts) - _log_binomial(drawn, total, rate)


def _log_binomial(x: int, n: int, rate: float) -> float:
    if x == 0:
        return n * np.log1p(-rate)
    if x == n:
        return n * np.log(rate)
    deviance = _deviance(x, n * rate) + _deviance(n - x, n * (1 - rate))
    return _stirling(n) - _stirling(x) - _stirling(n - x) - deviance + 0.5 * np.log(n / (2 * np.pi * x * (n - x)))


def _deviance(x: float, mean: float) -> float:
    """The value x log(x / mean) + mean - x, which is small where x is near the mean."""
    away = (x - mean) / mean
    return mean * ((1 + away) * np.log1p(away) - away)


def _stirling(n: int) -> float:
    """What Stirling's formula lacks of log n!."""
    if n < 16:
        return float(gammaln(n + 1) - (n + 0.5) * np.log(n) + n - 0.5 * np.log(2 * np.pi))
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * n**2)) / n**2) / n**2) / n
