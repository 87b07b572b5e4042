"""Profiles in the formats of other programs: CSV, AnnData (``.h5ad``) and GCT 1.3, whole or not at all.

Parquet is written by ``table.write``. GCT is that of https://clue.io/connectopedia/gct_format, which cmapPy and
Morpheus read: features are rows and profiles columns.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables import anndata_writing
from cellfx.profiles.tables.anndata_writing import Partly
from cellfx.profiles.tables.table import Profiles, to_frame, whole

MISSING = "NaN"
"""Of a GCT file."""


def write_as(profiles: Profiles, path: Path, named_by: Sequence[str]) -> None:
    """Writes profiles in the format that the name of the file ends in, one of ``FORMATS``.

    Args:
        profiles: N rows.
        path: of the file.
        named_by: columns of metadata that name a row, see ``row_names``; a CSV has no other names.

    Raises:
        ValueError: an unknown format.
        OSError: the folder is not there, or the disk full.
    """
    if path.suffix not in FORMATS:
        raise UserError(
            f"unknown format of profiles: got {path.name!r}, expected a name that ends in {' or '.join(FORMATS)}; "
            "change the name"
        )
    with whole(path) as temporary:
        FORMATS[path.suffix](profiles, temporary, named_by)


def row_names(metadata: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """A name for each row: its values joined by colons; where two rows share one, the number of each row follows it.

    Args:
        metadata: N rows.
        columns: of it; none: names are the numbers of the rows, from 1.
    """
    numbers = [str(row + 1) for row in range(len(metadata))]
    if not columns:
        return numbers
    text = metadata.select(pl.concat_str(pl.col(columns).cast(pl.String).fill_null(""), separator=":")).to_series()
    if text.n_unique() == len(text):
        return text.to_list()
    return [f"{name}:{number}" for name, number in zip(text, numbers, strict=True)]


def _write_csv(profiles: Profiles, path: Path, named_by: Sequence[str]) -> None:
    frame = to_frame(profiles)
    frame.with_columns(pl.col(pl.Float64, pl.Float32).fill_nan(None)).write_csv(path)


def _write_h5ad(profiles: Profiles, path: Path, named_by: Sequence[str]) -> None:
    import h5py

    columns = {column.name: _column(column) for column in profiles.metadata}
    names = np.array(row_names(profiles.metadata, named_by), np.str_)
    with h5py.File(path, "w") as file:
        anndata_writing.create(file, profiles.features, names, columns, profiles.names)


def _column(column: pl.Series) -> np.ndarray | Partly:
    """Numbers and booleans as they are, anything else as text; floats have NaN where they are missing."""
    if column.dtype.is_float():
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = column.is_not_null().to_numpy()
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        values = column.fill_null(0 if column.dtype.is_integer() else False).to_numpy()
    else:
        values = np.array(column.cast(pl.String).fill_null("").to_list(), np.str_)
    return values if known.all() else Partly(values, known)


def _write_gct(profiles: Profiles, path: Path, named_by: Sequence[str]) -> None:
    metadata, names = profiles.metadata, row_names(profiles.metadata, named_by)
    texts = metadata.with_columns(pl.col(pl.Float64, pl.Float32).fill_nan(None)).cast(pl.String).fill_null(MISSING)
    described = [[name, *texts[name]] for name in metadata.columns]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"#1.3\n{len(profiles.names)}\t{len(names)}\t0\t{len(described)}\n")
        for row in (["id", *names], *described):
            file.write("\t".join(map(_one_cell, row)) + "\n")
    ids = pl.DataFrame({"id": [_one_cell(name) for name in profiles.names]})
    values = pl.DataFrame(profiles.features.T, [str(row) for row in range(len(names))])
    with path.open("ab") as file:
        ids.hstack(values).fill_nan(None).write_csv(
            file, separator="\t", include_header=False, null_value=MISSING, quote_style="never"
        )


def _one_cell(text: str) -> str:
    """A text without the tabs and line ends that would begin another cell: spaces stand for them."""
    return " ".join(text.splitlines()).replace("\t", " ")


FORMATS: dict[str, Callable[[Profiles, Path, Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".h5ad": _write_h5ad,
    ".gct": _write_gct,
}
