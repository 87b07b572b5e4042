"""The page that compares variants of profiles: tables, curves, confusion, batches, plates and clusters."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cellfx.data.images.strips import read_strips
from cellfx.files.whole import write_whole
from cellfx.findings.page import Figure, save, versions
from cellfx.profiles.scores.mechanisms import mechanism_correlations
from cellfx.profiles.screen import labels
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps.components import principal_components
from cellfx.profiles.tables import reading
from cellfx.profiles.tables.table import Profiles
from cellfx.report.charts import latents, profiles
from cellfx.report.page import Card, Picture, Section, Table, report
from cellfx.screens.page import agreement, pictures, tables
from cellfx.screens.page import curves as profile_curves
from cellfx.screens.page.neighbours import (
    KERNEL,
    cell_files,
    correlated,
    names_of,
    nearest,
    nearest_galleries,
    nearest_table,
)
from cellfx.screens.page.pictures import clustering, plate_maps, strength_maps, treatment_map
from cellfx.screens.scores import JUDGED_BY_CONTROLS, Variant, headline
from cellfx.screens.setting import Asked, Pictures

MAX_CLUSTERED, MAX_FEATURES, MAX_CONFUSED, LETTERS = 400, 40, 24, 28
"""Treatments, features and mechanisms that a figure can show, and letters of a mechanism among many."""
UNKNOWN = "unknown"
"""What stands for a batch that is missing."""
Draw = Callable[..., list[Picture]]
"""Name, function, its arguments -> pictures; see ``_drawer``."""


def write(
    variants: Sequence[Variant],
    scores: Mapping[str, Mapping[str, Any]],
    columns: Columns,
    question: Asked,
    wanted: Pictures,
    settings: Mapping[str, Any],
    workdir: Path,
) -> tuple[Path, dict[str, str]]:
    """Writes report.html and its figures; the last variant is the one whose pictures are shown.

    A picture that cannot be drawn is left out, and the page says why.

    Args:
        variants: what became of the wells, in order.
        scores: of each, by its name.
        columns: of the metadata.
        question: what was asked.
        wanted: what is shown beside the scores.
        settings: of the run.
        workdir: of the run.

    Returns:
        page: its path.
        left_out: what it goes without -> why.
    """
    shown, left_out = variants[-1], {}
    draw = _drawer(left_out, workdir)
    treated = correlated(shown.treated, left_out)
    parts = {
        "Mechanisms": _of_mechanisms(scores, shown, columns, draw),
        "Batches": _of_batches(variants, columns, draw),
        "Plates": _of_plates(shown, columns, wanted, draw, left_out),
        "Treatments": _of_treatments(treated, shown.name, columns, wanted, draw),
        "Neighbours": _neighbours(treated, columns, wanted, draw, left_out),
    }
    compared = tables.comparison(scores, question.similarity, left_out)
    certain = tables.certainty(scores, question.effort.num_permutations)
    sections = [part for part in (compared, certain, tables.subsets(scores)) if part]
    texts = _texts(scores[shown.name], shown, question)
    sections += [Section(title, texts[title], drawn) for title, drawn in parts.items() if drawn]
    sections += [tables.glossary(scores), agreement.section()]
    subtitle = f"{workdir.name} · {len(shown.wells.features):,} wells, {len(shown.treated.features):,} treatments"
    text = report("Treatment profiles", sections, _cards(scores, shown.name), subtitle, settings, versions())
    write_whole(workdir / "report.html", text.encode())
    return workdir / "report.html", left_out


def _drawer(left_out: dict[str, str], workdir: Path) -> Draw:
    """Draws and saves what a function gives, a figure, several or None; says so in ``left_out`` where it cannot."""

    def saved(make: Callable[..., Any], *args: Any) -> list[Picture]:
        figures = make(*args)
        return save([figures] if isinstance(figures, Figure) else figures or [], workdir)

    return lambda name, make, *args: pictures.attempt(left_out, name, saved, make, *args) or []


def _cards(scores: Mapping[str, Mapping[str, Any]], name: str) -> list[Card]:
    """The headlines of the last variant.

    Where there are others, the cards say which it is. Where it was fitted on the controls that a score compares with,
    they say so, and what the first variant has that was not.
    """
    of = f"last variant: {name}" if len(scores) > 1 else name
    unfitted = next((other for other, each in scores.items() if not each.get("fitted_on_controls")), None)
    cards = []
    for measure, value in headline(scores[name]).items():
        note = of if np.isfinite(value) else f"{of}; odds without limit, see Variants"
        if scores[name].get("fitted_on_controls") and measure in JUDGED_BY_CONTROLS:
            note += "; judged by controls that it was fitted on"
            if unfitted is not None and measure in (others := headline(scores[unfitted])):
                note += f" ({unfitted}, fitted on none: {others[measure]:.3g})"
        cards.append(Card(measure, f"{value:.3g}", note))
    return cards


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
        "Batches": "Wells on their first two principal components, of the first and the last variant. Where colors "
        "part, batches do.",
        "Plates": f"Values of wells in their places. Features are those of {last}, and not as they were measured. What "
        "follows rows or columns comes from the place, unless treatments are laid out in rows or columns too.",
        "Treatments": treatments,
        "Neighbours": "The treatments whose profiles have the largest Pearson correlation with those of some others, "
        f"in {last}; one treatment of each of the largest mechanisms where none is named.",
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


def _of_mechanisms(
    scores: Mapping[str, Mapping[str, Any]], shown: Variant, columns: Columns, draw: Draw
) -> list[Picture]:
    if columns.mechanism is None:
        return []
    curves = {name: each["curves"] for name, each in scores.items()}
    drawn = [
        picture
        for name, kind in profile_curves.CURVES.items()
        for picture in draw(f"curves of {kind[2]}", functools.partial(profile_curves.curves, curves, name, *kind))
    ]
    drawn += draw("confusion of mechanisms", _confusion, scores[shown.name].get("confusion"), shown.name)
    return drawn + draw("features against mechanisms", _features, shown, columns)


def _confusion(confusion: Mapping[str, Any] | None, variant: str) -> Figure | None:
    """Mechanisms of the nearest treatments; None where they are too many, or not known."""
    if not confusion or len(confusion["mechanisms"]) > MAX_CONFUSED:
        return None
    title = f"Mechanism of the nearest other compound, {variant}"
    names = [profiles.short(name, LETTERS) for name in confusion["mechanisms"]]
    figure = latents.confusion(np.array(confusion["counts"]), names, title, "treatments")
    return Figure("confusion", figure, title)


def _features(shown: Variant, columns: Columns) -> Figure | None:
    """The strongest features against mechanisms; None where there are no two."""
    if shown.treated.metadata[columns.mechanism].drop_nulls().n_unique() < 2:
        return None
    related, strongest = mechanism_correlations(shown.treated, columns.mechanism), slice(0, MAX_FEATURES)
    note = f"Correlation of the {len(related.features[strongest])} strongest features with each mechanism."
    figure = profiles.heatmap(
        related.correlation[strongest].T,
        related.mechanisms,
        related.features[strongest],
        f"Features against mechanisms, {shown.name}",
        note,
    )
    return Figure("mechanism_features", figure, note)


def _of_batches(variants: Sequence[Variant], columns: Columns, draw: Draw) -> list[Picture]:
    first_and_last = enumerate(variants[:: max(len(variants) - 1, 1)])
    return [
        picture
        for number, variant in first_and_last
        for picture in draw(f"wells by batch, {variant.name}", _batches, number, variant, columns)
    ]


def _batches(number: int, variant: Variant, columns: Columns) -> Figure:
    column = columns.batch or columns.plate
    found = principal_components(variant.wells.features)
    groups = variant.wells.metadata[column].cast(str).fill_null(UNKNOWN).to_list()
    title = f"Wells by {column.removeprefix('Metadata_').lower()}, {variant.name}"
    figure = profiles.components(found.projected, found.explained, groups, title)
    return Figure(f"components_{number}", figure, title)


def _of_plates(
    shown: Variant, columns: Columns, wanted: Pictures, draw: Draw, left_out: dict[str, str]
) -> list[Picture]:
    if columns.well is None:
        return []
    wells = pictures.attempt(left_out, "maps of plates", pictures.placed, shown.wells, columns)
    if wells is None:
        return []
    drawn = draw("maps of strength and cell counts", strength_maps, wells, columns, shown.name)
    first = 0
    for name in wanted.plates:
        what = f"plate map of {name}"
        if name in shown.dropped:
            left_out[what] = f"variant {shown.name!r} dropped this feature: {shown.dropped[name]}"
            continue
        found = draw(what, plate_maps, wells, columns, [name], wanted.by_plate, shown.name, first)
        drawn, first = drawn + found, first + len(found)
    return drawn


def _neighbours(
    treated: Profiles, columns: Columns, wanted: Pictures, draw: Draw, left_out: dict[str, str]
) -> list[Picture | Table]:
    """The table of neighbors, and pictures of their cells."""
    named = [name for name in wanted.treatments if name in names_of(treated, columns)]
    if not wanted.nearest or not len(treated.features) or len(named) == 0 < len(wanted.treatments):
        return []
    found = pictures.attempt(left_out, "neighbours", nearest, treated, columns, named, wanted.nearest)
    if found is None:
        return []
    galleries = []
    if wanted.cells is not None:
        galleries = draw("cells of neighbors", _galleries, found, columns, wanted)
    return [nearest_table(found), *galleries]


def _galleries(found: pl.DataFrame, columns: Columns, wanted: Pictures) -> list[Figure]:
    names = dict.fromkeys([*found["treatment"], *found["neighbour"]])
    with reading.told(wanted.cells):
        files = cell_files(labels.typed(reading.scan(wanted.cells), columns), columns, list(names))
    return nearest_galleries(found, read_strips(files, wanted.root))


def _of_treatments(treated: Profiles, variant: str, columns: Columns, wanted: Pictures, draw: Draw) -> list[Picture]:
    if not len(treated.features):
        return []
    drawn = draw("map of treatments", treatment_map, treated, columns, 0, variant) if wanted.map else []
    if len(treated.features) > MAX_CLUSTERED:
        return drawn
    return drawn + draw("clustering of treatments", clustering, treated, columns, variant)
