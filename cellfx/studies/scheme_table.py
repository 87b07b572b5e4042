"""The four schemes of a study side by side: how right each is, and how large. Read from the files of its stages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.distill.expressions.size import batch_norm_size
from cellfx.runs import experiment
from cellfx.studies.stages.distill import TARGETS, read_run
from cellfx.studies.stages.train import run_folders
from cellfx.trees import named_leaves

SCORES = ("balanced_accuracy_of_views", "accuracy_of_views", "balanced_accuracy", "accuracy")
"""Of the answers averaged over the flips and turns of an image, and of those to single views."""


class Scheme(NamedTuple):
    """One kind of classifier, over all encoders (folds) and seeds.

    Attributes:
        name: as in tables.
        source: file or folder of the study that holds the numbers.
        scores: one of ``SCORES`` -> values, one for each encoder and seed.
        runs: encoder of each value.
        weights: of each.
        inputs: latents, or None where it sees the image.
        sizes: nodes of the expression that each amounts to.
    """

    name: str
    source: str
    scores: dict[str, np.ndarray]
    runs: tuple[str, ...]
    weights: np.ndarray
    inputs: np.ndarray | None
    sizes: np.ndarray


def schemes(workdir: Path, cnn: str | None, heads: str | None, distill: str | None) -> list[Scheme]:
    """The schemes of one question, in the order of the paper; formulas by what they were fitted to, and the better.

    Args:
        workdir: of the study.
        cnn: its stage with scheme 1, if it has one.
        heads: its stage with schemes 2 and 3, if it has one.
        distill: its stage with scheme 4, if it has one.
    """
    found = [] if cnn is None else [_network(workdir, cnn)]
    if heads is not None:
        kinds = (("dense", "2 dense head"), ("sparse", "3 sparse head"))
        found += [_heads(workdir, heads, kind, name) for kind, name in kinds]
    if distill is None:
        return found
    rows = [row for folder in _run_dirs(workdir / distill) for row in read_run(folder)]
    for target in TARGETS:
        if all(target in row["by_target"] for row in rows):
            found.append(_formulas(rows, f"4 formula, from {target}", distill, target))
    return [*found, _formulas(rows, "4 formula, the better", distill, None)]


def spread(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation (n - 1) and count of some values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "sd": sd, "count": len(values)}


def as_rows(found: Sequence[Scheme]) -> list[dict[str, Any]]:
    """Means and spreads, and every value, for a file."""
    return [
        {
            "scheme": scheme.name,
            "source": scheme.source,
            "runs": list(scheme.runs),
            **{name: {**spread(values), "values": values.tolist()} for name, values in scheme.scores.items()},
            "weights": spread(scheme.weights),
            "inputs": None if scheme.inputs is None else spread(scheme.inputs),
            "expression_size": spread(scheme.sizes),
        }
        for scheme in found
    ]


def _network(workdir: Path, stage: str) -> Scheme:
    folders = run_folders(workdir / stage)
    judged = [json.loads((folder / "scores.json").read_text())["classifier"] for folder in folders.values()]
    trained = experiment.restore(next(iter(folders.values())))
    kernels = {name: leaf for name, leaf in named_leaves(trained.state.params).items() if name.endswith("kernel")}
    dense = [leaf.shape for name, leaf in kernels.items() if "/dense" in name]
    size = batch_norm_size([dense[0][0], *(shape[1] for shape in dense)])
    count = sum(int(leaf.size) for leaf in kernels.values())
    names = {"balanced_accuracy_of_views": "balanced_accuracy", "accuracy_of_views": "accuracy"}
    scores = {name: np.array([row[key] for row in judged]) for name, key in names.items()}
    repeated = np.full(len(judged), 1.0)
    return Scheme("1 CNN", f"{stage}/", scores, tuple(folders), count * repeated, None, size * repeated)


def _heads(workdir: Path, stage: str, kind: str, name: str) -> Scheme:
    rows, runs = [], []
    for folder in _run_dirs(workdir / stage):
        each = json.loads((folder / "scores.json").read_text())[kind]
        rows += each
        runs += [folder.name] * len(each)
    scores = {score: np.array([row["test"][score] for row in rows]) for score in SCORES}
    weights, sizes = (np.array([row[key] for row in rows], np.float64) for key in ("weights", "expression_size"))
    inputs = np.array([len(row["latents"]) for row in rows], np.float64)
    return Scheme(name, f"{stage}/*/scores.json", scores, tuple(runs), weights, inputs, sizes)


def _formulas(rows: Sequence[dict[str, Any]], name: str, stage: str, target: str | None) -> Scheme:
    each = [row["by_target"][target or row["target"]] for row in rows]
    scores = {score: np.array([part["scores"]["test"][score] for part in each]) for score in SCORES}
    runs = tuple(row["run"] for row in rows)
    numbers, inputs, sizes = (
        np.array([part[key] for part in each], np.float64) for key in ("constants", "inputs", "nodes")
    )
    return Scheme(name, f"{stage}/*/seed*.json", scores, runs, numbers, inputs, sizes)


def _run_dirs(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("run*") if path.is_dir()), key=lambda path: (len(path.name), path.name))
