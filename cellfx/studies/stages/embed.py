"""Latents of every image, as it is and flipped and turned in all eight ways (or four), and what each latent draws."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis.latents import encoding, traversal
from cellfx.checks import Count
from cellfx.data.source import SPLITS, Source, Split
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.classes import symmetric_views
from cellfx.findings.subject import Encode, batches
from cellfx.heads import codes
from cellfx.runs import experiment
from cellfx.runs.rehearsal import Rehearsed, num_latents
from cellfx.studies.stages import InputStage
from cellfx.studies.stages.train import run_folders

TRAVERSAL_STEPS = 7


def embed(
    folder: Path,
    inputs: Mapping[str, Path],
    train: InputStage = "train",
    max_train: Count = 5_000,
    max_test: Count = 20_000,
    rotations: bool = True,
) -> None:
    """Writes ``<run>.npz``, the codes, and ``<run>-traversals.npz`` for every run of a ``train`` stage.

    Args:
        folder: of the stage.
        inputs: the stage named by ``train``.
        train: name of the stage whose encoders are used.
        max_train: training images that are encoded; the heads learn from these.
        max_test: validation and test images that are encoded, of each.
        rotations: whether images are also seen turned by 90 degrees, and not flipped alone; False for cells that were
            turned upright.
    """
    limits = {"train": max_train, "valid": max_test, "test": max_test}
    for name, run in run_folders(inputs[train]).items():
        if (folder / f"{name}-traversals.npz").exists():
            continue
        trained = experiment.restore(run)
        encode, decode = experiment.coder(trained)
        encoded = encode_source(trained.source, encode, limits, rotations)
        codes.save(folder / f"{name}.npz", encoded)
        center = np.median(encoded.views[0], axis=0)
        values = traversal.data_values(encoded.views[0], TRAVERSAL_STEPS)
        drawn = traversal.traverse(decode, center, values)
        kl = _divergence(trained.source, encode)
        write_arrays(folder / f"{name}-traversals.npz", images=drawn, values=values, kl=kl)
        counts = ", ".join(f"{np.sum(encoded.split == split):,} {split}" for split in SPLITS)
        say(f"{name}: {counts} images in {len(encoded.views)} views, {encoded.views.shape[-1]} latents")


def check(inputs: Mapping[str, Any], train: str = "train", **others: Any) -> Rehearsed | None:
    """What the encoders will be like; a ValueError for models that are none."""
    del others
    rehearsed = inputs[train]
    if rehearsed is not None and num_latents(rehearsed) is None:
        raise ValueError(
            f"nothing to embed with: got stage {train!r} with a model without latents, expected an autoencoder; name "
            f"another stage, or change {train}.model"
        )
    return rehearsed


def encode_source(source: Source, encode: Encode, limits: Mapping[str, int], rotations: bool = True) -> codes.Codes:
    """Codes of the first images of every split, which are in random order.

    Args:
        source: the data, labeled.
        encode: x -> (mean, logvar); the means are the codes.
        limits: largest number of images by split.
        rotations: see ``embed``.
    """
    parts = {name: source.splits[name] for name in SPLITS if name in source.splits}
    views, labels, splits, factors, groups = [], [], [], [], []
    for name, split in parts.items():
        rows = _first(split, limits[name])
        for batch in batches(rows):
            real = batch["mask"] > 0
            views.append(
                np.stack([np.asarray(encode(view)[0])[real] for view in symmetric_views(batch["x"], rotations)])
            )
            labels.append(batch["label"][real])
            splits.append(np.full(int(real.sum()), name))
            factors += [batch["factors"][real]] if "factors" in batch else []
            groups += [batch["group"][real]] if "group" in batch else []
    return codes.Codes(
        views=np.concatenate(views, axis=1).astype(np.float32),
        label=np.concatenate(labels).astype(np.int32),
        split=np.concatenate(splits),
        class_names=source.class_names,
        group=np.concatenate(groups) if groups else None,
        factors=np.concatenate(factors) if factors else None,
        factor_names=source.factor_names,
    )


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """An .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz file; nothing in it is executed."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _first(split: Split, count: int) -> Split:
    count = min(count, split.num_examples)
    if split.arrays is None:
        return split._replace(num_examples=count)
    return Split(count, {name: array[:count] for name, array in split.arrays.items()})


def _divergence(source: Source, encode: Encode) -> np.ndarray:
    """KL of every latent, (L,) nats, over the training images of one batch."""
    found = encoding.encode_batches(encode, [next(batches(source.splits["train"]))])
    return encoding.kl_per_latent(found.mean, found.logvar)
