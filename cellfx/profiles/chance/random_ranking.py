"""Average precision of rankings that know nothing: its expectation, all of its values, or a sample of them.

k positives stand in random places of a list of n. Every set of k places is as likely as another, and the average
precision depends on the set only, so the null has C(n, k) equally likely values. Few enough are enumerated, and
p-values are then exact.

The mean over a group's rows is compared with a mean over configurations (k, n), as in copairs 0.5.5: rows of one
configuration are given one and the same value by chance, rows of different ones independent values. Replicates that
retrieve each other are no independent tests; taking them as one test errs on the safe side.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.profiles.chance.resampling import TIE

SAMPLED_ENTRIES = 2**24
"""Places shuffled at a time: 16 MiB of bytes."""
FEW_POSITIVES = 32
"""Up to as many are drawn one by one; more by shuffling the list."""


class Null(NamedTuple):
    """All values of average precision that k positives among n pairs can have.

    Attributes:
        values: (S,) float64, rising.
        counts: (S,) int64 in how many rankings each comes about.
    """

    values: np.ndarray
    counts: np.ndarray


def from_places(places: np.ndarray) -> np.ndarray:
    """Average precision of positives in given places: the mean over them of i / place of the i-th.

    Args:
        places: (..., k) sorted along the last axis, from 1.

    Returns:
        (...) float64 in (0, 1].
    """
    return np.mean(np.arange(1, places.shape[-1] + 1) / places, axis=-1)


def expected_average_precision(num_positives: np.ndarray, num_pairs: np.ndarray) -> np.ndarray:
    """Expectation of the average precision of k positives in random places of a list of n.

    Bestgen 2015, "Exact expected average precision of the random baseline for system evaluation". A place r holds a
    positive with probability k / n, and then its precision is 1 / r times one and the positives before it, of which
    each of the r - 1 places holds one with probability (k - 1) / (n - 1). So

        E = 1 / k  sum_r  k / n  (1 + (r - 1) (k - 1) / (n - 1)) / r
          = (k - 1) / (n - 1)  +  (n - k) / (n - 1)  H_n / n,        H_n = 1 + 1/2 + ... + 1/n,

    and 1 where n = 1.

    Args:
        num_positives: (...) k from 1 to n.
        num_pairs: (...) n.

    Returns:
        (...) float64 in (0, 1].
    """
    k, n = np.asarray(num_positives, np.float64), np.asarray(num_pairs)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, np.max(n, initial=1) + 1))])[n]
    others = np.maximum(n - 1, 1)
    return np.where(n == 1, 1.0, (k - 1) / others + (n - k) / others * harmonic / np.maximum(n, 1))


def enumerated(num_positives: int, num_pairs: int, max_enumerated: int) -> Null | None:
    """The whole null of k positives among n pairs; None where k C(n, k) is more than ``max_enumerated``.

    Args:
        num_positives: k from 1 to n.
        num_pairs: n.
        max_enumerated: how many places, in all sets of k together, are looked at.
    """
    if not _enumerable(num_positives, num_pairs, max_enumerated):
        return None
    return Null(*np.unique(from_places(_all_places(num_positives, num_pairs)), return_counts=True))


def sampled(num_positives: int, num_pairs: int, null_size: int, seed: int) -> np.ndarray:
    """Average precision (null_size,) of random rankings of k positives among n pairs.

    ``seed`` names the draws together with k and n: a configuration has the same null whatever else is scored.
    """
    rng = np.random.default_rng([seed, num_positives, num_pairs])
    return from_places(_random_places(num_positives, num_pairs, null_size, rng))


def exact_p_value(observed: float, shares: np.ndarray, nulls: Sequence[Null], max_enumerated: int) -> float | None:
    """Probability that chance does as well as a group's mean, or better, from all rankings.

    Args:
        observed: the group's mean average precision.
        shares: (C,) of the group's rows that have each configuration, sum 1.
        nulls: C of them.
        max_enumerated: how many sums, of one value of each null but that with the most values, are looked at.

    Returns:
        The p-value in (0, 1], or None where there are more sums.
    """
    order = np.argsort([len(null.values) for null in nulls], kind="stable")
    if math.prod(len(nulls[i].values) for i in order[:-1]) > max(max_enumerated, 1):
        return None
    sums, weights = np.zeros(1), np.ones(1)
    for i in order[:-1]:
        sums = (sums[:, None] + shares[i] * nulls[i].values[None]).ravel()
        weights = (weights[:, None] * (nulls[i].counts / nulls[i].counts.sum())[None]).ravel()
    values, counts = nulls[order[-1]]
    at_least = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]]) / counts.sum()
    first = np.searchsorted(shares[order[-1]] * values, observed * (1 - TIE) - sums, side="left")
    return float(np.sum(weights * at_least[first]))


def _enumerable(k: int, n: int, max_enumerated: int) -> bool:
    # Large binomials are slow to work out exactly, and their size is plain without.
    log_sets = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return log_sets < math.log(max_enumerated + 1) + 1 and k * math.comb(n, k) <= max_enumerated


def _all_places(k: int, n: int) -> np.ndarray:
    # Column by column: each row of the sets so far is followed by every larger place that leaves room for the rest.
    places = np.arange(1, n - k + 2, dtype=np.int32)[:, None]
    for column in range(1, k):
        last = places[:, -1]
        counts = n - k + column + 1 - last
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        following = (np.repeat(last, counts) + 1 + offset).astype(np.int32)
        places = np.concatenate([np.repeat(places, counts, axis=0), following[:, None]], axis=1)
    return places


def _random_places(k: int, n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    places = np.empty((size, k), np.int64)
    if k <= FEW_POSITIVES:
        # Floyd's sampling (Bentley & Floyd 1987): a place that is taken already gives way to the newest one.
        for column, top in enumerate(range(n - k + 1, n + 1)):
            drawn = rng.integers(1, top, size=size, endpoint=True)
            taken = np.any(places[:, :column] == drawn[:, None], axis=1)
            places[:, column] = np.where(taken, top, drawn)
        return np.sort(places, axis=1)
    rows = max(SAMPLED_ENTRIES // n, 1)
    for start in range(0, size, rows):
        lists = np.zeros((min(rows, size - start), n), bool)
        lists[:, :k] = True
        places[start : start + len(lists)] = np.nonzero(rng.permuted(lists, axis=1))[1].reshape(-1, k) + 1
    return places
