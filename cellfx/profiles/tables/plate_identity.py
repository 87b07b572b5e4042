"""What tells a plate: its name within its batch. Plates called 1, 2 and 3 in every batch are as many as there are.

The identity is a tuple of columns, the batch before the plate, or the plate alone where batches are not known. All that
is done plate by plate (steps, held-out controls, the controls that a well is compared with, pictures) groups by it.
"""

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from cellfx.profiles.tables.table import METADATA, groups

BATCH, PLATE, WELL = (f"{METADATA}{name}" for name in ("Batch", "Plate", "Well"))
"""What most tables call them."""


def identity(batch: str | None, plate: str) -> tuple[str, ...]:
    """The columns that tell plates; one column may be both."""
    return tuple(dict.fromkeys(filter(None, (batch, plate))))


def usual(known: Collection[str]) -> tuple[str, ...]:
    """The same for a table whose columns have their usual names, with or without batches.

    Args:
        known: columns of the table.
    """
    return identity(BATCH if BATCH in known else None, PLATE)


def completed(by: Sequence[str], plate: Sequence[str]) -> tuple[str, ...]:
    """Columns to group by, with the batch where they name the plate.

    Args:
        by: columns.
        plate: identity of plates; the plate's name is its last column.
    """
    return tuple(dict.fromkeys((*plate, *by) if plate[-1] in by else by))


def codes(metadata: pl.DataFrame, plate: Sequence[str]) -> np.ndarray:
    """Plates as numbers.

    Args:
        metadata: N rows.
        plate: identity of plates.

    Returns:
        (N,) int from 0 in the order of their first rows; -1 without a plate's name. Rows without a batch have one.
    """
    found = np.empty(len(metadata), int)
    for code, rows in enumerate(groups(metadata, plate)):
        found[rows] = code
    return np.where(metadata[plate[-1]].is_null().to_numpy(), -1, found)


def named(metadata: pl.DataFrame, plate: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Every plate's name, with its batch where another plate has the same name, and its rows.

    Args:
        metadata: N rows.
        plate: identity of plates.

    Returns:
        (name, (n,) int rows) in the order of their first rows.
    """
    members = groups(metadata, plate)
    labels = [tuple(str(metadata[column][int(rows[0])]) for column in plate) for rows in members]
    names = [label[-1] for label in labels]
    return [
        (name if names.count(name) == 1 else f"{name} of batch {label[0]}", rows)
        for name, label, rows in zip(names, labels, members, strict=True)
    ]
