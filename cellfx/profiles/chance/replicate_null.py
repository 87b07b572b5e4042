"""Similarities of replicates after the wells of each plate have exchanged their treatments.

Wells of a plate are alike whatever they are treated with. An exchange within plates keeps how many wells of a plate
every treatment has, so that what its wells share by their plates, they also share by chance. Similarities stay as they
are: each permutation only looks at other ones of them.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.exchange import MAX_PAIRS, exchanges, labeled_units, unit_pairs
from cellfx.profiles.chance.resampling import TIE
from cellfx.profiles.similarity.collecting import Block, Collector
from cellfx.profiles.similarity.rules import Rule

MAX_VALUES = 1 << 25
"""Similarities of replicates in all permutations that are kept: 256 MiB."""
LEAST_PERMUTATIONS = 19
"""With fewer, no p-value is .05."""


class ReplicateNull(NamedTuple):
    """Similarities of M pairs of replicates, those of one treatment beside each other.

    Attributes:
        similarity: (1 + P, M) float64, the first without any exchange.
        first: (M,) int32, a row that had the pair's treatment before; treatments rise.
    """

    similarity: np.ndarray
    first: np.ndarray


def replicate_null(
    matching: Rule, treatments: np.ndarray, plates: np.ndarray, num_permutations: int = 200, seed: int = 0
) -> Collector:
    """Collects ``ReplicateNull``; with fewer permutations where more do not fit into ``MAX_VALUES``.

    Args:
        matching: pairs of replicates.
        treatments: (N,) int, negative for rows that are not exchanged.
        plates: (N,) int; treatments are exchanged within plates only.
        num_permutations: 1 or more.
        seed: of these.

    Raises:
        ValueError: no pair of replicates, or too many.
    """
    wells = labeled_units(matching, np.where(treatments >= 0, np.arange(len(treatments)), -1))
    pairs = unit_pairs(matching, wells)
    num_pairs = None if pairs is None else len(pairs) // 2
    if not num_pairs or num_pairs > MAX_VALUES // (LEAST_PERMUTATIONS + 1):
        raise UserError(
            "no pairs of replicates to exchange, or too many: got "
            f"{f'more than {MAX_PAIRS:,} candidates' if num_pairs is None else num_pairs}, expected from 1 to "
            f"{MAX_VALUES // (LEAST_PERMUTATIONS + 1):,}; score fewer wells"
        )
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    pairs = pairs[np.argsort(treatments[wells.rows[pairs[:, 0]]], kind="stable")]
    num = min(num_permutations, MAX_VALUES // num_pairs - 1)
    # Place v of the layout is held by well holders[p, v]; well u has the place places[p, u].
    places = np.array([np.arange(len(wells.rows)), *exchanges(wells, num, seed, plates)], np.int32)
    holders = np.argsort(places, axis=1).astype(np.int32)
    of_row = np.full(len(treatments), -1, np.int32)
    of_row[wells.rows] = np.arange(len(wells.rows))
    order = np.argsort(pairs[:, 0], kind="stable")
    starts = np.searchsorted(pairs[order, 0], np.arange(len(wells.rows) + 1))
    similarity = np.empty((1 + num, num_pairs))

    def look(block: Block) -> None:
        rows = np.flatnonzero(of_row[block.rows] >= 0)
        place = places[:, of_row[block.rows[rows]]]
        counts = (starts[place + 1] - starts[place]).ravel()
        which = np.repeat(np.arange(len(counts)), counts)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        pair = order[starts[place].ravel()[which] + offset]
        permutation, column = np.divmod(which, max(len(rows), 1))
        partner = wells.rows[holders[permutation, pairs[pair, 1]]]
        similarity[permutation, pair] = block.similarity[rows[column], partner]

    return Collector(look, lambda _: ReplicateNull(similarity, wells.rows[pairs[:, 0]]))


def medians(null: ReplicateNull, treatments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the treatments with several rows (G,), rising, and medians (1 + P, G) of their pairs' similarities."""
    codes, starts, counts = np.unique(treatments[null.first], return_index=True, return_counts=True)
    found = np.empty((len(null.similarity), len(codes)))
    for count in np.unique(counts):
        of = np.flatnonzero(counts == count)
        columns = starts[of][:, None] + np.arange(count)
        found[:, of] = np.median(null.similarity[:, columns], axis=2)
    return codes, found


def treatment_p_values(
    observed: np.ndarray, codes: np.ndarray, null: np.ndarray, treatments: np.ndarray, plates: np.ndarray, limit: float
) -> np.ndarray:
    """How likely chance does as well as each treatment: compared with like treatments in all permutations.

    Without effects, treatments with as many wells on the same plates are exchangeable. Where these are too few for a
    corrected p-value below the limit, those are taken that have as many wells on plates, whichever these are.

    Args:
        observed: (G,) scores, larger is better.
        codes: (G,) the treatment of each.
        null: (P, T) scores of all treatments after exchanges, see ``ranking_null.PrecisionNull``.
        treatments: (N,) int, from 0, negative for rows without.
        plates: (N,) int.
        limit: below which a p-value shall be able to lie after correction for G treatments.

    Returns:
        (G,) in (0, 1].
    """
    known = treatments >= 0
    layout = np.zeros((null.shape[1], int(plates.max(initial=0)) + 2), np.int32)
    np.add.at(layout, (treatments[known], plates[known]), 1)
    alike = np.unique(layout, axis=0, return_inverse=True)[1].ravel()
    roughly = np.unique(np.sort(layout, axis=1), axis=0, return_inverse=True)[1].ravel()
    p_value = np.ones(len(codes))
    for kind in (roughly, alike):
        for group in np.unique(kind[codes]):
            values = null[:, kind == group]
            values = np.sort(values[~np.isnan(values)])
            of = kind[codes] == group
            if kind is alike and (len(values) + 1) * limit <= len(codes):
                continue
            at_least = len(values) - np.searchsorted(values, observed[of] - TIE * np.abs(observed[of]), side="left")
            p_value[of] = (at_least + 1) / (len(values) + 1)
    return p_value
