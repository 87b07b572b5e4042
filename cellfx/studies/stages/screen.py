"""The cell filter beside two that labs use, on the same images: Isaksson 2018, chapter 4."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis.images.screening import Roc, judge_screen, pixel_regression, roc, threshold_for
from cellfx.analysis.images.size_gate import extent, fit_size_gate, gate
from cellfx.data.source import Split, to_float
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.page import Figure, save
from cellfx.findings.subject import over
from cellfx.report.charts import screening
from cellfx.runs import filtering
from cellfx.studies.stages import InputStage
from cellfx.studies.stages.train import run_folders

CNN, REGRESSION, GATE = "CNN", "logistic regression", "size gate"
SIZES = ("Metadata_Height_px", "Metadata_Width_px")


def screen(
    folder: Path,
    inputs: Mapping[str, Path],
    filter: InputStage = "filter",
    max_false_positive_rate: float = filtering.MAX_FALSE_POSITIVE_RATE,
) -> None:
    """Writes ``<run>/scores.json`` and figures for every filter of a ``train`` stage.

    All three learn from the training images, their thresholds are chosen on the validation images, and they are judged
    on the test images. A gate has no threshold: it is fitted on both.

    Args:
        folder: of the stage.
        inputs: the stage named by ``filter``.
        filter: name of the stage whose classifiers tell usable from unusable.
        max_false_positive_rate: share of unusable images that may be let through.
    """
    for name, run in run_folders(inputs[filter]).items():
        if (folder / name / "scores.json").exists():
            continue
        found = filtering.load(run, max_false_positive_rate)
        splits = found.trained.source.splits
        truth = {part: filtering.labels(found.trained.source, split) for part, split in splits.items()}
        images = {part: to_float(split.arrays["x"]) for part, split in splits.items()}
        seen = np.concatenate([images["valid"], images["test"]])
        regressed = np.split(pixel_regression(images["train"], truth["train"], seen), [len(truth["valid"])])
        scored = {
            CNN: (found.curve, over(found.score, splits["test"]), 0.0),
            REGRESSION: (roc(regressed[0], truth["valid"]), regressed[1], 0.5),
        }
        scores = {kind: _judged(*each, truth["test"], max_false_positive_rate) for kind, each in scored.items()}
        sizes = {part: _sizes(split, images[part]) for part, split in splits.items()}
        known = [np.concatenate([part["train"], part["valid"]]) for part in (sizes, truth)]
        limits = fit_size_gate(*known)
        let_through = gate(limits, sizes["test"]).astype(np.float64)
        gated = judge_screen(let_through, truth["test"], 0.5)
        scores[GATE] = {**_as_dict(gated), "limits": limits._asdict()}
        scores |= {"classes": list(found.trained.source.class_names), "wanted": max_false_positive_rate}
        scores["images"] = {part: len(labels) for part, labels in truth.items()}
        curves = {kind: roc(each[1], truth["test"]) for kind, each in scored.items()}
        point = (gated.false_positive_rate, gated.true_positive_rate)
        figures = [
            Figure(
                "roc",
                screening.roc_curves(curves, {GATE: point}, max_false_positive_rate),
                "Usable images let through against unusable ones, by filter",
            ),
            _pictures(images["test"], truth["test"], scored[CNN][1] >= found.threshold),
        ]
        save(figures, folder / name)
        write_whole(folder / name / "scores.json", json.dumps(scores, indent=1).encode())
        for kind in (CNN, REGRESSION, GATE):
            say(f"{name}: {kind}, accuracy {scores[kind]['accuracy']:.4f}")


def check(max_false_positive_rate: float = filtering.MAX_FALSE_POSITIVE_RATE, **others: Any) -> None:
    """Raises a ValueError for a rate that is no share."""
    del others
    if not 0 <= max_false_positive_rate <= 1:
        raise ValueError(
            f"max_false_positive_rate is no share: got {max_false_positive_rate}, expected 0 to 1; correct it"
        )


def _judged(
    valid: Roc, test_scores: np.ndarray, cut: float, truth: np.ndarray, max_false_positive_rate: float
) -> dict[str, Any]:
    """Of a filter with scores: at its natural cut, and at the threshold that validation images give."""
    threshold = threshold_for(valid, max_false_positive_rate)
    return {
        **_as_dict(judge_screen(test_scores, truth, cut)),
        "area": roc(test_scores, truth).area,
        "threshold": threshold if np.isfinite(threshold) else None,
        "at_threshold": _as_dict(judge_screen(test_scores, truth, threshold)),
    }


def _as_dict(judged: Any) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in judged._asdict().items()}


def _sizes(split: Split, images: np.ndarray) -> np.ndarray:
    """(N, 2) rows and columns: of the instrument's own crop where images differ in it, else of what they show."""
    if all(name in split.metadata for name in SIZES):
        sizes = np.stack([split.metadata[name] for name in SIZES], axis=1).astype(np.float64)
        if len(np.unique(sizes, axis=0)) > 1:
            return sizes
    return extent(images)


def _pictures(images: np.ndarray, truth: np.ndarray, kept: np.ndarray) -> Figure:
    groups = {
        f"{kind}, {done}": images[(truth == usable) & (kept == through)]
        for kind, usable in (("usable", True), ("unusable", False))
        for done, through in (("kept", True), ("rejected", False))
    }
    return Figure("screened", screening.screened(groups), "Images by what they are and what the filter made of them")
