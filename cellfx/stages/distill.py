"""Scheme 4: short formulas of the latents that matter, in the place of every sparse head."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx import codes
from cellfx.distill import fit as search
from cellfx.distill.evaluate import numpy_evaluate
from cellfx.distill.expression import (
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
from cellfx.distill.problem import Problem
from cellfx.experiment import say
from cellfx.settings import write_whole
from cellfx.sparsity import compact
from cellfx.stages.heads import accuracies, code_files

TARGETS = {"labels": "hinge", "outputs": "squared"}
"""What a formula is fitted to -> its loss; Soelistyo and Lowe 2024, supplement 6, eqs. 9 and 10."""


def distill(
    folder: Path,
    inputs: Mapping[str, Path],
    embed: str = "embed",
    heads: str = "heads",
    classes: Mapping[str, Sequence[str]] | None = None,
    backend: str = "auto",
    targets: Sequence[str] = ("labels", "outputs"),
    num_seeds: int = 10,
    generations: int = 100,
    max_nodes: int = 20,
    max_latents: int = 8,
    max_rows: int = 2_000,
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
        backend: ``operon``, ``pysr``, or ``auto`` for the latter where Julia is there.
        targets: what formulas are fitted to, of ``TARGETS``.
        num_seeds: heads of every encoder that are distilled, from the first.
        generations: length of a search.
        max_nodes: largest expression size that is chosen.
        max_latents: a search sees at most this many latents, those that matter most.
        max_rows: rows that a search sees.
    """
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
            budget = search.Budget(generations=generations, max_nodes=max_nodes)
            fronts = {target: _fronts(rows, latents, target, budget, backend, seed) for target in targets}
            content = _content(fronts, encoded, max_nodes, {"run": name, "seed": seed, "latents": latents})
            write_whole(output, json.dumps(content, indent=1).encode())
            say(f"{name} seed {seed}: {_line(content)}")


def check(backend: str = "auto", targets: Sequence[str] = ("labels", "outputs"), **others: Any) -> None:
    """Raises a ValueError for an unknown target, or a backend that cannot run here, with what to install."""
    del others
    wrong = [target for target in targets if target not in TARGETS]
    if wrong or not targets:
        raise ValueError(
            f"unknown target of a formula: got {list(targets)}, expected some of {', '.join(TARGETS)}; correct "
            f"distill.targets"
        )
    search.check_backend(backend)


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
    """Rows of a search: latents (N, L), labels (N,), the sparse head's logits (N, K); and the same to validate on."""

    z: np.ndarray
    label: np.ndarray
    logits: np.ndarray
    valid_z: np.ndarray
    valid_label: np.ndarray
    valid_logits: np.ndarray


def _rows(encoded: codes.Codes, network: compact.Compact, max_rows: int, seed: int) -> _Rows:
    """Every training image in a random view, or about ``max_rows`` of them; validation images in all views."""
    rng = np.random.default_rng(seed)
    views, labels = codes.of_split(encoded, "train")
    rows = rng.permutation(len(labels))[:max_rows]
    z, label = views[rng.integers(len(views), size=len(rows)), rows], labels[rows]
    held_out = "valid" if np.any(encoded.split == "valid") else "train"
    valid_views, valid_label = codes.of_split(encoded, held_out)
    valid_z, valid_label = valid_views.reshape(-1, z.shape[1]), np.tile(valid_label, len(valid_views))
    answer = compact.apply(network)
    logits, valid_logits = (np.asarray(answer(each), np.float64) for each in (z, valid_z))
    return _Rows(z, label, logits, valid_z, valid_label, valid_logits)


def _latents(judged: Mapping[str, Any], most: int) -> list[int]:
    """The latents that matter to a head, most first; all that it has where none does."""
    lost = {int(latent): value for latent, value in judged["importance"].items()}
    return sorted(judged["chosen"] or lost, key=lambda latent: -lost[latent])[:most]


def _fronts(
    rows: _Rows, latents: Sequence[int], target: str, budget: search.Budget, backend: str, seed: int
) -> list[list[Scored]]:
    """A front of formulas for the second of two classes, or for every class against the rest."""
    num_classes = rows.logits.shape[1]
    positives = [1] if num_classes == 2 else range(num_classes)
    return [search.fit(_problem(rows, latents, target, positive), budget, seed, backend) for positive in positives]


def _problem(rows: _Rows, latents: Sequence[int], target: str, positive: int) -> Problem:
    """The search for a formula that is positive for one class."""
    labels, valid_labels = (np.where(each == positive, 1.0, -1.0) for each in (rows.label, rows.valid_label))
    outputs = (labels, valid_labels)
    if target == "outputs":
        outputs = (margin_of(rows.logits, positive), margin_of(rows.valid_logits, positive))
    raise NotImplementedError(outputs)


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
    held_out = "valid" if np.any(encoded.split == "valid") else "train"
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
