"""Average precision: how far before its negative pairs a profile ranks its positive ones.

As copairs has it (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2), and with the same values where copairs 0.5.5
is asked the same. For each row, its positive and negative pairs are one list, the most alike first. The i-th positive,
with a_i negatives ahead of it, has precision i / (i + a_i) there, and the row's average precision is the mean over its
positives. The result does not depend on the order of the rows.

Differs from copairs 0.5.5: where a negative is exactly as alike as a positive, the precision is the mean over both
orders (see ``tied_precision``), unless ``ties`` is "copairs", which ranks the positive before it. Similarities are
float64, not float32, so that pairs within about 1e-7 of each other rank as they are and not as tied. Rows without a
negative pair are left out and named, where copairs gives them 1, and so are rows without a positive pair, where it
gives NaN. Normalized values are not clipped at -1.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.random_ranking import expected_average_precision
from cellfx.profiles.chance.tied_precision import Ties, check_ties, precisions
from cellfx.profiles.similarity.blocks import (
    KERNELS,
    Prepared,
    just_above,
    just_below,
    over_blocks,
    prepare,
    similarity_blocks,
)
from cellfx.profiles.similarity.rules import Rule, listed, pair_rule, paired
from cellfx.profiles.tables.table import Profiles

FEW_POSITIVES = 64
"""Up to as many, the negatives ahead of each are counted; for rows with more, sorting the negatives is faster."""


class AveragePrecision(NamedTuple):
    """Scores of the rows that have both positive and negative pairs.

    Attributes:
        rows: (Q,) int32 which rows of the profiles, in their order.
        average_precision: (Q,) float64 in (0, 1].
        normalised: (Q,) (average precision - E) / (1 - E) with E that of a random ranking: 0 by chance, 1 at best.
        num_positives: (Q,) int64 positive pairs of each.
        num_pairs: (Q,) int64 positive and negative ones.
        without_positives: (U,) int32 rows left out because they have no positive pair.
        without_negatives: (V,) int32 rows left out because they have a positive pair but no negative one.
    """

    rows: np.ndarray
    average_precision: np.ndarray
    normalised: np.ndarray
    num_positives: np.ndarray
    num_pairs: np.ndarray
    without_positives: np.ndarray
    without_negatives: np.ndarray


def average_precision(
    profiles: Profiles,
    pos_sameby: Sequence[str],
    pos_diffby: Sequence[str],
    neg_sameby: Sequence[str],
    neg_diffby: Sequence[str],
    similarity: str = "cosine",
    multilabel: str | None = None,
    ties: Ties = "expected",
) -> AveragePrecision:
    """Average precision of each row, for pairs by rules over columns of metadata (see ``pairs``).

    Args:
        profiles: (N, D).
        pos_sameby: columns in which both rows of a positive pair agree.
        pos_diffby: columns in which they differ.
        neg_sameby: columns in which both rows of a negative pair agree.
        neg_diffby: columns in which they differ.
        similarity: one of ``similarity.KERNELS``.
        multilabel: a column of "a|b" whose rows agree where they share a label, in all rules that name it.
        ties: "expected" for the mean over all orders of pairs that are equally alike, "copairs" for positives first.

    Raises:
        ValueError: as ``prepare`` and ``pair_rule``, an unknown rule of ties, or no row has both a positive and a
            negative pair.
    """
    labels = [
        multilabel if multilabel in (*same, *diff) else None
        for same, diff in ((pos_sameby, pos_diffby), (neg_sameby, neg_diffby))
    ]
    positive = pair_rule(profiles.metadata, pos_sameby, pos_diffby, labels[0])
    negative = pair_rule(profiles.metadata, neg_sameby, neg_diffby, labels[1])
    return average_precision_of(prepare(profiles, similarity), positive, negative, ties)


def average_precision_of(
    prepared: Prepared, positive: Rule, negative: Rule, ties: Ties = "expected"
) -> AveragePrecision:
    """As ``average_precision``, for rows that are prepared and rules that are encoded already.

    Raises:
        ValueError: an unknown rule of ties, or no row has both a positive and a negative pair.
    """
    check_ties(ties)
    num_rows = len(prepared.rows)
    pairs = listed(positive)
    num_positives = np.full(num_rows, FEW_POSITIVES + 1) if pairs is None else np.bincount(pairs[:, 0], None, num_rows)
    scores, num_negatives = np.zeros(num_rows), np.zeros(num_rows, np.int64)
    few = np.flatnonzero((num_positives > 0) & (num_positives <= FEW_POSITIVES))
    if len(few):
        partners = _partners(pairs[num_positives[pairs[:, 0]] <= FEW_POSITIVES], num_rows)
        scores[few], num_negatives[few] = _few(prepared, partners, negative, few, num_positives[few], ties)
    many = np.flatnonzero(num_positives > FEW_POSITIVES)
    if len(many):
        scores[many], num_positives[many], num_negatives[many] = _sorted(prepared, positive, negative, many, ties)
    rows = np.flatnonzero((num_positives > 0) & (num_negatives > 0)).astype(np.int32)
    unpaired = np.flatnonzero(num_positives == 0).astype(np.int32)
    if not len(rows):
        raise UserError(
            f"no row has both a positive and a negative pair: got {num_rows - len(unpaired)} of {num_rows} rows with "
            "a positive pair and none of these with a negative one, expected one row or more; mend the columns of the "
            "rules, or fill in their missing values"
        )
    lonely = np.flatnonzero((num_positives > 0) & (num_negatives == 0)).astype(np.int32)
    scores, k, n = scores[rows], num_positives[rows], (num_positives + num_negatives)[rows]
    chance = expected_average_precision(k, n)
    return AveragePrecision(rows, scores, (scores - chance) / (1 - chance), k, n, unpaired, lonely)


def _partners(pairs: np.ndarray, num_rows: int) -> np.ndarray:
    """(N, P) int32 partners of each row, -1 where it has fewer than the most."""
    counts = np.bincount(pairs[:, 0], minlength=num_rows)
    partners = np.full((num_rows, counts.max()), -1, np.int32)
    column = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    partners[pairs[:, 0], column] = pairs[:, 1]
    return partners


def _few(
    prepared: Prepared, partners: np.ndarray, negative: Rule, rows: np.ndarray, counts: np.ndarray, ties: Ties
) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and numbers of negatives, of rows (Q,) with few positives, ``counts``; those with ties are seen twice."""
    ahead, num_negatives, has_ties = over_blocks(prepared, _COUNTED[prepared.kernel], partners, negative, rows=rows)
    valid = np.arange(ahead.shape[1]) < counts[:, None]
    ahead, row, tied = np.sort(ahead, axis=1), np.nonzero(valid)[0], None
    if ties == "expected" and has_ties.any():
        no_less = ahead.copy()
        reduce = _COUNTED_WITH_TIES[prepared.kernel]
        no_less[has_ties] = np.sort(over_blocks(prepared, reduce, partners, negative, rows=rows[has_ties])[0], axis=1)
        tied = (no_less - ahead)[valid]
    found = precisions(row, ahead[valid].astype(np.int64), tied)
    return np.bincount(row, found, len(rows)) / counts, num_negatives


def _counted(
    kernel: str, bound: Callable, similarity: jax.Array, rows: jax.Array, partners: jax.Array, negative: Rule
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Negatives beyond the bound of each positive, all negatives, and whether some are tied with a positive."""
    mine = partners[rows]
    own = jnp.where(mine >= 0, jnp.take_along_axis(similarity, jnp.maximum(mine, 0), axis=1), jnp.inf)
    above, below = bound(own, kernel), just_below(own, kernel)
    others = jnp.where(paired(negative, rows), similarity, -jnp.inf)
    # One reduction with a counter for each positive passes over the block once, not once for each.
    larger = [others > -jnp.inf, *(others > above[:, i : i + 1] for i in range(own.shape[1]))]
    ones = [flags.astype(jnp.int32) for flags in larger]
    no_smaller = sum((others > below[:, i : i + 1]).astype(jnp.int32) for i in range(own.shape[1]))
    ones.append(no_smaller)
    num_negatives, *ahead, total = jax.lax.reduce(ones, [np.int32(0)] * len(ones), _add, (1,))
    # Places without a partner sort behind all that have one.
    counts = jnp.where(mine >= 0, jnp.stack(ahead, axis=1), jnp.iinfo(jnp.int32).max)
    return counts, num_negatives, total > sum(ahead)


def _add(one: list[jax.Array], other: list[jax.Array]) -> list[jax.Array]:
    return [a + b for a, b in zip(one, other, strict=True)]


_COUNTED, _COUNTED_WITH_TIES = (
    {kernel: functools.partial(_counted, kernel, bound) for kernel in KERNELS} for bound in (just_above, just_below)
)
_paired = jax.jit(paired)


def _sorted(
    prepared: Prepared, positive: Rule, negative: Rule, rows: np.ndarray, ties: Ties
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, num_positives, num_negatives = [], [], []
    for block, similarity in similarity_blocks(prepared, rows):
        masks = (np.asarray(_paired(rule, block)) for rule in (positive, negative))
        for row, ours, theirs in zip(similarity, *masks, strict=True):
            own, others = np.sort(row[ours])[::-1], np.sort(row[theirs])
            ahead, no_less = (
                len(others) - np.searchsorted(others, bound(own, prepared.kernel), side="right")
                for bound in (just_above, just_below)
            )
            tied = no_less - ahead if ties == "expected" else None
            scores.append(np.mean(precisions(np.zeros(len(own), int), ahead, tied)) if len(own) else 0.0)
            num_positives.append(len(own))
            num_negatives.append(len(others))
    return np.array(scores), np.array(num_positives), np.array(num_negatives)
