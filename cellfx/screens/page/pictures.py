"""Pictures of treatments and plates: a map, a clustering, and any column on its plate.

What a config asks for and no table could give is refused before anything is scored. What a table cannot give after all
is left out of the page with its reason (``attempt``): a picture keeps no run from its report.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.data.images.folder import nearest as nearest_name
from cellfx.findings.page import Figure
from cellfx.profiles.screen import labels
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.tables import plate_identity, reading
from cellfx.profiles.tables.table import METADATA, Profiles, few, take
from cellfx.report.charts import plates as plate_charts
from cellfx.report.charts import profiles
from cellfx.report.charts import treatments as treatment_charts
from cellfx.screens.page.neighbours import KERNEL, check_cells, check_treatments
from cellfx.screens.setting import Pictures

CELL_COUNT = "Metadata_Cell_Count"
PERPLEXITY = 30.0
"""Neighbors that t-SNE keeps together; what scikit-learn takes, and van der Maaten and Hinton 2008 call robust."""


def check(
    wells: Profiles, treated: Profiles, columns: Columns, wanted: Pictures, dropped: Mapping[str, str] | None = None
) -> None:
    """Looks whether what is wanted is there at all, so that this is known before the scores are computed.

    Args:
        wells: N wells.
        treated: treatments that are compared.
        columns: of the metadata.
        wanted: pictures.
        dropped: features that the variant left out -> why; asking for them is no mistake.

    Raises:
        ValueError: as ``check_treatments``, ``check_cells`` and ``plate_maps``.
    """
    if wanted.nearest:
        check_treatments(treated, columns, wanted.treatments)
    if wanted.nearest and wanted.cells is not None:
        with reading.told(wanted.cells):
            check_cells(labels.typed(reading.scan(wanted.cells), columns), columns)
    if wanted.plates:
        _check_wells(columns)
    for name in wanted.plates:
        if name not in (dropped or {}):
            _values(wells, name)


def attempt(left_out: dict[str, str], name: str, compute: Callable[..., Any], *args: Any) -> Any:
    """What a part of the page needs; where that cannot be had, the page goes without the part.

    Args:
        left_out: gets the reason where there is none, by the name.
        name: of the part.
        compute: gives it.
        *args: of ``compute``.

    Returns:
        The result, or None. The traceback of a defect is printed.
    """
    try:
        return compute(*args)
    except (UserError, OSError) as error:
        left_out[name] = " ".join(str(error).split())
    except Exception as error:
        traceback.print_exc()
        told = " ".join(str(error).split())
        left_out[name] = f"a defect of cellfx, please report it: {type(error).__name__}: {told}"
    return None


def placed(wells: Profiles, columns: Columns) -> Profiles:
    """Wells whose names say where on a plate they lie.

    Raises:
        ValueError: none does.
    """
    rows = plate_charts.has_place(wells.metadata[columns.well])
    if not rows.any():
        names = [str(name) for name in wells.metadata[columns.well].unique(maintain_order=True)]
        raise UserError(
            f"no map of a plate without places: got {few(names)} in {columns.well}, expected such as B07, b7, B007, "
            "B-07 or r02c07; rename the wells, or set columns.well to None"
        )
    return take(wells, rows)


def treatment_map(treated: Profiles, columns: Columns, seed: int = 0, variant: str = "") -> Figure:
    """t-SNE of treatments (van der Maaten and Hinton 2008, JMLR 9:2579) in colors of their mechanisms.

    Distances are those of profiles with mean 0 and length 1, which rank as Pearson correlation does. The perplexity is
    30, or a third of the other treatments where they are fewer; it starts from the principal components.

    Args:
        treated: N treatments.
        columns: of the metadata; without a mechanism all points are of one color.
        seed: of what t-SNE draws; the same gives the same picture.
        variant: whose profiles they are, for the title.

    Raises:
        ValueError: fewer than four treatments or all alike; as ``similarity.prepare``.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = _comparable(treated)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    # Threads would add up in an order of their own, and give another picture each time.
    with threadpool_limits(1):
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
    known = [None] * len(rows)
    if columns.mechanism is not None:
        known = treated.metadata[columns.mechanism].cast(pl.String).to_list()
    title = _named(f"{len(rows):,} treatments by likeness", variant)
    note = f"t-SNE, perplexity {perplexity:.3g}, seed {seed}. What is near is alike; far distances mean little."
    alt = f"t-SNE of {title}" + (", in colors of their mechanisms" if columns.mechanism else "")
    return Figure("treatment_map", treatment_charts.treatment_map(places, known, title, note), alt)


def clustering(treated: Profiles, columns: Columns, variant: str = "") -> Figure:
    """Pearson correlation of treatments, ordered by how alike they are.

    Args:
        treated: N treatments.
        columns: of the metadata.
        variant: whose profiles they are, for the title.

    Raises:
        ValueError: fewer than two treatments, or as ``similarity.prepare``.
    """
    rows = prepare(treated, KERNEL).rows
    if len(rows) < 2:
        raise UserError("no clustering of treatments: got 1, expected two or more; compare more treatments")
    named = [columns.compound, *filter(None, (columns.mechanism,))]
    names = [" · ".join(map(str, row)) for row in treated.metadata.select(named).iter_rows()]
    title = _named("Treatments by likeness", variant)
    note = "Pearson correlation; red: alike, blue: opposite."
    return Figure("clustering", profiles.clustering(rows @ rows.T, names, title, note), title)


def strength_maps(wells: Profiles, columns: Columns, variant: str = "") -> list[Figure]:
    """How far wells lie from the origin and how many cells they have, as a mean over plates; none without wells.

    Args:
        wells: N wells.
        columns: of the metadata.
        variant: whose values they are, for the title.
    """
    if columns.well is None:
        return []
    strength = np.linalg.norm(wells.features, axis=1) / np.sqrt(wells.features.shape[1])
    title, unit = _named("How far wells lie from the origin", variant), "root mean square of the features"
    shown = {"strength": (strength, title, unit)}
    if CELL_COUNT in wells.metadata.columns and np.isfinite(counts := _numbers(wells.metadata[CELL_COUNT])).any():
        shown["cell_count"] = (counts, "Cells in wells", "cells")
    note, names = layout_note(wells.metadata, columns), wells.metadata[columns.well].to_list()
    return [
        Figure(f"plate_{name}", plate_charts.plate_map(names, values, title, unit, note=note), title)
        for name, (values, title, unit) in shown.items()
    ]


def layout_note(metadata: pl.DataFrame, columns: Columns) -> str:
    """Says of N wells whether a mean over plates mixes treatments, because plates have layouts of their own."""
    treatments = metadata.group_by(columns.well).agg(pl.struct(columns.treatment).n_unique().alias("number"))["number"]
    mixed = int((treatments > 1).sum())
    if not mixed:
        return "Mean over plates."
    return f"Mean over plates, whose layouts differ: {mixed} of {len(treatments)} places mix different treatments."


def plate_maps(
    wells: Profiles,
    columns: Columns,
    names: Sequence[str],
    by_plate: bool = False,
    variant: str = "",
    first: int = 0,
) -> list[Figure]:
    """Columns of numbers as colors of wells in their places.

    Args:
        wells: N wells.
        columns: of the metadata.
        names: features or columns of metadata, with or without ``Metadata_``.
        by_plate: one figure for each plate, all of a column on one scale; otherwise one of the mean over plates.
        variant: whose values the features are, for the title.
        first: number of the first figure.

    Returns:
        Figures by column, then plate in the order of their first wells. A well without a finite value is gray; values
        with a sign are red and blue about 0.

    Raises:
        ValueError: no wells, no such column, or one without numbers.
    """
    _check_wells(columns)
    plates, drawn = plate_identity.named(wells.metadata, columns.plate_identity()), []
    shown = {f"mean of {len(plates)} plates": np.arange(len(wells.features))}
    if by_plate:
        shown = {f"plate {name}": rows for name, rows in plates}
    unit = "value, on one scale for all plates" if by_plate else "value"
    for name in names:
        values, of = _values(wells, name), variant if name in wells.names else ""
        limits = (float(np.nanmin(values)), float(np.nanmax(values)))
        for where, rows in shown.items():
            rows = rows[np.isfinite(values[rows])]
            if len(rows):
                title = _named(f"{name.removeprefix(METADATA)}, {where}", of)
                places, ends = wells.metadata[columns.well][rows], limits if by_plate else None
                note = "" if by_plate else layout_note(wells.metadata[rows], columns)
                figure = plate_charts.plate_map(places, values[rows], title, unit, limits[0] < 0, ends, note)
                drawn.append(Figure(f"plate_map_{first + len(drawn)}", figure, title))
    return drawn


def _named(title: str, variant: str) -> str:
    return f"{title}, {variant}" if variant else title


def _comparable(treated: Profiles) -> np.ndarray:
    """Rows (N, D) with mean 0 and length 1."""
    rows = prepare(treated, KERNEL).rows
    if len(rows) < 4 or np.ptp(rows, axis=0).max() < 1e-12:
        raise UserError(
            f"no map of treatments: got {len(rows)}, {'all of them alike, ' if len(rows) >= 4 else ''}expected four or "
            "more that differ; compare more treatments or leave the map out"
        )
    return rows


def _check_wells(columns: Columns) -> None:
    if columns.well is None:
        raise UserError("no map of a plate without wells: got columns.well None, expected a column; name it")


def _values(wells: Profiles, name: str) -> np.ndarray:
    """(N,) float64 of a feature or column of metadata, NaN where it has no finite value."""
    table = {column.name.removeprefix(METADATA): column for column in wells.metadata}
    if name in wells.names:
        values = wells.features[:, wells.names.index(name)]
    elif (column := table.get(name.removeprefix(METADATA))) is not None:
        values = _numbers(column)
        if np.isnan(values).all() and column.null_count() < len(column):
            raise UserError(
                f"no numbers to draw on a plate: got {column.dtype} in {name!r}, expected a column of numbers; choose "
                "another"
            )
    else:
        raise UserError(
            f"no column to draw on a plate: got {name!r}, expected a feature or column of metadata; "
            f"{nearest_name(name, [*wells.metadata.columns, *wells.names])}"
        )
    if not np.isfinite(values).any():
        raise UserError(f"nothing to draw on a plate: got no finite value in {name!r}, expected some; leave it out")
    return np.where(np.isfinite(values), values, np.nan)


def _numbers(column: pl.Series) -> np.ndarray:
    """(N,) float64, NaN where there is no number; metadata of a csv file are numbers as text."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        return np.full(len(column), np.nan)
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
