"""Exchanging labels: compounds their mechanisms, wells their treatments, plates their batches.

A unit is what is exchanged as a whole, such as all wells of a compound. It has the label of its first row. The same
seed gives the same exchanges, whatever is scored.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cellfx.profiles.similarity.rules import Rule, listed, of_rows

MAX_PAIRS = 1 << 23
"""Pairs of units that are listed: 64 MiB."""


class Units(NamedTuple):
    """U units that have a label, in the order of their numbers.

    Attributes:
        rows: (R,) int, the rows of all of them, rising.
        code: (R,) int, the unit of each, from 0.
        first: (U,) int, the first row of each unit.
        sizes: (U,) int, rows of each unit.
    """

    rows: np.ndarray
    code: np.ndarray
    first: np.ndarray
    sizes: np.ndarray


def labeled_units(matching: Rule, units: np.ndarray) -> Units:
    """The units whose rows have a label.

    Args:
        matching: of N rows, which labels match.
        units: (N,) int, negative for rows that are not exchanged.
    """
    rows = np.flatnonzero((np.asarray(units) >= 0) & matching.complete)
    names, first, code = np.unique(units[rows], return_index=True, return_inverse=True)
    return Units(rows, code, rows[first], np.bincount(code, minlength=len(names)))


def unit_pairs(matching: Rule, units: Units) -> np.ndarray | None:
    """Pairs (M, 2) of units whose labels match, each in both orders; None where they are too many to list."""
    return listed(of_rows(matching, units.first), MAX_PAIRS)


def exchanges(units: Units, num_permutations: int, seed: int, within: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Permutations (U,) of units: unit u gets the label of unit ``permutation[u]``.

    Args:
        units: U of them.
        num_permutations: how many.
        seed: of these.
        within: (N,) int of rows; units change places only with units whose first row has the same.
    """
    rng = np.random.default_rng(seed)
    groups = np.zeros(len(units.first), int) if within is None else np.asarray(within)[units.first]
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for _ in range(num_permutations):
        permutation = np.empty(len(units.first), int)
        for rows in members:
            permutation[rows] = rng.permutation(rows)
        yield permutation


def exchanged_rows(units: Units, permutation: np.ndarray, num_rows: int) -> np.ndarray:
    """(N,) the row whose label each row has now; rows of no unit keep theirs."""
    label = np.arange(num_rows)
    label[units.rows] = units.first[permutation][units.code]
    return label
