"""Several scores from one computation of the similarities: each looks at the same blocks and keeps little of them.

A score is two functions. ``look`` reduces a block of rows to a small part, ``finish`` makes the result of all parts:

    collect(prepared, {"hits": hits_collector(rule), "grit": grit_collector(...)})    # one pass, a result for each
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import Prepared, just_above, similarity_blocks
from cellfx.profiles.similarity.rules import Rule, paired


class Block(NamedTuple):
    """Some rows beside all N.

    Attributes:
        rows: (B,) int32.
        similarity: (B, N) float64, read-only; a row's similarity to itself is in it.
        mask: function of a rule -> (B, N) bool, which pairs it names; a rule is only looked up once a block.
        ranks: function of a rule -> (B, N) int32, for each pair that it names, how many others of them are more
            similar; what it says of other pairs means nothing. Sorted only once a block.
    """

    rows: np.ndarray
    similarity: np.ndarray
    mask: Callable[[Rule], np.ndarray]
    ranks: Callable[[Rule], np.ndarray]


class Collector(NamedTuple):
    """A score of similarities.

    Attributes:
        look: ``Block`` -> a part; blocks come in the order of the rows.
        finish: list of parts -> result.
    """

    look: Callable[[Block], Any]
    finish: Callable[[list], Any]


def collect(prepared: Prepared, collectors: Mapping[str, Collector], block_rows: int | None = None) -> dict[str, Any]:
    """Computes the similarities once, a block at a time, and all scores of them.

    Args:
        prepared: N rows.
        collectors: by name.
        block_rows: B, see ``similarity.over_blocks``; results do not depend on it.

    Returns:
        The result of each collector, by the same names.
    """
    parts: dict[str, list] = {name: [] for name in collectors}
    size = block_rows  # that of the first block, where it is not given
    for rows, similarity in similarity_blocks(prepared, block_rows=block_rows):
        size = size or len(rows)
        mask = _masks(rows, size)
        block = Block(rows, similarity, mask, _ranks(similarity, mask, prepared.kernel))
        for name, collector in collectors.items():
            parts[name].append(collector.look(block))
    return {name: collector.finish(parts[name]) for name, collector in collectors.items()}


def others(block: Block) -> np.ndarray:
    """All pairs but those of a row with itself: (B, N) bool."""
    mask = np.ones(block.similarity.shape, bool)
    mask[np.arange(len(block.rows)), block.rows] = False
    return mask


def later(block: Block, mask: np.ndarray | bool) -> np.ndarray:
    """Of some pairs (B, N), or all, those whose partner comes after the row: each pair once, (B, N) bool."""
    return mask & (np.arange(block.similarity.shape[1])[None] > block.rows[:, None])


def match(rule: Rule, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether a rule names each of some pairs.

    Args:
        rule: of N rows.
        first: (P,) rows.
        second: (P,) rows.

    Returns:
        (P,) bool.
    """
    mask = rule.complete[first] & rule.complete[second] & (first != second)
    for code in rule.same:
        mask &= code[first] == code[second]
    for code in rule.different:
        mask &= code[first] != code[second]
    if len(rule.shared):
        mask &= np.any(rule.shared[:, first] & rule.shared[:, second], axis=0)
    if len(rule.unshared):
        mask &= ~np.any(rule.unshared[:, first] & rule.unshared[:, second], axis=0)
    return mask


def check_rule(rule: Rule, num_rows: int) -> None:
    """Looks whether a rule was made for these rows.

    Raises:
        ValueError: it was not.
    """
    if len(rule.complete) != num_rows:
        raise UserError(
            f"a rule of other rows: got one of {len(rule.complete)} rows for {num_rows} profiles, expected "
            f"{num_rows}; make it from the metadata of these profiles"
        )


_paired = jax.jit(paired)


def _masks(rows: np.ndarray, block_rows: int) -> Callable[[Rule], np.ndarray]:
    found: dict[int, np.ndarray] = {}
    # The last block is padded, so that one compiled program does all.
    padded = np.pad(rows, (0, max(block_rows - len(rows), 0)), mode="edge")

    def mask(rule: Rule) -> np.ndarray:
        if id(rule) not in found:
            found[id(rule)] = np.asarray(_paired(rule, padded))[: len(rows)]
        return found[id(rule)]

    return mask


def _ranks(similarity: np.ndarray, mask: Callable[[Rule], np.ndarray], kernel: str) -> Callable[[Rule], np.ndarray]:
    found: dict[int, np.ndarray] = {}

    def ranks(rule: Rule) -> np.ndarray:
        if id(rule) not in found:
            found[id(rule)] = _competition_ranks(np.where(mask(rule), similarity, -np.inf), kernel)
        return found[id(rule)]

    return ranks


def _competition_ranks(values: np.ndarray, kernel: str) -> np.ndarray:
    """How many values of a row (B, N) are larger than each; ties have the same rank. (B, N) int32."""
    order = np.argsort(-values, axis=1)
    falling = np.take_along_axis(values, order, axis=1)
    smaller = falling[:, :-1] > just_above(falling[:, 1:], kernel)
    place = np.zeros(order.shape, np.int32)
    place[:, 1:] = np.where(smaller, np.arange(1, order.shape[1], dtype=np.int32), 0)
    np.maximum.accumulate(place, axis=1, out=place)
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, place, axis=1)
    return ranks
