"""Tables as files that other programs left: what is wrong with one that cannot be read, in one line.

``check`` looks at the beginning and the end of a file before anything is read. ``told`` turns what a library raises
later into one line that names the file, and for text the line in it.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cellfx.checks import UserError
from cellfx.files import text_tables
from cellfx.files.text_tables import SEPARATORS, kind

_HEAD = 512


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
        raise text_tables.empty(f"{path} with 0 bytes")
    if head.startswith(b"version https://git-lfs"):
        raise UserError(
            f"a pointer of Git LFS instead of a table: got {path} of {path.stat().st_size} bytes, expected the table "
            "that it stands for; run git lfs pull in the clone, or download the file itself"
        )
    if re.match(rb"\s*<(!doctype|html|head|\?xml|error)", head, re.IGNORECASE):
        raise UserError(
            f"a web page instead of a table: got {path}, which begins with {head.split()[0].decode('latin-1')!r}, "
            "expected a table; open it to see what the server said, and download it again"
        )
    if kind(path) in SEPARATORS:
        text_tables.check(path)
    elif kind(path) == ".parquet":
        _check_parquet(path, head)
    elif kind(path) in (".sqlite", ".sqlite3", ".db") and not head.startswith(b"SQLite format 3\0"):
        raise UserError(
            f"no SQLite: got {path}, which begins with {head[:12]!r}, expected b'SQLite format 3'; name it as what it "
            "is, or write it again"
        )


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

    libraries = (pl.exceptions.PolarsError, pl.exceptions.PanicException, sqlite3.Error, *text_tables.DAMAGED)
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


def _check_parquet(path: Path, head: bytes) -> None:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 4, 0))
        tail = file.read(4)
    if head[:4] != b"PAR1":
        raise UserError(
            f"no Parquet: got {path}, which begins with {head[:12]!r}, expected b'PAR1'; name it as what it is, or "
            "write it again"
        )
    if tail != b"PAR1":
        raise UserError(
            f"Parquet without its end: got {path} of {path.stat().st_size:,} bytes that do not end in b'PAR1'; the "
            "download or the program that wrote it was stopped: download or write it again"
        )


def _complaint(files: Iterable[Path], error: BaseException) -> ValueError:
    """One line for what a library raised, with the file that is at fault."""
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    files = list(files)
    for file in files:
        if kind(file) in SEPARATORS:
            fault = text_tables.find_fault(file)
        else:
            fault = None if len(files) > 1 and not _fails(file) else _unreadable(file, reason)
        if fault:
            return UserError(fault)
    return UserError(_unreadable(files[0] if files else Path(), reason))


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
