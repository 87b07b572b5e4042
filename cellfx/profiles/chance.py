"""How sure scores of similarities are: bootstraps over compounds, and nulls in which compounds exchange their labels.

Similarities stay as they are: all of this looks at the nearest rows and the most similar pairs, which one pass kept. A
unit is what is drawn or exchanged as a whole, such as all wells of a compound; pairs within a unit are never compared.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from cellfx.profiles.collecting import match
from cellfx.profiles.enrichment import enriched
from cellfx.profiles.pairs import Rule, listed
from cellfx.profiles.resampling import Interval
from cellfx.profiles.similarity import just_above
from cellfx.profiles.tail import Tail

MAX_PAIRS = 1 << 23


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
    names, code, sizes = np.unique(units[units >= 0], return_inverse=True, return_counts=True)
    rng, odds = np.random.default_rng(seed), np.zeros(num_resamples)
    weight = np.zeros(len(units))
    for i in range(num_resamples):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(np.float64)
        weight[units >= 0] = drawn[code]
        products = weight[first] * weight[second]
        total = (np.sum(sizes * drawn) ** 2 - np.sum((sizes * drawn) ** 2)) / 2
        odds[i] = _odds(products[matches].sum(), products.sum(), weight[pairs[:, 0]] @ weight[pairs[:, 1]], total)
    # Neither end may lie between a number and infinity.
    ends = np.sort(odds[~np.isnan(odds)])
    if not len(ends):
        return Interval(observed.odds_ratio, 0.0, float("inf"))
    low, high = (1 - level) / 2 * (len(ends) - 1), (1 + level) / 2 * (len(ends) - 1)
    return Interval(observed.odds_ratio, float(ends[int(np.floor(low))]), float(ends[int(np.ceil(high))]))


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
