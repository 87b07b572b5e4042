"""Many rows to one: cells to sites, wells or plates, by medians or means, with counts; also of tables that do not fit.

Missing values are ignored; a feature that is missing in a whole group is missing of it. Infinite ones are values: a
median may pass them by, a mean does not. The rows of the result are sorted by what they are grouped by, missing values
last.

A table in memory is grouped at once. A lazy one is read in parts with Polars' streaming engine: means stream, medians
need all values of a group, so that as many features (or, where one feature alone is too much, groups) are taken at a
time as a budget allows and the file is read once for each such part. Memory then does not grow with the table, only
with the number of groups and with the largest of them: 3 million rows of 64 features, wells of 200, took .5 GiB in all
both ways, as much as 1 million did (tests/peers/aggregate_memory.py).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import METADATA, Profiles, from_frame, split_columns, to_frame
from cellfx.profiles.tables.text_values import no_number, number, text_in_feature

COUNT = f"{METADATA}Cell_Count"
"""How many cells a row stands for."""
METHODS = ("median", "mean")
WELL = (plate_identity.PLATE, plate_identity.WELL)
_BYTES_PER_VALUE = 24
"""Held while medians of a part are made, measured: a value, its group and their copies in order."""
_CODE, _ROWS = "code", "rows"
"""Columns that no column of metadata or feature can be taken for: they are never in one table with the features."""


def aggregate(profiles: Profiles, by: Sequence[str] | None = None, method: str = "median") -> Profiles:
    """One row for all rows that agree in some metadata.

    Equal to pycytominer 1.7.1, which counts only if asked to.

    Args:
        profiles: N rows.
        by: metadata columns, kept by the result; others are not, so name here what belongs to a row. Missing values
            agree with each other. None: ``WELL``, within ``Metadata_Batch`` where there is such a column.
        method: "median" or "mean".

    Returns:
        G rows with the columns of ``by`` and ``Metadata_Cell_Count``: the number of rows, or where they have such
        counts themselves, their sum.

    Raises:
        ValueError: an unknown method or column.
    """
    by = _by(by, profiles.metadata.columns)
    _check(by, method, profiles.metadata.columns)
    frame = to_frame(profiles)
    wanted = [_pooled(pl.col(name).fill_nan(None), method) for name in profiles.names]
    pooled = frame.group_by(by).agg(_count(frame.schema), *wanted).sort(by, nulls_last=True)
    return from_frame(pooled)


def aggregate_lazily(
    lazy: pl.LazyFrame,
    by: Sequence[str] | None = None,
    method: str = "median",
    features: str | None = None,
    budget_bytes: int = 512 << 20,
) -> Profiles:
    """The same of a table that need not fit into memory, for instance ``reading.scan`` of single cells.

    Args:
        lazy: rows with metadata and features, see ``table.from_frame``.
        by: see ``aggregate``.
        method: "median" or "mean".
        features: regular expression that names the features, see ``table.from_frame``.
        budget_bytes: memory for the values of which medians are made at a time. More makes fewer passes over the file.

    Returns:
        As ``aggregate``.

    Raises:
        ValueError: an unknown method or column, no feature, text in a feature column, or no budget.
    """
    schema = lazy.collect_schema()
    chosen, others = split_columns(schema.names(), features)
    lazy = lazy.rename({old: new for old, new in others.items() if old != new})
    by = _by(by, list(others.values()))
    _check(by, method, list(others.values()))
    if budget_bytes < _BYTES_PER_VALUE:
        raise UserError(
            f"no memory to work with: got budget_bytes={budget_bytes}, expected {_BYTES_PER_VALUE} or more, better "
            "some millions; raise budget_bytes"
        )
    types = {name: schema[name] for name in chosen}
    for name, kind in types.items():
        if not (_is_text(kind) or kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
            raise text_in_feature(name, _first(lazy, name))
    try:
        return _aggregated(lazy, by, method, {name: _value(name, kind) for name, kind in types.items()}, budget_bytes)
    except pl.exceptions.InvalidOperationError:
        text = [name for name, kind in types.items() if _is_text(kind)]
        _check_text(lazy, text)  # words for missing values among the numbers, or other text
        values = {name: _value(name, kind, strict=False) for name, kind in types.items()}
        return _aggregated(lazy, by, method, values, budget_bytes)


def _aggregated(
    lazy: pl.LazyFrame, by: Sequence[str], method: str, values: Mapping[str, pl.Expr], budget_bytes: int
) -> Profiles:
    count = _count(lazy.collect_schema())
    counted = lazy.group_by(by).agg(count, pl.len().alias(_ROWS)).collect(engine="streaming")
    counted = counted.sort(by, nulls_last=True)
    keys = counted.select(*by, pl.int_range(pl.len(), dtype=pl.UInt32).alias(_CODE))
    columns: dict[str, list[pl.DataFrame]] = {}
    for some, rows in _parts(list(values), counted[_ROWS].to_list(), method, budget_bytes):
        part = lazy.select(*by, *(values[name] for name in some))
        part = part.join(keys[rows].lazy(), on=by, nulls_equal=True).drop(by).group_by(_CODE)
        pooled = part.agg(_pooled(pl.col(name), method) for name in some).collect(engine="streaming").sort(_CODE)
        columns.setdefault(some[0], []).append(pooled.drop(_CODE))
    parts = [pl.concat(frames) for frames in columns.values()]
    return from_frame(pl.concat([counted.drop(_ROWS), *parts], how="horizontal"))


def _parts(
    names: Sequence[str], rows: Sequence[int], method: str, budget_bytes: int
) -> Iterator[tuple[list[str], slice]]:
    """Features and groups to take at a time, the groups of one choice of features in order and all of them.

    Args:
        names: of the features.
        rows: of each group.
        method: means need no more than one part.
        budget_bytes: see ``aggregate_lazily``.
    """
    affordable = budget_bytes // _BYTES_PER_VALUE
    if method == "mean" or sum(rows) * len(names) <= affordable:
        yield list(names), slice(0, len(rows))
        return
    width = max(affordable // sum(rows), 1)
    ends, held = [], 0
    for group, count in enumerate(rows):
        if held and held + count > affordable:
            ends.append(group)
            held = 0
        held += count
    bounds = [0, *ends, len(rows)]
    for first in range(0, len(names), width):
        for start, stop in itertools.pairwise(bounds):
            yield list(names[first : first + width]), slice(start, stop)


def _count(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    if COUNT not in schema:
        return pl.len().cast(pl.Int64).alias(COUNT)
    return (number(pl.col(COUNT)).cast(pl.Int64) if _is_text(schema[COUNT]) else pl.col(COUNT)).sum().alias(COUNT)


def _pooled(values: pl.Expr, method: str) -> pl.Expr:
    return values.median() if method == "median" else values.mean()


def _is_text(kind: pl.DataType) -> bool:
    return kind in (pl.String, pl.Categorical, pl.Enum)


def _value(name: str, kind: pl.DataType, strict: bool = True) -> pl.Expr:
    """A feature as Float64 with NaN as null; of text that is no number an InvalidOperationError, or null."""
    column = pl.col(name)
    if _is_text(kind):
        text = column.cast(pl.String)
        return (text.cast(pl.Float64) if strict else number(text)).fill_nan(None)
    return column.cast(pl.Float64).fill_nan(None)


def _first(lazy: pl.LazyFrame, name: str) -> object:
    return lazy.select(name).head(1).collect(engine="streaming")[name].first()


def _check_text(lazy: pl.LazyFrame, names: Sequence[str]) -> None:
    """Raises a ValueError for text among the numbers of a feature that is no word for a missing value."""
    bad = {name: no_number(pl.col(name).cast(pl.String)) for name in names}
    found = lazy.select(column.any().alias(name) for name, column in bad.items()).collect(engine="streaming")
    for name in names:
        if found[name][0]:
            raise text_in_feature(name, _first(lazy.filter(bad[name]), name))


def _by(by: Sequence[str] | None, columns: Sequence[str]) -> Sequence[str]:
    return (*plate_identity.usual(columns), plate_identity.WELL) if by is None else by


def _check(by: Sequence[str], method: str, columns: Sequence[str]) -> None:
    if method not in METHODS:
        raise UserError(f"unknown method: got {method!r}, expected one of {', '.join(METHODS)}; choose one of them")
    if not by or isinstance(by, str):
        raise UserError(
            f"nothing to group by: got {by!r}, expected a list of one metadata column or more; name them, for instance "
            f"{WELL}"
        )
    unknown = [name for name in by if name not in columns or name == COUNT]
    if unknown:
        raise UserError(
            f"cannot group by {unknown[0]!r}: got the metadata {', '.join(columns[:8])}, expected it to be there and "
            "to be no count; correct the name, or annotate the profiles first"
        )
