"""Schemes 2 and 3: dense and sparse heads on the latents of a frozen encoder, all seeds at once."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from cellfx.distill.expressions.size import dense_size, sparse_size
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.heads import codes
from cellfx.heads import heads as training
from cellfx.heads.heads import Heads
from cellfx.heads.setting import METHODS, Setting, check_sparsity
from cellfx.nn.head import Head
from cellfx.runs.rehearsal import num_latents
from cellfx.settings import check_call
from cellfx.sparsity import compact
from cellfx.sparsity.summary import summary
from cellfx.studies.stages import InputStage
from cellfx.training.progress import progress

SCHEMES = {"dense": "scheme 2: dense head", "sparse": "scheme 3: sparse head"}
DENSE = {"method": "dense", "dropout": 0.3}
SPARSE = {"method": "rigl", "sparsity": 0.951, "update_every": 115, "update_rate": 0.758}
"""Soelistyo and Lowe 2024, supplement 2.2 and 2.3.1."""


def heads(
    folder: Path,
    inputs: Mapping[str, Path],
    embed: InputStage = "embed",
    classes: Mapping[str, Sequence[str]] | None = None,
    num_seeds: int = 10,
    min_importance: float = 0.003,
    dense: Mapping[str, Any] | None = None,
    sparse: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``<run>/dense.npz``, ``<run>/sparse.npz`` and ``<run>/scores.json`` for the codes of every encoder.

    Args:
        folder: of the stage.
        inputs: the stage named by ``embed``.
        embed: name of the stage with the codes.
        classes: name -> classes of the data that it stands for; None tells all apart.
        num_seeds: heads of each kind, for every encoder.
        min_importance: accuracy that a sparse head loses when a latent that matters is shuffled over the images.
        dense: fields of ``heads.heads.Setting`` that differ from the published dense head.
        sparse: fields that differ from the published sparse head.
    """
    settings = {"dense": _setting("dense", DENSE, dense), "sparse": _setting("sparse", SPARSE, sparse)}
    for name, path in code_files(inputs[embed]).items():
        if (folder / name / "scores.json").exists():
            continue
        encoded = codes.grouped(codes.load(path), classes)
        views, labels = codes.of_split(encoded, "train")
        scores = {}
        for kind, setting in settings.items():
            say(f"{name}: {num_seeds} {kind} heads on {len(labels):,} images")
            bar = progress(training.num_steps(setting, len(labels)))
            found = training.train(views, labels, len(encoded.class_names), setting, range(num_seeds), bar)
            bar.close()
            found = training.pruned(found) if kind == "sparse" else found
            training.save(folder / name / f"{kind}.npz", found)
            each = [training.select(found, [run]) for run in range(num_seeds)]
            scores[kind] = [_scores(head, encoded, min_importance if kind == "sparse" else None) for head in each]
            say(f"{name}: {SCHEMES[kind]}, {_line(scores[kind])}")
        _write_networks(folder / name, training.load(folder / name / "sparse.npz"), encoded)
        write_whole(folder / name / "scores.json", json.dumps(scores, indent=1).encode())


def check(
    inputs: Mapping[str, Any] | None = None,
    embed: str = "embed",
    classes: Mapping[str, Sequence[str]] | None = None,
    num_seeds: int = 10,
    dense: Mapping[str, Any] | None = None,
    sparse: Mapping[str, Any] | None = None,
    **others: Any,
) -> None:
    """Raises a ValueError for settings that no head can be trained with."""
    del others
    if num_seeds < 1:
        raise ValueError(f"no head to train: got num_seeds={num_seeds}, expected 1 or more; raise it")
    encoder = (inputs or {}).get(embed)
    settings = [_setting("dense", DENSE, dense), _setting("sparse", SPARSE, sparse)]
    for setting in settings:
        setting.check()
        num_classes = len(classes) if classes else encoder.num_classes if encoder else None
        if encoder is not None and num_classes is not None:
            check_sparsity(setting, num_latents(encoder), num_classes)


def code_files(folder: Path) -> dict[str, Path]:
    """Run -> codes, of a stage ``embed``."""
    found = sorted(folder.glob("run*.npz"), key=lambda path: (len(path.stem), path.stem))
    return {path.stem: path for path in found if not path.stem.endswith("-traversals")}


def head_function(path: Path, run: int) -> Partial:
    """JAX function z (B, L) -> logits (B, K) of one of the heads in a file, whose parameters it carries."""
    found = training.load(path)
    params = jax.tree.map(jnp.float32, training.on_raw_latents(found, run))
    return Partial(_head(found.settings[run].widths, found.num_classes), params)


@functools.cache
def _head(widths: tuple[int, ...], num_classes: int) -> Callable[[Any, Any], Any]:
    module = Head(widths, num_classes)
    return lambda params, z: module.apply({"params": params}, z)


def accuracies(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of logits (V, N, K) by view: means over the single views, and of their mean over all views.

    Returns:
        ``accuracy`` and ``balanced_accuracy`` as seen in one view, ``.._of_views`` with the logits of all averaged.
    """
    single = [_rates(view.argmax(axis=-1), labels) for view in logits]
    accuracy, balanced = np.mean(single, axis=0)
    accuracy_of_views, balanced_of_views = _rates(logits.mean(axis=0).argmax(axis=-1), labels)
    return {
        "accuracy": float(accuracy),
        "balanced_accuracy": float(balanced),
        "accuracy_of_views": float(accuracy_of_views),
        "balanced_accuracy_of_views": float(balanced_of_views),
    }


def _rates(predicted: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    right = predicted == labels
    return float(right.mean()), float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _setting(kind: str, published: Mapping[str, Any], changed: Mapping[str, Any] | None) -> Setting:
    changed = {} if changed is None else changed
    check_call(
        Setting, f"heads.{kind}", changed, derived={"method": "scheme 2 has all its weights"} if kind == "dense" else {}
    )
    if kind == "sparse" and changed.get("method") == "dense":
        raise ValueError(
            f"no way to sparsity: got heads.sparse.method='dense', expected one of {METHODS[1:]}; correct it"
        )
    fields = {**published, **changed}
    return Setting(**{**fields, "widths": tuple(fields.get("widths", Setting().widths))})


def importance(head: Heads, views: np.ndarray, labels: np.ndarray, latents: Sequence[int]) -> dict[int, float]:
    """Accuracy that a head loses when one latent is shuffled over the images, so that it tells nothing of them.

    Permutation importance, Breiman 2001, doi:10.1023/A:1010933404324, section 10.

    Args:
        head: one.
        views: (V, N, L).
        labels: (N,).
        latents: which to shuffle.
    """

    def accuracy(codes: np.ndarray) -> float:
        return float(np.mean([training.logits(head, view)[0].argmax(axis=-1) == labels for view in codes]))

    order, whole, lost = np.random.default_rng(0).permutation(len(labels)), accuracy(views), {}
    for latent in latents:
        shuffled = views.copy()
        shuffled[:, :, latent] = shuffled[:, order, latent]
        lost[int(latent)] = whole - accuracy(shuffled)
    return lost


def _scores(head: Heads, encoded: codes.Codes, min_importance: float | None) -> dict[str, Any]:
    """What one head is and can; which latents matter to it is asked of the rows that it learnt from."""
    params = training.on_raw_latents(head, 0)
    counts, setting = summary(params), head.settings[0]
    widths = (len(head.centre), *setting.widths, head.num_classes)
    dense = setting.method == "dense"
    scores: dict[str, Any] = {
        "seed": head.seeds[0],
        "weights": sum(counts.weights.values()),
        "weights_per_layer": counts.weights,
        "units": counts.units,
        "latents": list(counts.latents),
        "sparsity": counts.sparsity,
        "expression_size": dense_size(widths) if dense else sparse_size(compact.compact(params)),
    }
    if min_importance is not None:
        lost = importance(head, *codes.of_split(encoded, "train"), counts.latents)
        scores["importance"] = {str(latent): value for latent, value in lost.items()}
        scores["chosen"] = [latent for latent, value in lost.items() if value >= min_importance]
    for split in ("valid", "test"):
        if np.any(encoded.split == split):
            views, labels = codes.of_split(encoded, split)
            scores[split] = accuracies(np.stack([training.logits(head, view)[0] for view in views]), labels)
    return scores


def _write_networks(folder: Path, found: Heads, encoded: codes.Codes) -> None:
    """The sparse heads as networks of their surviving units, ``sparse.json``; a list by seed."""
    networks = [
        compact.to_json(compact.compact(training.on_raw_latents(found, run))) for run in range(len(found.seeds))
    ]
    content = {"class_names": encoded.class_names, "activation": "mish", "networks": networks}
    write_whole(folder / "sparse.json", json.dumps(content).encode())


def _line(scores: Sequence[Mapping[str, Any]]) -> str:
    part = "test" if "test" in scores[0] else "valid"
    values = [row[part]["balanced_accuracy"] for row in scores] if part in scores[0] else [np.nan]
    used, weights = sorted(len(row["latents"]) for row in scores), np.mean([row["weights"] for row in scores])
    spread = f"{np.mean(values):.4f} ± {np.std(values):.4f}"
    return f"balanced accuracy {spread}, {weights:.0f} weights, {used[0]} to {used[-1]} latents"
