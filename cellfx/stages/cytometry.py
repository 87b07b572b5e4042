"""The page that tells a study of cells in flow: filter, preprocessing, classifiers, and what two latent spaces know."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis.report import report as page
from cellfx.experiment import say
from cellfx.presentation import versions
from cellfx.settings import write_whole
from cellfx.stages import ShownStage
from cellfx.stages import _cytometry_page as parts
from cellfx.stages.train import first_run, run_folders

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
        inputs: all stages that are shown.
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
    shown = shown or list(classifiers)[-1]
    tables = {
        "filter": {name: _read(inputs[stage] / "run0" / "scores.json") for name, stage in (screens or {}).items()},
        "classifiers": {name: _classified(inputs, stage, baseline) for name, stage in classifiers.items()},
        "latents": {
            model: {name: _probed(inputs[stage]) for name, stage in each.items()} for model, each in latents.items()
        },
        "quality": {
            f"{model}, {name}": _read(inputs[quality] / f"{stage}.json")
            for model, each in (latents.items() if quality else ())
            for name, stage in each.items()
            if (inputs[quality] / f"{stage}.json").is_file()
        },
        "translation": {
            name: _read(first_run(inputs[stage]) / "scores.json")["translation"]
            for name, stage in (translations or {}).items()
        },
    }
    write_whole(folder / "tables.json", json.dumps(tables, indent=1).encode())
    runs = {model: first_run(inputs[each[shown]]) for model, each in latents.items() if shown in each}
    screened = [parts.filter_section(name, scores, inputs[screens[name]]) for name, scores in tables["filter"].items()]
    sections = [
        *screened,
        parts.preprocessing_section(first_run(inputs[classifiers[shown]]), folder),
        parts.classifiers_section(tables["classifiers"], folder),
        parts.latents_section(tables, folder),
        *parts.pictures(runs, shown),
        *([parts.quality_section(tables["quality"])] if tables["quality"] else []),
        *(
            parts.translation_section(name, scores, first_run(inputs[translations[name]]))
            for name, scores in tables["translation"].items()
        ),
    ]
    settings = _read(folder.parent / "study.json")
    text = page(title, sections, parts.cards(tables, shown), folder.parent.name, settings, versions())
    write_whole(folder.parent / "report.html", text.encode())
    say(f"report: {folder.parent / 'report.html'}")
    return [folder.parent / "report.html"]


def _classified(inputs: Mapping[str, Path], stage: str, baseline: str | None) -> dict[str, Any]:
    runs = [_read(run / "scores.json")["classifier"] for run in run_folders(inputs[stage]).values()]
    found = {score: [run[score] for run in runs] for score in ("accuracy", "balanced_accuracy")}
    found |= {
        "confusion": np.sum([run["confusion"] for run in runs], axis=0).tolist(),
        "classes": list(runs[0]["classes"]),
    }
    if baseline is not None:
        rows = _read(inputs[baseline] / f"{stage}.json")
        found["baseline"] = {score: [row[score] for row in rows] for score in ("accuracy", "balanced_accuracy")}
    return found


def _probed(stage: Path) -> dict[str, Any]:
    part = _read(first_run(stage) / "scores.json")["probe"]
    return {name: part[name] for name in ("accuracy", "balanced_accuracy", "confusion", "classes", "test_images")}


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
