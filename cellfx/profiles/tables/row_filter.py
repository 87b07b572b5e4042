"""Which rows of a table take part: an SQL expression over its columns, as in WHERE, read by Polars, never run as code.

    table, count = keep("COALESCE(Metadata_Type, '') <> 'poscon' AND CAST(Metadata_Cells AS DOUBLE) > 50", table)

As in SQL, a row for which the expression is neither true nor false, because a value is missing, is left out. How many
these are is said too: ``Metadata_Type <> 'poscon'`` leaves out every row without a type.
"""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles, few, take

KEY = "rows.where"
"""What the config calls the expression."""


class Count(NamedTuple):
    """How many rows an expression leaves out.

    Attributes:
        total: rows that there were.
        left_out: of these.
        missing: those of ``left_out`` for which the expression is neither true nor false.
    """

    total: int
    left_out: int
    missing: int


def parse(where: str, key: str = KEY) -> pl.Expr:
    """The expression.

    Args:
        where: SQL, such as "Metadata_Type = 'trt' AND Metadata_Cells IS NOT NULL".
        key: what the config calls it.

    Raises:
        ValueError: no SQL, or an expression that names no column.
    """
    if _runs_on(where):
        raise _error(where, key, "IS DISTINCT FROM would be compared with all that follows it; put it in parentheses")
    try:
        expression = pl.sql_expr(where)
        names = expression.meta.root_names()
    except pl.exceptions.PolarsError as error:
        raise _error(where, key, str(error)) from error
    if not names:
        raise _error(where, key, "it names no column")
    return expression


def columns_of(where: str, key: str = KEY) -> list[str]:
    """Columns that the expression names, each once.

    Raises:
        ValueError: as ``parse``.
    """
    return list(dict.fromkeys(parse(where, key).meta.root_names()))


def keep(where: str, table: pl.LazyFrame, key: str = KEY) -> tuple[pl.LazyFrame, Count]:
    """The rows of a table for which an expression is true.

    The table is read once for the columns it names alone. NaN becomes a missing value in these.

    Args:
        where: SQL.
        table: whose columns it names.
        key: what the config calls it.

    Raises:
        ValueError: as ``parse``, a column that there is not, values that cannot be compared, or an expression that is
            neither true nor false.
    """
    expression, known = parse(where, key).alias("kept"), table.collect_schema().names()
    unknown = [name for name in columns_of(where, key) if name not in known]
    if unknown:
        raise _error(where, key, f"there is no column {unknown[0]!r}; {_nearest(unknown[0], known)}")
    try:
        schema, names = table.collect_schema(), columns_of(where, key)
        table = table.with_columns(pl.col(name).fill_nan(None) for name in names if schema[name].is_float())
        is_kept = table.with_columns(expression).select("kept")
        if (kind := is_kept.collect_schema()["kept"]) != pl.Boolean:
            raise _error(where, key, f"it gives {kind}, not true or false")
        counts = is_kept.select(
            pl.len().alias("total"), pl.col("kept").sum().alias("true"), pl.col("kept").null_count().alias("missing")
        )
        total, true, missing = counts.collect(engine="streaming").row(0)
    except pl.exceptions.PolarsError as error:
        raise _error(where, key, str(error)) from error
    return table.filter(expression), Count(total, total - (true or 0), missing)


def keep_profiles(where: str, profiles: Profiles, key: str = KEY) -> tuple[Profiles, Count]:
    """The same of profiles; arguments and errors as in ``keep``."""
    used = [name for name in columns_of(where, key) if name in profiles.names]
    values = {name: profiles.features[:, profiles.names.index(name)] for name in used}
    table = profiles.metadata.with_columns(**values).with_row_index("cellfx_row").lazy()
    kept, count = keep(where, table, key)
    return take(profiles, kept.select("cellfx_row").collect().to_series().to_numpy().astype(np.int64)), count


def told(count: Count, what: str, key: str = KEY) -> str:
    """How many rows were left out, in one line."""
    line = f"left out by {key}: {count.left_out:,} of {count.total:,} {what}"
    if count.missing:
        line += (
            f", {count.missing:,} of these because a value that it needs is missing; to keep such rows write "
            "COALESCE(column, '') for the column"
        )
    return line


def _runs_on(where: str) -> bool:
    """Whether AND or OR follows DISTINCT FROM in the same parentheses, which Polars takes for its right side."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "''", where)
    depth, open_at = 0, []
    for token in re.findall(r"[()]|\bDISTINCT\s+FROM\b|\b(?:AND|OR)\b", text.upper()):
        if token in "()":
            depth += 1 if token == "(" else -1
            open_at = [at for at in open_at if at <= depth]
        elif token in ("AND", "OR"):
            if depth in open_at:
                return True
        else:
            open_at.append(depth)
    return False


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {few(known)}"


def _error(where: str, key: str, why: str) -> UserError:
    reason = " ".join(why.split("\n")[0].split())
    return UserError(
        f"no condition for rows: got {key} {where!r} ({reason}), expected SQL over columns of the table, true or "
        "false, such as \"Metadata_Type = 'trt'\"; correct it: text stands in single quotes, metadata of text files "
        "are text, of which CAST(... AS DOUBLE) makes numbers"
    )
