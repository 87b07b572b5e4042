"""The cell filter: a trained classifier of usable and unusable images, with a threshold for a wanted error."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.images.screening import Roc, roc, threshold_for
from cellfx.data.source import SPLITS, Source, Split
from cellfx.files.whole import write_whole
from cellfx.files.workdir import notice, say
from cellfx.findings.subject import Predict, batches, over
from cellfx.runs.experiment import Trained, bound, restore
from cellfx.runs.other_images import read_folder
from cellfx.runs.parts import load_source
from cellfx.settings import Config, to_dict

MAX_FALSE_POSITIVE_RATE = 0.03
"""Share of unusable images that may be let through: that of Isaksson 2018, section 4.2."""
CLASSES = {"usable", "unusable"}
NAMES = ("Metadata_File", "Metadata_Index")
"""Columns that name an image, the first that a data set has."""


class Filter(NamedTuple):
    """A classifier that tells usable images from others.

    Attributes:
        trained: a classifier of the classes ``usable`` and ``unusable``.
        score: x -> (B,), logit of usable against unusable.
        curve: of the validation images.
        threshold: lowest score that is let through.
    """

    trained: Trained
    score: Predict
    curve: Roc
    threshold: float


def load(workdir: Path, max_false_positive_rate: float = MAX_FALSE_POSITIVE_RATE) -> Filter:
    """The filter of a finished run, its threshold chosen on the run's validation images.

    Args:
        workdir: of a run whose model tells ``usable`` from ``unusable``, such as one of configs/cell_filter.py.
        max_false_positive_rate: share of the unusable validation images that may be let through.

    Raises:
        FileNotFoundError: no such run.
        ValueError: its model is no filter, there are no validation images of both kinds, or the rate is no share.
    """
    trained = restore(workdir)
    names = trained.source.class_names
    if trained.model.predict is None or set(names) != CLASSES:
        raise ValueError(
            f"{workdir} holds no filter: got a model {trained.settings['model']['name']} for the classes "
            f"{', '.join(names) or 'none'}, expected a classifier of usable and unusable; name the classes so, see "
            f"configs/cell_filter.py"
        )
    predict, valid = bound(trained, trained.model.predict), trained.source.splits["valid"]
    for name in ("train", "valid"):
        if not _has_both(trained.source, trained.source.splits[name]):
            raise ValueError(
                f"no filter, and no threshold: got {name} images of {workdir} of one kind only, expected usable and "
                "unusable ones; label more images, or split them so that each split has both"
            )
    truth, usable = labels(trained.source, valid), names.index("usable")

    def score(images: np.ndarray) -> np.ndarray:
        logits = np.asarray(predict(images), np.float64)
        return logits[:, usable] - logits[:, 1 - usable]

    scores = over(score, valid)
    curve = roc(scores, truth)
    threshold = threshold_for(curve, max_false_positive_rate)
    through = scores >= threshold
    said = [f"{np.sum(through & kind):,} of {np.sum(kind):,}" for kind in (truth, ~truth)]
    say(f"threshold {threshold:.3g}, which lets {said[0]} usable and {said[1]} unusable validation images through")
    return Filter(trained, score, curve, threshold)


def _has_both(source: Source, split: Split) -> bool:
    """Whether a split has usable and unusable images; no more of it is read than that takes."""
    seen: set[int] = set()
    for batch in batches(split):
        seen |= set(batch["label"][batch["mask"] > 0].tolist())
        if len(seen) == len(source.class_names):
            return True
    return False


def labels(source: Source, split: Split) -> np.ndarray:
    """Whether each image of a split of a filter's own source is usable, (N,) bool."""
    known = np.concatenate([batch["label"][batch["mask"] > 0] for batch in batches(split)])
    return known == source.class_names.index("usable")


def apply(workdir: Path, config: Config, max_false_positive_rate: float, output: Path | None = None) -> Path:
    """Sorts the images of a config's data and writes ``kept.csv`` and ``rejected.csv``, each whole or not at all.

    A folder of images is read with the filter's own channels and normalization; images that are drawn, or read by
    another source than the filter's, are taken as they are and must have the size that it was trained on.

    Args:
        workdir: see ``load``.
        config: its section ``data`` names the images.
        max_false_positive_rate: see ``load``.
        output: folder to write to; None for ``screened/<name of the data>`` in the workdir.

    Returns:
        The folder.

    Raises:
        FileNotFoundError, ValueError: see ``load``; images that do not fit the filter, or have no names.
    """
    workdir, section = Path(workdir), to_dict(config)["data"]
    found = load(workdir, max_false_positive_rate)
    own = found.trained.settings["data"]
    if "folder" in section and section["name"] == own["name"]:
        source = read_folder(found.trained, Path(section["folder"]), workdir)
    else:
        source = load_source(section)
    notice(source.notices)
    if source.shape != found.trained.source.shape:
        raise ValueError(
            f"the images of {source.name} do not suit the filter: got {source.shape}, expected "
            f"{found.trained.source.shape} as in {workdir}; choose channels and image_size alike"
        )
    folder = Path(output) if output is not None else workdir / "screened" / source.name
    rows = list(_sorted(source, found))
    for name, wanted in (("kept", True), ("rejected", False)):
        chosen = [row for row in rows if (row["Metadata_Score"] >= found.threshold) == wanted]
        write_whole(folder / f"{name}.csv", _table(chosen, list(rows[0])))
        say(f"{len(chosen):8,} of {len(rows):,} {name}: {folder / f'{name}.csv'}")
    return folder


def _sorted(source: Source, found: Filter) -> Iterator[dict[str, Any]]:
    for name in SPLITS:
        split = source.splits.get(name)
        if split is None or not split.num_examples:
            continue
        column = next((column for column in NAMES if column in split.metadata), None)
        if column is None:
            raise ValueError(
                f"the images of {source.name} have no names: got the columns {', '.join(split.metadata) or 'none'}, "
                f"expected one of {', '.join(NAMES)}; choose another data set"
            )
        for image, score in zip(split.metadata[column], over(found.score, split), strict=True):
            yield {column: image.item(), "Metadata_Score": float(score)}


def _table(rows: list[dict[str, Any]], columns: list[str]) -> bytes:
    import polars

    buffer = io.BytesIO()
    polars.DataFrame(rows, schema=columns if not rows else None).write_csv(buffer)
    return buffer.getvalue()
