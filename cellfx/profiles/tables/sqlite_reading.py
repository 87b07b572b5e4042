"""Single cells of CellProfiler in SQLite, as cytominer-database writes them; read row by row, never held whole.

Tables Image, Cells, Cytoplasm and Nuclei, joined as pycytominer's ``SingleCells`` does: a cytoplasm with the cell and
the nucleus that its columns ``Cytoplasm_Parent_Cells`` and ``Cytoplasm_Parent_Nuclei`` number, by TableNumber (where
there is one) and ImageNumber. Differs from pycytominer: of Image all columns of metadata are read and none of features.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import polars as pl

from cellfx.checks import UserError
from cellfx.files import table_files
from cellfx.profiles.tables.joining import Part
from cellfx.profiles.tables.table import METADATA
from cellfx.profiles.tables.text_values import is_missing, no_number, number, text_in_feature

ENDINGS = (".sqlite", ".sqlite3", ".db")
_TABLES = ("Cytoplasm", "Cells", "Nuclei", "Image")
_NUMBERS = ("TableNumber", "ImageNumber")
_OBJECT = "ObjectNumber"
_ROWS_AT_A_TIME = 10_000
_COLUMNS_AT_A_TIME = 1_000
"""SQLite gives 2,000 columns at most."""


def scan(path: Path, tell: Callable[[str], None]) -> Part:
    """Single cells of a database.

    Args:
        path: of the database; it is opened for reading only.
        tell: is told how many cells have no cytoplasm that names them and a nucleus, and are left out.

    Returns:
        Metadata of images (``Image_Metadata_X`` is ``Metadata_X``), numbers of images and objects, as text;
        features of the three compartments, Float64.

    Raises:
        ValueError: a table or column that is missing, or columns of one name.
    """
    with _opened(path) as database:
        columns, joined = _columns(database, path), _joined(database, path)
        cells = database.execute('SELECT count(*) FROM "Cells"').fetchone()[0]
        kept = database.execute(f"SELECT count(*) {joined}").fetchone()[0]
    if kept < cells:
        tell(
            f"left out: {cells - kept:,} of {cells:,} cells of {path.name}, which no cytoplasm with a nucleus and an "
            "image belongs to"
        )
    schema = {name: pl.String() if name.startswith(METADATA) else pl.Float64() for name in columns}

    def rows(
        wanted: list[str] | None, predicate: pl.Expr | None, num_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        names = [*schema] if wanted is None else wanted
        for frame in _read(path, {name: columns[name] for name in names}, joined, num_rows):
            yield frame if predicate is None else frame.filter(predicate)

    return Part(pl.io.plugins.register_io_source(rows, schema=schema), schema, [path])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # Polars may go on reading in another thread, one at a time.
    database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, check_same_thread=False)
    database.text_factory = lambda value: value.decode("utf-8", "replace")
    try:
        with table_files.told([path]):
            yield database
    finally:
        database.close()


def _quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _names(database: sqlite3.Connection, path: Path) -> dict[str, list[str]]:
    """Names of the columns of each table."""
    found = {name: [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(name)})")] for name in _TABLES}
    missing = [name for name in _TABLES if not found[name]]
    if missing:
        there = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        raise UserError(
            f"no cells of CellProfiler: got {path} without the tables {', '.join(missing)}; it has "
            f"{', '.join(there[:5]) or 'none'}, expected {', '.join(_TABLES)} as cytominer-database writes them; "
            "export the cells as CSV or Parquet"
        )
    return found


def _columns(database: sqlite3.Connection, path: Path) -> dict[str, str]:
    """Name as it is read -> expression of SQL."""
    columns: dict[str, str] = {}
    for table, names in _names(database, path).items():
        for name in names:
            if table == "Image":
                new = METADATA + name.removeprefix("Image_").removeprefix(METADATA)
                if name not in _NUMBERS and METADATA not in name:
                    continue
            elif name in _NUMBERS:
                continue
            elif name == _OBJECT:
                new = f"{METADATA}{table}_{_OBJECT}"
            else:
                new = name if name.startswith(f"{table}_") else f"{table}_{name}"
            if new in columns:
                raise UserError(
                    f"two columns for one name: got {name!r} of {table} in {path}, which is read as {new!r} as another "
                    "is, expected one; rename one of them"
                )
            columns[new] = _quoted(table, name)
    return columns


def _joined(database: sqlite3.Connection, path: Path) -> str:
    """What follows SELECT ...: each cytoplasm in the order of the table. CROSS JOIN keeps SQLite from another order."""
    names = _names(database, path)
    numbers = [name for name in _NUMBERS if all(name in some for some in names.values())]
    needed = {
        "Cytoplasm": ["Cytoplasm_Parent_Cells", "Cytoplasm_Parent_Nuclei"],
        "Cells": [_OBJECT],
        "Nuclei": [_OBJECT],
    }
    for table, some in {**needed, "Image": []}.items():
        missing = [name for name in ("ImageNumber", *some) if name not in names[table]]
        if missing:
            raise UserError(
                f"no column to join cells by: got the table {table} of {path} without {', '.join(missing)}, expected "
                "it as cytominer-database writes it; export the cells as CSV or Parquet"
            )
    parts = ['FROM "Cytoplasm"']
    for table in ("Cells", "Nuclei", "Image"):
        equal = [f"{_quoted(table, name)} = {_quoted('Cytoplasm', name)}" for name in numbers]
        if table != "Image":
            equal.append(f"{_quoted(table, _OBJECT)} = {_quoted('Cytoplasm', f'Cytoplasm_Parent_{table}')}")
        parts.append(f"CROSS JOIN {_quoted(table)} ON {' AND '.join(equal)}")
    return " ".join(parts)


def _read(path: Path, columns: Mapping[str, str], joined: str, num_rows: int | None) -> Iterator[pl.DataFrame]:
    names = list(columns)
    pieces = [names[start : start + _COLUMNS_AT_A_TIME] for start in range(0, len(names), _COLUMNS_AT_A_TIME)] or [[]]
    limit = "" if num_rows is None else f" LIMIT {int(num_rows)}"
    with _opened(path) as database:
        cursors = [
            database.execute(f"SELECT {', '.join(columns[name] for name in some) or 'NULL'} {joined}{limit}")
            for some in pieces
        ]
        while (rows := [cursor.fetchmany(_ROWS_AT_A_TIME) for cursor in cursors])[0]:
            values = [column for some in rows for column in zip(*some, strict=True)]
            if names:
                yield pl.DataFrame([_series(name, column) for name, column in zip(names, values, strict=True)])
            else:
                yield pl.DataFrame(height=len(values[0]))


def _series(name: str, values: Sequence[object]) -> pl.Series:
    """A column of what SQLite gave, whose types are those of the values and not of the column."""
    if name.startswith(METADATA):
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    if all(value is None or isinstance(value, int | float) for value in values):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    text = pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    bad = pl.select(no_number(pl.lit(text))).to_series()
    if bad.any():
        raise text_in_feature(name, text[bad.arg_max()])
    return pl.select(pl.when(~is_missing(pl.lit(text))).then(number(pl.lit(text)))).to_series().alias(name)
