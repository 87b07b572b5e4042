"""Which treatments are compared: the highest dose of each compound, with a known mechanism that others share.

These are the rules of Bornholdt 2021, section 4.1. Each returns a mask of rows, to be combined with others.
``compared`` is all of them at once.
"""

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.rules import SEPARATOR


def compared(
    metadata: pl.DataFrame, columns: Columns, highest_dose: bool = False, mechanism_size: int = 0
) -> np.ndarray:
    """Which treatments are compared, (N,) bool; the config section ``compared``.

    Args:
        metadata: of N treatments.
        columns: what its columns are called.
        highest_dose: only the highest dose of each compound.
        mechanism_size: only mechanisms of at least so many compounds; 0 takes all, also treatments without one. With
            ``columns.multilabel`` one of a treatment's labels is enough.

    Raises:
        ValueError: a rule for a column that the config does not name, or none is left.
    """
    taken = np.ones(len(metadata), bool)
    rules = (("highest_dose", highest_dose, "dose", False), ("mechanism_size", mechanism_size, "mechanism", 0))
    for rule, wanted, column, without in rules:
        if wanted and getattr(columns, column) is None:
            raise UserError(
                f"a rule without its column: got compared.{rule}={wanted} and columns.{column} None, expected the name "
                f"of a column; give it, or remove compared.{rule} or set it to {without}"
            )
    if highest_dose:
        taken &= at_highest_dose(metadata, columns.compound, columns.dose)
    if mechanism_size:
        taken &= known(metadata, columns.mechanism)
        taken[taken] = _shared(metadata.filter(pl.Series(taken)), columns, mechanism_size)
    if not taken.any():
        raise UserError(
            f"no treatment left to compare: got none of {len(metadata)} by highest_dose={highest_dose} and "
            f"mechanism_size={mechanism_size}, expected two or more; loosen compared"
        )
    return taken


def check_labels(metadata: pl.DataFrame, columns: Columns) -> None:
    """Makes sure that mechanisms can be lists of labels where the config says that they are.

    Raises:
        ValueError: mechanisms that are no text.
    """
    if columns.multilabel and columns.mechanism is not None and metadata.schema[columns.mechanism] != pl.String:
        raise UserError(
            f"mechanisms that are no lists of labels: got {metadata.schema[columns.mechanism]} in {columns.mechanism} "
            "with columns.multilabel, expected text such as 'a|b'; leave columns.multilabel out, or write labels"
        )


def at_highest_dose(metadata: pl.DataFrame, compound: str, dose: str) -> np.ndarray:
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
        raise UserError(
            f"doses that are no numbers: got {metadata.schema[dose]} in {dose}, expected numbers; convert the column"
        )
    highest = pl.col(dose).max().over(compound)
    taken = pl.col(compound).is_not_null() & ((pl.col(dose) == highest) | highest.is_null())
    return metadata.select(taken.fill_null(False)).to_series().to_numpy()


def named(metadata: pl.DataFrame, columns: Columns) -> np.ndarray:
    """Rows (N,) bool that have a value in every column that treatments are told by; all others are no treatment."""
    return np.logical_and.reduce([known(metadata, column) for column in columns.treatment])


def known(metadata: pl.DataFrame, column: str) -> np.ndarray:
    """Rows (N,) bool that have a value, an empty text and NaN not being one.

    Raises:
        ValueError: no such column.
    """
    _check(metadata, column)
    value = pl.col(column).fill_nan(None) if metadata.schema[column].is_float() else pl.col(column)
    text = value.cast(pl.String).str.strip_chars()
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


def _shared(metadata: pl.DataFrame, columns: Columns, least: int) -> np.ndarray:
    """Treatments whose mechanism, or one label of it, at least so many compounds have."""
    check_labels(metadata, columns)
    labeled = metadata.with_row_index("cellfx_row")
    if columns.multilabel:
        labels = pl.col(columns.mechanism).str.split(SEPARATOR)
        labeled = labeled.with_columns(labels).explode(columns.mechanism)
        labeled = labeled.with_columns(pl.col(columns.mechanism).str.strip_chars())
        labeled = labeled.filter(known(labeled, columns.mechanism))
    rows = labeled["cellfx_row"].filter(shared(labeled, columns.mechanism, columns.compound, least))
    return np.isin(np.arange(len(metadata)), rows.to_numpy())


def _check(metadata: pl.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in metadata.columns:
            raise UserError(
                f"no such column: got {column!r}, expected one of {', '.join(metadata.columns)}; correct the name or "
                "annotate the profiles first"
            )
