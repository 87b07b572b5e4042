"""How sure scores of similarities are: bootstraps over compounds, and nulls in which compounds exchange their labels.

Similarities stay as they are: all of this looks at the nearest rows and the most similar pairs, which one pass kept. A
unit is what is drawn or exchanged as a whole, such as all wells of a compound; pairs within a unit are never compared.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cellfx.profiles.collecting import Block, Collector, match
from cellfx.profiles.enrichment import enriched
from cellfx.profiles.pairs import Rule, listed
from cellfx.profiles.resampling import Interval
from cellfx.profiles.similarity import just_above
from cellfx.profiles.tail import Tail

MAX_PAIRS = 1 << 23
MAX_SUMS = 1 << 25
"""Sums over units that are kept: 256 MiB."""


def label_null(
    top_rows: np.ndarray,
    num_positives: np.ndarray,
    matching: Rule,
    units: np.ndarray,
    ks: Sequence[int],
    num_permutations: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Precision and recall after the units have exchanged their labels at random.

    Args:
        top_rows: (N, K) nearest rows of each, nearest first, -1 where there are fewer, see ``retrieval.Hits``.
        num_positives: (N,) positives of each row.
        matching: which rows belong together.
        units: (N,) int, negative for rows that are not compared.
        ks: neighbours, each at most K.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        ``precision@k`` and ``recall@k`` for every k, and ``precision@R`` where K is at least the largest R: each
        (num_permutations,), means over rows with positives. Where units differ in their number of rows, R and the
        denominator of recall are those of the unit that the label came from.

    Raises:
        ValueError: a k beyond K, or rows that do not fit.
    """
    _check(top_rows, units, ks, num_permutations)
    places = np.arange(top_rows.shape[1])
    with_r = num_positives.max(initial=0) <= top_rows.shape[1]
    names = [f"{kind}@{k}" for k in ks for kind in ("precision", "recall")] + (["precision@R"] if with_r else [])
    null = {name: np.zeros(num_permutations) for name in names}
    for i, label in enumerate(_exchanged(matching, units, num_permutations, seed)):
        count = np.where(units >= 0, num_positives[label], 0)
        rows = np.flatnonzero(count)
        if not len(rows):
            continue
        partner, count = top_rows[rows], count[rows]
        first = np.broadcast_to(label[rows][:, None], partner.shape)
        hit = match(matching, first, label[partner]) & (partner >= 0)
        found = np.cumsum(hit, axis=1)
        for k in ks:
            null[f"precision@{k}"][i] = np.mean(found[:, k - 1] / k)
            null[f"recall@{k}"][i] = np.mean(found[:, k - 1] / count)
        if with_r:
            null["precision@R"][i] = np.mean(np.sum(hit & (places < count[:, None]), axis=1) / count)
    return null


def enrichment_null(
    tail: Tail, percentile: float, matching: Rule, units: np.ndarray, num_permutations: int = 200, seed: int = 0
) -> np.ndarray:
    """Odds ratios after the units have exchanged their labels, the number of matching pairs being kept.

    Args:
        tail: collected with ``Wanted.listed`` at or below the percentile.
        percentile: in [0, 1].
        matching: which rows belong together.
        units: (N,) int.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        (num_permutations,) float64.
    """
    observed = enriched(tail, percentile)
    first, second, _ = _above(tail, observed.threshold)
    above, num_matching = observed.table[0].sum(), observed.table[:, 0].sum()
    total = observed.table.sum()
    odds = np.zeros(num_permutations)
    for i, label in enumerate(_exchanged(matching, units, num_permutations, seed)):
        a = int(np.sum(match(matching, label[first], label[second])))
        odds[i] = _odds(a, above, num_matching, total)
    return odds


def enrichment_interval(
    tail: Tail,
    percentile: float,
    matching: Rule,
    units: np.ndarray,
    level: float = 0.95,
    num_resamples: int = 500,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap over units of an odds ratio, at the threshold of the whole screen.

    A unit that was drawn twice counts twice in each of its pairs; it is never compared with itself.

    Args:
        tail: collected with ``Wanted.listed`` at or below the percentile, of all pairs of different units.
        percentile: in [0, 1].
        matching: which rows belong together.
        units: (N,) int, negative for rows that are not compared.
        level: in (0, 1).
        num_resamples: 1 or more.
        seed: of these.

    Returns:
        The interval; None where there are more matching pairs than ``MAX_PAIRS``, too many to weigh.
    """
    pairs = listed(matching, MAX_PAIRS)
    if pairs is None:
        return None
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    pairs = pairs[(units[pairs[:, 0]] != units[pairs[:, 1]]) & np.all(units[pairs] >= 0, axis=1)]
    observed = enriched(tail, percentile)
    first, second, matches = _above(tail, observed.threshold)
    names, sizes = np.unique(units[units >= 0], return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(num_resamples)]
    weights = np.array(drawn, np.float64)
    above = _weighed(weights, names, units[first], units[second])
    both = _weighed(weights, names, units[first[matches]], units[second[matches]])
    matching_pairs = _weighed(weights, names, *units[pairs].T)
    total = ((weights @ sizes) ** 2 - weights**2 @ sizes.astype(np.float64) ** 2) / 2
    odds = np.array([_odds(*table) for table in zip(both, above, matching_pairs, total, strict=True)])
    # Neither end may lie between a number and infinity.
    ends = np.sort(odds[~np.isnan(odds)])
    if not len(ends):
        return Interval(observed.odds_ratio, 0.0, float("inf"))
    low, high = (1 - level) / 2 * (len(ends) - 1), (1 + level) / 2 * (len(ends) - 1)
    return Interval(observed.odds_ratio, float(ends[int(np.floor(low))]), float(ends[int(np.ceil(high))]))


def unit_sums_collector(units: np.ndarray, value: Callable[[Block], np.ndarray]) -> Collector:
    """Sums a value of pairs over the rows of each unit, for ``mean_null``: (N, U) float64, units in rising order.

    Args:
        units: (N,) int, negative for rows that are not compared.
        value: of a block -> (B, N).

    Raises:
        ValueError: no unit, or more sums than ``MAX_SUMS``.
    """
    order = np.argsort(units, kind="stable")[np.sum(units < 0) :]
    names, starts = np.unique(units[order], return_index=True)
    if not 0 < len(units) * len(names) <= MAX_SUMS:
        raise ValueError(
            f"no units to exchange, or too many: got {len(names)} in {len(units)} rows, expected from 1 to {MAX_SUMS} "
            "sums of rows over units; score fewer rows, such as the consensus of each treatment"
        )
    return Collector(lambda block: np.add.reduceat(value(block)[:, order], starts, axis=1), np.concatenate)


def rank_gain(candidates: Rule) -> Callable[[Block], np.ndarray]:
    """How much earlier than half-way each candidate is found, as a share of all: a value for ``unit_sums_collector``.

    The mean over the pairs that match is ``HitCurve.area``, where no two candidates are equally similar.
    """

    def value(block: Block) -> np.ndarray:
        allowed = block.mask(candidates)
        share = (block.ranks(candidates) + 0.5) / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
        return np.where(allowed, 0.5 - share, 0.0)

    return value


def mean_null(
    sums: np.ndarray,
    matching: Rule,
    units: np.ndarray,
    by_row: bool = False,
    num_permutations: int = 200,
    seed: int = 0,
) -> np.ndarray | None:
    """Means of a value over the pairs that match, after the units have exchanged their labels.

    Args:
        sums: (N, U) of the value, see ``unit_sums_collector``.
        matching: which rows belong together; all rows of a unit have the label of its first.
        units: (N,) int, as they were given there.
        by_row: the mean over the rows of each one's mean over its matches, in place of that over all pairs.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        (1 + num_permutations,) float64, the first without any exchange; None where there are more matching pairs than
        ``MAX_PAIRS``.
    """
    rows = np.flatnonzero(units >= 0)
    names, first, code = np.unique(units[rows], return_index=True, return_inverse=True)
    pairs = listed(Rule(*(np.asarray(part)[..., rows[first]] for part in matching)), MAX_PAIRS)
    if pairs is None:
        return None
    totals, sizes = np.zeros((len(names), len(names))), np.bincount(code).astype(np.float64)
    np.add.at(totals, code, sums[rows])
    rng, means = np.random.default_rng(seed), np.zeros(1 + num_permutations)
    for i in range(len(means)):
        mine, partner = (rng.permutation(len(names)) if i else np.arange(len(names)))[pairs].T
        weight = 1 / np.bincount(mine, sizes[partner], len(names))[mine] if by_row else np.ones(len(mine))
        means[i] = np.sum(weight * totals[mine, partner]) / np.sum(weight * sizes[mine] * sizes[partner])
    return means


def _weighed(weights: np.ndarray, names: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of units (P,) and (P,), counted as often as both were drawn: (R,) of the weights (R, U) of units."""
    from scipy.sparse import coo_array

    has = (first >= 0) & (second >= 0)
    places = np.searchsorted(names, first[has]), np.searchsorted(names, second[has])
    counts = coo_array((np.ones(int(has.sum())), places), shape=(len(names), len(names))).tocsr()
    return np.sum((counts @ weights.T).T * weights, axis=1)


def _odds(a: float, above: float, matching: float, total: float) -> float:
    b, c = above - a, matching - a
    d = total - above - c
    return a * d / (b * c) if b * c else (np.inf if a * d else np.nan)


def _above(tail: Tail, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    similarity, first, second, matches = tail.top
    above = similarity > just_above(threshold, tail.kernel)
    return first[above], second[above], matches[above]


def _exchanged(matching: Rule, units: np.ndarray, num_permutations: int, seed: int) -> Iterator[np.ndarray]:
    """For each permutation, (N,) the row whose label each row has: the first of another unit with a label."""
    labelled = np.flatnonzero((units >= 0) & matching.complete)
    names, first, code = np.unique(units[labelled], return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(num_permutations):
        label = np.arange(len(units))
        label[labelled] = labelled[first[rng.permutation(len(names))]][code]
        yield label


def _check(top_rows: np.ndarray, units: np.ndarray, ks: Sequence[int], num_permutations: int) -> None:
    if len(units) != len(top_rows) or num_permutations < 1 or any(not 1 <= k <= top_rows.shape[1] for k in ks):
        raise ValueError(
            f"nothing to exchange: got k of {list(ks)}, nearest rows of shape {top_rows.shape}, {len(units)} units and "
            f"{num_permutations} permutations, expected each k from 1 to {top_rows.shape[1]}, one unit a row and 1 "
            "permutation or more; collect more nearest rows"
        )
