"""What text in a table stands for: a number, a word for a missing value, or itself."""

import re

import polars as pl

from cellfx.checks import UserError

MISSING = (
    *(
        "",
        "na",
        "n/a",
        "nan",
        "none",
        "null",
        "<na>",
        "#n/a",
        "#n/a n/a",
        "#na",
        "#div/0!",
        "#num!",
        "#value!",
        "#ref!",
    ),
    *("#name?", "#null!", "-nan", "nan(ind)", "-nan(ind)", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"),
)
"""Words for a missing value, as pandas, R, Excel and C write them; upper and lower case are the same."""


def number(text: pl.Expr) -> pl.Expr:
    """Text as Float64, null where it is none."""
    return text.str.strip_chars().cast(pl.Float64, strict=False)


def is_missing(text: pl.Expr) -> pl.Expr:
    """Whether text is null or one of ``MISSING``."""
    return text.is_null() | text.str.strip_chars().str.to_lowercase().is_in(MISSING)


def no_number(text: pl.Expr) -> pl.Expr:
    """Whether text is neither a number nor missing."""
    return number(text).is_null() & ~is_missing(text)


def as_text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """A column of some type as text; whole numbers have no point, though others of the column are no whole ones."""
    if not kind.is_float():
        return column.cast(pl.String)
    whole = column.cast(pl.Int64, strict=False)
    return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.fill_nan(None).cast(pl.String))


def text_in_feature(name: str, value: object, where: str = "in ") -> ValueError:
    """What to say of a value of a feature that is no number.

    Args:
        name: of the feature.
        value: the first that is none.
        where: in the column.
    """
    advice = f"name the column Metadata_{name}, or give the regular expression that names the features"
    if str(value) == name:
        advice = "the line of names is there again among the rows: take it out"
    elif re.fullmatch(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*", str(value)):
        advice = "its decimals are behind a comma: write points"
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return UserError(f"text in a feature column: got {shown} {where}{name!r}, expected numbers; {advice}")
