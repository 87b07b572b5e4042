"""Tables as files that other programs left: what they are, and what is wrong with one that cannot be read.

``check`` looks at the beginning and the end of a file before anything is read. ``told`` turns what a library raises
later into one line that names the file, and for text the line in it.
"""

import contextlib
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
"""Endings of tables of text -> what stands between their columns."""
NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_LONGEST_NAMES = 1 << 24
_HEAD = 512
_OTHERS = {
    b"PK\x03\x04": "a zip file, such as an Excel workbook",
    b"PAR1": "Parquet",
    b"\x89HDF": "HDF5",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x28\xb5\x2f\xfd": "a file packed by zstandard",
    b"BZh": "a file packed by bzip2",
}
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)


def kind(path: Path) -> str:
    """The ending that tells how a file is read, in small letters; that of what is packed for ``.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def check(path: Path) -> None:
    """Looks whether a file may be what its name says: not empty, no pointer, no web page, whole, and text in UTF-8.

    Args:
        path: ends in a key of ``SEPARATORS``, perhaps packed as ``.gz``, or in ``.parquet``, or another ending, of
            which only the first bytes are looked at.

    Raises:
        ValueError: it cannot be; one line that says what it is instead and what to do.
        OSError: it is not there or must not be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise _empty(f"{path} with 0 bytes")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"a pointer of Git LFS instead of a table: got {path} of {path.stat().st_size} bytes, expected the table "
            "that it stands for; run git lfs pull in the clone, or download the file itself"
        )
    if re.match(rb"\s*<(!doctype|html|head|\?xml|error)", head, re.IGNORECASE):
        raise ValueError(
            f"a web page instead of a table: got {path}, which begins with {head.split()[0].decode('latin-1')!r}, "
            "expected a table; open it to see what the server said, and download it again"
        )
    if kind(path) in SEPARATORS:
        _check_text(path, SEPARATORS[kind(path)])
    elif kind(path) == ".parquet":
        _check_parquet(path, head)


@contextlib.contextmanager
def told(files: Sequence[Path]) -> Iterator[None]:
    """Says in one line what polars, h5py, zlib or sqlite3 could not read, and where.

    Args:
        files: that are read inside, all of one kind.

    Raises:
        ValueError: instead of their errors.
    """
    import sqlite3

    import polars as pl

    libraries = (pl.exceptions.PolarsError, pl.exceptions.PanicException, sqlite3.Error, *_DAMAGED)
    try:
        yield
    except libraries as error:
        raise _complaint(files, error) from error
    except OSError as error:
        if error.filename is not None or not files:
            raise
        raise _complaint(files, error) from error
    except (RuntimeError, KeyError, TypeError, IndexError) as error:
        if not files or kind(files[0]) not in (".h5ad", ".zarr"):
            raise
        raise _complaint(files, error) from error


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
                        f"between {NAMES[separator]} as in the line of names; correct the line, or put fields that "
                        "contain the separator in quotation marks"
                    )
    except _DAMAGED as error:
        return _cut(path, error)
    except UnicodeDecodeError as error:
        return (
            f"text that is not UTF-8: got the byte 0x{error.object[error.start]:02x} in line {line + 1} of {path}, "
            "expected UTF-8; save it again as 'CSV UTF-8'"
        )
    except csv.Error as error:
        return (
            f"text that is no table: got {' '.join(str(error).split())} in line {line + 1} of {path}, expected fields "
            f"between {NAMES[separator]}; correct the line"
        )
    return None


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


def read_names(path: Path) -> list[str]:
    """The names of the columns of a table of text that ``check`` has passed."""
    with opened(path) as file:
        return _fields(file.readline(_LONGEST_NAMES), SEPARATORS[kind(path)])


def _fields(line: bytes, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(line.decode("utf-8-sig")), delimiter=separator), [])


def _check_text(path: Path, separator: str) -> None:
    try:
        with opened(path) as file:
            first, second = file.readline(_LONGEST_NAMES), file.readline(_LONGEST_NAMES)
    except _DAMAGED as error:
        raise ValueError(_cut(path, error)) from error
    if not first:
        raise _empty(f"nothing in {path}")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in first:
        raise ValueError(_no_text(path, first))
    for magic, what in _OTHERS.items():
        if first.startswith(magic):
            raise ValueError(
                f"{what} instead of text: got {path}, expected fields between {NAMES[separator]}; name it as what it "
                "is, or save it again as text"
            )
    try:
        names, row = _fields(first, separator), _fields(second, separator)
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(find_fault(path) or _no_text(path, first)) from None
    text = first.decode("utf-8-sig").strip()
    if wrong := _wrong_names(text, names, row, separator):
        raise ValueError(f"{path}: {wrong}")


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
    if "\r" in text:
        return "lines that end in a carriage return alone: got no line feed, expected one a line; save it again as CSV"
    others = [other for other in NAMES if other in text]
    if len(names) < 2 and others:
        found = max(others, key=text.count)
        ending = {",": "rename it to .csv, or ", "\t": "rename it to .tsv, or "}.get(found, "")
        return (
            f"columns that are separated by {NAMES[found]}: got {shown} in line 1, expected {NAMES[separator]} between "
            f"the columns and points in numbers; {ending}save it again so"
        )
    filled = [name for name in names if name.strip()]
    if len(filled) < len(names) / 2 and sum(map(bool, row)) > len(filled):
        return (
            f"a line above the names: got {shown} in line 1, which names {len(filled)} of {len(names)} columns, "
            "expected the names of the columns; delete the lines above them"
        )
    numbers = any(re.fullmatch(r"\s*[-+]?(\d|\.\d).*", field) for field in row)
    pairs = set(zip(names, row, strict=False))
    if len(names) == len(row) == len(pairs) and len(set(filled)) <= len(filled) / 2 and not numbers:
        return (
            f"two lines of names: got {shown} in line 1, each name several times, and {', '.join(row[:3])!r} ... in "
            "line 2, expected one; join them to one line of names, such as Cells_AreaShape_Area"
        )
    return None


def _check_parquet(path: Path, head: bytes) -> None:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 4, 0))
        tail = file.read(4)
    if head[:4] != b"PAR1":
        raise ValueError(
            f"no Parquet: got {path}, which begins with {head[:12]!r}, expected b'PAR1'; name it as what it is, or "
            "write it again"
        )
    if tail != b"PAR1":
        raise ValueError(
            f"Parquet without its end: got {path} of {path.stat().st_size:,} bytes that do not end in b'PAR1'; the "
            "download or the program that wrote it was stopped: download or write it again"
        )


def _complaint(files: Iterable[Path], error: BaseException) -> ValueError:
    """One line for what a library raised, with the file that is at fault."""
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    files = list(files)
    for file in files:
        if kind(file) in SEPARATORS:
            fault = find_fault(file)
        else:
            fault = None if len(files) > 1 and not _fails(file) else _unreadable(file, reason)
        if fault:
            return ValueError(fault)
    return ValueError(_unreadable(files[0] if files else Path(), reason))


def _unreadable(file: Path, reason: str) -> str:
    return (
        f"a table that cannot be read: got {file} ({reason}), expected a whole {kind(file)}; it may be damaged: "
        "download or write it again"
    )


def _fails(file: Path) -> bool:
    """Whether reading all of a file of Parquet fails."""
    import polars as pl

    if kind(file) != ".parquet":
        return True
    try:
        pl.scan_parquet(file, glob=False).select(pl.all().null_count()).collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return True
    return False


def _empty(got: str) -> ValueError:
    return ValueError(f"an empty table: got {got}, expected a line of names and rows; write it again, or leave it out")


def _cut(path: Path, error: BaseException) -> str:
    return (
        f"a packed file that is cut or damaged: got {path} of {os.path.getsize(path):,} bytes "
        f"({' '.join(str(error).split())}), expected all of it; download it again"
    )


def _no_text(path: Path, head: bytes) -> str:
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[1:8:2] in (b"\0\0\0\0", b"\0" * 3)
    what = "text in UTF-16, Excel's 'Unicode text'" if utf16 else "bytes that are no text"
    return f"{what}: got {path}, which begins with {head[:8]!r}, expected text in UTF-8; save it again as 'CSV UTF-8'"
