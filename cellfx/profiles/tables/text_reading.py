"""Tables of text, csv and tsv, as parts whose columns are all text as it stands in the file.

Nothing is guessed: 007 stays 007, and 1E05 and 10E04 stay two plates. Features become numbers where they are used.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cellfx.files import table_files, text_tables
from cellfx.profiles.tables.joining import Part


def scan(files: Sequence[Path], tell: Callable[[str], None]) -> Iterator[Part]:
    """Files in order, those with the same names one after another as one part. Each file is read once to check it.

    Args:
        files: that ``files.table_files.check`` has passed.
        tell: is told of lines without any value, which are no rows.

    Raises:
        ValueError: what ``files.text_tables.find_fault`` finds.
    """
    blank: dict[Path, int] = {}
    for _, some in itertools.groupby(files, text_tables.read_names):
        alike = list(some)
        with table_files.told(alike):
            blank |= {file: text_tables.count_blank(file) for file in alike}
            rows = text_tables.scan_text(alike)
            schema = rows.collect_schema()
        if any(blank[file] for file in alike):
            rows = rows.filter(text_tables.has_value())
        yield Part(rows, schema, alike)
    if said := text_tables.counted(blank):
        tell(said)
