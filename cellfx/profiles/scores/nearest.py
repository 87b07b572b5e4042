"""Mechanisms by nearest neighbors, leaving out what is alike for other reasons: the same compound, or the same batch.

Ljosa et al. 2013 (doi:10.1177/1087057113503553) for not-same-compound (NSC), Ando et al. 2017 (doi:10.1101/161422) for
not-same-compound-or-batch (NSCB). A mechanism that only one compound has, or for NSCB only one batch, cannot be found:
its rows are counted apart, in ``num_unreachable``, and do not enter the accuracy; they still are neighbors of others.
"""

import difflib
from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import Prepared, over_blocks, prepare
from cellfx.profiles.similarity.collecting import Block, Collector, collect, match
from cellfx.profiles.similarity.rules import Rule, check_columns, encode, pair_rule
from cellfx.profiles.tables.table import Profiles


class Neighbours(NamedTuple):
    """The nearest rows of each row among those that it may be compared with.

    Attributes:
        rows: (N, k) int, nearest first; -1 where there are fewer.
        similarity: (N, k), -inf there.
        reachable: (N,) bool, whether a row with the same mechanism is among those that it may be compared with.
    """

    rows: np.ndarray
    similarity: np.ndarray
    reachable: np.ndarray


class Classified(NamedTuple):
    """Mechanisms predicted by the nearest rows.

    Attributes:
        accuracy: share of the reachable rows that are predicted right.
        balanced_accuracy: mean over mechanisms of the share of each one's reachable rows that are.
        mechanisms: (K,) names, sorted.
        confusion: (K, K) counts of reachable rows, [true, predicted].
        predicted: (N,) place in ``mechanisms``, also for rows without one; -1 where there is no neighbor.
        right: (N,) bool, whether the prediction is right.
        judged: (N,) bool, rows with a mechanism that is reachable.
        num_unreachable: rows with a mechanism that no allowed neighbor has; they count nowhere else.
        num_unknown: rows without a mechanism.
    """

    accuracy: float
    balanced_accuracy: float
    mechanisms: tuple[str, ...]
    confusion: np.ndarray
    predicted: np.ndarray
    right: np.ndarray
    judged: np.ndarray
    num_unreachable: int
    num_unknown: int


class Exclusion(NamedTuple):
    """What a row may not be compared with.

    Attributes:
        mechanism: metadata column that is predicted.
        compound: column; rows of the same compound are not neighbors (NSC).
        batch: column; nor are those of the same batch (NSCB). None: they may be.
        multilabel: mechanisms are lists "a|b"; a prediction is right where it shares a label. Off, the lists are names
            of mechanisms as they are, as published.
    """

    mechanism: str = "Metadata_MOA"
    compound: str = "Metadata_Compound"
    batch: str | None = None
    multilabel: bool = False


def classify(profiles: Profiles, exclusion: Exclusion | None = None, k: int = 1, kernel: str = "cosine") -> Classified:
    """Predicts the mechanism of each row from its k nearest rows of other compounds (and batches).

    The mechanism with most of the k votes is predicted; of equally many, that with the larger sum of similarities. A
    list of labels is voted for as a whole.

    Args:
        profiles: of N rows. Rows without a mechanism have no vote; rows without a compound, or batch, are compared with
            none.
        exclusion: columns; the default is NSC.
        k: neighbors.
        kernel: see ``similarity.KERNELS``.

    Raises:
        ValueError: no such column, k below 1, or no row whose mechanism can be found; as ``similarity.prepare``.
    """
    prepared, exclusion = prepare(profiles, kernel), exclusion or Exclusion()
    collector = neighbours_collector(prepared, profiles.metadata, exclusion, k)
    return judge_neighbours(collect(prepared, {"near": collector})["near"], profiles.metadata, exclusion)


def neighbours_collector(prepared: Prepared, metadata: pl.DataFrame, exclusion: Exclusion, k: int = 1) -> Collector:
    """Finds ``Neighbours`` for ``collecting.collect``."""
    if k < 1 or k != int(k):
        raise UserError(f"no number of neighbors: got k={k}, expected a whole number from 1; 1 is the nearest")
    different = [exclusion.compound] + ([exclusion.batch] if exclusion.batch else [])
    candidates, same = pair_rule(metadata, diffby=different), same_mechanism(metadata, exclusion)
    votes = encode(metadata, [exclusion.mechanism]) >= 0

    def look(block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        allowed = block.mask(candidates) & votes[None]
        values = np.where(allowed, block.similarity, -np.inf)
        near = _largest(values, min(k, values.shape[1]))
        similarity = np.take_along_axis(values, near, axis=1)
        reachable = np.any(allowed & block.mask(same), axis=1)
        return np.where(similarity > -np.inf, near, -1), similarity, reachable

    def finish(parts: list) -> Neighbours:
        return Neighbours(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    return Collector(look, finish)


def same_mechanism(metadata: pl.DataFrame, exclusion: Exclusion) -> Rule:
    """Pairs of rows of one mechanism, or that share a label of it."""
    label = exclusion.mechanism if exclusion.multilabel else None
    return pair_rule(metadata, sameby=[exclusion.mechanism], multilabel=label)


def judge_neighbours(near: Neighbours, metadata: pl.DataFrame, exclusion: Exclusion) -> Classified:
    """Mechanisms that neighbors vote for, beside the true ones; arguments as in ``classify``.

    Raises:
        ValueError: no row whose mechanism is among its possible neighbors.
    """
    text = metadata[exclusion.mechanism].cast(pl.String)
    known = encode(metadata, [exclusion.mechanism]) >= 0
    names, code = np.unique(text.filter(pl.Series(known)).to_numpy().astype(np.str_), return_inverse=True)
    labels = np.full(len(metadata), -1)
    labels[known] = code
    judged = known & near.reachable
    if not judged.any():
        raise UserError(
            f"no mechanism can be found: got {len(names)} mechanisms in {int(known.sum())} rows, none with rows of two "
            f"values of {exclusion.compound}{' and ' + exclusion.batch if exclusion.batch else ''}, expected one or "
            "more; choose other columns or keep mechanisms with two compounds"
        )
    winner = _winners(near, labels)
    predicted = np.where(winner >= 0, labels[winner], -1)
    right = match(same_mechanism(metadata, exclusion), np.arange(len(labels)), np.maximum(winner, 0)) & (winner >= 0)
    pairs = labels[judged] * len(names) + predicted[judged]
    confusion = np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), -1)
    totals = np.bincount(labels[judged], minlength=len(names))
    recall = np.bincount(labels[judged], right[judged], minlength=len(names))[totals > 0] / totals[totals > 0]
    unreachable = int(np.sum(known & ~near.reachable))
    accuracy = float(np.mean(right[judged])), float(recall.mean())
    mechanisms = tuple(names.tolist())
    return Classified(*accuracy, mechanisms, confusion, predicted, right, judged, unreachable, int(np.sum(~known)))


def neighbours_of(profiles: Profiles, column: str, name: str, count: int = 10, kernel: str = "cosine") -> pl.DataFrame:
    """The treatments most like one of them, by the mean similarity of all pairs of rows.

    Args:
        profiles: of N rows.
        column: of metadata, the treatment.
        name: of the treatment, a value of the column.
        count: treatments to list.
        kernel: see ``similarity.KERNELS``.

    Returns:
        Up to ``count`` rows: the metadata of each treatment's first row, ``similarity`` and ``num_rows``; the most
        similar first.

    Raises:
        ValueError: no such column or treatment; as ``similarity.prepare``.
    """
    rows = rows_named(profiles.metadata, column, name)
    similarity = np.mean(over_blocks(prepare(profiles, kernel), _identity, rows=rows), axis=0)
    codes = encode(profiles.metadata, [column])
    codes[rows] = -1
    others, first, code, num_rows = np.unique(
        codes[codes >= 0], return_index=True, return_inverse=True, return_counts=True
    )
    means = np.bincount(code, similarity[codes >= 0], minlength=len(others)) / num_rows
    order = np.argsort(-means, kind="stable")[:count]
    table = profiles.metadata[np.flatnonzero(codes >= 0)[first[order]]]
    return table.with_columns(similarity=pl.Series(means[order]), num_rows=pl.Series(num_rows[order]))


def rows_named(metadata: pl.DataFrame, column: str, name: str) -> np.ndarray:
    """Places (M,) of the rows with a value in a column.

    Raises:
        ValueError: no such column, or no row has the value.
    """
    check_columns(metadata, [column])
    values = metadata[column].cast(pl.String)
    rows = np.flatnonzero((values == name).fill_null(False).to_numpy())
    if not len(rows):
        near = difflib.get_close_matches(name, values.drop_nulls().unique().to_list(), 1, 0.0)
        raise UserError(
            f"no such treatment: got {name!r} in {column}, expected one of {values.n_unique()} such as "
            f"{', '.join(map(repr, near))}; correct the name"
        )
    return rows


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Places (B, k) of the largest values (B, N), falling; equal ones in their order."""
    if k == 1:
        return np.argmax(values, axis=1)[:, None]
    near = np.sort(np.argpartition(-values, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(values, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)


def _identity(similarity: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return similarity


def _winners(near: Neighbours, labels: np.ndarray) -> np.ndarray:
    """The nearest neighbor (N,) of those that vote for the winning mechanism; -1 without any neighbor."""
    valid = near.rows >= 0
    vote = np.where(valid, labels[near.rows], -1)
    weight = np.where(valid, near.similarity, 0.0)
    agree = (vote[:, :, None] == vote[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    counts, sums = agree.sum(axis=2), np.sum(agree * weight[:, None, :], axis=2)
    best = counts == counts.max(axis=1, keepdims=True)
    place = np.argmax(np.where(best & valid, sums, -np.inf), axis=1)
    return np.where(valid[:, 0], near.rows[np.arange(len(place)), place], -1)
