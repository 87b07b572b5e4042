"""The page that compares variants of profiles: a table, curves, confusion, batches, plates and clusters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis import charts, profile_charts
from cellfx.analysis.report import Card, Section, Table, report
from cellfx.presentation import Figure, save, versions
from cellfx.profile_scores import Columns, Variant, headline
from cellfx.profiles.components import principal_components
from cellfx.profiles.mechanisms import mechanism_correlations
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
    settings: Mapping[str, Any],
    workdir: Path,
) -> Path:
    """Writes report.html and its figures; the last variant is the one whose pictures are shown.

    Args:
        variants: what became of the wells, in order.
        scores: of each, by its name.
        columns: of the metadata.
        settings: of the run.
        workdir: of the run.

    Returns:
        The page.
    """
    shown = variants[-1]
    sections = [_comparison(scores)]
    parts = {
        "Mechanisms": _of_mechanisms(scores, shown, columns),
        "Batches": _of_batches(variants, columns),
        "Plates": _of_plates(shown, columns),
        "Treatments": _of_treatments(shown, columns),
    }
    sections += [Section(title, TEXTS[title], save(drawn, workdir)) for title, drawn in parts.items() if drawn]
    best = headline(scores[shown.name])
    cards = [Card(name, f"{value:.3g}", shown.name) for name, value in best.items()]
    subtitle = f"{workdir.name} · {len(shown.wells.features):,} wells, {len(shown.treated.features):,} treatments"
    text = report("Treatment profiles", sections, cards, subtitle, settings, versions())
    write_whole(workdir / "report.html", text.encode())
    return workdir / "report.html"


INTERVALS = {"replicates": "mAP of replicates", "mechanisms": "precision@R"}
TEXTS = {
    "Mechanisms": "Whether treatments of one mechanism of action are more alike than others. Pairs of the same "
    "compound do not count.",
    "Batches": "Wells on their first two principal components. Where colours part, batches do.",
    "Plates": "A value of every well in its place, averaged over the plates. What follows rows or columns comes from "
    "the place and not from the treatment.",
    "Treatments": "Treatments of the last variant, ordered by how alike they are.",
}


def _comparison(scores: Mapping[str, Mapping[str, Any]]) -> Section:
    rows = {name: headline(each) for name, each in scores.items()}
    measures = list(next(iter(rows.values())))
    table = Table(
        ("variant", *measures),
        [(name, *(row[measure] for measure in measures)) for name, row in rows.items()],
        "Every variant, scored in the same way",
        "scores.json",
    )
    first = next(iter(scores.values()))
    certain = {"replicates": "map", "mechanisms": "precision_at_r"}
    intervals = Table(
        ("variant", *(f"{INTERVALS[part]}, 95 % interval" for part in certain if part in first)),
        [
            (name, *(_span(each[part][f"{score}_interval"]) for part, score in certain.items() if part in each))
            for name, each in scores.items()
        ],
        "How certain, by drawing treatments again",
        "scores.json",
    )
    text = (
        "Replicates: wells of a treatment find each other before the negative controls of their plate. Mechanisms: "
        "treatments of one mechanism find each other; an odds ratio is inf where all of the most similar pairs match. "
        "Batch enrichment: how much likelier the most similar pairs of negative controls are to be of one batch; 1 is "
        "no batch effect."
    )
    return Section("Variants", text, [table, intervals])


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _of_mechanisms(scores: Mapping[str, Mapping[str, Any]], shown: Variant, columns: Columns) -> list[Figure]:
    if columns.mechanism is None:
        return []
    found = {name: each["mechanisms"] for name, each in scores.items()}
    drawn = [
        Figure(name, _curves(found, *kind), f"{kind[2]}, a line for each variant") for name, kind in CURVES.items()
    ]
    last, related = found[shown.name], mechanism_correlations(shown.treated, columns.mechanism)
    if len(last["mechanisms"]) <= MAX_CONFUSED:
        title = f"Mechanism of the nearest other compound, {shown.name}"
        drawn.append(
            Figure("confusion", charts.confusion(np.array(last["confusion"]), last["mechanisms"], title), title)
        )
    strongest = slice(0, MAX_FEATURES)
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
    lines = {name: (np.array(each[x]), np.array(each[y])) for name, each in found.items()}
    return profile_charts.curves(lines, title, note, *names, level=level)


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


def _of_treatments(shown: Variant, columns: Columns) -> list[Figure]:
    treated = shown.treated
    if len(treated.features) > MAX_CLUSTERED:
        return []
    rows = prepare(treated, "pearson").rows
    named = [columns.compound, *filter(None, (columns.mechanism,))]
    names = [" · ".join(str(value)[:40] for value in row) for row in treated.metadata.select(named).iter_rows()]
    title = f"Treatments by likeness, {shown.name}"
    note = "Pearson correlation; red: alike, blue: opposite."
    return [Figure("clustering", profile_charts.clustering(rows @ rows.T, names, title, note), title)]
