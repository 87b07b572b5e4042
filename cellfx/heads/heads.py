"""Classifiers on cached latents: many dense or sparse heads trained at once, judged, pruned and kept."""

import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cellfx.files.whole import write_whole
from cellfx.heads.program import head_trainer
from cellfx.heads.setting import NUMBERS, Setting, check_rows, check_sparsity, check_together, check_warm_up
from cellfx.nn.head import Head
from cellfx.sparsity.prune import prune
from cellfx.training.progress import Progress
from cellfx.trees import named_leaves
from cellfx.types import PyTree

SMALLEST_SCALE_RATE = 0.1
"""An encoder leaves latents that it has no use for nearly constant; blown up to unit variance they would be noise."""


class Heads(NamedTuple):
    """R trained heads: each setting with each seed, all seeds of the first setting first.

    Attributes:
        params: as ``nn.head.Head`` has them, NumPy leaves (R, ...); for latents (z - center) / scale.
        centre: (L,) float32.
        scale: (L,) float32.
        num_classes: K.
        settings: R.
        seeds: R.
        loss: (R,) float32, of the last batch.
    """

    params: PyTree
    centre: np.ndarray
    scale: np.ndarray
    num_classes: int
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    loss: np.ndarray


class Judged(NamedTuple):
    """How good heads are.

    Attributes:
        accuracy: (R,) fraction of right predictions.
        balanced_accuracy: (R,) mean recall over the classes that occur.
        confusion: (R, K, K) counts, [true, predicted].
    """

    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    confusion: np.ndarray


def train(
    views: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    settings: Setting | Sequence[Setting],
    seeds: Sequence[int],
    progress: Progress | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Heads:
    """Trains a head for every setting with every seed, all side by side.

    An epoch takes every row once, but for the rest that fills no batch, each time in a view drawn at random: flips and
    rotations of the image, encoded beforehand. Latents are standardized by the rows trained on.

    Args:
        views: (V, N, L) latents of V views of N images.
        labels: (N,) int in [0, K).
        num_classes: K.
        settings: one or more; they may differ in ``NUMBERS`` alone.
        seeds: of the initial parameters, the order of the rows, the views and dropout.
        progress: a display; counts steps.
        devices: of this host; None for all.

    Raises:
        ValueError: latents, labels or settings that cannot be trained on, or a run that diverged.
    """
    heads = attempt(views, labels, num_classes, settings, seeds, progress, devices)
    broken = np.flatnonzero(~np.isfinite(heads.loss))
    if len(broken):
        raise ValueError(
            f"a head diverged: got a loss of {heads.loss[broken[0]]} with seed {heads.seeds[broken[0]]}, expected a "
            f"finite number; try a smaller learning_rate"
        )
    return heads


def attempt(
    views: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    settings: Setting | Sequence[Setting],
    seeds: Sequence[int],
    progress: Progress | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Heads:
    """As ``train``, but runs that diverged are handed back, with a loss that is not finite."""
    settings = [settings] if isinstance(settings, Setting) else list(settings)
    views, labels = np.asarray(views, np.float32), np.asarray(labels, np.int32)
    if not settings or not len(seeds):
        raise ValueError(
            f"no head to train: got {len(settings)} settings and {len(seeds)} seeds, expected one or more of both; "
            f"add some"
        )
    check_together(settings)
    check_rows(views, labels, num_classes, settings[0].batch_size)
    for setting in settings:
        check_sparsity(setting, views.shape[2], num_classes)
        check_warm_up(setting, num_steps(setting, len(labels)))
    centre, scale = standardisation(views)
    counts = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (num_classes * counts) if settings[0].balanced else np.ones(num_classes)
    data = {
        "views": ((views - centre) / scale).reshape(-1, views.shape[-1]),
        "label": labels,
        "weight": weights.astype(np.float32),
    }
    numbers = {name: np.array([getattr(s, name) for s in settings], np.float32) for name in NUMBERS}
    keys = jax.vmap(jax.random.key)(np.array([seed % 2**32 for seed in seeds], np.uint32))
    fixed = settings[0]._replace(**dict.fromkeys(NUMBERS, 0))
    run = head_trainer(fixed, num_classes, views.shape, tuple(jax.local_devices() if devices is None else devices))
    runs = run(data, numbers, keys, progress)
    params = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), runs.params)
    each = [(setting, seed) for setting in settings for seed in seeds]
    return Heads(
        params,
        centre,
        scale,
        num_classes,
        tuple(setting for setting, _ in each),
        tuple(int(seed) for _, seed in each),
        runs.loss.reshape(-1),
    )


def num_steps(setting: Setting, num_rows: int) -> int:
    """Steps that a head is trained for."""
    return setting.num_epochs * (num_rows // setting.batch_size)


def standardisation(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each latent over all rows and views, (L,) float32 each.

    No deviation is taken as less than ``SMALLEST_SCALE_RATE`` of the largest.
    """
    centre, scale = views.mean(axis=(0, 1), dtype=np.float64), views.std(axis=(0, 1), dtype=np.float64)
    scale = np.maximum(scale, SMALLEST_SCALE_RATE * scale.max())
    return centre.astype(np.float32), scale.astype(np.float32)


def logits(heads: Heads, z: np.ndarray) -> np.ndarray:
    """What the heads say of latents.

    Args:
        heads: R of them.
        z: (N, L), or (V, N, L) for a mean over views.

    Returns:
        (R, N, K) float32.
    """
    z = np.asarray(z, np.float32)
    rows = ((z - heads.centre) / heads.scale).reshape(-1, z.shape[-1])
    found = np.asarray(_apply(heads.settings[0].widths, heads.num_classes)(heads.params, rows))
    return found.reshape(len(found), *z.shape[:-1], -1).mean(axis=1) if z.ndim == 3 else found


def judge(heads: Heads, z: np.ndarray, labels: np.ndarray) -> Judged:
    """Compares the class of the largest logit with the true one.

    Args:
        heads: R of them.
        z: see ``logits``.
        labels: (N,) int in [0, K).
    """
    predicted, size = logits(heads, z).argmax(axis=-1), heads.num_classes
    confusion = np.stack([np.bincount(labels * size + row, minlength=size**2) for row in predicted])
    confusion = confusion.reshape(-1, size, size)
    totals, right = confusion.sum(axis=2), np.diagonal(confusion, axis1=1, axis2=2)
    recall = np.where(totals > 0, right / np.maximum(totals, 1), 0.0)
    balanced = recall.sum(axis=1) / (totals > 0).sum(axis=1)
    return Judged(right.sum(axis=1) / len(labels), balanced, confusion)


def pruned(heads: Heads) -> Heads:
    """The same functions without the weights that do nothing, see ``sparsity.prune``."""
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), prune(heads.params))
    return heads._replace(params=params)


def select(heads: Heads, runs: Sequence[int]) -> Heads:
    """Some of the heads, by their numbers."""
    params = jax.tree.map(lambda leaf: leaf[np.asarray(runs)], heads.params)
    settings, seeds = ([values[run] for run in runs] for values in (heads.settings, heads.seeds))
    return heads._replace(
        params=params, settings=tuple(settings), seeds=tuple(seeds), loss=heads.loss[np.asarray(runs)]
    )


def on_raw_latents(heads: Heads, run: int) -> PyTree:
    """Parameters of one head, float64, with the standardization folded into the first layer.

    Args:
        heads: R of them.
        run: which, 0 to R - 1.

    Returns:
        As ``nn.head.Head`` has them; the same function of latents as the encoder gives them.
    """
    params = jax.tree.map(lambda leaf: leaf[run].astype(np.float64), heads.params)
    first = params["dense0"]
    kernel = first["kernel"] / heads.scale[:, None].astype(np.float64)
    return {**params, "dense0": {"kernel": kernel, "bias": first["bias"] - heads.centre.astype(np.float64) @ kernel}}


def save(path: Path, heads: Heads) -> None:
    """Writes heads to one .npz."""
    about = {
        "num_classes": heads.num_classes,
        "settings": [setting._asdict() for setting in heads.settings],
        "seeds": heads.seeds,
    }
    arrays = {f"params/{name}": leaf for name, leaf in named_leaves(heads.params).items()}
    arrays |= {name: getattr(heads, name) for name in ("centre", "scale", "loss")}
    file = io.BytesIO()
    np.savez(file, about=np.array(json.dumps(about)), **arrays)
    write_whole(Path(path), file.getvalue())


def load(path: Path) -> Heads:
    """Reads what ``save`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    params: dict[str, Any] = {}
    for name, leaf in arrays.items():
        if name.startswith("params/"):
            _, layer, kind = name.split("/")
            params.setdefault(layer, {})[kind] = leaf
    settings = tuple(Setting(**{**each, "widths": tuple(each["widths"])}) for each in about["settings"])
    rest = {name: arrays[name] for name in ("centre", "scale", "loss")}
    return Heads(params, num_classes=about["num_classes"], settings=settings, seeds=tuple(about["seeds"]), **rest)


@functools.cache
def _apply(widths: tuple[int, ...], num_classes: int) -> Any:
    head = Head(widths, num_classes)
    return jax.jit(jax.vmap(lambda params, z: head.apply({"params": params}, z), (0, None)))
