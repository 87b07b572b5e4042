"""Which pairs of rows are positive or negative: rules over columns of metadata, never listed as N x N pairs.

A rule names columns in which two rows must have the same value and columns in which they must differ, as copairs has
it (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2). It is kept as integer codes, from which ``paired`` makes the
mask of a block of rows.

    rule = pair_rule(metadata, sameby=["Metadata_Compound"], diffby=["Metadata_Plate"])
    mask = paired(rule, rows)    # (B, N) bool, also inside jit

A row is never its own pair. A missing value (null, NaN in a column of floats, no label) makes no pair: it is neither
the same as another one nor known to differ. With several columns all of them must agree, or all of them must differ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from cellfx.checks import UserError

LABEL_BITS = 32
SEPARATOR = "|"
"""Between the labels of a list."""


class Rule(NamedTuple):
    """A rule of pairs as arrays; a tree that goes through jit.

    Attributes:
        same: (S, N) int32 codes that must be equal; S is 0 or 1, all columns share a code.
        different: (K, N) int32 codes that must differ, one for each column.
        shared: (W, N) uint32, bits are labels; one must be shared. W is 0 without a multi-label column.
        unshared: (V, N) uint32, likewise; none may be shared.
        complete: (N,) bool, rows in which no column of the rule is missing.
    """

    same: np.ndarray
    different: np.ndarray
    shared: np.ndarray
    unshared: np.ndarray
    complete: np.ndarray


def pair_rule(
    metadata: pl.DataFrame,
    sameby: Sequence[str] = (),
    diffby: Sequence[str] = (),
    multilabel: str | None = None,
    separator: str = SEPARATOR,
) -> Rule:
    """Encodes a rule of pairs.

    Args:
        metadata: N rows.
        sameby: columns in which both rows have the same value.
        diffby: columns in which they do not.
        multilabel: one of these columns whose values are lists of labels, such as "kinase inhibitor|statin". Rows
            have the same value where they share a label, and differ where they share none.
        separator: between labels.

    Raises:
        ValueError: no columns, one that does not exist or that is named twice, or a multi-label column that the rule
            does not name or that is no text.
    """
    _check_rule(metadata, sameby, diffby, multilabel)
    columns = [*sameby, *diffby]
    complete = np.all([encode(metadata, [column]) >= 0 for column in columns], axis=0)
    plain = [column for column in sameby if column != multilabel]
    same = [encode(metadata, plain)] if plain else []
    different = [encode(metadata, [column]) for column in diffby if column != multilabel]
    nothing = np.zeros((0, len(metadata)), np.uint32)
    bits = nothing if multilabel is None else _label_bits(metadata[multilabel], separator)
    if multilabel is not None:
        complete &= np.any(bits != 0, axis=0)
    shared, unshared = (bits, nothing) if multilabel in sameby else (nothing, bits)
    codes = [np.array(part, np.int32).reshape(-1, len(metadata)) for part in (same, different)]
    return Rule(*codes, shared, unshared, complete)


def of_rows(rule: Rule, rows: np.ndarray) -> Rule:
    """The rule of some rows (R,) alone, in their order."""
    return Rule(*(np.asarray(part)[..., rows] for part in rule))


def paired(rule: Rule, rows: jax.Array) -> jax.Array:
    """Which rows make a pair with each row of a block.

    Args:
        rule: of N rows.
        rows: (B,) int32.

    Returns:
        (B, N) bool. Compiled together with what uses it, nothing larger is ever held.
    """
    rule = Rule(*(jnp.asarray(part) for part in rule))
    rows = jnp.asarray(rows, jnp.int32)
    everyone = jnp.arange(len(rule.complete), dtype=jnp.int32)
    mask = rule.complete[rows][:, None] & rule.complete[None] & (rows[:, None] != everyone[None])
    for code in rule.same:
        mask &= code[rows][:, None] == code[None]
    for code in rule.different:
        mask &= code[rows][:, None] != code[None]
    if len(rule.shared):
        mask &= _share(rule.shared, rows)
    if len(rule.unshared):
        mask &= ~_share(rule.unshared, rows)
    return mask


def listed(rule: Rule, max_pairs: int = 2**23) -> np.ndarray | None:
    """All pairs of a rule whose columns of equal values or shared labels are selective, such as replicates.

    Args:
        rule: of N rows.
        max_pairs: how many candidates are looked at: rows with equal values; without such columns, rows of one label,
            once for each that they share, or all rows where these are fewer.

    Returns:
        (M, 2) int32 row and partner, ordered by row, then partner; each pair is there twice, once for each of its rows.
        None where there are more candidates than ``max_pairs``: use ``paired`` then.
    """
    members, code, by_label = _members(rule)
    order = np.argsort(code, kind="stable")
    members, sizes = members[order], np.bincount(code[order])[code[order]]
    if int(sizes.sum(dtype=np.int64)) > max_pairs:
        return None
    # Rows of one code are neighbors now: the partners of each are the run it lies in.
    starts = np.searchsorted(code[order], code[order])
    row = np.repeat(members, sizes)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    partner = members[np.repeat(starts, sizes) + offset]
    keep = row != partner
    for different in rule.different:
        keep &= different[row] != different[partner]
    if len(rule.shared) and not by_label:
        keep &= _common(rule.shared, row, partner)
    if len(rule.unshared):
        keep &= ~_common(rule.unshared, row, partner)
    # Rows that share several labels met in each of them.
    num_rows = len(rule.complete)
    found = np.unique(row[keep].astype(np.int64) * num_rows + partner[keep])
    return np.stack([found // num_rows, found % num_rows], axis=1).astype(np.int32)


def encode(metadata: pl.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Numbers the distinct combinations of values in some columns, in the order of their first appearance.

    Args:
        metadata: N rows.
        columns: one or more.

    Returns:
        (N,) int32, from 0; -1 where one of the values is missing.

    Raises:
        ValueError: a column that does not exist.
    """
    check_columns(metadata, columns)
    chosen = metadata.select(
        pl.col(name).fill_nan(None) if metadata.schema[name].is_float() else pl.col(name)
        for name in dict.fromkeys(columns)
    )
    complete = np.logical_and.reduce([chosen[name].is_not_null().to_numpy() for name in chosen.columns])
    rows = chosen.with_row_index("row").filter(pl.Series(complete, dtype=pl.Boolean))
    groups = rows.group_by(chosen.columns, maintain_order=True).agg("row")["row"]
    codes = np.full(len(metadata), -1, np.int32)
    if len(groups):
        codes[groups.explode().to_numpy()] = np.repeat(np.arange(len(groups)), groups.list.len().to_numpy())
    return codes


def check_columns(metadata: pl.DataFrame, columns: Sequence[str]) -> None:
    """Looks whether columns exist.

    Raises:
        ValueError: the first that does not, or a text in place of a list of columns.
    """
    if isinstance(columns, str):
        raise UserError(f"columns are no list: got {columns!r}, expected a list of names; write [{columns!r}]")
    for name in columns:
        if name not in metadata.columns:
            raise UserError(
                f"no such column of metadata: got {name!r}, expected one of {', '.join(metadata.columns)}; mend the "
                "name or annotate the profiles"
            )


def _members(rule: Rule) -> tuple[np.ndarray, np.ndarray, bool]:
    """Rows (M,), a code of each, (M,), that the two rows of a pair have in common, and whether codes are labels.

    Codes are those of equal values, else labels, of which a row may have several, else one for all, also where labels
    would make more candidates.
    """
    rows = np.flatnonzero(rule.complete).astype(np.int32)
    if len(rule.same):
        return rows, rule.same[0][rows], False
    if len(rule.shared):
        number, place = np.nonzero(rule.shared[:, rows])
        held = rule.shared[number, rows[place]]
        entry, bit = np.nonzero(held[:, None] >> np.arange(LABEL_BITS, dtype=np.uint32) & 1)
        labels = LABEL_BITS * number[entry] + bit
        if np.sum(np.bincount(labels) ** 2) <= len(rows) ** 2:
            return rows[place[entry]], labels, True
    return rows, np.zeros(len(rows), np.int32), False


def _common(bits: np.ndarray, row: np.ndarray, partner: np.ndarray) -> np.ndarray:
    common = np.zeros(len(row), bool)
    for word in bits:
        common |= (word[row] & word[partner]) != 0
    return common


def _share(bits: jax.Array, rows: jax.Array) -> jax.Array:
    mask = jnp.zeros((len(rows), bits.shape[1]), bool)
    for word in bits:
        mask |= (word[rows][:, None] & word[None]) != 0
    return mask


def _label_bits(values: pl.Series, separator: str) -> np.ndarray:
    lists = [[label.strip() for label in (value or "").split(separator) if label.strip()] for value in values]
    numbers = {label: number for number, label in enumerate(sorted({label for labels in lists for label in labels}))}
    bits = np.zeros((max(-(-len(numbers) // LABEL_BITS), 1), len(lists)), np.uint32)
    for row, labels in enumerate(lists):
        for label in labels:
            word, bit = divmod(numbers[label], LABEL_BITS)
            bits[word, row] |= np.uint32(1 << bit)
    return bits


def _check_rule(metadata: pl.DataFrame, sameby: Sequence[str], diffby: Sequence[str], multilabel: str | None) -> None:
    for columns in (sameby, diffby):
        check_columns(metadata, columns)
    columns = [*sameby, *diffby]
    if not columns or len(set(columns)) < len(columns):
        raise UserError(
            f"a rule of pairs that holds for none or all: got sameby {list(sameby)} and diffby {list(diffby)}, "
            "expected one column or more, each named once; say what makes a pair"
        )
    if multilabel is not None and (multilabel not in columns or metadata.schema[multilabel] != pl.String):
        raise UserError(
            f"no column of labels: got multilabel {multilabel!r} for sameby {list(sameby)} and diffby {list(diffby)}, "
            "expected one of these columns, with text; name it in the rule or leave multilabel out"
        )
