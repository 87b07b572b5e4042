"""Wells as the config of ``bin/profile`` describes them: read or drawn, annotated, looked at, controls told apart."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cellfx.checks import UserError
from cellfx.files.workdir import say
from cellfx.profiles.screen import labels, treatments
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps import fitted
from cellfx.profiles.tables import aggregate, annotate, column_names, plate_identity, reading, row_filter, simulated
from cellfx.profiles.tables.table import METADATA, Profiles, few, split_columns
from cellfx.profiles.tables.text_values import number
from cellfx.screens import controls as profile_controls
from cellfx.screens.controls import Controls
from cellfx.settings import call


def read_columns(given: Mapping[str, Any]) -> Columns:
    """The config section ``columns``; a treatment of one column may be its name alone."""
    columns = call(Columns, "columns", given)
    return columns._replace(treatment=fitted.columns(columns.treatment))


class Rows(NamedTuple):
    """The config section ``rows``: which rows take part.

    Attributes:
        where: SQL over the columns of the table that is read, see ``profiles.tables.row_filter``; None: all. It is
            asked of cells before they are aggregated. Where it names a column that comes from ``annotate``, of wells
            after that.
    """

    where: str | None = None


def read_wells(
    settings: Mapping[str, Any], columns: Columns, tell: Callable[[str], None] = say
) -> tuple[Profiles, Controls]:
    """Wells as the config describes them, annotated, and which of them are negative controls.

    With a section ``aggregate`` the table is one of cells, read a part at a time. Plates are then told by their batch
    too where the cells have it, whether or not ``aggregate.by`` names it.

    Args:
        settings: the config.
        columns: its section ``columns``.
        tell: is told in a line each what was left out, is missing or looks odd.

    Returns:
        wells: N rows.
        controls: among them; none without a section ``controls``, or where its column is None.

    Raises:
        ValueError: tables that cannot be read or joined or are empty, columns that they lack, a well that is there
            twice, or as ``row_filter.keep`` and ``screens.controls.find``.
    """
    given, where = dict(settings["profiles"]), call(Rows, "rows", settings.get("rows", {})).where
    if where is not None:
        row_filter.parse(where)
    if "simulated" in given:
        drawn = dict(given["simulated"])
        sizes = call(simulated.Sizes, "profiles.simulated.sizes", drawn.pop("sizes", {}))
        wells = call(simulated.simulated, "profiles.simulated", {**drawn, "sizes": sizes})
    else:
        wells, where = call(_read, "profiles", given, settings.get("aggregate"), columns, where, tell)
    wells, where = _kept(wells, where, tell)
    if not len(wells.metadata):
        raise UserError(
            f"a table without rows: got {given.get('path')} with {len(wells.names)} features of 0 wells, expected a "
            "row for each well; name another table in profiles.path"
        )
    tables = settings.get("annotate", ())
    for table in [tables] if isinstance(tables, Mapping) else tables:
        wells = call(_annotated, "annotate", table, wells, tell)
    wells = wells._replace(metadata=_numbered(labels.typed(wells.metadata.lazy(), columns)))
    wells, _ = _kept(wells, where, tell, last=True)
    _check_columns(wells.metadata, columns)
    treatments.check_labels(wells.metadata, columns)
    plate = columns.plate_identity()
    if columns.well is not None:
        _check_once(wells.metadata, plate, columns.well)
    told = settings.get("controls") or {"column": None}
    if told.get("column", "") is None:
        controls = profile_controls.none(wells.metadata)
    else:
        controls = call(profile_controls.find, "controls", told, wells.metadata, plate)
    named = [*columns.described(), told["column"], columns.plate, columns.batch, columns.well]
    for line in labels.look_alike(wells.metadata, [name for name in named if name is not None]):
        tell(line)
    return wells._replace(metadata=labels.without_words(wells.metadata, columns, tell)), controls


def _read(
    aggregated: Mapping[str, Any] | None,
    columns: Columns,
    where: str | None,
    tell: Callable[[str], None],
    path: str,
    features: str | None = None,
    convention: str | None = None,
    split: Mapping[str, str] | None = None,
) -> tuple[Profiles, str | None]:
    """A table of wells, or one of cells that is aggregated; and ``where``, if it is still to be asked."""
    if aggregated is None:
        wells = reading.read(path, features, tell, convention, split)
        return wells._replace(metadata=labels.typed(wells.metadata.lazy(), columns).collect()), where
    how = {"features": column_names.features_of(features, convention), **aggregated}
    with reading.told(path):
        cells = labels.typed(reading.scan(path, how["features"], tell, convention, split), columns)
        _, others = split_columns(cells.collect_schema().names(), how["features"])
        cells = cells.rename({old: new for old, new in others.items() if old != new})
        if where is not None and set(row_filter.columns_of(where)) <= set(cells.collect_schema().names()):
            cells, count = row_filter.keep(where, cells)
            _tell_kept(count, where, "rows before aggregation", tell)
            where = None
        how["by"] = _well(how.get("by"), columns, [_prefixed(name) for name in cells.collect_schema().names()])
        return call(aggregate.aggregate_lazily, "aggregate", how, cells), where


def _kept(
    wells: Profiles, where: str | None, tell: Callable[[str], None], last: bool = False
) -> tuple[Profiles, str | None]:
    """Rows that take part; and ``where``, if it is still to be asked, because a column of it is not there yet."""
    if where is None or not (last or set(row_filter.columns_of(where)) <= {*wells.metadata.columns, *wells.names}):
        return wells, where
    wells, count = row_filter.keep_profiles(where, wells)
    _tell_kept(count, where, "rows", tell)
    return wells, None


def _tell_kept(count: row_filter.Count, where: str, what: str, tell: Callable[[str], None]) -> None:
    if count.left_out == count.total > 0:
        raise UserError(
            f"no row left: got 0 of {count.total:,} {what} by rows.where {where!r}, expected some; loosen it"
        )
    tell(row_filter.told(count, what))


def _numbered(metadata: pl.LazyFrame) -> pl.DataFrame:
    """With counts of cells as numbers, which they are not where they come from a text."""
    if metadata.collect_schema().get(aggregate.COUNT) == pl.String:
        metadata = metadata.with_columns(number(pl.col(aggregate.COUNT)).cast(pl.Int64))
    return metadata.collect()


def _well(by: Any, columns: Columns, known: Collection[str]) -> Any:
    """What rows of one well share; ``by`` as the config has it, or None."""
    plate = [name for name in columns.plate_identity() if name in known]
    if by is None:
        return (*plate, *filter(None, (columns.well,)))
    return plate_identity.completed(by, plate) if plate and not isinstance(by, str) else by


def _check_columns(metadata: pl.DataFrame, columns: Columns) -> None:
    for name, value in columns._asdict().items():
        for column in (value,) if isinstance(value, str) else value if name == "treatment" else ():
            if column not in metadata.columns:
                raise UserError(
                    f"no such column: got columns.{name} {column!r}, expected one of {', '.join(metadata.columns)}; "
                    "correct it, or annotate the profiles"
                )


def _check_once(metadata: pl.DataFrame, plate: Sequence[str], well: str) -> None:
    place = [*plate, well]
    counts = metadata.drop_nulls([plate[-1], well]).group_by(place, maintain_order=True).len()
    twice = counts.filter(pl.col("len") > 1)
    if len(twice):
        first = twice.row(0)
        rows = metadata.join(twice[:1].select(place), on=place, nulls_equal=True)
        differing = [name for name in metadata.columns if rows[name].n_unique() > 1]
        where = ", ".join(f"{name} {value!r}" for name, value in zip(place, first, strict=False))
        raise UserError(
            f"wells that are there more than once: got {len(twice):,} of {len(counts):,}, such as {where} in "
            f"{first[-1]} rows, expected one row for each; leave rows out, pool them by the section aggregate, give "
            "every plate a name of its own within columns.batch, or set columns.well to None; these rows differ in "
            f"{few(differing) if differing else 'no metadata'}"
        )


def _annotated(
    wells: Profiles,
    tell: Callable[[str], None],
    path: str,
    on: Mapping[str, str] | Sequence[str] | str,
    columns: Mapping[str, str] | Sequence[str] | str,
) -> Profiles:
    """Joins some columns of a table, {its name: name as metadata}; what has no annotation is said.

    Names alone stand for both: keys and columns that are called the same, but for ``Metadata_``.
    """
    with reading.told(path):
        table = reading.scan(path, tell=tell).collect()
    on = on if isinstance(on, Mapping) else {name: _theirs(name, table.columns) for name in fitted.columns(on)}
    columns = columns if isinstance(columns, Mapping) else {name: _prefixed(name) for name in fitted.columns(columns)}
    unknown = [name for name in (*on.values(), *columns) if name not in table.columns]
    if unknown:
        raise UserError(
            f"no such column in {path}: got {unknown[0]!r}, expected one of {', '.join(table.columns)}; correct "
            "annotate"
        )
    keys = {name: _prefixed(name) for name in on.values()}
    chosen = table.select([pl.col(name).alias(new) for name, new in {**keys, **columns}.items()]).unique(
        maintain_order=True
    )
    found = annotate.annotate(wells, chosen, {ours: keys[theirs] for ours, theirs in on.items()})
    if found.num_missing:
        tell(f"no annotation in {Path(path).name} for {annotate.explained(found)}")
    return found.profiles


def _prefixed(name: str) -> str:
    return name if name.startswith(METADATA) else METADATA + name


def _theirs(name: str, known: Sequence[str]) -> str:
    """What a column is called in a table of annotations, which may lack the prefix or have it."""
    others = (name, name.removeprefix(METADATA), _prefixed(name))
    return next((other for other in others if other in known), name)
