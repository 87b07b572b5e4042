"""Labels of wells as people write them: names that are numbers, doses in text, words for nothing, stray spaces."""

from collections.abc import Callable, Sequence

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.tables.text_values import as_text, is_missing, no_number, number


def typed(table: pl.LazyFrame, columns: Columns) -> pl.LazyFrame:
    """Doses as numbers; plates, wells, batches, compounds and treatments as text, whatever kind of file they come from.

    Args:
        table: of which some of the columns may not be there yet.
        columns: of the metadata.

    Raises:
        ValueError: doses that are no numbers; words for missing values are none.
    """
    schema = table.collect_schema()
    names = dict.fromkeys((columns.plate, columns.well, columns.batch, columns.compound, *columns.treatment))
    numeric = [name for name in names if name in schema and name != columns.dose and schema[name].is_numeric()]
    table = table.with_columns(as_text(pl.col(name), schema[name]).alias(name) for name in numeric)
    if columns.dose not in schema:
        return table
    if schema[columns.dose].is_numeric():
        return table.with_columns(pl.col(columns.dose).cast(pl.Float64).fill_nan(None))
    text = pl.col(columns.dose).cast(pl.String)
    bad = table.filter(no_number(text)).select(text).head(1).collect(engine="streaming")
    if len(bad):
        raise UserError(
            f"doses that are no numbers: got {bad.item()!r} in {columns.dose}, expected numbers or nothing; write them "
            "all in one unit without its name, or name the column in columns.treatment alone and set columns.dose to "
            "None"
        )
    return table.with_columns(number(text).fill_nan(None).alias(columns.dose))


def without_words(metadata: pl.DataFrame, columns: Columns, tell: Callable[[str], None]) -> pl.DataFrame:
    """Treatments, compounds and mechanisms without words for missing values, such as nan and NA, which become missing.

    Args:
        metadata: of N wells.
        columns: of the metadata.
        tell: is told which words stood where.
    """
    for name in columns.described():
        if metadata.schema[name] != pl.String:
            continue
        words = metadata.filter(is_missing(pl.col(name)) & (pl.col(name).str.strip_chars() != ""))[name]
        if len(words):
            shown = ", ".join(map(repr, words.unique(maintain_order=True).to_list()[:3]))
            tell(f"taken for missing: {shown} in {name} of {len(words):,} well{'' if len(words) == 1 else 's'}")
            metadata = metadata.with_columns(pl.when(~is_missing(pl.col(name))).then(pl.col(name)).alias(name))
    return metadata


def look_alike(metadata: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns in which values differ only in capitals or spaces, a line each.

    Args:
        metadata: of N wells.
        names: of columns; those that hold no text are passed by.
    """
    found = []
    for name in dict.fromkeys(names):
        if metadata.schema[name] != pl.String:
            continue
        counts = (
            metadata.drop_nulls(name).group_by(pl.col(name).alias("value")).len().sort("len", "value", descending=True)
        )
        plain = pl.col("value").str.replace_all(r"\s+", "").str.to_lowercase().alias("plain")
        same = counts.group_by(plain, maintain_order=True).agg("value", "len").filter(pl.col("value").list.len() > 1)
        if len(same):
            shown = " and ".join(
                f"{value!r} ({count:,} wells)" for value, count in zip(same["value"][0], same["len"][0], strict=True)
            )
            more = f", and {len(same) - 1:,} more such" if len(same) > 1 else ""
            found.append(
                f"values of {name} that differ only in capitals or spaces count as different: {shown}{more}; write "
                "them alike where they are one"
            )
    return found
