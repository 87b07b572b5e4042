"""Percent replicating and percent matching: treatments whose rows resemble each other more than rows at random do.

Way et al. 2022 (doi:10.1016/j.cels.2022.10.001) and Chandrasekaran et al. 2021 (JUMP pilots): the median similarity of
the pairs of a group is compared with the 5th and 95th percentile of the same of groups of as many rows, each of another
group. cytominer-eval's ``replicate_reproducibility`` (earlier ``percent_strong``) counts single pairs in place of
medians: ``reproducibility``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import Prepared
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.quantiles import Tail, Wanted, count_above, quantile, tail_collector
from cellfx.profiles.similarity.rules import Rule

ENTRIES = 1 << 22
"""Numbers that are gathered at a time: 32 MiB."""


class Replicating(NamedTuple):
    """Groups and how alike their rows are.

    Attributes:
        groups: (G,) int, codes of the groups that have a pair to compare, rising.
        num_rows: (G,) rows of each.
        median: (G,) of the similarities of its pairs.
        low: (G,) percentile of the medians of random groups of as many rows.
        high: (G,) likewise.
        p_value: (G,) share of the random groups with a median as large, each group's own counted among them.
        replicating_rate: share of the groups above ``high``: percent replicating or matching.
        opposed_rate: share below ``low``, which noise does as often as it is above ``high``.
        rate_p_value: probability that as many of these groups are above ``high`` if they are independent random ones.
        num_single: groups that are left out because they have no pair to compare.
        num_large: groups that are left out because they have more rows than there are groups, so that no random group
            is as large.
    """

    groups: np.ndarray
    num_rows: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    replicating_rate: float
    opposed_rate: float
    rate_p_value: float
    num_single: int
    num_large: int


def replicating(
    prepared: Prepared,
    groups: np.ndarray,
    percentiles: tuple[float, float] = (5.0, 95.0),
    null_size: int = 1000,
    seed: int = 0,
) -> Replicating:
    """Percent replicating (groups are treatments) and percent matching (groups are mechanisms).

    Differs from the papers: the random groups are drawn by first drawing different groups, in proportion to their
    rows, then a row of each, where they draw rows and reject those with two of one group.

    Args:
        prepared: N rows. For percent matching one row a compound is meant: several rows of one are no independent
            evidence, and the null, whose rows are all independent, is then too narrow.
        groups: (N,) int; rows with negative ones are left out, and so should controls be, whose group is large.
        percentiles: of the null.
        null_size: random groups of each size.
        seed: of these.

    Raises:
        ValueError: groups that do not fit, no group with a pair, only groups with more rows than there are groups to
            draw from, or percentiles or a size out of range.
    """
    groups = np.asarray(groups)
    _check(groups, len(prepared.rows), percentiles, null_size)
    codes, sizes = np.unique(groups[groups >= 0], return_counts=True)
    _check_sizes(sizes)
    single, large = sizes == 1, sizes > len(sizes)
    codes, sizes = codes[~(single | large)], sizes[~(single | large)]
    median = np.array([_median_of_rows(_of_pairs(prepared, np.flatnonzero(groups == code)[None]))[0] for code in codes])
    rng = np.random.default_rng(seed)
    low, high, p_value = (np.zeros(len(codes)) for _ in range(3))
    for size in np.unique(sizes):
        null = np.sort(_null(prepared, groups, int(size), null_size, rng, _median_of_rows))
        of = sizes == size
        low[of], high[of] = np.percentile(null, percentiles)
        as_large = null_size - np.searchsorted(null, median[of], side="left")
        p_value[of] = (as_large + 1) / (null_size + 1)
    rates = float(np.mean(median > high)), float(np.mean(median < low))
    by_chance = _rate_p_value(int(np.sum(median > high)), sizes, null_size, percentiles[1] / 100)
    return Replicating(codes, sizes, median, low, high, p_value, *rates, by_chance, int(single.sum()), int(large.sum()))


def reproducibility(prepared: Prepared, matching: Rule, quantile_over_null: float = 0.95) -> float:
    """Share of the pairs of replicates that are more similar than a quantile of all other pairs: cytominer-eval's.

    Args:
        prepared: N rows.
        matching: pairs of replicates.
        quantile_over_null: in [0, 1].

    Raises:
        ValueError: a quantile out of range, no pair that matches or none that does not.
    """
    wanted = Wanted(of_others=(quantile_over_null,))
    tail = collect(prepared, {"tail": tail_collector(prepared, matching, wanted)})["tail"]
    return reproduced(tail, quantile_over_null)


def reproduced(tail: Tail, quantile_over_null: float = 0.95) -> float:
    """``reproducibility`` of pairs that were collected with this quantile among ``Wanted.of_others``."""
    matching = int(tail.counts[:, 1].sum())
    if not matching:
        raise UserError(
            f"no pairs of replicates: got {int(tail.counts.sum())} pairs of which none matches, expected one or more; "
            "choose columns that form groups of two rows or more"
        )
    return float(count_above(tail, quantile(tail, quantile_over_null, of_others=True))[1] / matching)


def _median_of_rows(similarity: np.ndarray) -> np.ndarray:
    return np.median(similarity, axis=1)


def _of_pairs(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Similarities (S, n (n - 1) / 2) of the pairs of sets of rows (S, n)."""
    upper = np.triu_indices(rows.shape[1], 1)
    return _similarity(prepared.rows[rows], prepared.kernel)[:, upper[0], upper[1]]


def _null(
    prepared: Prepared,
    groups: np.ndarray,
    size: int,
    null_size: int,
    rng: np.random.Generator,
    statistic: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Statistics (S,) of the pairs of random groups of some size, all of whose rows are of different groups."""
    codes, sizes = np.unique(groups[groups >= 0], return_counts=True)
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    starts = np.cumsum(sizes) - sizes
    found = []
    for count in _chunks(null_size, max(ENTRIES // max(size * (prepared.rows.shape[1] + size), len(codes)), 1)):
        # The largest of log(size) + Gumbel noise are a draw without replacement in proportion to size.
        keys = np.log(sizes) + rng.gumbel(size=(count, len(codes)))
        drawn = np.argpartition(-keys, size - 1, axis=1)[:, :size]
        rows = order[starts[drawn] + rng.integers(0, sizes[drawn])]
        found.append(statistic(_of_pairs(prepared, rows)))
    return np.concatenate(found)


def _rate_p_value(count: int, sizes: np.ndarray, null_size: int, share: float) -> float:
    """Probability that ``count`` groups or more are above the percentile of a null of their own size, by chance.

    The percentile, of a sample, is at or above its order statistic of rank r, which a random group exceeds with a
    probability that is Beta distributed; groups of one size share it, so that their number is beta-binomial.
    """
    from scipy.stats import betabinom

    if not count:
        return 1.0
    rank = int(np.floor(share * (null_size - 1))) + 1
    counts = np.ones(1)
    for number in np.unique(sizes, return_counts=True)[1].tolist():
        counts = np.convolve(counts, betabinom.pmf(np.arange(number + 1), number, null_size + 1 - rank, rank))
    return float(min(counts[count:].sum(), 1.0))


def _similarity(rows: np.ndarray, kernel: str) -> np.ndarray:
    """Similarities (S, n, n) of rows (S, n, D) in each of S sets."""
    product = rows @ rows.transpose(0, 2, 1)
    if kernel != "euclidean":
        return product
    squares = np.sum(rows**2, axis=2)
    return 1 / (1 + np.sqrt(np.maximum(squares[:, :, None] + squares[:, None, :] - 2 * product, 0)))


def _chunks(total: int, largest: int) -> list[int]:
    return [min(largest, total - start) for start in range(0, total, largest)]


def _check_sizes(sizes: np.ndarray) -> None:
    """Looks at the rows of groups."""
    largest = int(sizes.max(initial=0))
    if largest < 2:
        raise UserError(
            f"no group has a pair to compare: got {len(sizes)} groups of {largest} rows at most, expected one with two "
            "rows or more; choose another column of groups"
        )
    if not np.any((sizes > 1) & (sizes <= len(sizes))):
        raise UserError(
            f"groups without a null: got one of {largest} rows and {len(sizes)} groups, expected one with 2 to "
            f"{len(sizes)} rows, as each group lends one row to a random group; leave out the controls, code -1"
        )


def _check(groups: np.ndarray, num_rows: int, percentiles: tuple[float, float], null_size: int) -> None:
    if groups.shape != (num_rows,):
        raise UserError(
            f"groups that do not fit: got codes of shape {groups.shape}, expected ({num_rows},); give one for each row"
        )
    if null_size < 1 or len(percentiles) != 2 or not 0 <= percentiles[0] <= percentiles[1] <= 100:
        raise UserError(
            f"no null: got percentiles {tuple(percentiles)} of {null_size} random groups, expected two in [0, 100] and "
            "1 group or more; keep the defaults"
        )
