"""Tables of text, csv and tsv, as other programs write them: which dialect it is, and what is wrong with a line.

All columns are read as text: nothing is guessed.
"""

import contextlib
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cellfx.checks import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
"""Endings of tables of text -> what stands between their columns."""
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
"""What unpacking raises."""
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_LONGEST_NAMES = 1 << 24
_OTHERS = {
    b"PK\x03\x04": "a zip file, such as an Excel workbook",
    b"PAR1": "Parquet",
    b"\x89HDF": "HDF5",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x28\xb5\x2f\xfd": "a file packed by zstandard",
    b"BZh": "a file packed by bzip2",
}


def kind(path: Path) -> str:
    """The ending that tells how a file is read, in small letters; that of what is packed for ``.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def read_names(path: Path) -> list[str]:
    """The names of the columns of a table of text that ``check`` has passed."""
    with opened(path) as file:
        return _fields(file.readline(_LONGEST_NAMES), SEPARATORS[kind(path)])


def check(path: Path) -> None:
    """Looks at the first two lines, whether they may be text in UTF-8 and the names of columns.

    Raises:
        ValueError: they cannot be; one line that says what is there and what to do.
    """
    separator = SEPARATORS[kind(path)]
    try:
        with opened(path) as file:
            first, second = file.readline(_LONGEST_NAMES), file.readline(_LONGEST_NAMES)
    except DAMAGED as error:
        raise UserError(_cut(path, error)) from error
    if not first:
        raise empty(f"nothing in {path}")
    if not first.strip():
        raise UserError(f"an empty line above the names: got {path}, expected names in line 1; delete the line")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in first:
        raise UserError(_no_text(path, first))
    if b"\r" in first.strip():
        raise UserError(
            f"lines that end in a carriage return alone: got {path}, expected a line feed behind each; save it again"
        )
    for magic, what in _OTHERS.items():
        if first.startswith(magic):
            raise UserError(
                f"{what} instead of text: got {path}, expected fields between {_NAMES[separator]}; name it as what it "
                "is, or save it again as text"
            )
    try:
        names, row = _fields(first, separator), _fields(second, separator)
    except (UnicodeDecodeError, csv.Error):
        raise UserError(find_fault(path) or _no_text(path, first)) from None
    text = first.decode("utf-8-sig").strip()
    if wrong := _wrong_names(text, names, row, separator):
        raise UserError(f"{path}: {wrong}")


def find_fault(path: Path) -> str | None:
    """Reads a table of text to its end and says the first thing that is wrong with it; None: nothing is.

    A line without any field is nothing wrong, nor is one with nothing in its fields.
    """
    separator = SEPARATORS[kind(path)]
    line = 0
    try:
        with opened(path) as file:
            width = 0
            reader = csv.reader(_decoded(file), delimiter=separator)
            for row in reader:
                first, line = line + 1, reader.line_num
                width = width or len(row)
                if len(row) != width and row:
                    if line - first > 1:
                        return (
                            f"a quotation mark that is not closed where it should be: got lines {first} to {line} of "
                            f"{path} as one row; write quotation marks inside of a field twice"
                        )
                    return (
                        f"rows of different lengths: got {len(row)} fields in line {line} of {path}, expected {width} "
                        f"between {_NAMES[separator]} as in the line of names; correct the line, or put fields that "
                        "contain the separator in quotation marks"
                    )
    except DAMAGED as error:
        return _cut(path, error)
    except UnicodeDecodeError as error:
        return (
            f"text that is not UTF-8: got the byte 0x{error.object[error.start]:02x} in line {line + 1} of {path}, "
            "expected UTF-8; save it again as 'CSV UTF-8'"
        )
    except csv.Error as error:
        return (
            f"text that is no table: got {' '.join(str(error).split())} in line {line + 1} of {path}, expected fields "
            f"between {_NAMES[separator]}; correct the line"
        )
    return None


def scan_text(files: Sequence[Path]) -> Any:
    """Tables of text with the same names as a polars.LazyFrame, in which all columns are text."""
    import polars as pl

    return pl.scan_csv(files, separator=SEPARATORS[kind(files[0])], infer_schema=False, glob=False)


def has_value() -> Any:
    """A polars.Expr: whether a row has a value in any column. A line without one is no row."""
    import polars as pl

    return ~pl.all_horizontal(_is_empty(pl.all()))


def _is_empty(column: Any) -> Any:
    return column.is_null() | (column == "")


def count_blank(path: Path) -> int:
    """Lines of a table of text without any value; reads it once.

    Raises:
        ValueError: a row that is too short, whose missing fields Polars makes missing values.
    """
    import polars as pl

    rows = scan_text([path])
    *_, last = rows.collect_schema()
    ends = rows.select(_is_empty(pl.col(last)).sum()).collect(engine="streaming").item()
    if not ends:
        return 0
    blank = rows.select((~has_value()).sum()).collect(engine="streaming").item()
    if ends > blank and (fault := find_fault(path)):
        raise UserError(fault)
    return blank


def counted(blank: Mapping[Path, int]) -> str | None:
    """What to say of lines without any value, file by file; None where there is none."""
    total, where = sum(blank.values()), [file.name for file, count in blank.items() if count]
    lines = "1 line without any value" if total == 1 else f"{total:,} lines without any value"
    return f"left out: {lines}, in {', '.join(where[:2])}{' ...' if where[2:] else ''}" if total else None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if it is packed by gzip, whatever it is called."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if packed else file


def _decoded(file: BinaryIO) -> Iterator[str]:
    """Lines, each decoded by itself, so that an error has the line of what was read last."""
    for number, line in enumerate(file):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8")


def _fields(line: bytes, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(line.decode("utf-8-sig")), delimiter=separator), [])


def _wrong_names(text: str, names: list[str], row: list[str], separator: str) -> str | None:
    """What is wrong with the first line of a table, whose fields are the names; None: nothing."""
    shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
    if text.startswith("#"):
        return (
            f"a comment above the names: got {shown} in line 1, expected the names of the columns; delete the lines "
            "above them, or the '#' before them"
        )
    if re.fullmatch('"?sep=.?"?', text, re.IGNORECASE):
        return f"a line for Excel above the names: got {shown} in line 1, expected the names of the columns; delete it"
    others = [other for other in _NAMES if other in text]
    if len(names) < 2 and others:
        found = max(others, key=text.count)
        ending = {",": "rename it to .csv, or ", "\t": "rename it to .tsv, or "}.get(found, "")
        return (
            f"columns that are separated by {_NAMES[found]}: got {shown} in line 1, expected {_NAMES[separator]} "
            f"between the columns and points in numbers; {ending}save it again so"
        )
    filled = [name for name in names if name.strip()]
    if len(filled) < len(names) / 2 and sum(map(bool, row)) > len(filled):
        return (
            f"a line above the names: got {shown} in line 1, which names {len(filled)} of {len(names)} columns, "
            "expected the names of the columns; delete the lines above them"
        )
    numbers = any(re.fullmatch(r"\s*[-+]?(\d|\.\d).*", field) for field in row)
    pairs = set(zip(names, row, strict=False))
    if len(names) == len(row) == len(pairs) and len(set(filled)) <= 0.75 * len(filled) and not numbers:
        return (
            f"two lines of names: got {shown} in line 1, each name several times, and {', '.join(row[:3])!r} ... in "
            "line 2, expected one; join them to one line of names, such as Cells_AreaShape_Area"
        )
    return None


def _cut(path: Path, error: BaseException) -> str:
    return (
        f"a packed file that is cut or damaged: got {path} of {os.path.getsize(path):,} bytes "
        f"({' '.join(str(error).split())}), expected all of it; download it again"
    )


def _no_text(path: Path, head: bytes) -> str:
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[1:8:2] in (b"\0\0\0\0", b"\0" * 3)
    what = "text in UTF-16, Excel's 'Unicode text'" if utf16 else "bytes that are no text"
    return f"{what}: got {path}, which begins with {head[:8]!r}, expected text in UTF-8; save it again as 'CSV UTF-8'"


def empty(got: str) -> ValueError:
    """What to say of a table without anything in it."""
    return UserError(f"an empty table: got {got}, expected a line of names and rows; write it again, or leave it out")
