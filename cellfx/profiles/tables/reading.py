"""Tables of features as labs keep them: Parquet, csv and tsv, AnnData, DeepProfiler's folders; lazily where possible.

Parquet and text are scanned: nothing is held, and only what is needed is read. AnnData and what DeepProfiler wrote are
read whole. Nothing is ever unpickled. Metadata of text and of folders named ``column=value`` are text as it stands
there; other files say themselves what is a number. Several tables are joined by the names of their columns.
"""

import contextlib
import glob
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from cellfx.checks import UserError
from cellfx.files import table_files, text_tables
from cellfx.profiles.tables import sqlite_reading, text_reading
from cellfx.profiles.tables.anndata_reading import read_h5ad, read_zarr
from cellfx.profiles.tables.column_names import features_of, renamed
from cellfx.profiles.tables.column_names import split as split_values
from cellfx.profiles.tables.deep_profiler import read_tree
from cellfx.profiles.tables.joining import Part, join
from cellfx.profiles.tables.table import Profiles, few, from_frame, split_columns

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_tell = logging.getLogger(__name__).warning


def read(
    path: Path | str,
    features: str | None = None,
    tell: Callable[[str], None] = _tell,
    convention: str | None = None,
    split: Mapping[str, str] | None = None,
) -> Profiles:
    """Reads a whole table.

    Args:
        path: see ``scan``.
        features: regular expression that names the features, see ``table.from_frame``.
        tell: see ``scan``.
        convention: see ``scan``.
        split: see ``scan``.

    Raises:
        ValueError, OSError: see ``scan`` and ``table.from_frame``.
    """
    lazy, features = scan(path, features, tell, convention, split), features_of(features, convention)
    with told(path):
        schema = lazy.collect_schema()
        text = [name for name in split_columns(schema.names(), features)[0] if schema[name] == pl.String]
        try:
            frame = lazy.with_columns(pl.col(text).cast(pl.Float64)).collect()
        except pl.exceptions.InvalidOperationError:  # words for missing values among the numbers, or other text
            frame = lazy.collect()
    return from_frame(frame, features)


def scan(
    path: Path | str,
    features: str | None = None,
    tell: Callable[[str], None] = _tell,
    convention: str | None = None,
    split: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """A table that is read when it is needed, under ``told``.

    Args:
        path: a file; a glob of files of one kind; or a folder: one that ends in ``.zarr``, one of Parquet files or of
            text (at any depth; folders named ``column=value`` are columns of text), or one of DeepProfiler's ``.npz``.
            Files end in ``.parquet``, ``.csv``, ``.tsv``, ``.txt``, which is read as ``.tsv``, each of these perhaps
            packed as ``.gz``, in ``.h5ad``, or in ``.sqlite``, ``.sqlite3`` or ``.db``, see ``sqlite_reading``. In a
            folder, ``.txt`` counts only where nothing else is.
        features: regular expression that names the features, which tables are joined by; see ``table.from_frame``.
        tell: is told in a line what was left out, not read or is missing in some of the tables.
        convention: "cellprofiler": features are columns that begin with ``Cells_``, ``Cytoplasm_`` or ``Nuclei_``,
            unless ``features`` says otherwise, and ``Image_Metadata_X`` is read as ``Metadata_X``.
        split: {column: regular expression}, whose named groups become columns, see ``column_names.split``.

    Returns:
        Columns ``Metadata_*`` and others; of text files all are text, see ``table.from_frame`` for features.

    Raises:
        ValueError: files of no known kind or of several, one that is not what its name says, or tables without a
            feature in common.
        FileNotFoundError: nothing is there.
    """
    features = features_of(features, convention)
    files, kind = _find(path)
    if others := _others(Path(path), files):
        tell(f"not read: {len(others):,} of {len(others) + len(files):,} files below {path}: {few(others)}")
    for file in files:
        if file.is_file():
            table_files.check(file)
    with table_files.told(files):
        if kind in _WHOLE:
            whole = _WHOLE[kind](Path(path)).lazy()
            parts = [Part(whole, whole.collect_schema(), files)]
        else:
            parts = list(_parts(files, kind, Path(path), tell))
        lazy = join([renamed(part) for part in parts] if convention else parts, features, tell)
        return split_values(lazy, split, tell) if split else lazy


def told(path: Path | str) -> contextlib.AbstractContextManager[None]:
    """Says in one line what could not be read of a table that ``scan`` has found; see ``files.table_files.told``."""
    return table_files.told(_find(path)[0])


def _parts(files: Sequence[Path], kind: str, below: Path, tell: Callable[[str], None]) -> Iterator[Part]:
    """Files with the same columns one after another, with columns that folders below the one that was named stand for.

    Not by Polars, which would take folders above it too, and turn plate 007 into 7.
    """
    for folder, some in itertools.groupby(files, lambda file: file.parent):
        members = list(some)
        named = folder.relative_to(below).parts if below.is_dir() else ()
        columns = dict(part.split("=", 1) for part in named if "=" in part)
        values = {name: None if value == _NULL_FOLDER else unquote(value) for name, value in columns.items()}
        literals = [pl.lit(value, dtype=pl.String).alias(name) for name, value in values.items()]
        for part in _scan(members, kind, tell):
            schema = {**part.schema, **dict.fromkeys(values, pl.String())}
            yield Part(part.rows.with_columns(literals), schema, part.files)


def _scan(files: Sequence[Path], kind: str, tell: Callable[[str], None]) -> Iterable[Part]:
    if kind == ".parquet":
        return _scan_parquet(files)
    if kind in sqlite_reading.ENDINGS:
        return [sqlite_reading.scan(file, tell) for file in files]
    return text_reading.scan(files, tell)


def _scan_parquet(files: Iterable[Path]) -> Iterator[Part]:
    def schema_of(file: Path) -> list[tuple[str, pl.DataType]]:
        with table_files.told([file]):
            return list(pl.read_parquet_schema(file).items())

    for schema, some in itertools.groupby(files, schema_of):
        alike = list(some)
        yield Part(pl.scan_parquet(alike, hive_partitioning=False, glob=False), dict(schema), alike)


_WHOLE: dict[str, Callable[[Path], pl.DataFrame]] = {".h5ad": read_h5ad, ".zarr": read_zarr, ".npz": read_tree}
_KINDS = (".parquet", *text_tables.SEPARATORS, *sqlite_reading.ENDINGS, *_WHOLE)


def _find(path: Path | str) -> tuple[list[Path], str]:
    """The files of a table in the order of their names, and their kind."""
    path = Path(path)
    if path.is_dir() and path.suffix != ".zarr":
        files = [
            file for file in sorted(path.rglob("*")) if file.is_file() and _kind(file) and file.name[0] not in "._"
        ]
        if {_kind(file) for file in files} != {".txt"}:  # beside tables it is a text to read
            files = [file for file in files if _kind(file) != ".txt"]
    else:
        files = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    if not files:
        raise FileNotFoundError(
            f"no table: got {path}, where there is {'no known kind of file' if path.is_dir() else 'nothing'}, "
            f"expected files that end in {', '.join(_KINDS)}; correct the path"
        )
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1 or not kinds[0]:
        raise UserError(
            f"not one kind of table: got {path}, with files like {files[0].name!r} and {files[-1].name!r}, expected "
            f"all to end in one of {', '.join(_KINDS)}; name one kind, for instance with a glob like *.parquet"
        )
    if kinds[0] in (".h5ad", ".zarr") and files != [path]:
        raise UserError(
            f"AnnData is read one file at a time: got {path}, with {len(files)} of them, expected one; name one file"
        )
    if kinds[0] == ".npz" and not path.is_dir():
        raise UserError(
            f"DeepProfiler's files are read by the folder: got {path}, expected the folder that holds the plates, "
            "whose names are known by their paths; name the folder"
        )
    return files, kinds[0]


def _others(path: Path, files: Sequence[Path]) -> list[str]:
    """Files of a folder that are no part of its table."""
    if not path.is_dir() or path.suffix == ".zarr":
        return []
    known = set(files)
    there = sorted(file for file in path.rglob("*") if file.is_file() and file.name[0] not in "._")
    return [str(file.relative_to(path)) for file in there if file not in known]


def _kind(path: Path) -> str:
    kind = text_tables.kind(path)
    packed = path.suffix.lower() == ".gz"
    return kind if kind in (text_tables.SEPARATORS if packed else _KINDS) else ""
