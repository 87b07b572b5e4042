"""Average precision after compounds have exchanged their mechanisms, or rows their treatments, at random.

Similarities and the ranks that follow from them stay as they are; only which ranks are those of positives changes. So
a block of similarities is sorted once and looked at by every permutation, and nothing of it is kept but sums.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.exchange import MAX_PAIRS, Units, exchanges, labeled_units, unit_pairs
from cellfx.profiles.chance.tied_precision import Ties, precisions
from cellfx.profiles.similarity.collecting import Block, Collector
from cellfx.profiles.similarity.rules import Rule

MAX_LOOKUPS = 1 << 28
"""Matching pairs times permutations that are looked at; half as many took ten seconds on one core."""


class PrecisionNull(NamedTuple):
    """Average precision after P exchanges.

    Attributes:
        means: (P,) float64, over rows with positives and negatives.
        of_groups: (P, G) means over those rows that have the label of a group then, NaN where there are none; G is 0
            unless asked for.
    """

    means: np.ndarray
    of_groups: np.ndarray


class _Partners(NamedTuple):
    """Rows of U units, and what the labels of these match.

    Attributes:
        rows: rows of units, those of one beside each other.
        starts: (U + 1,) where they begin in ``rows``.
        partners: units whose labels match, those of one label beside each other.
        partner_starts: (U + 1,) where they begin in ``partners``.
    """

    rows: np.ndarray
    starts: np.ndarray
    partners: np.ndarray
    partner_starts: np.ndarray


def average_precision_null(
    matching: Rule,
    candidates: Rule,
    units: np.ndarray,
    num_permutations: int = 200,
    seed: int = 0,
    within: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    ties: Ties = "expected",
) -> Collector:
    """Collects ``PrecisionNull``.

    Args:
        matching: which rows belong together; all rows of a unit have the label of its first, and a unit is never
            compared with itself.
        candidates: pairs that are compared, matching or not.
        units: (N,) int of what exchanges its label as a whole, such as compounds; negative for rows that do not.
        num_permutations: 1 or more.
        seed: of these.
        within: (N,) int; labels are exchanged within rows of the same only, for instance of one plate.
        groups: (N,) int, from 0, of what has a mean of its own, such as treatments; all rows of a unit have the group
            of its first. None for no such means.
        ties: see ``average_precision``.

    Raises:
        ValueError: no pair of units that matches, or more of them in all permutations than ``MAX_LOOKUPS``.
    """
    units = labeled_units(matching, units)
    found = _partners(matching, units, num_permutations)
    of_row = np.full(len(matching.complete), -1)
    of_row[units.rows] = units.code
    labels = [*exchanges(units, num_permutations, seed, within)]
    holders = [np.argsort(label) for label in labels]

    def look(block: Block) -> np.ndarray:
        allowed, ranks = block.mask(candidates), block.ranks(candidates)
        num_allowed = allowed.sum(axis=1)
        alike = _alike(allowed, ranks, num_allowed) if ties == "expected" else None
        compared = allowed, ranks, num_allowed, alike
        unit = of_row[block.rows]
        return np.stack(
            [_of_block(*compared, unit, label, holder, found) for label, holder in zip(labels, holders, strict=True)]
        )

    def finish(parts: list) -> PrecisionNull:
        values = np.concatenate(parts, axis=1)
        has = ~np.isnan(values)
        means = np.nansum(values, axis=1) / np.maximum(has.sum(axis=1), 1)
        if groups is None:
            return PrecisionNull(means, np.zeros((len(values), 0)))
        of_groups = np.full((len(values), int(np.max(groups)) + 1), np.nan)
        for i, label in enumerate(labels):
            rows = np.flatnonzero(has[i])
            group = groups[units.first[label[of_row[rows]]]]
            counts = np.bincount(group, minlength=of_groups.shape[1])
            total = np.bincount(group, values[i, rows], minlength=of_groups.shape[1])
            of_groups[i, counts > 0] = total[counts > 0] / counts[counts > 0]
        return PrecisionNull(means, of_groups)

    return Collector(look, finish)


def _partners(matching: Rule, units: Units, num_permutations: int) -> _Partners:
    pairs = unit_pairs(matching, units)
    num_pairs = None if pairs is None else int(np.sum(units.sizes[pairs].prod(axis=1)))
    if not num_pairs or num_pairs * num_permutations > MAX_LOOKUPS:
        number = f"more than {MAX_PAIRS:,} candidates" if num_pairs is None else f"{num_pairs:,}"
        raise UserError(
            f"no matching pairs of rows to exchange, or too many: got {number} in {num_permutations} permutations, "
            f"expected from 1 to {MAX_LOOKUPS // num_permutations:,}; score fewer rows, such as the consensus of each "
            "treatment"
        )
    partner_starts = _starts(np.bincount(pairs[:, 0], minlength=len(units.first)))
    rows = units.rows[np.argsort(units.code, kind="stable")]
    return _Partners(rows, _starts(units.sizes), pairs[:, 1], partner_starts)


def _of_block(
    allowed: np.ndarray,
    ranks: np.ndarray,
    num_allowed: np.ndarray,
    alike: np.ndarray | None,
    unit: np.ndarray,
    label: np.ndarray,
    holder: np.ndarray,
    units: _Partners,
) -> np.ndarray:
    """Average precision of the rows (B,) of a block, NaN where there is none.

    ``alike`` says how many pairs have each rank, see ``_alike``. Unit u has the label of unit ``label[u]``, and
    ``holder`` says it the other way round.
    """
    rows = np.flatnonzero(unit >= 0)
    row, matched = _expanded(label[unit[rows]], units.partner_starts)
    row, partner = rows[row], holder[units.partners[matched]]
    pair, place = _expanded(partner, units.starts)
    row, partner = row[pair], units.rows[place]
    kept = allowed[row, partner]
    num_rows, num_columns = ranks.shape
    key = np.sort(row[kept] * num_columns + ranks[row[kept], partner[kept]])
    row, rank = np.divmod(key, num_columns)
    positives = np.bincount(row, minlength=num_rows)
    starts = _starts(positives)[row]
    number = np.arange(len(key))
    new = np.concatenate([[True], key[1:] != key[:-1]]) if len(key) else np.zeros(0, bool)
    ahead = rank - (np.maximum.accumulate(np.where(new, number, 0)) - starts)  # negatives, without positives
    tied = None
    if alike is not None:
        run = np.cumsum(new) - 1
        tied = alike.ravel()[key] - np.bincount(run)[run] if len(key) else None
    total = np.bincount(row, precisions(row, ahead, tied), minlength=num_rows)
    has = (positives > 0) & (num_allowed > positives)
    return np.where(has, total / np.maximum(positives, 1), np.nan)


def _alike(allowed: np.ndarray, ranks: np.ndarray, num_allowed: np.ndarray) -> np.ndarray | None:
    """How many pairs of each row have each rank, (B, N); None where no two have the same."""
    if np.array_equal(np.sum(ranks, axis=1, where=allowed, dtype=np.int64), num_allowed * (num_allowed - 1) // 2):
        return None
    row, partner = np.nonzero(allowed)
    place = row * ranks.shape[1] + ranks[row, partner]
    return np.bincount(place, minlength=ranks.size).reshape(ranks.shape)


def _expanded(groups: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every member of each of some groups, which of these it is in and its place among all members."""
    sizes = np.diff(starts)[groups]
    which = np.repeat(np.arange(len(groups)), sizes)
    return which, np.arange(len(which)) - np.repeat(_starts(sizes)[:-1], sizes) + starts[groups][which]


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])
