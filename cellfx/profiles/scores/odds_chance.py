"""How sure odds ratios are: the bootstrap over compounds, and the null in which units exchange their labels.

Similarities stay as they are: both look at the most similar pairs, which one pass kept.
"""

import numpy as np

from cellfx.profiles.chance.exchange import MAX_PAIRS, exchanged_rows, exchanges, labeled_units, unit_pairs
from cellfx.profiles.chance.resampling import Interval
from cellfx.profiles.scores.enrichment import enriched
from cellfx.profiles.similarity.blocks import just_above
from cellfx.profiles.similarity.collecting import match
from cellfx.profiles.similarity.quantiles import Tail
from cellfx.profiles.similarity.rules import Rule, listed


def enrichment_null(
    tail: Tail, percentile: float, matching: Rule, units: np.ndarray, num_permutations: int = 200, seed: int = 0
) -> np.ndarray:
    """Odds ratios after the units have exchanged their labels.

    Pairs within a unit, which are there where plates exchange their batches, match before and after.

    Args:
        tail: collected with ``Wanted.listed`` at or below the percentile, of all pairs of different units or more.
        percentile: in [0, 1].
        matching: which rows belong together.
        units: (N,) int, negative for rows that are not exchanged.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        (num_permutations,) float64. Where units differ in size and too many match to list them, the number of
        matching pairs is taken to be the observed one.
    """
    units = np.asarray(units)
    observed, found = enriched(tail, percentile), labeled_units(matching, units)
    first, second, matches = _above(tail, observed.threshold)
    within = (units[first] == units[second]) & matches
    above, num_matching, total = observed.table[0].sum(), int(observed.table[:, 0].sum()), observed.table.sum()
    pairs = unit_pairs(matching, found) if np.ptp(found.sizes) else None
    # Each pair of units is listed in both orders.
    sizes = 0 if pairs is None else found.sizes[pairs].prod(axis=1).sum() // 2
    odds = np.zeros(num_permutations)
    for i, permutation in enumerate(exchanges(found, num_permutations, seed)):
        label, count = exchanged_rows(found, permutation, len(units)), num_matching
        if pairs is not None:
            count += found.sizes[np.argsort(permutation)[pairs]].prod(axis=1).sum() // 2 - sizes
        a = int(np.sum(match(matching, label[first], label[second]) | within))
        odds[i] = _odds(a, above, count, total)
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
