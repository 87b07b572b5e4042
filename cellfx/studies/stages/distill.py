"""Scheme 4: short formulas of the latents that matter, in the place of every sparse head."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import Count
from cellfx.distill import fit as search
from cellfx.distill.backends import julia
from cellfx.distill.backends.pysr import SCRATCH
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import (
    Expression,
    complexity,
    constants,
    from_json,
    num_nodes,
    to_infix,
    to_json,
    variables,
)
from cellfx.distill.front import Scored, choose, to_rows
from cellfx.distill.problem import Budget, Problem, problem
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.heads import codes
from cellfx.settings import call
from cellfx.sparsity import compact
from cellfx.studies.stages import InputStage
from cellfx.studies.stages.heads import accuracies, code_files

AUTO = "auto"
TARGETS = {"labels": "hinge", "outputs": "squared"}
"""What a formula is fitted to -> its loss; Soelistyo and Lowe 2024, supplement 6, eqs. 9 and 10."""

HELD_ROWS = 4
"""Rows that formulas are judged by, for every row that they are fitted to: judging is cheap, and chooses."""


def distill(
    folder: Path,
    inputs: Mapping[str, Path],
    embed: InputStage = "embed",
    heads: InputStage = "heads",
    classes: Mapping[str, Sequence[str]] | None = None,
    backend: str = AUTO,
    targets: Sequence[str] = ("labels", "outputs"),
    num_seeds: Count = 10,
    max_nodes: Count = 20,
    max_latents: Count = 8,
    max_rows: Count = 2_000,
    balanced: bool = True,
    budget: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``<run>/seed<k>.json`` for every seed of every encoder's sparse heads.

    A search sees the latents that matter to one head; its rows are training images, each in a view drawn at random, as
    in training. Formulas are chosen, from a front and between targets, by validation images.

    Args:
        folder: of the stage.
        inputs: the stages that the next two name.
        embed: stage with the codes.
        heads: stage with the sparse heads.
        classes: as of the heads.
        backend: ``operon``, ``pysr``, or ``auto`` for the latter where Julia and all of its packages are there.
        targets: what formulas are fitted to, of ``TARGETS``.
        num_seeds: heads of every encoder that are distilled, from the first.
        max_nodes: largest expression size that is chosen.
        max_latents: a search sees at most this many latents, those that matter most.
        max_rows: training images that a formula is fitted to.
        balanced: whether both sides of a formula weigh the same, however many images they have.
        budget: fields of ``distill.problem.Budget``, how much is searched.
    """
    effort = call(Budget, "distill.budget", budget or {})
    backend = search.choose_backend(None if backend == AUTO else backend)
    for left_behind in folder.glob(f"{SCRATCH}*"):  # by a search that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    for name, path in code_files(inputs[embed]).items():
        encoded = codes.grouped(codes.load(path), classes)
        networks = json.loads((inputs[heads] / name / "sparse.json").read_text())["networks"]
        judged = json.loads((inputs[heads] / name / "scores.json").read_text())["sparse"]
        for seed in range(min(num_seeds, len(networks))):
            output = folder / name / f"seed{seed}.json"
            if output.exists():
                continue
            latents = _latents(judged[seed], max_latents)
            rows = _rows(encoded, compact.from_json(networks[seed]), max_rows, seed)
            problems = {target: _problems(rows, latents, target, balanced) for target in targets}
            fronts = {
                target: [search.fit(each, effort, seed, backend, folder, say) for each in parts]
                for target, parts in problems.items()
            }
            content = _content(
                fronts, encoded, max_nodes, {"run": name, "seed": seed, "latents": latents, "backend": backend}
            )
            write_whole(output, json.dumps(content, indent=1).encode())
            say(f"{name} seed {seed}: {_line(content)}")


def check(
    backend: str = AUTO,
    targets: Sequence[str] = ("labels", "outputs"),
    budget: Mapping[str, Any] | None = None,
    **others: Any,
) -> None:
    """Raises a ValueError for an unknown target, or a backend that cannot run here, with what to install."""
    del others
    wrong = [target for target in targets if target not in TARGETS]
    if wrong or not targets:
        raise ValueError(
            f"unknown target of a formula: got {list(targets)}, expected some of {', '.join(TARGETS)}; correct "
            f"distill.targets"
        )
    call(Budget, "distill.budget", budget or {})
    chosen = search.choose_backend(None if backend == AUTO else backend)
    if backend == AUTO:
        why = "" if chosen == "pysr" else f", PySR cannot run here ({julia.missing()})"
        say(f"distill.backend={AUTO}: {chosen} searches{why}")


def read_run(folder: Path) -> list[dict[str, Any]]:
    """What was written for one encoder, by seed."""
    found = [json.loads(path.read_text()) for path in folder.glob("seed*.json")]
    return sorted(found, key=lambda content: content["seed"])


def expressions_of(content: Mapping[str, Any], target: str | None = None) -> list[Expression]:
    """The formulas of one seed: one for the second of two classes, or one for each class against the rest.

    Args:
        content: of a file, see ``read_run``.
        target: of ``TARGETS``; None takes the one that did better on validation images.
    """
    return [from_json(row["expression"]) for row in content["by_target"][target or content["target"]]["formulas"]]


class _Rows(NamedTuple):
    """Rows of a search.

    Attributes:
        z: (N, L) latents, of training images and behind them of validation images.
        label: (N,).
        logits: (N, K) of the sparse head.
        valid: (N,) bool, whether a row is there to judge by.
    """

    z: np.ndarray
    label: np.ndarray
    logits: np.ndarray
    valid: np.ndarray


def _rows(encoded: codes.Codes, network: compact.Compact, max_rows: int, seed: int) -> _Rows:
    """``max_rows`` training images in a random view each, and rows of validation images."""
    rng = np.random.default_rng(seed)
    views, labels = codes.of_split(encoded, "train")
    rows = rng.permutation(len(labels))[:max_rows]
    z, label = views[rng.integers(len(views), size=len(rows)), rows], labels[rows]
    held, held_label = _held_rows(encoded, HELD_ROWS * max_rows, rng)
    count, z, label = len(z), np.concatenate([z, held]), np.concatenate([label, held_label])
    logits = np.asarray(compact.apply(network)(z), np.float64)
    return _Rows(z, label, logits, np.arange(len(z)) >= count)


def _held_rows(encoded: codes.Codes, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Latents and labels of validation images: few in all views, many in a random one each, at most ``most`` rows."""
    views, labels = codes.of_split(encoded, _held_out(encoded))
    if views.shape[0] * views.shape[1] <= most:
        return views.reshape(-1, views.shape[2]), np.tile(labels, len(views))
    some = rng.permutation(len(labels))[:most]
    return views[rng.integers(len(views), size=len(some)), some], labels[some]


def _held_out(encoded: codes.Codes) -> str:
    return "valid" if np.any(encoded.split == "valid") else "train"


def _latents(judged: Mapping[str, Any], most: int) -> list[int]:
    """The latents that matter to a head, most first; all that it has where none does."""
    lost = {int(latent): value for latent, value in judged["importance"].items()}
    return sorted(judged["chosen"] or lost, key=lambda latent: -lost[latent])[:most]


def _problems(rows: _Rows, latents: Sequence[int], target: str, balanced: bool) -> list[Problem]:
    """The search for a formula that is above zero for the second of two classes, or one for each class of more.

    A class that no validation image has is judged by some of the rows to fit, which the problem then draws.
    """
    num_classes, found = rows.logits.shape[1], []
    for positive in [1] if num_classes == 2 else range(num_classes):
        labels = np.where(rows.label == positive, 1.0, -1.0)
        wanted = labels if target == "labels" else margin_of(rows.logits, positive)
        valid = rows.valid if len(np.unique(labels[rows.valid])) == 2 else None
        found.append(problem(rows.z, latents, wanted, TARGETS[target], labels, valid, balanced=balanced))
    return found


def margin_of(logits: np.ndarray, positive: int) -> np.ndarray:
    """Logit of a class less the largest of the others, (N,): positive where a network decides for it."""
    return logits[:, positive] - np.delete(logits, positive, axis=1).max(axis=1)


def _content(
    fronts: Mapping[str, list[list[Scored]]], encoded: codes.Codes, max_nodes: int, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What is written for one seed: by target the fronts and the chosen formulas with their scores; and the better."""
    by_target = {}
    for target, parts in fronts.items():
        chosen = [choose(part, max_nodes).expression for part in parts]
        by_target[target] = {
            "formulas": [_described(expression) for expression in chosen],
            "nodes": sum(num_nodes(expression) for expression in chosen),
            "constants": sum(len(constants(expression)) for expression in chosen),
            "inputs": len({name for expression in chosen for name in variables(expression)}),
            "scores": {split: _judge(chosen, encoded, split) for split in np.unique(encoded.split).tolist()},
            "fronts": [to_rows(part) for part in parts],
        }
    held_out = _held_out(encoded)
    better = max(by_target, key=lambda target: by_target[target]["scores"][held_out]["balanced_accuracy"])
    return {**about, "class_names": list(encoded.class_names), "target": better, "by_target": by_target}


def _described(expression: Expression) -> dict[str, Any]:
    return {
        "text": to_infix(expression, 4),
        "nodes": num_nodes(expression),
        "complexity": complexity(expression),
        "expression": to_json(expression),
    }


def _judge(chosen: Sequence[Expression], encoded: codes.Codes, split: str) -> dict[str, float]:
    views, labels = codes.of_split(encoded, split)
    names = [f"z{latent}" for latent in range(views.shape[2])]
    values = np.stack([[numpy_evaluate(each, view, names) for each in chosen] for view in views])
    # One formula f stands for the logits (0, f): the second class where it is positive.
    logits = np.concatenate([np.zeros_like(values), values], axis=1) if len(chosen) == 1 else values
    return accuracies(np.moveaxis(logits, 1, 2), labels)


def _line(content: Mapping[str, Any]) -> str:
    part = content["by_target"][content["target"]]
    formula = part["formulas"][0]["text"] if len(part["formulas"]) == 1 else f"{len(part['formulas'])} formulas"
    right = part["scores"].get("test", part["scores"].get("valid", {})).get("balanced_accuracy", float("nan"))
    return f"{formula}   ({part['nodes']} nodes, from {content['target']}, balanced accuracy {right:.4f})"
