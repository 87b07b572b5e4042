"""The page that tells a study of cells in flow: filter, preprocessing, classifiers, and what two latent spaces know."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.page import versions
from cellfx.report.page import report as page
from cellfx.studies import cytometry_page as parts
from cellfx.studies.stages import ShownStage
from cellfx.studies.stages.report import left_out
from cellfx.studies.stages.train import first_run, run_folders

Named = Mapping[str, ShownStage]


def cytometry(
    folder: Path,
    inputs: Mapping[str, Path],
    classifiers: Named,
    latents: Mapping[str, Named],
    screens: Named | None = None,
    baseline: ShownStage | None = None,
    quality: ShownStage | None = None,
    translations: Named | None = None,
    shown: str | None = None,
    title: str = "Cells in flow",
) -> Sequence[Path]:
    """Writes report.html of the study, and ``tables.json`` with the numbers in it.

    Args:
        folder: of the stage.
        inputs: all stages that are shown; the page has no part about others.
        classifiers: channels -> ``train`` stage of a classifier.
        latents: model -> channels -> ``train`` stage.
        screens: data -> ``screen`` stage.
        baseline: ``baseline`` stage after the classifiers.
        quality: ``quality`` stage.
        translations: question -> ``train`` stage of a model that predicts channels.
        shown: the channels whose pictures are shown; None for the last of ``classifiers``.
        title: of the page.

    Returns:
        The page, in the study's folder.
    """
    wanted = [
        stage for each in (classifiers, screens, translations, *latents.values()) for stage in (each or {}).values()
    ]
    classifiers, screens, translations = (_there(each, inputs) for each in (classifiers, screens, translations))
    latents = {model: found for model, each in latents.items() if (found := _there(each, inputs))}
    channels = list(classifiers) or [name for each in latents.values() for name in each]
    shown = shown if shown in channels else (channels or [None])[-1]
    tables = {
        "filter": {name: _read(inputs[stage] / "run0" / "scores.json") for name, stage in screens.items()},
        "classifiers": {name: _classified(inputs, stage, baseline) for name, stage in classifiers.items()},
        "latents": {
            model: {name: _probed(inputs[stage]) for name, stage in each.items()} for model, each in latents.items()
        },
        "quality": {
            f"{model}, {name}": _read(inputs[quality] / f"{stage}.json")
            for model, each in (latents.items() if quality in inputs else ())
            for name, stage in each.items()
            if (inputs[quality] / f"{stage}.json").is_file()
        },
        "translation": {
            name: _read(first_run(inputs[stage]) / "scores.json")["translation"] for name, stage in translations.items()
        },
    }
    write_whole(folder / "tables.json", json.dumps(tables, indent=1).encode())
    runs = {model: first_run(inputs[each[shown]]) for model, each in latents.items() if shown in each}
    sections = [parts.filter_section(name, scores, inputs[screens[name]]) for name, scores in tables["filter"].items()]
    if classifiers:
        sections.append(parts.preprocessing_section(first_run(inputs[classifiers[shown]]), folder))
        sections.append(parts.classifiers_section(tables["classifiers"], folder))
    if latents:
        sections += [parts.latents_section(tables, folder), *parts.pictures(runs, shown)]
    sections += [parts.quality_section(tables["quality"])] if tables["quality"] else []
    for name, scores in tables["translation"].items():
        sections.append(parts.translation_section(name, scores, first_run(inputs[translations[name]])))
    sections += left_out([*wanted, baseline, quality], inputs)
    settings = _read(folder.parent / "study.json")
    text = page(title, sections, parts.cards(tables, shown), folder.parent.name, settings, versions())
    write_whole(folder.parent / "report.html", text.encode())
    say(f"report: {folder.parent / 'report.html'}")
    return [folder.parent / "report.html"]


def _there(named: Named | None, inputs: Mapping[str, Path]) -> dict[str, str]:
    """Stages by what they are called on the page, without those that the study does not have."""
    return {name: stage for name, stage in (named or {}).items() if stage in inputs}


def _classified(inputs: Mapping[str, Path], stage: str, baseline: str | None) -> dict[str, Any]:
    runs = [_read(run / "scores.json")["classifier"] for run in run_folders(inputs[stage]).values()]
    found = {score: [run[score] for run in runs] for score in ("accuracy", "balanced_accuracy")}
    found |= {
        "confusion": np.sum([run["confusion"] for run in runs], axis=0).tolist(),
        "classes": list(runs[0]["classes"]),
    }
    if baseline in inputs:
        rows = _read(inputs[baseline] / f"{stage}.json")
        found["baseline"] = {score: [row[score] for row in rows] for score in ("accuracy", "balanced_accuracy")}
    return found


def _probed(stage: Path) -> dict[str, Any]:
    part = _read(first_run(stage) / "scores.json")["probe"]
    return {name: part[name] for name in ("accuracy", "balanced_accuracy", "confusion", "classes", "test_images")}


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
