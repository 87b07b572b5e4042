"""The page that compares variants of profiles: tables, curves, confusion, batches, plates and clusters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx import profile_tables
from cellfx.analysis import charts, profile_charts
from cellfx.analysis.report import Card, Section, report
from cellfx.data.strips import read_strips
from cellfx.presentation import Figure, save, versions
from cellfx.profile_neighbours import cell_files, nearest, nearest_galleries, nearest_table
from cellfx.profile_pictures import plate_maps, treatment_map
from cellfx.profile_scores import Variant, headline
from cellfx.profile_setting import Asked, Pictures
from cellfx.profiles import reading
from cellfx.profiles.components import principal_components
from cellfx.profiles.mechanisms import mechanism_correlations
from cellfx.profiles.screen_rules import Columns
from cellfx.profiles.similarity import prepare
from cellfx.settings import write_whole

MAX_CLUSTERED, MAX_FEATURES, MAX_CONFUSED = 400, 40, 24
"""Treatments, features and mechanisms that a figure can show."""
CELL_COUNT = "Metadata_Cell_Count"
CURVES = {
    "enrichment": (
        "percentiles",
        "odds_ratio",
        "Enrichment",
        "Odds that a pair more similar than the percentile matches, over those of all other pairs.",
        ("percentile of the similarities", "odds ratio"),
        1.0,
    ),
    "precision": ("k", "precision_at_k", "Precision at k", "Of the k nearest, the share that match.", ("k", ""), None),
    "recall": ("k", "recall_at_k", "Recall at k", "Of all matches, the share among the k nearest.", ("k", ""), None),
    "hits": (
        "hit_shares",
        "hit_gain",
        "Hits at k",
        "Share of all matches within the nearest part of the list, less what chance finds there.",
        ("nearest part of the list", "gain over chance"),
        0.0,
    ),
}
"""Figure -> names of its two scores, title, note, names of the axes, and what chance gives."""


def write(
    variants: Sequence[Variant],
    scores: Mapping[str, Mapping[str, Any]],
    columns: Columns,
    question: Asked,
    wanted: Pictures,
    settings: Mapping[str, Any],
    workdir: Path,
) -> Path:
    """Writes report.html and its figures; the last variant is the one whose pictures are shown.

    Args:
        variants: what became of the wells, in order.
        scores: of each, by its name.
        columns: of the metadata.
        question: what was asked.
        wanted: what is shown beside the scores.
        settings: of the run.
        workdir: of the run.

    Returns:
        The page.
    """
    shown = variants[-1]
    tables = profile_tables.comparison(scores), profile_tables.certainty(scores, question.effort.num_permutations)
    sections = [part for part in (*tables, profile_tables.subsets(scores)) if part]
    parts = {
        "Mechanisms": _of_mechanisms(scores, shown, columns),
        "Batches": _of_batches(variants, columns),
        "Plates": _of_plates(shown, columns) + plate_maps(shown.wells, columns, wanted.plates, wanted.by_plate),
        "Treatments": _of_treatments(shown, columns, wanted),
    }
    sections += [Section(title, TEXTS[title], save(drawn, workdir)) for title, drawn in parts.items() if drawn]
    if wanted.nearest:
        sections.append(_neighbours(shown, columns, wanted, workdir))
    best = headline(scores[shown.name])
    cards = [Card(name, f"{value:.3g}", shown.name) for name, value in best.items()]
    subtitle = f"{workdir.name} · {len(shown.wells.features):,} wells, {len(shown.treated.features):,} treatments"
    text = report("Treatment profiles", sections, cards, subtitle, settings, versions())
    write_whole(workdir / "report.html", text.encode())
    return workdir / "report.html"


TEXTS = {
    "Mechanisms": "Whether treatments of one mechanism of action are more alike than others. Pairs of the same "
    "compound do not count.",
    "Batches": "Wells on their first two principal components. Where colours part, batches do.",
    "Plates": "A value of every well in its place, averaged over the plates. What follows rows or columns comes from "
    "the place and not from the treatment.",
    "Treatments": "Treatments of the last variant, ordered by how alike they are.",
}


def _of_mechanisms(scores: Mapping[str, Mapping[str, Any]], shown: Variant, columns: Columns) -> list[Figure]:
    if columns.mechanism is None:
        return []
    curves = {name: each["curves"] for name, each in scores.items()}
    drawn = [
        Figure(name, figure, f"{kind[2]}, a line for each variant")
        for name, kind in CURVES.items()
        if (figure := _curves(curves, *kind))
    ]
    confusion = scores[shown.name].get("confusion")
    if confusion and len(confusion["mechanisms"]) <= MAX_CONFUSED:
        title = f"Mechanism of the nearest other compound, {shown.name}"
        figure = charts.confusion(np.array(confusion["counts"]), confusion["mechanisms"], title)
        drawn.append(Figure("confusion", figure, title))
    if shown.treated.metadata[columns.mechanism].drop_nulls().n_unique() < 2:
        return drawn
    related, strongest = mechanism_correlations(shown.treated, columns.mechanism), slice(0, MAX_FEATURES)
    note = f"Correlation of the {len(related.features[strongest])} strongest features with each mechanism."
    figure = profile_charts.heatmap(
        related.correlation[strongest].T,
        related.mechanisms,
        related.features[strongest],
        "Features against mechanisms",
        note,
    )
    return [*drawn, Figure("mechanism_features", figure, note)]


def _curves(
    found: Mapping[str, Mapping[str, Any]],
    x: str,
    y: str,
    title: str,
    note: str,
    names: tuple[str, str],
    level: float | None,
) -> Any:
    """A figure of the variants that have such a curve; None where none has."""
    lines = {name: (np.array(each[x]), np.array(each[y])) for name, each in found.items() if x in each}
    return profile_charts.curves(lines, title, note, *names, level=level) if lines else None


def _of_batches(variants: Sequence[Variant], columns: Columns) -> list[Figure]:
    column = columns.batch or columns.plate
    drawn = []
    for variant in variants[:: max(len(variants) - 1, 1)]:
        found = principal_components(variant.wells.features)
        groups = variant.wells.metadata[column].cast(str).to_list()
        title = f"Wells by {column.removeprefix('Metadata_').lower()}, {variant.name}"
        figure = profile_charts.components(found.projected, found.explained, groups, title)
        drawn.append(Figure(f"components_{len(drawn)}", figure, title))
    return drawn


def _of_plates(shown: Variant, columns: Columns) -> list[Figure]:
    if columns.well is None:
        return []
    wells = shown.wells.metadata[columns.well].to_list()
    strength = np.linalg.norm(shown.wells.features, axis=1) / np.sqrt(shown.wells.features.shape[1])
    shown_values = {"strength": (strength, "How far wells lie from the origin", "root mean square of the features")}
    if CELL_COUNT in shown.wells.metadata.columns:
        counts = shown.wells.metadata[CELL_COUNT].to_numpy()
        shown_values["cell_count"] = (counts, "Cells in wells", "cells")
    return [
        Figure(f"plate_{name}", profile_charts.plate_map(wells, values, title, unit), title)
        for name, (values, title, unit) in shown_values.items()
    ]


def _neighbours(shown: Variant, columns: Columns, wanted: Pictures, workdir: Path) -> Section:
    found = nearest(shown.treated, columns, wanted.treatments, wanted.nearest)
    galleries = []
    if wanted.cells is not None:
        names = dict.fromkeys([*found["treatment"], *found["neighbour"]])
        files = cell_files(reading.scan(wanted.cells), columns, list(names))
        galleries = nearest_galleries(found, read_strips(files, wanted.root))
    text = (
        "The treatments whose profiles correlate most with those of some others, in the last variant; one treatment of "
        "each of the largest mechanisms where none is named."
    )
    return Section("Neighbours", text, [nearest_table(found), *save(galleries, workdir)])


def _of_treatments(shown: Variant, columns: Columns, wanted: Pictures) -> list[Figure]:
    treated = shown.treated
    drawn = [treatment_map(treated, columns)] if wanted.map else []
    if len(treated.features) > MAX_CLUSTERED:
        return drawn
    rows = prepare(treated, "pearson").rows
    named = [columns.compound, *filter(None, (columns.mechanism,))]
    names = [" · ".join(str(value)[:40] for value in row) for row in treated.metadata.select(named).iter_rows()]
    title = f"Treatments by likeness, {shown.name}"
    note = "Pearson correlation; red: alike, blue: opposite."
    return [*drawn, Figure("clustering", profile_charts.clustering(rows @ rows.T, names, title, note), title)]
