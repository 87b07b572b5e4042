"""What a run of ``bin/profile`` found odd in its wells and went on all the same: a line each, shown on its page."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cellfx.profiles.scores.mean_average_precision import THRESHOLD
from cellfx.profiles.screen import treatments
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps import fitted
from cellfx.profiles.steps.control_directions import Stillness
from cellfx.profiles.steps.normalize import Normalization
from cellfx.profiles.steps.select import Selection
from cellfx.profiles.steps.spherize import Spherizing
from cellfx.profiles.steps.variant import Fit, Step
from cellfx.profiles.tables import doubtful_features, plate_identity
from cellfx.profiles.tables.table import Profiles, few, groups
from cellfx.report.charts import plates as plate_charts
from cellfx.screens import positions, score_files
from cellfx.screens.controls import Controls

FEW = 10
"""Fewer rows do not tell a spread: the standard deviation of 10 normal values is off by 24 %, of 6 by 32 %."""


def counted(wells: Profiles, controls: Controls, columns: Columns) -> str:
    """How many wells were read, with what."""
    plates, held_out = len(groups(wells.metadata, columns.plate_identity())), int(controls.held_out.sum())
    untreated = int(controls.all.sum())
    return (
        f"{_number(len(wells.features), 'well')} with {_number(len(wells.names), 'feature')} on "
        f"{_number(plates, 'plate')}, {untreated:,} of them "
        f"{'a negative control' if untreated == 1 else 'negative controls'}"
        f"{f', {held_out:,} held out' if held_out else ''}"
    )


def of_wells(wells: Profiles, controls: Controls, columns: Columns, features: str | None) -> list[str]:
    """Plates without a negative control, wells without a place, and columns that became features and hardly are any.

    Args:
        wells: N rows.
        controls: among them.
        columns: of the metadata.
        features: regular expression by which the config names the features.
    """
    found = []
    named = plate_identity.named(wells.metadata, columns.plate_identity())
    bare = [(name, rows) for name, rows in named if not controls.all[rows].any()]
    if not controls.all.any():
        found.append(
            "no negative controls: the config has no section controls; scores that compare with them are left out, and "
            "replicates are compared with other treatments"
        )
    elif bare:
        plates, count = [name for name, _ in bare], sum(len(rows) for _, rows in bare)
        found.append(
            f"no negative control on {_number(len(bare), 'plate')} with {_number(count, 'well')}: "
            f"{', '.join(plates[:3])}{' ...' if len(plates) > 3 else ''}; what compares with the controls of a plate "
            "leaves them out"
        )
    if columns.well in wells.metadata.columns:
        placed = plate_charts.has_place(wells.metadata[columns.well])
        if placed.any() and not placed.all():
            names = wells.metadata[columns.well].filter(pl.Series(~placed)).unique(maintain_order=True).to_list()
            found.append(
                f"no place on a plate for {_number(int(np.sum(~placed)), 'well')}, named {few(names)} in "
                f"{columns.well}; maps of plates leave them out"
            )
    found += positions.notice(wells, controls.all, columns)
    if features is None:
        found += doubtful_features.told(wells.names)
    return found


def of_workdir(workdir: Path, current: Collection[str]) -> list[str]:
    """Folders of variants that an earlier run left in the workdir.

    Args:
        workdir: of the run.
        current: folders of its own variants.
    """
    found = []
    for name in ("profiles", score_files.FOLDER):
        earlier = sorted(path.name for path in (workdir / name).glob("*") if path.is_dir() and path.name not in current)
        if earlier:
            found.append(
                f"{name}/ also has what earlier runs in this workdir made: {few(earlier)}; remove it where it misleads"
            )
    return found


def of_steps(name: str, fit: Fit, controls: Controls) -> list[str]:
    """Features that a step left out, and steps whose result the number of controls may have made.

    Args:
        name: of the variant.
        fit: its steps.
        controls: among its wells.
    """
    found = [_dropped(part) for part in fit.fitted if isinstance(part, Selection)]
    found += [_few_rows(part, step, fit.wells, controls) for part, step in zip(fit.fitted, fit.steps, strict=False)]
    found += [_still_directions(place, still, fit) for place, still in fit.still]
    if not controls.held_out.any():
        found += [_alike(part, fit.wells, controls) for part in fit.fitted if isinstance(part, Spherizing)]
    return [f"{name}: {line}" for line in found if line]


def _dropped(part: Selection) -> str:
    """Features that a selection left out, by operation."""
    by: dict[str, list[str]] = {}
    for name, why in part.dropped.items():
        by.setdefault(why.partition(":")[0], []).append(name)
    if not by:
        return ""
    return (
        f"select left out {len(part.dropped):,} of {_number(len(part.kept) + len(part.dropped), 'feature')}: "
        f"{'; '.join(f'{few(names, 3)} ({operation})' for operation, names in by.items())}; dropped_features.json of "
        "the variant says why"
    )


def _few_rows(part: Any, step: Step, wells: Profiles, controls: Controls) -> str:
    """A normalization whose groups are too small to know a spread."""
    if not isinstance(part, Normalization) or part.method == "centre":
        return ""
    on_controls = step.settings.get("on") == "controls"
    rows = controls.fitted if on_controls else ~controls.held_out
    counts = {int(group[0]): int(rows[group].sum()) for group in groups(wells.metadata, part.by)}
    row = min(counts, key=counts.__getitem__)
    if counts[row] >= FEW:
        return ""
    what = _number(counts[row], "control" if on_controls else "well") + _where(part, wells, row)
    return (
        f"{step.kind} is fitted on {what}, the fewest of {_number(len(counts), 'group')}: a spread of fewer than {FEW} "
        "is known poorly, features that vary little among them become large, and spherizing behind it makes the most "
        "of that; fit on all wells, or by a larger group"
    )


def _still_directions(place: int, still: Stillness, fit: Fit) -> str:
    """Directions in which the controls of a spherizing do not vary."""
    part = fit.fitted[place]
    hardly = f" and hardly in {still.num_small:,}" if still.num_small else ""
    normalised = any(isinstance(each, Normalization) for each in fit.fitted[:place])
    lost = still.num_unseen - max(still.num_features - still.num_controls + 1, 0)
    cause = f" ({lost:,} of them because of the steps before or of features that depend on each other)"
    return (
        f"{_number(still.num_controls, 'control')}{_where(part, fit.wells, still.row)} do not vary in "
        f"{still.num_unseen:,}{hardly} of {_number(still.num_features, 'direction')}"
        f"{cause if lost > 0 and normalised else ''}: {100 * still.before:.1f} % of a treated well's squared norm lies "
        f"there before spherizing, {100 * still.after:.1f} % behind it; where that is most of it, select features, or "
        "change regularization, epsilon or unseen of the step spherize"
    )


def _alike(part: Spherizing, wells: Profiles, controls: Controls) -> str:
    """Controls that spherizing makes alike, and that scores compare with."""
    counts = {int(rows[0]): int(controls.fitted[rows].sum()) for rows in groups(wells.metadata, part.by)}
    small = [row for row, count in counts.items() if count <= len(part.names)]
    if not small:
        return ""
    row = min(small, key=counts.__getitem__)
    where = f"{_where(part, wells, row)}, one of {len(small)} such groups" if part.by else ""
    return (
        f"fitted on {counts[row]} controls{where}, which are no more than the {len(part.names)} features, so that "
        "these controls are more alike than other untreated wells by construction; scores against them say less than "
        "they seem; hold some out with controls.held_out"
    )


def _where(part: Normalization | Spherizing, wells: Profiles, row: int) -> str:
    """The group of a row."""
    label = tuple(str(wells.metadata[column][row]) for column in part.by)
    return f" in {fitted.spoken(part.by, label)}" if part.by else ""


def of_treatments(untreated: int, metadata: pl.DataFrame, columns: Columns, rules: Mapping[str, Any]) -> list[str]:
    """Wells that are no treatment, and treatments that are not compared.

    Args:
        untreated: wells that are no controls and have no treatment.
        metadata: of all treatments.
        columns: of the metadata.
        rules: arguments of ``treatments.compared``, by which one treatment or more is.
    """
    found = []
    if untreated:
        found.append(
            f"no treatment in {_number(untreated, 'well')} that are no controls: nothing in "
            f"{' or '.join(columns.treatment)}; they are left out of the treatments"
        )
    doses = {name: value for name, value in rules.items() if name == "highest_dose"}
    high, taken = (int(np.sum(treatments.compared(metadata, columns, **each))) for each in (doses, rules))
    reasons = []
    if high < len(metadata):
        reasons.append(f"{len(metadata) - high:,} are no highest dose of a compound (compared.highest_dose)")
    if taken < high:
        size = rules["mechanism_size"]
        reasons.append(f"{high - taken:,} have no mechanism of {size} compounds or more (compared.mechanism_size)")
    if reasons:
        found.append(f"{taken:,} of {len(metadata):,} treatments are compared: {' and '.join(reasons)}")
    return found


def of_retrieval(name: str, scores: Mapping[str, Any]) -> list[str]:
    """Replicates that are too few for their p-values to be significant, however well they find each other.

    Args:
        name: of the variant.
        scores: of it, see ``screens.scores.score``.
    """
    if not scores.get("replicates"):
        return []
    least = np.sort(scores["replicates"]["least_p_value"])
    count = len(least)
    needed = np.flatnonzero(least * count / np.arange(1, count + 1) < THRESHOLD)
    if len(needed) and needed[0] == 0:
        return []
    reason = f"{needed[0] + 1:,} of them must be perfect before one is retrieved" if len(needed) else "none can be"
    text = (
        f"{name}: no treatment's p-value can be below {least[0]:.2g}, as its replicates and the controls of their "
        f"plates are few; corrected for {_number(count, 'treatment')}, {reason}: fraction retrieved says little, mAP "
        "of replicates says more"
    )
    return [text]


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
