"""Profiles: a matrix of features beside a table of what is known of each row; made from tables and written as them.

The field numbers its tables: 2 single cells, 3 wells, 3 again with annotations ("augmented"), 4a normalized, 4b with
features selected, 4w spherized, 5 one row a treatment. ``SUFFIXES`` are the names that the LINCS Cell Painting data set
(Natoli et al. 2021, doi:10.5281/zenodo.5008187) and the profiling recipe of pycytominer give their files.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.text_values import no_number, number, text_in_feature

METADATA = "Metadata_"
"""Columns that start so say what a row is; all others are features, as the field has it."""

SUFFIXES = {
    "single_cell": "_single_cell",
    "aggregated": "",
    "augmented": "_augmented",
    "normalized": "_normalized",
    "selected": "_normalized_feature_select",
    "spherized": "_spherized",
    "consensus": "_consensus",
}
"""Level -> what follows the name of the plate or screen in the name of its file."""


class Profiles(NamedTuple):
    """Rows of features with what is known of them.

    Attributes:
        features: (N, D) float64.
        names: (D,) names of the features.
        metadata: N rows, columns ``Metadata_*``.
    """

    features: np.ndarray
    names: tuple[str, ...]
    metadata: pl.DataFrame


def from_frame(frame: pl.DataFrame, features: str | None = None) -> Profiles:
    """Divides a table into features and metadata.

    Missing numbers become NaN. A feature column of text is read as numbers if it holds nothing but numbers and what
    ``text_values.MISSING`` lists.

    Args:
        frame: N rows. Columns ``Metadata_*`` are metadata.
        features: regular expression, searched in the names of all other columns; those that it is not found in become
            metadata too, with the prefix before their name. None: all others are features.

    Raises:
        ValueError: no feature, text in a feature column, or two columns that would have one name.
    """
    chosen, others = split_columns(frame.columns, features)
    matrix = np.empty((len(frame), len(chosen)))
    for i, name in enumerate(chosen):
        matrix[:, i] = _numbers(frame[name])
    return Profiles(matrix, tuple(chosen), frame.select(pl.col(old).alias(new) for old, new in others.items()))


def to_frame(profiles: Profiles) -> pl.DataFrame:
    """One table: the metadata, then the features as Float64."""
    columns = {name: profiles.features[:, i] for i, name in enumerate(profiles.names)}
    return pl.DataFrame({**{column.name: column for column in profiles.metadata}, **columns})


def split_columns(names: Sequence[str], features: str | None = None) -> tuple[list[str], dict[str, str]]:
    """Which columns of a table are features, and what the others are called as metadata; see ``from_frame``.

    Returns:
        Names of the features, and {name in the table: name as metadata}.

    Raises:
        ValueError: no feature, or two columns that would have one name.
    """
    chosen = [name for name in names if is_feature(name, features)]
    others = {name: name if name.startswith(METADATA) else METADATA + name for name in names if name not in set(chosen)}
    if not chosen:
        raise UserError(
            f"a table without features: got the columns {few(names)}, expected at least one that does not start with "
            f"{METADATA}{f' and in which {features!r} is found' if features else ''}; give the regular expression that "
            "names the features"
        )
    twice = [old for old, new in others.items() if old != new and new in others]
    if twice:
        raise UserError(
            f"two columns for one name: got {twice[0]!r} and {others[twice[0]]!r}, expected only one of them; rename "
            "one, or let the regular expression choose it as a feature"
        )
    return chosen, others


def is_feature(name: str, features: str | None = None) -> bool:
    """Whether a column is a feature; see ``from_frame``.

    Raises:
        ValueError: no regular expression.
    """
    if not features:
        return not name.startswith(METADATA)
    try:
        return not name.startswith(METADATA) and re.search(features, name) is not None
    except re.error as error:
        raise UserError(
            f"features {features!r} is not a regular expression: {error}; expected one such as ^Cells_; correct it"
        ) from None


def check_finite(profiles: Profiles, purpose: str) -> None:
    """Refuses missing and infinite features for what cannot be computed with them.

    Args:
        profiles: to look at.
        purpose: what they are for, named by the message.

    Raises:
        ValueError: a feature that is NaN or infinite; names the first.
    """
    finite = np.isfinite(profiles.features)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise UserError(
            f"features that are not finite cannot be used for {purpose}: got {int(np.sum(~finite))} of "
            f"{finite.size} values, the first {profiles.features[row, column]} in feature {profiles.names[column]!r} "
            f"of row {row}, expected finite numbers; {_advice(finite, np.isinf(profiles.features).any())}"
        )


def take(profiles: Profiles, rows: np.ndarray) -> Profiles:
    """Some rows, in the order they are named in.

    Args:
        profiles: N rows.
        rows: (M,) int places, or (N,) bool.

    Raises:
        ValueError: rows that are neither.
    """
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (len(profiles.metadata),):
        rows = np.flatnonzero(rows)
    elif rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise UserError(
            f"rows that cannot be taken: got {rows.dtype} of shape {rows.shape}, expected places as integers or one "
            f"bool for each of {len(profiles.metadata)} rows; make one mask for all rows"
        )
    return Profiles(profiles.features[rows], profiles.names, profiles.metadata[rows])


def take_features(profiles: Profiles, names: Sequence[str]) -> Profiles:
    """Some features, in the order they are named in.

    Raises:
        ValueError: a name that is no feature.
    """
    places = {name: i for i, name in enumerate(profiles.names)}
    unknown = [name for name in names if name not in places]
    if unknown:
        raise UserError(
            f"features that are not there: got {few(unknown)}, expected some of {few(profiles.names)}; correct the "
            "names"
        )
    return profiles._replace(features=profiles.features[:, [places[name] for name in names]], names=tuple(names))


def groups(metadata: pl.DataFrame, by: Sequence[str] | str) -> list[np.ndarray]:
    """Rows that agree in some columns; missing values agree with each other.

    Args:
        metadata: N rows.
        by: names of the columns; a text is one name. None at all: one group of all rows.

    Returns:
        The groups in the order of their first rows, each (n,) int places of its rows, rising.

    Raises:
        ValueError: a column that is not there.
    """
    by = [by] if isinstance(by, str) else by
    unknown = [name for name in by if name not in metadata.columns]
    if unknown:
        raise UserError(
            f"no such metadata: got {few(unknown)}, expected some of {few(metadata.columns)}; correct the name, or "
            "annotate the profiles first"
        )
    if not by:
        return [np.arange(len(metadata))]
    # No column of metadata can have this name.
    rows = metadata.select(by).with_row_index("row").group_by(by, maintain_order=True).agg("row")["row"]
    return [group.to_numpy().astype(np.int64) for group in rows]


def write(profiles: Profiles, path: Path | str) -> None:
    """Writes Parquet under a temporary name and renames it, so that the file is there whole or not at all.

    Raises:
        ValueError: the name does not end in ``.parquet``.
        OSError: the folder is not there, or the disk full.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise UserError(
            f"profiles are written as Parquet: got {path.name!r}, expected a name that ends in .parquet; change the "
            "name"
        )
    with whole(path) as temporary:
        to_frame(profiles).write_parquet(temporary)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name for a file that becomes the path when it is written, so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def level_path(folder: Path | str, name: str, level: str) -> Path:
    """Where profiles of a level lie: ``<folder>/<name><suffix>.parquet``.

    Args:
        folder: of the run.
        name: of the plate, batch or screen.
        level: one of ``SUFFIXES``.

    Raises:
        ValueError: an unknown level.
    """
    if level not in SUFFIXES:
        raise UserError(f"unknown level: got {level!r}, expected one of {', '.join(SUFFIXES)}; choose one of them")
    return Path(folder) / f"{name}{SUFFIXES[level]}.parquet"


def _advice(finite: np.ndarray, infinite: bool) -> str:
    """What can be done about (N, D) bool that are not all true."""
    rows, columns = int((~finite.all(axis=1)).sum()), int((~finite.all(axis=0)).sum())
    where = f"they are in {columns} of {finite.shape[1]} features and {rows} of {finite.shape[0]} rows: "
    if columns == finite.shape[1]:
        return where + ("take out these rows" if rows < len(finite) else "fill them in before, as nothing here does")
    step = "{'name': 'select', 'operations': (('drop_na_columns', {'cutoff': 0.0}),)}"
    first = "make infinite values missing (NaN), then " if infinite else ""
    return f"{where}{first}drop the features, in a config by the step {step}, or take out the rows"


def _numbers(column: pl.Series) -> np.ndarray:
    """(N,) float64."""
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        bad, numbers = column.is_not_null(), pl.Series([None] * len(column), dtype=pl.Float64)
    else:
        text = pl.lit(column.cast(pl.String))
        bad, numbers = pl.select(no_number(text).alias("bad"), number(text).alias("numbers"))
    if bad.any():
        row = bad.arg_max()
        raise text_in_feature(column.name, column[row], f"in row {row} of ")
    return numbers.fill_null(np.nan).to_numpy()


def few(names: Sequence[str], count: int = 5) -> str:
    """The first names, and how many more there are."""
    return ", ".join(map(repr, names[:count])) + (f" and {len(names) - count} more" if len(names) > count else "")
