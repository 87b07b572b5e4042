"""Which treatments are compared: the highest dose of each compound, with a known mechanism that others share.

These are the rules of Bornholdt 2021, section 4.1. Each returns a mask of rows, to be combined with others.
"""

import numpy as np
import polars as pl


def highest_dose(metadata: pl.DataFrame, compound: str, dose: str) -> np.ndarray:
    """Rows (N,) bool of each compound's highest dose.

    Args:
        metadata: N rows.
        compound: column of compounds; rows without one are not taken.
        dose: column of numbers; a compound whose doses are all missing is taken whole.

    Raises:
        ValueError: no such column, or doses that are no numbers.
    """
    _check(metadata, compound, dose)
    if not metadata.schema[dose].is_numeric():
        raise ValueError(
            f"doses that are no numbers: got {metadata.schema[dose]} in {dose}, expected numbers; convert the column"
        )
    highest = pl.col(dose).max().over(compound)
    taken = pl.col(compound).is_not_null() & ((pl.col(dose) == highest) | highest.is_null())
    return metadata.select(taken.fill_null(False)).to_series().to_numpy()


def known(metadata: pl.DataFrame, column: str) -> np.ndarray:
    """Rows (N,) bool that have a value, an empty text not being one.

    Raises:
        ValueError: no such column.
    """
    _check(metadata, column)
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return metadata.select(text.is_not_null() & (text != "")).to_series().fill_null(False).to_numpy()


def shared(metadata: pl.DataFrame, mechanism: str, compound: str, least: int = 2) -> np.ndarray:
    """Rows (N,) bool whose mechanism has at least so many compounds; a match cannot be found for any other.

    Args:
        metadata: N rows; among them only those that are compared, or the compounds of others count too.
        mechanism: column; rows without one are not taken.
        compound: column.
        least: number of compounds.

    Raises:
        ValueError: no such column.
    """
    _check(metadata, mechanism, compound)
    count = pl.col(compound).drop_nulls().n_unique().over(mechanism)
    taken = pl.col(mechanism).is_not_null() & (count >= least)
    return metadata.select(taken).to_series().fill_null(False).to_numpy()


def _check(metadata: pl.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in metadata.columns:
            raise ValueError(
                f"no such column: got {column!r}, expected one of {', '.join(metadata.columns)}; correct the name or "
                "annotate the profiles first"
            )
