"""Tables beside a folder of images: which class each image has, and which images are to be used."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from cellfx.data.images.folder import nearest
from cellfx.files import table_files, text_tables

_logger = logging.getLogger(__name__)
_SHOWN = 3


class ClassTable(NamedTuple):
    """A table that tells classes.

    Attributes:
        path: CSV or Parquet.
        file: name of the column of paths relative to the folder of the images.
        object: name of the column of object numbers, used where there is no column of paths.
        class_name: name of the column of classes.
    """

    path: str | os.PathLike[str]
    file: str = "file"
    object: str = "object"
    class_name: str = "class"


def read_classes(
    table: ClassTable, files: Sequence[tuple[str, ...]], numbers: np.ndarray, root: Path, on_error: str
) -> list[str | None]:
    """Class of each object as the table says.

    Args:
        table: where and how to read.
        files: N objects, each the paths relative to ``root`` of one or more files; the table may name any of them.
        numbers: (N,) object numbers.
        root: the folder of the images.
        on_error: ``raise``, or ``skip`` to log objects without a row, whose class is None, and rows without an object.

    Raises:
        FileNotFoundError: no such table.
        ValueError: it cannot be read, lacks a column or a value, says two things of one object, names a path outside
            the folder or an object number that several objects have; or it does not fit the files.
    """
    frame = _read(table.path)
    by_file = table.file in frame.columns
    if not by_file and table.object not in frame.columns:
        raise ValueError(
            f"{table.path} lacks a column {table.file!r} or {table.object!r}; got {', '.join(frame.columns)}; expected "
            "one that tells the file or the object number; add it, or say what it is called"
        )
    if by_file:
        keys = [_inside(name, table.path) for name in _column(frame, table.file, table.path)]
        place = {file: row for row, group in enumerate(files) for file in group}
    else:
        keys = [_whole(value, table) for value in _column(frame, table.object, table.path)]
        place = _places_of_numbers(keys, files, numbers, table)
    found: list[str | None] = [None] * len(files)
    unused = []
    for key, name in zip(keys, _column(frame, table.class_name, table.path), strict=True):
        row = place.get(key)
        if row is None:
            unused.append(str(key))
        elif found[row] not in (None, name):
            raise ValueError(
                f"{table.path} says two things of {files[row][0]}: got the classes {found[row]} and {name}; expected "
                "one; correct the table"
            )
        else:
            found[row] = name
    _check_fit(
        [group[0] for group, name in zip(files, found, strict=True) if name is None], unused, table, root, on_error
    )
    return found


def read_kept(path: str | os.PathLike[str], files: Sequence[str], root: Path) -> np.ndarray:
    """Which files a list of kept images names.

    Args:
        path: CSV or Parquet with a column ``Metadata_File``.
        files: N paths relative to ``root``.
        root: the folder of the images; the list may also name files of it that are not among ``files``.

    Returns:
        (n,) int64, increasing, the rows of ``files`` that it names.

    Raises:
        FileNotFoundError: no such list.
        ValueError: it cannot be read, lacks the column, or names a file that the folder does not have.
    """
    names = {_inside(name, path) for name in _column(_read(path), "Metadata_File", path)}
    if absent := sorted(name for name in names - set(files) if not (root / name).is_file()):
        raise ValueError(
            f"{path} names images that {root} does not have: got {_count(absent, 'file')}; expected paths below that "
            "folder; make the list anew or change folder"
        )
    return np.array([row for row, file in enumerate(files) if file in names], np.int64)


def _read(path: str | os.PathLike[str]) -> Any:
    """The table as a polars.DataFrame; of text all columns are text, so that 007 stays what it is."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no table {path}; expected a CSV or Parquet file; check the path")
    try:
        return _frame(Path(path))
    except ValueError as error:
        raise ValueError(f"cannot read the table {path}: {error}") from error


def _frame(file: Path) -> Any:
    import polars as pl

    kind = text_tables.kind(file)
    if kind != ".parquet" and kind not in text_tables.SEPARATORS:
        raise ValueError(
            f"no kind of table: got the ending {kind!r}, expected .parquet, {', '.join(text_tables.SEPARATORS)}; save "
            "it as one of them"
        )
    with table_files.told([file]):
        table_files.check(file)
        if kind == ".parquet":
            return pl.read_parquet(file)
        blank = text_tables.count_blank(file)
        frame = text_tables.scan_text([file]).filter(text_tables.has_value()).collect()
    if blank:
        _logger.warning(text_tables.counted({file: blank}))
    return frame


def _column(frame: Any, name: str, path: str | os.PathLike[str]) -> list[str]:
    if name not in frame.columns:
        raise ValueError(
            f"{path} lacks the column {name!r}; {nearest(name, frame.columns)}; add it, or say what it is called"
        )
    values = frame[name].to_list()
    empty = [row for row, value in enumerate(values) if value is None or not str(value).strip()]
    if empty:
        raise ValueError(
            f"{path} has no {name!r} in {len(empty)} rows, the first is row {empty[0] + 1}; expected a value in each; "
            "add it or remove the row"
        )
    return [str(value).strip() for value in values]


def _inside(name: str, path: str | os.PathLike[str]) -> str:
    """The path of a file as the folder lists it."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(
            f"{path} names {name}; expected a path relative to the folder and inside it; correct the table"
        )
    return str(parts)


def _whole(value: str, table: ClassTable) -> int:
    match = re.fullmatch(r"([0-9]+)(\.0*)?", value)
    if match is None:
        raise ValueError(
            f"{table.path} has {value!r} in column {table.object!r}; expected the number of an object; correct it"
        )
    return int(match[1])


def _places_of_numbers(
    keys: Sequence[int], files: Sequence[tuple[str, ...]], numbers: np.ndarray, table: ClassTable
) -> dict[int, int]:
    """Row of each object by its number."""
    if numbers.dtype.kind not in "iu":
        row = next((row for row, text in enumerate(numbers.tolist()) if not text.isdecimal()), 0)
        raise ValueError(
            f"{table.path} tells objects by number, which not every file has: got '{numbers[row]}' of {files[row][0]}; "
            f"expected whole numbers; find them with a group Object of metadata_regex, or use a column {table.file!r}"
        )
    place: dict[int, int] = {}
    named = set(keys)
    for row, number in enumerate(numbers.tolist()):
        first = place.setdefault(number, row)
        if first != row and number in named:
            raise ValueError(
                f"{table.path} tells objects by number, but object {number} is both {files[first][0]} and "
                f"{files[row][0]}; expected different numbers; use a column {table.file!r}"
            )
    return place


def _check_fit(without_row: list[str], unused: list[str], table: ClassTable, root: Path, on_error: str) -> None:
    if not without_row and not unused:
        return
    problem = (
        f"{table.path} does not fit {root}: {_count(without_row, 'file')} without a row, {_count(unused, 'row')} "
        "without a file"
    )
    if on_error == "raise":
        raise ValueError(
            f"{problem}; expected a row for every file and a file for every row; complete them, or set on_error to "
            "'skip'"
        )
    _logger.warning("%s; left out", problem)


def _count(names: Sequence[str], what: str) -> str:
    shown = f" ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})" if names else ""
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}{shown}"
