"""How early a search for similar profiles finds those that belong together: precision, recall and hits at k.

All of these follow from the ranks at which each row finds its positives, and ranks come from one pass over the
similarities (``find_hits``). Ranks count from 0, the most similar row. A positive that is as similar as some negatives
ranks behind them: what cannot be told apart is not found, and no score depends on the order of rows. Only the average
precision takes the mean over their orders, as ``average_precision`` says.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.tied_precision import Ties, precisions
from cellfx.profiles.similarity.blocks import TIE, Prepared
from cellfx.profiles.similarity.collecting import Block, Collector, check_rule, collect, others
from cellfx.profiles.similarity.rules import Rule


class Hits(NamedTuple):
    """Where each row finds its positives; the hits list is ``ranks``.

    Attributes:
        starts: (N + 1,) int64; the positives of row i are ``ranks[starts[i]:starts[i + 1]]``.
        ranks: (H,) int64, rising for each row, among all its candidates, from 0.
        ahead: (H,) int64, how many negatives are more similar than each positive; fewer than the rank says where some
            are equally similar.
        num_candidates: (N,) how many rows each one was compared with.
        top: (N, K) float64, the largest similarities to candidates, falling; -inf where there are fewer. K is 0 unless
            asked for.
        top_rows: (N, K) int64, to which rows; -1 where there are fewer.
        top_positive: (N, K) bool, which of those are positives.
    """

    starts: np.ndarray
    ranks: np.ndarray
    ahead: np.ndarray
    num_candidates: np.ndarray
    top: np.ndarray
    top_rows: np.ndarray
    top_positive: np.ndarray

    @property
    def num_positives(self) -> np.ndarray:
        """(N,) positives of each row."""
        return np.diff(self.starts)


def find_hits(prepared: Prepared, positives: Rule, candidates: Rule | None = None, num_top: int = 0) -> Hits:
    """Ranks of all positives of all rows.

    Args:
        prepared: N rows.
        positives: pairs that belong together.
        candidates: pairs that are compared; all by default. Positives must be candidates too to be found.
        num_top: K, how many of the largest similarities to keep, for ``pooled_at_k`` and ``chance.label_null``.

    Raises:
        ValueError: rules of other rows, or no row with a positive.
    """
    return collect(prepared, {"hits": hits_collector(prepared, positives, candidates, num_top)})["hits"]


def hits_collector(prepared: Prepared, positives: Rule, candidates: Rule | None = None, num_top: int = 0) -> Collector:
    """``find_hits`` for ``collecting.collect``."""
    for rule in (positives, candidates):
        if rule is not None:
            check_rule(rule, len(prepared.rows))
    relative = prepared.kernel == "euclidean"

    def look(block: Block) -> tuple:
        allowed = others(block) if candidates is None else block.mask(candidates)
        positive = block.mask(positives) & allowed
        falling = np.negative(block.similarity, where=allowed & ~positive, out=np.full(allowed.shape, np.inf))
        falling.sort(axis=1)
        row, partner = np.nonzero(positive)
        found = -block.similarity[row, partner]
        order = np.lexsort((found, row))
        found, counts = found[order], positive.sum(axis=1)
        tie = np.abs(found) * TIE if relative else TIE
        starts = np.concatenate([[0], np.cumsum(counts)])
        ranks, ahead = np.arange(len(found)) - np.repeat(starts[:-1], counts), np.zeros(len(found), np.int64)
        first, last = found - tie, found + tie
        for i, (start, stop) in enumerate(itertools.pairwise(starts)):
            ranks[start:stop] += np.searchsorted(falling[i], last[start:stop], side="right")
            ahead[start:stop] = np.searchsorted(falling[i], first[start:stop], side="left")
        return counts, ranks, ahead, allowed.sum(axis=1), *_top(block.similarity, allowed, positive, num_top)

    return Collector(look, _finish)


def at_k(hits: Hits, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall among the k nearest of each row.

    Precision divides by k also where there are fewer candidates, as cytominer-eval does.

    Returns:
        precision: (N,) share of the k nearest that are positives; NaN for rows that have none, see ``macro_mean``.
        recall: (N,) share of the positives that are among the k nearest; likewise.

    Raises:
        ValueError: k is not 1 or more.
    """
    _check_k([k])
    found = _found(hits, np.full(len(hits.num_positives), k))
    has = hits.num_positives > 0
    return np.where(has, found / k, np.nan), np.where(has, found / np.maximum(hits.num_positives, 1), np.nan)


def at_r(hits: Hits) -> np.ndarray:
    """Precision@R, Bornholdt 2021, equation 3.11: among as many nearest as there are positives; recall is the same.

    Returns:
        (N,) NaN for rows without positives.
    """
    found = _found(hits, hits.num_positives)
    return np.where(hits.num_positives > 0, found / np.maximum(hits.num_positives, 1), np.nan)


def average_precisions(hits: Hits, ties: Ties = "expected") -> np.ndarray:
    """Average precision of each row: the mean, over its positives, of the precision at each one's rank.

    Args:
        hits: of N rows.
        ties: see ``average_precision``.

    Returns:
        (N,) NaN for rows without positives.
    """
    counts = hits.num_positives
    order = np.arange(len(hits.ranks)) - np.repeat(hits.starts[:-1], counts)
    row = np.repeat(np.arange(len(counts)), counts)
    tied = hits.ranks - order - hits.ahead if ties == "expected" else None
    total = np.bincount(row, precisions(row, hits.ahead, tied), minlength=len(counts))
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def macro_mean(values: np.ndarray, subset: np.ndarray | None = None) -> float:
    """Mean over rows of a score that is NaN where it is not defined: rows without a positive do not count.

    Args:
        values: (N,).
        subset: (N,) bool, rows to average; scores of a subset are taken on all rows and averaged over the subset
            (Bornholdt 2021, section 4.6.2).

    Raises:
        ValueError: no row of the subset has a score.
    """
    chosen = np.asarray(values)[slice(None) if subset is None else subset]
    if not np.any(~np.isnan(chosen)):
        raise UserError(
            f"no score to average: got {len(chosen)} rows and none with a positive pair, expected one or more; choose "
            "rows that have a partner, or groups of two rows or more"
        )
    return float(np.nanmean(chosen))


def pooled_at_k(hits: Hits, groups: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at k as cytominer-eval 0.1 has them: among the pairs of a whole group, not of each row.

    The similarities of all rows of a group to all others are put in one order, in which a pair of two members appears
    twice, and its first k are looked at.

    Args:
        hits: with ``top`` of k or more, see ``find_hits``.
        groups: (N,) int, group of each row; negative ones are left out.
        k: of 1 or more.

    Returns:
        precision: (G,) for each number from 0 to the largest group.
        recall: (G,) NaN, like the precision, for groups without a positive.

    Raises:
        ValueError: k is not within the K of ``top``.
    """
    _check_k([k])
    if k > hits.top.shape[1]:
        raise UserError(
            f"k beyond the similarities that were kept: got {k} of {hits.top.shape[1]}, expected at most as many; "
            f"give find_hits num_top={k}"
        )
    groups = np.asarray(groups)
    group = np.repeat(groups, k)
    value, positive = hits.top[:, :k].ravel(), hits.top_positive[:, :k].ravel()
    order = np.lexsort((-_behind(value, positive), group))
    order = order[group[order] >= 0]
    sorted_group, num_groups = group[order], int(groups.max()) + 1
    place = np.arange(len(order)) - np.searchsorted(sorted_group, sorted_group)
    found = np.bincount(sorted_group[place < k], positive[order][place < k], minlength=num_groups)
    known = groups >= 0
    total = np.bincount(groups[known], hits.num_positives[known], minlength=num_groups)
    return np.where(total > 0, found / k, np.nan), np.where(total > 0, found / np.maximum(total, 1), np.nan)


def _found(hits: Hits, k: np.ndarray) -> np.ndarray:
    counts = hits.num_positives
    row = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(row, hits.ranks < k[row], minlength=len(counts))


def _top(
    similarity: np.ndarray, allowed: np.ndarray, positive: np.ndarray, num_top: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The K largest similarities of each row (B, K), to whom, and whether to positives; those are last among equals."""
    shape = (len(similarity), num_top)
    top, rows, is_positive = np.full(shape, -np.inf), np.full(shape, -1), np.zeros(shape, bool)
    num = min(num_top, similarity.shape[1])
    if num:
        keys = np.where(allowed, _behind(similarity, positive), -np.inf)
        near = np.argpartition(-keys, num - 1, axis=1)[:, :num]
        order = np.argsort(-np.take_along_axis(keys, near, axis=1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)
        found = np.take_along_axis(allowed, near, axis=1)
        top[:, :num] = np.where(found, np.take_along_axis(similarity, near, axis=1), -np.inf)
        rows[:, :num] = np.where(found, near, -1)
        is_positive[:, :num] = np.take_along_axis(positive, near, axis=1)
    return top, rows, is_positive


def _behind(similarity: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Similarities with positives a tie lower, behind the negatives that are equally similar."""
    return similarity - 2 * TIE * positive


def _finish(parts: list[tuple]) -> Hits:
    counts, ranks, ahead, num_candidates, *top = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not counts.any():
        raise UserError(
            f"no positive pairs: got {len(counts)} rows of which none has a partner, expected one pair or more; choose "
            "other columns, or groups of two rows or more"
        )
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Hits(starts, ranks, ahead, num_candidates, *top)


def _check_k(values: Sequence[int]) -> None:
    for k in values:
        if k < 1 or k != int(k):
            raise UserError(f"no number of neighbors: got k={k}, expected a whole number from 1; 1 is the nearest")
