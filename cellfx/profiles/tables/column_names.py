"""What the names of columns say: CellProfiler's convention, and columns whose values hold several things.

CellProfiler puts what was measured, Cells, Cytoplasm, Nuclei or Image, before the name of every feature; metadata are
features of images. Its numbers of images and objects, and intensities of whole images, are no features of cells.
"""

import re
from collections.abc import Callable, Mapping

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.joining import Part
from cellfx.profiles.tables.table import METADATA

CONVENTIONS = {"cellprofiler": "^(Cells|Cytoplasm|Nuclei)_"}
"""Name of a convention -> regular expression that names its features."""
_IMAGE = f"Image_{METADATA}"


def features_of(features: str | None, convention: str | None) -> str | None:
    """The regular expression that names the features, or that of the convention where there is none.

    Raises:
        ValueError: no such convention.
    """
    if convention is not None and convention not in CONVENTIONS:
        raise UserError(
            f"no such convention of names: got {convention!r}, expected {' or '.join(map(repr, CONVENTIONS))} or None; "
            "correct profiles.convention"
        )
    return CONVENTIONS[convention] if features is None and convention is not None else features


def renamed(part: Part) -> Part:
    """With ``Image_Metadata_X`` as ``Metadata_X``, where there is none already."""
    old = [name for name in part.schema if name.startswith(_IMAGE)]
    names = {name: METADATA + name.removeprefix(_IMAGE) for name in old}
    names = {name: new for name, new in names.items() if new not in part.schema}
    schema = {names.get(name, name): kind for name, kind in part.schema.items()}
    return part._replace(rows=part.rows.rename(names), schema=schema)


def split(table: pl.LazyFrame, expressions: Mapping[str, str], tell: Callable[[str], None]) -> pl.LazyFrame:
    """New columns of metadata from parts of the values of others.

    Args:
        table: to be read.
        expressions: column -> regular expression, searched in its values; each named group, ``(?P<Batch>...)``, becomes
            the column ``Metadata_Batch``. A group may take the place of the column itself.
        tell: is told how many rows have a value in which nothing is found; they have no value in the new columns.

    Raises:
        ValueError: no regular expression with named groups, no such column, a name that is taken, or nothing is found
            in any row.
    """
    for column, expression in expressions.items():
        groups = _groups(column, expression)
        schema = table.collect_schema()
        if column not in schema:
            raise UserError(
                f"no column to split: got profiles.split {column!r}, expected one of {', '.join(schema.names()[:8])}; "
                "correct the name"
            )
        if taken := [name for name in groups if name in schema and name != column]:
            raise UserError(
                f"a column that is there already: got a group for {taken[0]} in profiles.split[{column!r}], expected "
                "a new name; rename the group"
            )
        text = pl.col(column).cast(pl.String)
        _check_found(table, column, text, expression, tell)
        table = table.with_columns(text.str.extract(expression, place).alias(name) for name, place in groups.items())
    return table


def _groups(column: str, expression: str) -> dict[str, int]:
    """Columns that an expression makes, and the places of their groups."""
    try:
        groups = re.compile(expression).groupindex
        pl.select(pl.lit("").str.extract(expression, 0))
    except (re.error, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"profiles.split[{column!r}] is not a regular expression that can be used: got {expression!r} "
            f"({' '.join(str(error).split())}), expected one such as (?P<Batch>[^_]+)_; correct it"
        ) from error
    if not groups:
        raise UserError(
            f"nothing to split into: got profiles.split[{column!r}] {expression!r}, expected named groups such as "
            "(?P<Batch>[^_]+)_; name the parts"
        )
    return {METADATA + name: place for name, place in groups.items()}


def _check_found(table: pl.LazyFrame, column: str, text: pl.Expr, expression: str, tell: Callable[[str], None]) -> None:
    lost = text.is_not_null() & text.str.extract(expression, 0).is_null()
    counts = table.select(
        text.count().alias("all"), lost.sum().alias("lost"), text.filter(lost).first().alias("example")
    )
    there, without, example = counts.collect(engine="streaming").row(0)
    if without and without == there:
        raise UserError(
            f"profiles.split[{column!r}] is found nowhere: got {expression!r} and values such as {example!r}, expected "
            "it to be found in some of them; correct it"
        )
    if without:
        tell(
            f"{without:,} of {there:,} rows have a {column} in which {expression!r} is not found, such as {example!r}: "
            "they have no value in what it is split into"
        )
