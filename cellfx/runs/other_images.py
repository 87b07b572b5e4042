"""Images that are none of a run's own data: a folder of them read as the run's were, beside what the run knows."""

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.data import nuclei
from cellfx.data.images.folder import SUFFIXES, NameMismatch
from cellfx.data.source import SPLITS, Source, Split, iterate
from cellfx.findings.subject import BATCH_SIZE, read_preprocessing
from cellfx.runs.experiment import Trained
from cellfx.settings import nearest

LABELLING = ("labels", "labels_file", "labels_object", "labels_class", "classes", "kept")
"""Options of a run's data that name its own images, and no others."""


class Other(NamedTuple):
    """A folder of images beside the data of a run.

    Attributes:
        source: the run's, with all images of the folder as its test split. Their label is -1 where the run was trained
            on no class of that name; column ``Metadata_Seen`` names the split of the run that has the same pixels.
        unknown: class of the folder that the run was not trained on -> number of images.
        seen: split of the run -> number of images of the folder whose pixels it has.
        unlabeled: whether the folder has no classes.
    """

    source: Source
    unknown: dict[str, int]
    seen: dict[str, int]
    unlabeled: bool


def read_folder(trained: Trained, folder: Path, workdir: Path, described: Mapping[str, Any] | None = None) -> Source:
    """The images of a folder, all of them as one test split, read as those of a run were.

    They are normalized by what the run kept, and read as nuclei where it was trained on data that no folder holds.
    Their names tell metadata as those of the run's images do; where they are of another form, a notice says so.

    Args:
        trained: the run.
        folder: of class-named folders of images, or of nothing but images; with ``labels``, images in any arrangement.
        workdir: of the run.
        described: fields of the section ``data`` that hold for these images in place of the run's own.

    Raises:
        ValueError, OSError: the images cannot be read so, or a field says nothing about other images.
    """
    data, expected, described = trained.settings["data"], trained.source.shape, dict(described or {})
    if data.get("intensity") == "range":
        raise ValueError(
            "other images cannot be judged by a run with data.intensity=range: got limits that were taken from its own "
            "images, expected intensities that mean the same in every folder; train with raw, sqrt or percentile"
        )
    unsplit = getattr(importlib.import_module(f"cellfx.data.{data['name']}"), "unsplit", nuclei.unsplit)
    takes = set(inspect.signature(unsplit).parameters)
    free = sorted(takes - {"folder", "image_size", "preprocessing"})
    wrong = [name for name in described if name not in free]
    if wrong:
        raise ValueError(f"config key data.{wrong[0]} does not describe other images; {nearest(wrong[0], free)}")
    options = {name: value for name, value in data.items() if name not in LABELLING}
    options |= {"folder": folder, "image_size": expected[0]}
    if trained.source.channel_names:
        options["channels"] = trained.source.channel_names
    if trained.source.preprocessing is not None:
        options["preprocessing"] = read_preprocessing(workdir)
    if "labels" not in described and _holds_images_alone(folder):
        options |= {"folder": folder.absolute().parent, "classes": (folder.absolute().name,)}
    options = {name: value for name, value in (options | described).items() if name in takes}
    try:
        return unsplit(**options)
    except NameMismatch as error:
        if "metadata_regex" in described:
            raise
        other = unsplit(**{**options, "metadata_regex": None})
        notice = (
            f"no metadata is read from the file names of {folder}, since the run's {error}; "
            "--config.data.metadata_regex names them for these images"
        )
        return other._replace(notices=(*other.notices, notice))


def beside(trained: Trained, folder: Path, workdir: Path, described: Mapping[str, Any] | None = None) -> Other:
    """Reads a folder for a run to judge; arguments as ``read_folder``.

    Raises:
        ValueError, OSError: see ``read_folder``, or the images have another size or other channels than the run's.
    """
    other, own = read_folder(trained, folder, workdir, described), trained.source
    if other.shape != own.shape:
        raise ValueError(
            f"the images of {folder} do not fit the run: got images {other.shape}, expected {own.shape}; "
            "choose images of the same channels"
        )
    label_of = {name: label for label, name in enumerate(own.class_names)}
    for label, members in enumerate((trained.settings["data"].get("grouped") or {}).values()):
        label_of |= dict.fromkeys(members, label)
    split = other.splits["test"]
    label = split.arrays["label"]
    counts = np.bincount(label, minlength=len(other.class_names))
    unknown = {name: int(count) for name, count in zip(other.class_names, counts, strict=True) if name not in label_of}
    numbers = np.array([label_of.get(name, -1) for name in other.class_names], np.int32)
    seen = _seen(own, split)
    split = split._replace(
        arrays={**split.arrays, "label": numbers[label]}, metadata={**split.metadata, "Metadata_Seen": seen}
    )
    source = own._replace(name=str(folder), splits={**own.splits, "test": split}, notices=other.notices)
    counted = {name: int(np.sum(seen == name)) for name in SPLITS if name in own.splits}
    return Other(source, unknown, counted, "labels" not in (described or {}) and _holds_images_alone(folder))


def describe(other: Other) -> list[str]:
    """What a reader of the scores should know of the images, a line for each thing."""
    count, lines = other.source.splits["test"].num_examples, list(other.source.notices)
    if other.seen.get("train", 0) + other.seen.get("valid", 0):
        parts = ", ".join(f"{number:,} in {name}" for name, number in other.seen.items() if number)
        lines.append(
            f"of {count:,} images the run has the same pixels among its own ({parts}); what it says of those "
            "that it learnt from tells nothing about new images"
        )
    if other.unknown and other.unlabeled:
        lines.append(
            f"{count:,} images have no label, as they lie in no class folder; they are predicted and not judged"
        )
    elif other.unknown:
        named = ", ".join(f"{name} ({number:,})" for name, number in other.unknown.items())
        known = ", ".join(other.source.class_names) or "none"
        lines.append(
            f"{sum(other.unknown.values()):,} of {count:,} images are of classes that the run was not trained "
            f"on, {named}; they are predicted and not judged (it knows {known})"
        )
    return lines


def fingerprints(split: Split) -> list[bytes]:
    """Digest of the pixels of every image, as they reach the model: 8 bytes, N of them."""
    return [
        hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest()
        for batch in iterate(split, BATCH_SIZE)
        for image in batch["x"][batch["mask"] > 0]
    ]


def _seen(source: Source, split: Split) -> np.ndarray:
    """(N,) text: the split of the source that has the same pixels, empty where none has."""
    wanted = fingerprints(split)
    found = np.full(len(wanted), "", object)
    for name in reversed([name for name in SPLITS if name in source.splits]):  # training counts first
        own = set(fingerprints(source.splits[name]))
        found[[digest in own for digest in wanted]] = name
    return found.astype(np.str_)


def _holds_images_alone(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.suffix.lower() in SUFFIXES for path in shown) and not any(path.is_dir() for path in shown)
