"""What intensities alone tell of the class: statistics of every channel and logistic regression, the bar to clear."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cellfx.analysis.latents.probe import probe
from cellfx.files.whole import write_whole
from cellfx.files.workdir import read_config, say
from cellfx.runs.parts import load_source
from cellfx.studies.stages.train import run_folders

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def baseline(folder: Path, inputs: Mapping[str, Path]) -> None:
    """Writes ``<stage>.json`` for every ``train`` stage it comes after: a list by run.

    The images, channels and folds are those of the stage, the intensities those in the files. Every example weighs the
    same.

    Args:
        folder: of the stage.
        inputs: stages of classifiers of ``flowcytometry``.
    """
    for name, stage in inputs.items():
        rows = []
        for run in run_folders(stage).values():
            source = load_source({**read_config(run)["data"], "normalise": False})
            parts = {part: source.splits[part] for part in ("train", "valid", "test")}
            codes = {part: statistics(split.arrays["x"]) for part, split in parts.items()}
            known = [
                np.concatenate([codes["train"], codes["valid"]]),
                np.concatenate([parts[part].arrays["label"] for part in ("train", "valid")]),
            ]
            judged = probe(*known, codes["test"], parts["test"].arrays["label"], "logistic", balanced=False)
            rows.append({"accuracy": judged.accuracy, "balanced_accuracy": judged.balanced_accuracy})
        write_whole(folder / f"{name}.json", json.dumps(rows, indent=1).encode())
        mean = {score: np.mean([row[score] for row in rows]) for score in rows[0]}
        say(f"{name}: accuracy {mean['accuracy']:.4f}, balanced {mean['balanced_accuracy']:.4f}")


def statistics(images: np.ndarray) -> np.ndarray:
    """Mean, deviation, sum of logarithms and quantiles of every channel: (N, H, W, C) as stored -> (N, 10 C)."""
    pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.float64)
    parts = [pixels.mean(axis=1), pixels.std(axis=1), np.log(np.maximum(pixels, 1.0)).mean(axis=1)]
    parts += list(np.quantile(pixels, QUANTILES, axis=1))
    return np.concatenate(parts, axis=1)
