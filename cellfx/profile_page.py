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
from cellfx.profile_neighbours import KERNEL, cell_files, nearest, nearest_galleries, nearest_table
from cellfx.profile_pictures import clustering, plate_maps, strength_maps, treatment_map
from cellfx.profile_scores import Variant, headline
from cellfx.profile_setting import Asked, Pictures
from cellfx.profiles import reading
from cellfx.profiles.components import principal_components
from cellfx.profiles.mechanisms import mechanism_correlations
from cellfx.profiles.screen_rules import Columns
from cellfx.settings import write_whole

MAX_CLUSTERED, MAX_FEATURES, MAX_CONFUSED, LETTERS = 400, 40, 24, 28
"""Treatments, features and mechanisms that a figure can show, and letters of a mechanism among many."""
CURVES = {
    "enrichment": (
        "percentiles",
        "odds_ratio",
        "Enrichment",
        (
            "Odds that a pair above the percentile matches, over those of all others; infinite where all above it "
            "match, or all matches are above it."
        ),
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
    compared = profile_tables.comparison(scores, question.similarity)
    certain = profile_tables.certainty(scores, question.effort.num_permutations)
    sections = [part for part in (compared, certain, profile_tables.subsets(scores)) if part]
    of_plates = plate_maps(shown.wells, columns, wanted.plates, wanted.by_plate, shown.name)
    parts = {
        "Mechanisms": _of_mechanisms(scores, shown, columns),
        "Batches": _of_batches(variants, columns),
        "Plates": strength_maps(shown.wells, columns, shown.name) + of_plates,
        "Treatments": _of_treatments(shown, columns, wanted),
    }
    texts = _texts(scores[shown.name], shown, question)
    sections += [Section(title, texts[title], save(drawn, workdir)) for title, drawn in parts.items() if drawn]
    if wanted.nearest:
        sections.append(_neighbours(shown, columns, wanted, workdir))
    sections.append(profile_tables.glossary(scores))
    subtitle = f"{workdir.name} · {len(shown.wells.features):,} wells, {len(shown.treated.features):,} treatments"
    text = report("Treatment profiles", sections, _cards(scores, shown.name), subtitle, settings, versions())
    write_whole(workdir / "report.html", text.encode())
    return workdir / "report.html"


def _cards(scores: Mapping[str, Mapping[str, Any]], name: str) -> list[Card]:
    """The headlines of the last variant; where there are others, the cards say which it is."""
    of = f"last variant: {name}" if len(scores) > 1 else name
    return [
        Card(measure, f"{value:.3g}", of if np.isfinite(value) else f"{of}; odds without limit, see Variants")
        for measure, value in headline(scores[name]).items()
    ]


def _texts(scores: Mapping[str, Any], shown: Variant, question: Asked) -> dict[str, str]:
    """What stands above the figures of a section."""
    last = f"the last variant, {shown.name}"
    mechanisms = (
        "Whether treatments of one mechanism of action are more alike than others. Pairs of the same compound do not "
        f"count. Curves are of all variants, pictures of mechanisms of {last}."
    )
    if len(scores.get("confusion", {}).get("mechanisms", ())) > MAX_CONFUSED:
        mechanisms += f" A confusion matrix is left out, as there are more than {MAX_CONFUSED} mechanisms."
    treatments = f"Treatments of {last}, by how alike they are. {_of_kernel(question.similarity)}"
    if len(shown.treated.features) > MAX_CLUSTERED:
        treatments += f" Their clustering is left out, as there are more than {MAX_CLUSTERED}."
    return {
        "Mechanisms": mechanisms,
        "Batches": "Wells on their first two principal components, of the first and the last variant. Where colours "
        "part, batches do.",
        "Plates": f"Values of wells in their places. Features are those of {last}, and not as they were measured. What "
        "follows rows or columns comes from the place, unless treatments are laid out in rows or columns too.",
        "Treatments": treatments,
    }


def _of_kernel(similarity: str) -> str:
    """Why pictures compare by Pearson correlation."""
    if similarity == KERNEL:
        return "They are compared by Pearson correlation, as in the scores."
    return (
        f"They are compared by Pearson correlation, though the scores use the {similarity} similarity: correlation "
        "leaves out the mean of a profile over its features, so that only its pattern counts, and is what published "
        "clusterings of profiles use."
    )


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
        names = [profile_charts.short(name, LETTERS) for name in confusion["mechanisms"]]
        figure = charts.confusion(np.array(confusion["counts"]), names, title, "treatments")
        drawn.append(Figure("confusion", figure, title))
    if shown.treated.metadata[columns.mechanism].drop_nulls().n_unique() < 2:
        return drawn
    related, strongest = mechanism_correlations(shown.treated, columns.mechanism), slice(0, MAX_FEATURES)
    note = f"Correlation of the {len(related.features[strongest])} strongest features with each mechanism."
    figure = profile_charts.heatmap(
        related.correlation[strongest].T,
        related.mechanisms,
        related.features[strongest],
        f"Features against mechanisms, {shown.name}",
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


def _neighbours(shown: Variant, columns: Columns, wanted: Pictures, workdir: Path) -> Section:
    found = nearest(shown.treated, columns, wanted.treatments, wanted.nearest)
    galleries = []
    if wanted.cells is not None:
        names = dict.fromkeys([*found["treatment"], *found["neighbour"]])
        files = cell_files(reading.scan(wanted.cells), columns, list(names))
        galleries = nearest_galleries(found, read_strips(files, wanted.root))
    text = (
        "The treatments whose profiles have the largest Pearson correlation with those of some others, in the last "
        f"variant, {shown.name}; one treatment of each of the largest mechanisms where none is named."
    )
    return Section("Neighbours", text, [nearest_table(found), *save(galleries, workdir)])


def _of_treatments(shown: Variant, columns: Columns, wanted: Pictures) -> list[Figure]:
    drawn = [treatment_map(shown.treated, columns, variant=shown.name)] if wanted.map else []
    if len(shown.treated.features) > MAX_CLUSTERED:
        return drawn
    return [*drawn, clustering(shown.treated, columns, shown.name)]
