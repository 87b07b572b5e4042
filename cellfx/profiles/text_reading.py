"""Tables of text, csv and tsv, as parts whose columns are all text as it stands in the file.

Nothing is guessed: 007 stays 007, and 1E05 and 10E04 stay two plates. Features become numbers where they are used.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from cellfx import table_files
from cellfx.profiles.joining import Part


def scan(files: Sequence[Path], tell: Callable[[str], None]) -> Iterator[Part]:
    """Files in order, those with the same names one after another as one part. Each file is read once to check it.

    Args:
        files: that ``table_files.check`` has passed.
        tell: is told of lines without any value, which are no rows.

    Raises:
        ValueError: what ``table_files.find_fault`` finds.
    """
    blank = {}
    for _, some in itertools.groupby(files, table_files.read_names):
        alike = list(some)
        with table_files.told(alike):
            blank |= {file: _count_blank(file) for file in alike}
            rows = _scan(alike)
            schema = rows.collect_schema()
        if any(blank[file] for file in alike):
            rows = rows.filter(~pl.all_horizontal(pl.all().is_null()))
        yield Part(rows, schema, alike)
    if total := sum(blank.values()):
        where = [file.name for file, count in blank.items() if count]
        counted = (
            "1 line without any value is no row" if total == 1 else f"{total:,} lines without any value are no rows"
        )
        tell(f"{counted}: in {', '.join(where[:2])}{' ...' if where[2:] else ''}")


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    separator = table_files.SEPARATORS[table_files.kind(files[0])]
    return pl.scan_csv(files, separator=separator, infer_schema=False, glob=False)


def _count_blank(file: Path) -> int:
    """Lines without any value. Looks for rows that are too short, whose missing fields Polars makes missing values."""
    rows = _scan([file])
    *_, last = rows.collect_schema()
    nothing = pl.all_horizontal(pl.all().is_null()).sum()
    counts = rows.select(nothing.alias("blank"), pl.col(last).null_count().alias("ends")).collect(engine="streaming")
    blank, ends = counts.row(0)
    if ends > blank and (fault := table_files.find_fault(file)):
        raise ValueError(fault)
    return blank
