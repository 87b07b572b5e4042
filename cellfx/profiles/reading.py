"""Tables of features as labs keep them: Parquet, csv and tsv, AnnData, DeepProfiler's folders; lazily where possible.

Parquet and csv are scanned: nothing is read before it is needed, and only the columns that are. AnnData and what
DeepProfiler wrote are read whole. Nothing is ever unpickled.
"""

import glob
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from cellfx.profiles.anndata_reading import read_h5ad, read_zarr
from cellfx.profiles.deep_profiler import read_tree
from cellfx.profiles.table import METADATA, Profiles, from_frame

_ROWS_TO_GUESS_TYPES = 10_000
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read(path: Path | str, features: str | None = None) -> Profiles:
    """Reads a whole table.

    Args:
        path: see ``scan``.
        features: regular expression that names the features, see ``table.from_frame``.

    Raises:
        ValueError, OSError: see ``scan`` and ``table.from_frame``.
    """
    return from_frame(_open(path, None).collect(), features)


def scan(path: Path | str) -> pl.LazyFrame:
    """A table that is read when it is needed.

    Args:
        path: a file; a glob of files of one kind; or a folder: one that ends in ``.zarr``, one of Parquet or csv files
            (at any depth; of Parquet, folders named ``column=value`` are columns of text), or one of DeepProfiler's
            ``.npz``. Files end in ``.parquet``, ``.csv``, ``.csv.gz``, ``.tsv``, ``.tsv.gz`` or ``.h5ad``.

    Returns:
        Columns ``Metadata_*`` and others. Features in csv files are Float64 unless there is text in the first 10,000
        rows, and must not have any further down.

    Raises:
        ValueError: files of no known kind or of several, a file of no bytes, or one that is not what its name says.
        FileNotFoundError: nothing is there.
    """
    return _open(path, _ROWS_TO_GUESS_TYPES)


def _open(path: Path | str, rows_to_guess: int | None) -> pl.LazyFrame:
    files, kind = _find(path)
    if kind not in _WHOLE:
        _check_not_empty(files)
    if kind == ".parquet":
        return _scan_parquet(files, Path(path))
    if kind in _SEPARATORS:
        return _scan_text(files, _SEPARATORS[kind], rows_to_guess)
    return _WHOLE[kind](Path(path)).lazy()


def _scan_parquet(files: Sequence[Path], below: Path) -> pl.LazyFrame:
    """Files, with columns that folders below the one that was named stand for.

    Not by Polars, which would take folders above it too, and turn plate 007 into 7.
    """
    parts = []
    for folder, members in itertools.groupby(files, lambda file: file.parent):
        named = folder.relative_to(below).parts if below.is_dir() else ()
        columns = dict(part.split("=", 1) for part in named if "=" in part)
        values = {name: None if value == _NULL_FOLDER else unquote(value) for name, value in columns.items()}
        literals = [pl.lit(value, dtype=pl.String).alias(name) for name, value in values.items()]
        parts.append(pl.scan_parquet(list(members), hive_partitioning=False, glob=False).with_columns(literals))
    return pl.concat(parts)


def _scan_text(files: Sequence[Path], separator: str, rows_to_guess: int | None) -> pl.LazyFrame:
    def scan(**types: pl.DataType) -> pl.LazyFrame:
        return pl.scan_csv(
            files, separator=separator, infer_schema_length=rows_to_guess, schema_overrides=types, glob=False
        )

    # A feature whose first values happen to be whole is not one of whole numbers.
    try:
        schema = scan().collect_schema()
    except pl.exceptions.NoDataError as error:
        raise _empty(f"nothing in {files[0]}") from error
    whole = {name: pl.Float64() for name, kind in schema.items() if kind.is_integer() and not name.startswith(METADATA)}
    return scan(**whole)


_WHOLE: dict[str, Callable[[Path], pl.DataFrame]] = {".h5ad": read_h5ad, ".zarr": read_zarr, ".npz": read_tree}
_KINDS = (".parquet", *_SEPARATORS, *_WHOLE)


def _find(path: Path | str) -> tuple[list[Path], str]:
    """The files of a table in the order of their names, and their kind."""
    path = Path(path)
    if path.is_dir() and path.suffix != ".zarr":
        files = [
            file for file in sorted(path.rglob("*")) if file.is_file() and _kind(file) and file.name[0] not in "._"
        ]
    else:
        files = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    if not files:
        raise FileNotFoundError(
            f"no table: got {path}, where there is {'no known kind of file' if path.is_dir() else 'nothing'}, "
            f"expected files that end in {', '.join(_KINDS)}; correct the path"
        )
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1 or not kinds[0]:
        raise ValueError(
            f"not one kind of table: got {path}, with files like {files[0].name!r} and {files[-1].name!r}, expected "
            f"all to end in one of {', '.join(_KINDS)}; name one kind, for instance with a glob like *.parquet"
        )
    if kinds[0] in (".h5ad", ".zarr") and files != [path]:
        raise ValueError(
            f"AnnData is read one file at a time: got {path}, with {len(files)} of them, expected one; name one file"
        )
    if kinds[0] == ".npz" and not path.is_dir():
        raise ValueError(
            f"DeepProfiler's files are read by the folder: got {path}, expected the folder that holds the plates, "
            "whose names are known by their paths; name the folder"
        )
    return files, kinds[0]


def _check_not_empty(files: Sequence[Path]) -> None:
    for file in files:
        if not file.stat().st_size:
            raise _empty(f"{file} with 0 bytes")


def _empty(got: str) -> ValueError:
    return ValueError(f"an empty table: got {got}, expected a line of names and rows; write it again, or leave it out")


def _kind(path: Path) -> str:
    if path.suffix == ".gz":
        return inner if (inner := Path(path.stem).suffix) in _SEPARATORS else ""
    return path.suffix if path.suffix in _KINDS else ""
