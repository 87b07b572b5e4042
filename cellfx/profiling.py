"""From tables of features to profiles, their levels in files, scores and a report: what ``bin/profile`` runs.

A config lists variants, ways to normalise the same wells, and every variant is scored in the same way: so the report
says which of them is best. A variant is a row of steps, each fitted and applied by a file of ``cellfx.profiles``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cellfx import profile_controls, profile_page, profile_pictures, profile_scores, profile_setting
from cellfx.experiment import say
from cellfx.profile_controls import Controls
from cellfx.profile_scores import Variant
from cellfx.profiles import aggregate, annotate, consensus, normalize, reading, select, simulated, spherize, treatments
from cellfx.profiles.screen_rules import Columns
from cellfx.profiles.table import METADATA, Profiles, level_path, take, write
from cellfx.settings import Config, call, check_call, locked, nearest, to_dict, write_whole

SECTIONS = ("columns", "controls", "profiles", "variants")
OPTIONAL_SECTIONS = ("aggregate", "annotate", "compared", "consensus", "pictures", "scores")
STEPS = (*normalize.METHODS, "select", "spherize")
SCREEN = "screen"
"""What the files of profiles are called, before the suffix of their level."""


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Makes profiles, scores and report.html.

    Args:
        config: sections ``profiles`` (``path`` and ``features``, or ``simulated``), ``columns``, ``controls``
            (see ``profile_controls.find``), ``variants`` ((name, steps), in order), and some of ``OPTIONAL_SECTIONS``.
        workdir: gets config.json, scores.json, report.html, figures/ and ``profiles/<variant>/`` with a Parquet file
            for every level and what was fitted.

    Returns:
        Scores by variant.

    Raises:
        ValueError: settings or tables that do not fit.
    """
    settings = to_dict(config)
    check_sections(settings)
    columns = call(Columns, "columns", settings["columns"])
    question = profile_setting.asked(settings.get("scores", {}))
    wanted = profile_setting.pictures(settings.get("pictures", {}))
    variants = [(name, [_step(step) for step in steps]) for name, steps in settings["variants"]]
    wells, controls = read_wells(settings, columns)
    with locked(workdir):
        write_whole(workdir / "config.json", json.dumps(settings, indent=2).encode())
        made = []
        for name, steps in variants:
            folder = workdir / "profiles" / name.replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            normalised = take(normalise(wells, controls.fitted, steps, columns, folder), controls.scored)
            judged = controls.judged[controls.scored]
            treated = summarise(normalised, judged, columns, settings, folder)
            made.append(Variant(name, normalised, judged, treated))
        profile_pictures.check(made[-1].wells, made[-1].treated, columns, wanted)
        parts, scores = profile_scores.find_subsets(made[-1], columns, question), {}
        for variant in made:
            scores[variant.name] = profile_scores.score(variant, columns, question, parts)
            words = [f"{what} {value:.4g}" for what, value in profile_scores.headline(scores[variant.name]).items()]
            say(f"{variant.name}: {', '.join(words)}")
        write_whole(workdir / "scores.json", json.dumps(profile_scores.plain(scores), indent=1).encode())
        say(f"report: {profile_page.write(made, scores, columns, question, wanted, settings, workdir)}")
    return scores


def read_wells(settings: Mapping[str, Any], columns: Columns) -> tuple[Profiles, Controls]:
    """Wells as the config describes them, annotated, and which of them are negative controls.

    With a section ``aggregate`` the table is one of cells, read a part at a time.

    Raises:
        ValueError: tables that cannot be read or joined, columns that they lack, or as ``profile_controls.find``.
    """
    given = dict(settings["profiles"])
    if "simulated" in given:
        drawn = dict(given["simulated"])
        sizes = call(simulated.Sizes, "profiles.simulated.sizes", drawn.pop("sizes", {}))
        wells = call(simulated.simulated, "profiles.simulated", {**drawn, "sizes": sizes})
    elif "aggregate" in settings:
        check_call(reading.read, "profiles", given)
        how = {"features": given.get("features"), **settings["aggregate"]}
        wells = call(aggregate.aggregate_lazily, "aggregate", how, reading.scan(given["path"]))
    else:
        wells = call(reading.read, "profiles", given)
    for table in settings.get("annotate", ()):
        wells = call(_annotated, "annotate", table, wells)
    _check_columns(wells.metadata, columns)
    return wells, call(profile_controls.find, "controls", settings["controls"], wells.metadata, columns.plate)


def normalise(
    wells: Profiles,
    controls: np.ndarray,
    steps: Sequence[tuple[str, Mapping[str, Any]]],
    columns: Columns,
    folder: Path,
) -> Profiles:
    """Takes wells through the steps of a variant; each level, and what was fitted, is written.

    Args:
        wells: N rows.
        controls: (N,) bool, those to fit on.
        steps: (one of ``STEPS``, its settings), in order. A normalisation is by plate unless ``by`` says otherwise,
            and on all wells unless ``on`` is "controls"; spherizing is on controls.
        columns: of the metadata.
        folder: of the variant.
    """
    dropped: dict[str, str] = {}
    for kind, given in steps:
        if kind == "select":
            wells, chosen = call(select.select, kind, given, wells)
            dropped |= chosen.dropped
            write_whole(folder / "dropped_features.json", json.dumps(dropped, indent=1).encode())
            level = "selected"
        elif kind == "spherize":
            fitted = call(spherize.fit, kind, given, wells, controls)
            spherize.save(fitted, folder / f"{kind}.npz")
            wells, level = spherize.apply(fitted, wells), "spherized"
        else:
            settings = {"by": (columns.plate,), "on": "wells", **given}
            on = settings.pop("on")
            _check_on(kind, on)
            arguments = {**settings, "method": kind, "controls": controls if on == "controls" else None}
            fitted = call(normalize.fit, kind, arguments, wells)
            normalize.save(fitted, folder / f"{kind}.npz")
            wells, level = normalize.apply(fitted, wells), "normalized"
        write(wells, level_path(folder, SCREEN, level))
    return wells


def summarise(
    wells: Profiles, controls: np.ndarray, columns: Columns, settings: Mapping[str, Any], folder: Path
) -> Profiles:
    """One profile for each treatment that is compared, without controls; written as level 5.

    The section ``consensus`` goes to ``consensus.consensus``, the section ``compared`` to ``treatments_compared``.
    """
    how = {"by": columns.described(), **settings.get("consensus", {})}
    treated = call(consensus.consensus, "consensus", how, take(wells, ~controls))
    rules = settings.get("compared", {})
    treated = take(treated, call(treatments_compared, "compared", rules, treated.metadata, columns))
    write(treated, level_path(folder, SCREEN, "consensus"))
    return treated


def treatments_compared(
    metadata: pl.DataFrame, columns: Columns, highest_dose: bool = False, mechanism_size: int = 0
) -> np.ndarray:
    """Which treatments are compared, (N,) bool: Bornholdt 2021, section 4.1.

    Args:
        metadata: of N treatments.
        columns: what its columns are called.
        highest_dose: only the highest dose of each compound.
        mechanism_size: only mechanisms of at least so many compounds; 0 takes all, also treatments without one. With
            ``columns.multilabel`` one of a treatment's labels is enough.

    Raises:
        ValueError: a rule for a column that the config does not name, or none is left.
    """
    taken = np.ones(len(metadata), bool)
    for wanted, column in ((highest_dose, "dose"), (mechanism_size, "mechanism")):
        if wanted and getattr(columns, column) is None:
            raise ValueError(
                f"a rule without its column: got columns.{column} None, expected the name of a column; give it, or "
                "leave the rule out of compared"
            )
    if highest_dose:
        taken &= treatments.highest_dose(metadata, columns.compound, columns.dose)
    if mechanism_size:
        taken &= treatments.known(metadata, columns.mechanism)
        taken[taken] = _shared(metadata.filter(pl.Series(taken)), columns, mechanism_size)
    if not taken.any():
        raise ValueError(
            f"no treatment left to compare: got none of {len(metadata)} by highest_dose={highest_dose} and "
            f"mechanism_size={mechanism_size}, expected two or more; loosen compared"
        )
    return taken


def _shared(metadata: pl.DataFrame, columns: Columns, least: int) -> np.ndarray:
    """Treatments whose mechanism, or one label of it, at least so many compounds have."""
    labelled = metadata.with_row_index("cellfx_row")
    if columns.multilabel:
        labelled = labelled.with_columns(pl.col(columns.mechanism).str.split("|")).explode(columns.mechanism)
        labelled = labelled.with_columns(pl.col(columns.mechanism).str.strip_chars())
    rows = labelled["cellfx_row"].filter(treatments.shared(labelled, columns.mechanism, columns.compound, least))
    return np.isin(np.arange(len(metadata)), rows.to_numpy())


def check_sections(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for a section that is missing or that nothing would read, or variants that are none."""
    known = [*SECTIONS, *OPTIONAL_SECTIONS]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"unknown config section {unknown[0]}; {nearest(unknown[0], known)}")
    missing = [name for name in SECTIONS if name not in settings]
    if missing:
        raise ValueError(f"config section {missing[0]} is missing; expected {', '.join(SECTIONS)}")
    variants = settings["variants"]
    names = [variant[0] for variant in variants if len(variant) == 2]
    if not names or len(set(names)) < len(variants):
        raise ValueError(
            f"no variants to compare: got {variants!r}, expected pairs of a name of its own and steps, such as "
            "(('raw', ()), ('spherized', ('spherize',))); correct variants"
        )


def _step(step: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A step is a name, or a mapping with its name and settings."""
    given = {"name": step} if isinstance(step, str) else dict(step)
    name = given.pop("name", None)
    if name not in STEPS:
        raise ValueError(f"unknown step of a variant: got {name!r}; {nearest(str(name), list(STEPS))}")
    if name == "select":
        check_call(select.select, name, given, 1)
    return name, given


def _check_on(kind: str, on: str) -> None:
    if on not in ("wells", "controls"):
        raise ValueError(f"{kind} on nothing known: got on={on!r}, expected wells or controls; correct the step")


def _check_columns(metadata: pl.DataFrame, columns: Columns) -> None:
    for name, value in columns._asdict().items():
        for column in (value,) if isinstance(value, str) else value if name == "treatment" else ():
            if column not in metadata.columns:
                raise ValueError(
                    f"no such column: got columns.{name} {column!r}, expected one of {', '.join(metadata.columns)}; "
                    "correct it, or annotate the profiles"
                )


def _annotated(wells: Profiles, path: str, on: Mapping[str, str], columns: Mapping[str, str]) -> Profiles:
    """Joins some columns of a table, {its name: name as metadata}; what has no annotation is said."""
    table = reading.scan(path).collect()
    unknown = [name for name in (*on.values(), *columns) if name not in table.columns]
    if unknown:
        raise ValueError(
            f"no such column in {path}: got {unknown[0]!r}, expected one of {', '.join(table.columns)}; correct "
            "annotate"
        )
    keys = {name: name if name.startswith(METADATA) else METADATA + name for name in on.values()}
    chosen = table.select([pl.col(name).alias(new) for name, new in {**keys, **columns}.items()]).unique()
    found = annotate.annotate(wells, chosen, {ours: keys[theirs] for ours, theirs in on.items()})
    if found.num_missing:
        say(f"{found.num_missing} wells without annotation in {path}")
    return found.profiles
