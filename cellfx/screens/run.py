"""From tables of features to profiles, their levels in files, scores and a report: what ``bin/profile`` runs.

A config lists variants, ways to normalize the same wells, and every variant is scored in the same way: so the report
says which of them is best. A variant is a row of steps, each fitted and applied by a file of ``cellfx.profiles``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.checks import UserError, check_value
from cellfx.files.whole import write_whole
from cellfx.files.workdir import locked, say
from cellfx.profiles.screen import treatments
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps import consensus, variant
from cellfx.profiles.steps.select import Selection
from cellfx.profiles.tables.table import Profiles, level_path, take, write
from cellfx.screens import (
    batches,
    files,
    pairs,
    score_files,
    setting,
    steps,
)
from cellfx.screens import (
    controls as profile_controls,
)
from cellfx.screens import (
    notices as profile_notices,
)
from cellfx.screens import (
    scores as profile_scores,
)
from cellfx.screens.controls import Controls
from cellfx.screens.page import page as profile_page
from cellfx.screens.page import pictures
from cellfx.screens.scores import Variant
from cellfx.screens.setting import Asked
from cellfx.screens.steps import Planned
from cellfx.screens.wells import read_columns, read_wells
from cellfx.settings import Config, call, check_section, nearest, to_dict

SECTIONS = ("columns", "profiles", "variants")
OPTIONAL_SECTIONS = (
    *("aggregate", "annotate", "compared", "consensus", "controls", "files", "pairs", "pictures", "rows", "scores"),
)


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Makes profiles, scores and report.html.

    Args:
        config: sections ``profiles`` (``path``, ``features``, ``convention`` and ``split``, see ``reading.scan``, or
            ``simulated``), ``columns``, ``controls`` (see ``screens.controls.find``), ``variants`` ((name, steps), in
            order), and some of ``OPTIONAL_SECTIONS``.
        workdir: gets config.json, scores.json, ``scores/<variant>/`` with tables of them (``screens.score_files``),
            report.html, figures/ and ``profiles/<variant>/`` with a Parquet file
            for every level (and those of ``screens.files``) and what was fitted; see ``profiles.steps.variant.apply``.

    Returns:
        Scores by variant, with ``notices``, the lines of ``screens.notices``.

    Raises:
        ValueError: settings or tables that do not fit, or a workdir that cannot be one.
    """
    settings = to_dict(config)
    check_sections(settings)
    columns = read_columns(settings["columns"])
    question = setting.asked(settings.get("scores", {}))
    wanted = setting.pictures(settings.get("pictures", {}))
    files.files(settings.get("files", {}))
    variants, own = steps.variants(settings["variants"]), pairs.read(settings.get("pairs", {}))
    said: dict[str, None] = {}

    def tell(line: str) -> None:
        """Says it at once, so that it stands before a refusal too."""
        if line not in said:
            say(line)
            said[line] = None

    wells, controls = read_wells(settings, columns, tell)
    of_wells = list(said)
    say(profile_notices.counted(wells, controls, columns))
    wells = profile_controls.mark(wells, controls)
    steps.check_controls(variants, controls.fitted)
    of_wells += profile_notices.of_wells(wells, controls, columns, settings["profiles"].get("features"))
    _check_workdir(workdir)
    with locked(workdir):
        of_wells += profile_notices.of_workdir(workdir, [planned.folder for planned in variants])
        write_whole(workdir / "config.json", json.dumps(settings, indent=2).encode())
        made, notices = [], {}
        for planned in variants:
            one, found = make(planned, wells, controls, columns, question, settings, workdir)
            made.append(one)
            notices[one.name] = of_wells + found
        pairs.check(made[0], own)
        for lines in notices.values():
            lines += pairs.lines(made[0], columns, own)
        for lines in notices.values():
            for notice in lines:
                tell(notice)
        pictures.check(made[-1].wells, made[-1].treated, columns, wanted, made[-1].dropped)
        parts, scores, tables = profile_scores.find_subsets(made[-1], columns, question), {}, {}
        for one, planned in zip(made, variants, strict=True):
            with variant.told(f"variant {one.name!r}"):
                scores[one.name] = profile_scores.score(one, columns, question, parts)
                for part, values in pairs.score(one, columns, question, own).items():
                    scores[one.name][part] = scores[one.name].get(part, {}) | values
            late = profile_notices.of_retrieval(one.name, scores[one.name])
            for notice in late:
                tell(notice)
            scores[one.name]["notices"] = notices[one.name] + late
            tables[planned.folder] = scores[one.name].pop("tables")
            words = [f"{what} {value:.4g}" for what, value in profile_scores.headline(scores[one.name]).items()]
            say(f"{one.name}: {', '.join(words)}")
        score_files.write(tables, workdir)
        write_whole(workdir / "scores.json", json.dumps(profile_scores.plain(scores), indent=1).encode())
        page, left_out = profile_page.write(made, scores, columns, question, wanted, settings, workdir)
        for name, reason in left_out.items():
            say(f"left out of the page: {name}; {reason}")
        say(f"report: {page}")
    return scores


def make(
    planned: Planned,
    wells: Profiles,
    controls: Controls,
    columns: Columns,
    question: Asked,
    settings: Mapping[str, Any],
    workdir: Path,
) -> tuple[Variant, list[str]]:
    """Wells and treatments of a variant, written to its folder, and notices of them."""
    folder = workdir / "profiles" / planned.folder
    with variant.told(f"variant {planned.name!r}"):
        fit = variant.fit(wells, controls.fitted, planned.steps, columns.plate_identity(), folder)
    normalised, judged = take(fit.wells, controls.scored), controls.judged[controls.scored]
    treated, by_batch, notices = summarize(normalised, judged, columns, settings, folder)
    dropped = {name: why for part in fit.fitted if isinstance(part, Selection) for name, why in part.dropped.items()}
    formats = files.files(settings.get("files", {}))
    files.write(folder, [*variant.levels(fit), files.CONSENSUS], formats, columns)
    on_controls = any(map(steps.on_controls, planned.steps)) and not controls.held_out.any()
    made = Variant(planned.name, normalised, judged, treated, by_batch, dropped, on_controls)
    with variant.told(f"variant {planned.name!r}"):
        profile_scores.check(made, question)
    return made, profile_notices.of_steps(planned.name, fit, controls) + notices


def summarize(
    wells: Profiles, controls: np.ndarray, columns: Columns, settings: Mapping[str, Any], folder: Path
) -> tuple[Profiles, Profiles | None, list[str]]:
    """One profile for each treatment that is compared, without controls; written as level 5; the same of each batch.

    Notices come third, and None in place of the second where there are no two batches.

    The section ``consensus`` goes to ``consensus.consensus``, the section ``compared`` to ``treatments.compared``.

    Raises:
        ValueError: no well has a treatment, or as these functions.
    """
    how = {"by": columns.described(), **settings.get("consensus", {})}
    others = take(wells, ~controls)
    named = treatments.named(others.metadata, columns)
    if not named.any():
        raise UserError(
            f"no treatment: got none in {len(named)} wells that are no controls, expected values in "
            f"{', '.join(columns.treatment)}; correct columns.treatment, or annotate the profiles"
        )
    pooled = call(consensus.consensus, "consensus", how, take(others, named))
    rules = settings.get("compared", {})
    treated = take(pooled, call(treatments.compared, "compared", rules, pooled.metadata, columns))
    write(treated, level_path(folder, variant.SCREEN, files.CONSENSUS))
    by_batch = batches.by_batch(take(others, named), treated, how, columns.batch)
    return treated, by_batch, profile_notices.of_treatments(int(np.sum(~named)), pooled.metadata, columns, rules)


def check_sections(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for a section that is missing or that nothing would read."""
    known = [*SECTIONS, *OPTIONAL_SECTIONS]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UserError(f"unknown config section {unknown[0]}; {nearest(unknown[0], known)}")
    missing = [name for name in SECTIONS if name not in settings]
    if missing:
        raise UserError(f"config section {missing[0]} is missing; expected {', '.join(SECTIONS)}")
    for name, section in settings.items():
        if name == "annotate":
            check_value(name, section, Mapping | Sequence[Mapping])
        elif name != "variants" and not (name == "controls" and section is None):
            check_section(name, section)


def _check_workdir(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"a workdir that cannot be made: got {workdir} ({error.strerror}), expected a folder that is there or can "
            "be made; choose another --workdir"
        ) from error
