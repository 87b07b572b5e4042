"""Mean average precision of groups of profiles, and which groups chance does not explain.

As copairs has it (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2): the mean over the rows of a group, a p-value
against random rankings with as many positive and negative pairs, corrected for the number of groups; the share of
groups whose corrected p-value is below a threshold is the "fraction retrieved".

Differs from copairs 0.5.5: p-values are exact where all rankings can be enumerated, and rankings by chance that are
as good as the observed one count, where copairs counts better ones only; with few pairs that makes p-values larger by
the probability of the observed value, and a perfect score is not more significant than it can be.

As in copairs, each row that is a positive counts as evidence of its own. Where a mechanism's compounds have several
rows each, these rank as a clump, and p-values are too small: pool to one row a compound first, as
``unit_profiles.pooled_units`` and ``scores.score`` do.
"""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.chance.random_ranking import enumerated, exact_p_value, sampled
from cellfx.profiles.chance.resampling import benjamini_hochberg, p_value
from cellfx.profiles.scores.average_precision import AveragePrecision
from cellfx.profiles.similarity.rules import encode

THRESHOLD = 0.05
"""A group is retrieved whose corrected p-value is below it."""
NULLS_KEPT = 32
"""Of the largest size that is enumerated they take 700 MiB."""


class MeanAveragePrecision(NamedTuple):
    """Scores of groups of rows, in the order of their first row.

    Attributes:
        groups: G rows, the columns that make the groups.
        mean_average_precision: (G,) float64.
        mean_normalised: (G,) mean of the normalized values.
        num_rows: (G,) int64 rows of each group.
        p_value: (G,) probability that a random ranking does as well.
        exact: (G,) bool, whether it is exact or counted among random rankings.
        corrected_p_value: (G,) by Benjamini and Hochberg.
        retrieved: (G,) bool, corrected p-value below the threshold.
        fraction_retrieved: share of the groups that are.
        num_ungrouped: scored rows in no group, because a column is missing.
        least_p_value: (G,) that of a perfect score, which no p-value is below.
    """

    groups: pl.DataFrame
    mean_average_precision: np.ndarray
    mean_normalised: np.ndarray
    num_rows: np.ndarray
    p_value: np.ndarray
    exact: np.ndarray
    corrected_p_value: np.ndarray
    retrieved: np.ndarray
    fraction_retrieved: float
    num_ungrouped: int
    least_p_value: np.ndarray


def mean_average_precision(
    result: AveragePrecision,
    metadata: pl.DataFrame,
    sameby: Sequence[str],
    null_size: int = 10_000,
    threshold: float = THRESHOLD,
    seed: int = 0,
    max_enumerated: int = 2**22,
) -> MeanAveragePrecision:
    """Mean average precision of groups of rows, with p-values against random rankings (see ``random_ranking``).

    Args:
        result: of the rows.
        metadata: N rows, those of the profiles.
        sameby: one column or more that make the groups. Rows in which one is missing are in none, and counted.
        null_size: random rankings where not all are enumerated.
        threshold: below which a corrected p-value means that a group is retrieved, in (0, 1).
        seed: of the random rankings.
        max_enumerated: rankings of k positives among n pairs are enumerated where k C(n, k) is no more: with 2^22, 1
            positive among 4 million, 2 among 2,048, 3 among 204, 5 among 41. P-values are exact for groups all of
            whose rows have such pairs and, where these are of several (k, n), at most so many sums of one value of
            each but the largest. 0 for random rankings only.

    Raises:
        ValueError: no column, one that does not exist, a wrong threshold or null size, or no row in a group.
    """
    if not sameby:
        raise UserError(
            f"no groups: got sameby {list(sameby)}, expected one column of metadata or more; name what makes a group"
        )
    if not 0 < threshold < 1 or null_size < 1:
        raise UserError(
            f"no test: got threshold {threshold} and null_size {null_size}, expected a threshold in (0, 1) and 1 "
            "random ranking or more; keep the defaults"
        )
    grouped, first, member = _groups(result, metadata, sameby)
    sizes = np.bincount(member)
    means, normalised = (
        np.bincount(member, values[grouped]) / sizes for values in (result.average_precision, result.normalised)
    )
    configurations = _configurations(result, grouped)
    p_values, exact = _p_values(means, member, configurations, null_size, max_enumerated, seed)
    corrected = benjamini_hochberg(p_values)
    retrieved = corrected < threshold
    return MeanAveragePrecision(
        metadata.select(*dict.fromkeys(sameby))[result.rows[grouped[first]]],
        means,
        normalised,
        sizes,
        p_values,
        exact,
        corrected,
        retrieved,
        float(retrieved.mean()),
        len(result.rows) - len(grouped),
        _p_values(np.ones(len(means)), member, configurations, null_size, max_enumerated, seed)[0],
    )


def judged_by(found: MeanAveragePrecision, p_value: np.ndarray, threshold: float = THRESHOLD) -> MeanAveragePrecision:
    """The same groups by other p-values (G,), none of which is exact."""
    corrected = benjamini_hochberg(p_value)
    retrieved = corrected < threshold
    return found._replace(
        p_value=p_value,
        exact=np.zeros(len(p_value), bool),
        corrected_p_value=corrected,
        retrieved=retrieved,
        fraction_retrieved=float(retrieved.mean()),
    )


def null_of_mean(
    result: AveragePrecision, metadata: pl.DataFrame, sameby: Sequence[str], null_size: int = 10_000, seed: int = 0
) -> np.ndarray:
    """The mean over groups of ``mean_average_precision`` where all rankings are random, each group's by itself.

    Args:
        result: of the rows.
        metadata: N rows, those of the profiles.
        sameby: columns that make the groups.
        null_size: random rankings of each group.
        seed: of these.

    Returns:
        (null_size,) float64.

    Raises:
        ValueError: no row in a group.
    """
    grouped, _, member = _groups(result, metadata, sameby)
    configurations, sizes = _configurations(result, grouped), np.bincount(member)
    distinct, which = np.unique(configurations, axis=0, return_inverse=True)
    sample = functools.lru_cache(NULLS_KEPT)(lambda number: sampled(*distinct[number].tolist(), null_size, seed))
    keys, counts = np.unique(member * len(distinct) + which.ravel(), return_counts=True)
    rng, total = np.random.default_rng(seed), np.zeros(null_size)
    for key in np.argsort(keys % len(distinct), kind="stable"):
        group, number = divmod(int(keys[key]), len(distinct))
        total += counts[key] / sizes[group] * rng.permutation(sample(number))
    return total / len(sizes)


def _groups(
    result: AveragePrecision, metadata: pl.DataFrame, sameby: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scored rows in a group (R,), the first of each group among them (G,), and the group of each (R,)."""
    codes = encode(metadata, sameby)[result.rows]
    grouped = np.flatnonzero(codes >= 0)
    if not len(grouped):
        raise UserError(
            f"no groups: got {len(codes)} scored rows, in all of which one of {list(sameby)} is missing, expected one "
            "row or more in a group; choose other columns"
        )
    _, first, member = np.unique(codes[grouped], return_index=True, return_inverse=True)
    return grouped, first, member


def _configurations(result: AveragePrecision, rows: np.ndarray) -> np.ndarray:
    return np.stack([result.num_positives, result.num_pairs], axis=1)[rows]


def _p_values(
    means: np.ndarray, member: np.ndarray, configurations: np.ndarray, null_size: int, max_enumerated: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    whole = functools.lru_cache(NULLS_KEPT)(lambda k, n: enumerated(k, n, max_enumerated))
    sample = functools.lru_cache(NULLS_KEPT)(lambda k, n: sampled(k, n, null_size, seed))
    distinct, which = np.unique(configurations, axis=0, return_inverse=True)
    # Which configurations a group has and for how many rows: runs of equal (group, configuration).
    keys, counts = np.unique(member * len(distinct) + which.ravel(), return_counts=True)
    starts = np.searchsorted(keys // len(distinct), np.arange(len(means) + 1))
    own = [distinct[keys[slice(*run)] % len(distinct)].tolist() for run in pairwise(starts)]
    p_values, exact = np.ones(len(means)), np.zeros(len(means), bool)
    for group in sorted(range(len(means)), key=own.__getitem__):  # groups of like configurations share their nulls
        shares = counts[starts[group] : starts[group + 1]]
        shares = shares / shares.sum()
        nulls = [whole(*configuration) for configuration in own[group]]
        found = None if None in nulls else exact_p_value(means[group], shares, nulls, max_enumerated)
        exact[group] = found is not None
        if found is None:
            found = p_value(means[group], shares @ np.stack([sample(*configuration) for configuration in own[group]]))
        p_values[group] = found
    return p_values, exact
