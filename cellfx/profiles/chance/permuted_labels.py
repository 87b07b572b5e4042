"""What chance does to scores of similarities: nulls in which compounds exchange their labels.

Similarities stay as they are: all of this looks at the nearest rows, which one pass kept, or at sums over units. A unit
is what is exchanged as a whole, such as all wells of a compound; pairs within a unit are never compared.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.exchange import Units, exchanged_rows, exchanges, labeled_units, unit_pairs
from cellfx.profiles.similarity.collecting import Block, Collector, match
from cellfx.profiles.similarity.rules import Rule

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
        ks: neighbors, each at most K.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        ``precision@k`` and ``recall@k`` for every k, and ``precision@R`` where K is at least the largest R: each
        (num_permutations,), means over rows with positives. Where units differ in their number of rows and more of
        them match than ``exchange.MAX_PAIRS``, R and the denominator of recall are those of the unit that the label
        came from.

    Raises:
        ValueError: a k beyond K, or rows that do not fit.
    """
    _check(top_rows, units, ks, num_permutations)
    places = np.arange(top_rows.shape[1])
    found_units = labeled_units(matching, units)
    pairs = unit_pairs(matching, found_units) if len(set(found_units.sizes.tolist())) > 1 else None
    with_r = _largest_r(num_positives, found_units, pairs) <= top_rows.shape[1]
    names = [f"{kind}@{k}" for k in ks for kind in ("precision", "recall")] + (["precision@R"] if with_r else [])
    null = {name: np.zeros(num_permutations) for name in names}
    for i, permutation in enumerate(exchanges(found_units, num_permutations, seed)):
        label = exchanged_rows(found_units, permutation, len(units))
        count = np.where(units >= 0, num_positives[label], 0)
        if pairs is not None:
            mine, partner = np.argsort(permutation)[pairs].T
            reached = np.bincount(mine, found_units.sizes[partner], len(found_units.first)).astype(int)
            count[found_units.rows] = reached[found_units.code]
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


def nearest_null(
    nearest: np.ndarray,
    matching: Rule,
    units: np.ndarray,
    groups: np.ndarray | None = None,
    num_permutations: int = 200,
    seed: int = 0,
) -> np.ndarray | None:
    """Shares of rows whose nearest row has their label, after the units have exchanged their labels.

    As in ``nearest``, a row counts only if its label can be found: in another unit and, with groups, another group.

    Args:
        nearest: (N,) nearest row of each among those it is compared with, -1 where there is none.
        matching: which rows belong together.
        units: (N,) int, negative for rows that are not compared.
        groups: (N,) int, for instance batches; rows of one are not compared. None: all are.
        num_permutations: 1 or more.
        seed: of these.

    Returns:
        (num_permutations,) float64; None where there are more matching pairs than ``exchange.MAX_PAIRS``.
    """
    from scipy.sparse import coo_array

    found = labeled_units(matching, units)
    pairs = unit_pairs(matching, found)
    if pairs is None:
        return None
    num_units, rows = len(found.first), found.rows
    group = np.zeros(len(rows), int) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    elsewhere = np.zeros((num_units, group.max(initial=0) + 1))
    if groups is not None:
        np.subtract.at(elsewhere, (found.code, group), 1.0)
    elsewhere += found.sizes[:, None]
    partner, shares = nearest[rows], np.zeros(num_permutations)
    for i, permutation in enumerate(exchanges(found, num_permutations, seed)):
        label = exchanged_rows(found, permutation, len(units))
        mine, other = np.argsort(permutation)[pairs].T
        reached = coo_array((np.ones(len(pairs)), (mine, other)), shape=(num_units, num_units)).tocsr() @ elsewhere
        judged = reached[found.code, group] > 0
        right = match(matching, label[rows], label[partner]) & (partner >= 0)
        shares[i] = np.sum(right & judged) / max(np.sum(judged), 1)
    return shares


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
        raise UserError(
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
        ``exchange.MAX_PAIRS``.
    """
    units = np.asarray(units)
    found = labeled_units(matching, units)
    pairs = unit_pairs(matching, found)
    if pairs is None:
        return None
    columns = np.searchsorted(np.unique(units[units >= 0]), units[found.first])
    totals, sizes = np.zeros((len(columns), len(columns))), found.sizes.astype(np.float64)
    np.add.at(totals, found.code, sums[found.rows][:, columns])
    means = np.zeros(1 + num_permutations)
    unchanged = np.arange(len(columns))
    for i, permutation in enumerate((unchanged, *exchanges(found, num_permutations, seed))):
        mine, partner = np.argsort(permutation)[pairs].T
        weight = 1 / np.bincount(mine, sizes[partner], len(columns))[mine] if by_row else np.ones(len(mine))
        means[i] = np.sum(weight * totals[mine, partner]) / np.sum(weight * sizes[mine] * sizes[partner])
    return means


def _largest_r(num_positives: np.ndarray, units: Units, pairs: np.ndarray | None) -> int:
    """The most positives that a row can have, whatever label its unit gets."""
    if pairs is None:
        return int(num_positives.max(initial=0))
    most = int(np.bincount(pairs[:, 0]).max(initial=0))
    return int(np.sort(units.sizes)[::-1][:most].sum())


def _check(top_rows: np.ndarray, units: np.ndarray, ks: Sequence[int], num_permutations: int) -> None:
    if len(units) != len(top_rows) or num_permutations < 1 or any(not 1 <= k <= top_rows.shape[1] for k in ks):
        raise UserError(
            f"nothing to exchange: got k of {list(ks)}, nearest rows of shape {top_rows.shape}, {len(units)} units and "
            f"{num_permutations} permutations, expected each k from 1 to {top_rows.shape[1]}, one unit a row and 1 "
            "permutation or more; collect more nearest rows"
        )
