"""Exact quantiles of all pairwise similarities, of billions of pairs too, and how many pairs are above them.

A quantile needs two neighboring order statistics. A random sample of pairs says roughly where these lie; one pass
counts all pairs below, between and above such windows, and keeps only what lies within them: 2 percent of the pairs or
less. If a window turns out to miss its quantile, which a sample does once in a billion times, it is widened and the
pass repeated, so that results never depend on the sample.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import Prepared, just_above
from cellfx.profiles.similarity.collecting import Block, Collector, check_rule, collect, later, match
from cellfx.profiles.similarity.rules import Rule

KEPT_PAIRS = 1 << 22
"""With fewer pairs than this all are kept, 32 MiB, and nothing is sampled."""
DEVIATIONS = 7.0
"""Half the width of a window, in standard deviations of the sample's quantile."""


class Tail(NamedTuple):
    """Pairs of N rows, each once, divided by edges into V intervals of which every second one was kept.

    Attributes:
        edges: (V - 1,) rising.
        counts: (V, 2) int64, pairs in each interval that do not and that do match.
        kept: for each interval a pair of rising float64 arrays, similarities that do not and that do match; empty for
            those that were only counted.
        kernel: of the similarities.
        top: similarities (P,), first row, second row and match of the pairs above the edge below ``Wanted.listed``;
            empty without it.
    """

    edges: np.ndarray
    counts: np.ndarray
    kept: tuple[tuple[np.ndarray, np.ndarray], ...]
    kernel: str
    top: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Wanted(NamedTuple):
    """Quantiles to be answered.

    Attributes:
        of_all: of the similarities of all pairs, each in [0, 1].
        of_others: of the similarities of pairs that do not match.
        listed: one of ``of_all``, above which pairs are kept with their rows; None for none.
    """

    of_all: tuple[float, ...] = ()
    of_others: tuple[float, ...] = ()
    listed: float | None = None


def tail_collector(
    prepared: Prepared,
    matching: Rule,
    wanted: Wanted,
    candidates: Rule | None = None,
    kept_pairs: int = KEPT_PAIRS,
    narrow: float = 1.0,
) -> Collector:
    """Collects, in one pass over the similarities, what quantiles of them need.

    Args:
        prepared: N rows, 2 or more.
        matching: which pairs match.
        wanted: quantiles.
        candidates: which pairs are looked at, all by default; a rule that holds for a pair in both orders.
        kept_pairs: up to so many pairs are kept without sampling.
        narrow: factor of the width of the windows.

    Raises:
        ValueError: quantiles outside [0, 1], fewer than two rows, or a rule of other rows.
    """
    num_rows = len(prepared.rows)
    for rule in (matching, candidates):
        if rule is not None:
            check_rule(rule, num_rows)
    _check(wanted, num_rows)
    edges, listed_above = np.array([-np.inf]), -np.inf
    if num_rows * (num_rows - 1) // 2 > kept_pairs:
        edges, listed_above = _windows(prepared, matching, candidates, wanted, narrow)

    def look(block: Block) -> tuple[np.ndarray, tuple, tuple]:
        matched = block.mask(matching)
        allowed = later(block, True if candidates is None else block.mask(candidates))
        row, partner = np.nonzero(allowed & (block.similarity > edges[0]))
        values, matches = block.similarity[row, partner], matched[row, partner]
        interval = np.searchsorted(edges, values, side="left")
        counts = np.bincount(2 * interval + matches, minlength=2 * len(edges) + 2).reshape(-1, 2)
        num_matched = np.count_nonzero(allowed & matched)
        num_others = np.count_nonzero(allowed) - num_matched
        counts[0] += [num_others - counts[:, 0].sum(), num_matched - counts[:, 1].sum()]
        kept = interval % 2 == 1
        top = values > (np.inf if wanted.listed is None else listed_above)
        rows = block.rows[row[top]], partner[top].astype(np.int32)
        return (
            counts,
            (interval[kept].astype(np.int16), values[kept], matches[kept]),
            (values[top], *rows, matches[top]),
        )

    def finish(parts: list) -> Tail:
        tail = _merged(edges, parts, prepared.kernel)
        if _answers(tail, wanted):
            return tail
        wider = tail_collector(prepared, matching, wanted, candidates, kept_pairs, narrow * 8)
        return collect(prepared, {"tail": wider})["tail"]

    return Collector(look, finish)


def quantile(tail: Tail, q: float, of_others: bool = False, each_twice: bool = False) -> float:
    """A quantile of the similarities, interpolated linearly between order statistics as ``np.quantile`` does.

    Args:
        tail: that was collected for it.
        q: in [0, 1].
        of_others: of pairs that do not match, in place of all pairs.
        each_twice: as of a whole matrix without its diagonal, in which every pair appears twice.

    Raises:
        ValueError: no pairs, or a quantile that the tail was not collected for.
    """
    repeats = 2 if each_twice else 1
    total = repeats * int(tail.counts[:, 0].sum() if of_others else tail.counts.sum())
    if not total:
        raise UserError(
            "no pairs that do not match: got groups in which all rows belong together, expected two groups or more; "
            "choose other columns"
        )
    place = q * (total - 1)
    low = int(np.floor(place))
    values = [_order_statistic(tail, min(rank, total - 1) // repeats, of_others) for rank in (low, low + 1)]
    if None in values:
        raise UserError(
            f"a quantile that was not asked for: got {q}, expected one of those given to tail_collector; collect again "
            "with it"
        )
    return values[0] + (place - low) * (values[1] - values[0])


def count_above(tail: Tail, threshold: float) -> np.ndarray:
    """How many pairs are more similar than a quantile: (2,) int64, that do not and that do match.

    Similarities within rounding of the threshold, see ``similarity.just_above``, are not above it.
    """
    bound = just_above(threshold, tail.kernel)
    interval = int(np.searchsorted(tail.edges, threshold, side="left"))
    above = tail.counts[interval + 1 :].sum(axis=0)
    within = [len(values) - np.searchsorted(values, bound, side="right") for values in tail.kept[interval]]
    return above + np.array(within, np.int64)


def _order_statistic(tail: Tail, rank: int, of_others: bool) -> float | None:
    counts = tail.counts[:, 0] if of_others else tail.counts.sum(axis=1)
    below = np.cumsum(counts)
    interval = int(np.searchsorted(below, rank, side="right"))
    kept = tail.kept[interval]
    if interval % 2 == 0:
        return None
    values = kept[0] if of_others else np.sort(np.concatenate(kept))
    return float(values[rank - (below[interval] - counts[interval])])


def _answers(tail: Tail, wanted: Wanted) -> bool:
    for of_others, values in ((False, wanted.of_all), (True, wanted.of_others)):
        total = int(tail.counts[:, 0].sum() if of_others else tail.counts.sum())
        for q in values:
            # Ranks of each pair once and of each pair twice lie within one of each other.
            place = int(q * (total - 1))
            ranks = range(max(place - 1, 0), min(place + 3, total))
            if any(_interval(tail, rank, of_others) % 2 == 0 for rank in ranks):
                return False
    return True


def _interval(tail: Tail, rank: int, of_others: bool) -> int:
    counts = tail.counts[:, 0] if of_others else tail.counts.sum(axis=1)
    return int(np.searchsorted(np.cumsum(counts), rank, side="right"))


def _merged(edges: np.ndarray, parts: list, kernel: str) -> Tail:
    counts = np.sum([part[0] for part in parts], axis=0)
    interval, values, matches = (np.concatenate(column) for column in zip(*(part[1] for part in parts), strict=True))
    kept = [
        tuple(np.sort(values[(interval == number) & (matches == match)]) for match in (False, True))
        for number in range(len(counts))
    ]
    top = tuple(np.concatenate(column) for column in zip(*(part[2] for part in parts), strict=True))
    return Tail(edges, counts, tuple(kept), kernel, top)


def _windows(
    prepared: Prepared, matching: Rule, candidates: Rule | None, wanted: Wanted, narrow: float
) -> tuple[np.ndarray, float]:
    """Edges (V - 1,) between intervals, of which the odd ones probably hold the wanted quantiles.

    Beside them the lower edge of the quantile whose pairs are listed.
    """
    values, matches = _sampled(prepared, matching, candidates)
    spans = {}
    for of_others, qs in ((False, wanted.of_all), (True, wanted.of_others)):
        chosen = values[~matches] if of_others else values
        num = max(len(chosen), 1)
        for q in qs:
            width = narrow * (DEVIATIONS * np.sqrt(q * (1 - q) / num) + 8 / num)
            low = np.quantile(chosen, q - width) if q > width and len(chosen) else -np.inf
            spans[of_others, q] = (low, np.quantile(chosen, q + width) if q + width < 1 and len(chosen) else np.inf)
    edges: list[float] = []
    for low, high in sorted(spans.values()):
        if edges and low <= edges[-1]:
            edges[-1] = max(edges[-1], high)
        else:
            edges += [low, high]
    return np.array(edges), spans.get((False, wanted.listed), (np.inf,))[0]


def _sampled(prepared: Prepared, matching: Rule, candidates: Rule | None) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (P,) of random pairs, and whether they match."""
    chosen = np.flatnonzero(np.ones(len(prepared.rows), bool) if candidates is None else candidates.complete)
    num_rows = len(chosen)
    if num_rows < 2:
        return np.zeros(0), np.zeros(0, bool)
    num_pairs = int(np.clip(16 * num_rows, 1 << 14, 1 << 20))
    rng = np.random.default_rng(0)  # results do not depend on the sample
    first = rng.integers(0, num_rows, num_pairs)
    second = chosen[(first + rng.integers(1, num_rows, num_pairs)) % num_rows]
    first = chosen[first]
    if candidates is not None:
        compared = match(candidates, first, second)
        first, second = first[compared], second[compared]
    values = [np.zeros(0)]
    for start in range(0, len(first), 1 << 14):
        a, b = (prepared.rows[rows[start : start + (1 << 14)]] for rows in (first, second))
        if prepared.kernel == "euclidean":
            values.append(1 / (1 + np.linalg.norm(a - b, axis=1)))
        else:
            values.append(np.einsum("pd,pd->p", a, b))
    return np.concatenate(values), match(matching, first, second)


def _check(wanted: Wanted, num_rows: int) -> None:
    qs: Sequence[float] = (*wanted.of_all, *wanted.of_others)
    if not qs or not all(0 <= q <= 1 for q in qs):
        raise UserError(f"no quantiles: got {list(qs)}, expected one or more in [0, 1]; .995 is the usual one")
    if num_rows < 2:
        raise UserError(f"no pairs to compare: got {num_rows} row, expected 2 or more; give more profiles")
