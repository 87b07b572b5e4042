"""Tables of one screen put below each other by the names of their columns, whatever their order and types.

One table a plate is what pycytominer, CytoTable and JUMP leave. Their columns differ: features were selected plate by
plate, a column of whole numbers or without any value has another type, a plate is a number in one and text in another.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.table import few, is_feature
from cellfx.profiles.tables.text_values import as_text


class Part(NamedTuple):
    """Rows with the same columns of the same types.

    Attributes:
        rows: read when they are needed.
        schema: of the rows.
        files: that they come from, in order.
    """

    rows: pl.LazyFrame
    schema: Mapping[str, pl.DataType]
    files: Sequence[Path]


def join(parts: Sequence[Part], features: str | None, tell: Callable[[str], None]) -> pl.LazyFrame:
    """All rows, in order, with the features that all parts have and the metadata that any has.

    Features of different types become Float64, or text where one of them is text. Metadata of different types become
    Float64 where all are numbers, else text, in which whole numbers have no point. What a part lacks of the metadata
    is missing in its rows.

    Args:
        parts: one or more.
        features: see ``table.from_frame``.
        tell: is told what is left out and what is missing.

    Raises:
        ValueError: no feature in common.
    """
    if len(parts) == 1:
        return parts[0].rows
    names = list(dict.fromkeys(name for part in parts for name in part.schema))
    lacking = {name: [part for part in parts if name not in part.schema] for name in names}
    dropped = [name for name in names if lacking[name] and is_feature(name, features)]
    kept = [name for name in names if name not in set(dropped)]
    if dropped:
        if not any(is_feature(name, features) for name in kept):
            raise UserError(
                f"tables without a feature in common: got {few(dropped)}, each missing in some, such as "
                f"{_lacks(dropped[0], lacking)}, expected the same features in all; read them one by one"
            )
        total = len(dropped) + sum(is_feature(name, features) for name in kept)
        tell(
            f"left out: {len(dropped):,} of {total:,} features, which not all tables have: {few(dropped)}; "
            f"{_lacks(dropped[0], lacking)}"
        )
    for name in kept:
        if lacking[name]:
            tell(f"{name} is not in all tables and empty where it is missing: {_lacks(name, lacking)}")
    schemas = [part.schema for part in parts]
    types = {
        name: _common([each[name] for each in schemas if name in each], is_feature(name, features)) for name in kept
    }
    rows = [part.rows.select(_cast(part, name, types[name], features) for name in kept) for part in parts]
    return pl.io.plugins.register_io_source(functools.partial(_one_after_another, rows), schema=types)


def _one_after_another(
    parts: Sequence[pl.LazyFrame],
    columns: list[str] | None,
    predicate: pl.Expr | None,
    num_rows: int | None,
    batch_size: int | None,
) -> Iterator[pl.DataFrame]:
    """Rows of each part behind those of the part before, by whom Polars reads from.

    Polars would read all parts of ``pl.concat`` at once, each with buffers of its own: memory grew with their number.
    """
    for part in parts:
        part = part if columns is None else part.select(columns)
        part = part if predicate is None else part.filter(predicate)
        part = part if num_rows is None else part.head(num_rows)
        for batch in part.collect_batches(maintain_order=True, engine="streaming"):
            yield batch
            num_rows = None if num_rows is None else num_rows - len(batch)
        if num_rows == 0:
            return


def _lacks(name: str, lacking: Mapping[str, Sequence[Part]]) -> str:
    files = [file.name for part in lacking[name] for file in part.files]
    return f"{few(files, 2)} {'lacks' if len(files) == 1 else 'lack'} {name!r}"


def _common(types: Sequence[pl.DataType], feature: bool) -> pl.DataType:
    """The type that a column gets in all parts."""
    known = list(dict.fromkeys(kind for kind in types if kind != pl.Null))
    if len(known) <= 1:
        kind = known[0] if known else pl.Null()
        return pl.String() if isinstance(kind, pl.Categorical | pl.Enum) else kind
    if all(kind.is_numeric() for kind in known):
        return pl.Float64() if feature or any(kind.is_float() for kind in known) else pl.Int64()
    if feature and all(kind.is_numeric() or kind == pl.Boolean for kind in known):
        return pl.Float64()
    return pl.String()


def _cast(part: Part, name: str, to: pl.DataType, features: str | None) -> pl.Expr:
    column, kind = pl.col(name), part.schema.get(name)
    if kind is None:
        return pl.lit(None, dtype=to).alias(name)
    if kind == to:
        return column
    if to == pl.String and is_feature(name, features) and (kind.is_numeric() or kind == pl.Boolean):
        return column.cast(pl.Float64).cast(pl.String)
    if to == pl.String:
        return as_text(column, kind).alias(name)
    return column.cast(to)
