"""What a TFDS builder has prepared of a folder of images, and the splits that are made of it when it is loaded."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.images.folder import nearest
from cellfx.data.source import Source, Split
from cellfx.data.splits import split_at_random, split_by_class, split_by_group

_CHUNK = 256
_logger = logging.getLogger(__name__)


class Summary(NamedTuple):
    """What was prepared or found.

    Attributes:
        path: folder of the prepared data.
        num_examples: number of prepared images by class.
        image_shape: (H, W, C) of the prepared images.
        dtype: ``uint8`` or ``uint16``.
        sizes: number of images by their size in the folder, such as ``64x64``; the most frequent first.
        skipped: files that could not be read, relative to the folder.
        limits: (2, C) stored values that became 0 and 1, where intensities were stretched to the range of all images.
        channel_names: C names; empty where the channels have none.
        num_constant: number of images in which all pixels are alike.
        notices: lines about images that are left aside, cut off, or empty.
    """

    path: Path
    num_examples: dict[str, int]
    image_shape: tuple[int, int, int]
    dtype: str
    sizes: dict[str, int]
    skipped: tuple[str, ...]
    limits: list[list[float]] | None = None
    channel_names: tuple[str, ...] = ()
    num_constant: int = 0
    notices: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """Prepared images and what is known of them.

    Attributes:
        summary: what there is.
        labels: (N,) int32, index into the classes of the summary.
        columns: ``Metadata_...`` -> (N,) text or numbers.
        read: rows (n,) -> images (n, H, W, C).
        checksums: (N,) uint32, of the files.
    """

    summary: Summary
    labels: np.ndarray
    columns: dict[str, np.ndarray]
    read: Callable[[np.ndarray], np.ndarray]
    checksums: np.ndarray


def count_by_class(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Number of the labels (N,) by name of the class."""
    return dict(zip(class_names, np.bincount(labels, minlength=len(class_names)).tolist(), strict=True))


def restrict(prepared: Prepared, rows: np.ndarray) -> Prepared:
    """Some of the images: rows (n,)."""
    labels = prepared.labels[rows]
    summary = prepared.summary._replace(num_examples=count_by_class(labels, tuple(prepared.summary.num_examples)))
    columns = {name: values[rows] for name, values in prepared.columns.items()}
    return Prepared(summary, labels, columns, lambda chosen: prepared.read(rows[chosen]), prepared.checksums[rows])


def convert(
    prepared: Prepared, change: Callable[[np.ndarray], np.ndarray], channel_names: tuple[str, ...], dtype: str
) -> Prepared:
    """The same images as ``change`` makes them when they are read.

    Args:
        prepared: the images.
        change: (n, H, W, C) -> (n, H, W, C').
        channel_names: C' names of what is left.
        dtype: of what is left.
    """
    shape = (*prepared.summary.image_shape[:2], len(channel_names))
    summary = prepared.summary._replace(image_shape=shape, dtype=dtype, channel_names=channel_names)
    return prepared._replace(summary=summary, read=lambda rows: change(prepared.read(rows)))


def refuse_constant(prepared: Prepared, folder: str | os.PathLike[str]) -> None:
    """Raises a ValueError where there is nothing to see in any image."""
    total = sum(prepared.summary.num_examples.values())
    if total and prepared.summary.num_constant == total:
        raise ValueError(
            f"nothing to learn from in {folder}: got {prepared.summary.notices[-1]}; expected images with something to "
            "see; check how they were exported"
        )


def divide(
    prepared: Prepared,
    folder: str | os.PathLike[str],
    num_folds: int,
    fold: int,
    valid_rate: float,
    seed: int,
    group: str | None = None,
    balance: Sequence[str] | None = None,
    by_class: bool = False,
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Which images train, validate and test.

    Args:
        prepared: the images.
        folder: where they come from, for the errors.
        num_folds: number of folds.
        fold: the fold that tests.
        valid_rate: share of the other folds that validates.
        seed: of what is chosen at random.
        group: column whose values are kept together; None for no such.
        balance: the classes whose images the folds shall share evenly, where there is a group.
        by_class: where there is no group, whether every class is dealt out evenly.

    Returns:
        "train", "valid" and "test" -> increasing rows; and number of the group (N,) int32, None without one.

    Raises:
        ValueError: an unknown column or class, too few images or groups, or a class without an image to train on.
    """
    groups = None if group is None else check_column(prepared, group)
    class_names = np.array(list(prepared.summary.num_examples), np.str_)
    try:
        if groups is not None:
            counted = None if balance is None else _members(prepared, balance)
            parts = split_by_group(groups, num_folds, fold, valid_rate, seed, counted)
        elif by_class:
            parts = split_by_class(class_names[prepared.labels], num_folds, fold, valid_rate, seed)
        else:
            parts = split_at_random(len(prepared.labels), num_folds, fold, valid_rate, seed)
    except ValueError as error:
        raise ValueError(f"cannot split {folder}: {error}") from None
    _check_classes(prepared.labels, parts, class_names.tolist(), folder)
    return parts, None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int32)


def check_column(prepared: Prepared, group: str) -> np.ndarray:
    """The column of that name; a ValueError if there is none."""
    if group not in prepared.columns:
        raise ValueError(
            f"unknown group column {group!r}; {nearest(group, list(prepared.columns))}; metadata_regex makes such "
            "columns"
        )
    return prepared.columns[group]


def make_splits(
    prepared: Prepared,
    parts: Mapping[str, np.ndarray],
    groups: np.ndarray | None,
    seed: int,
    in_memory_gib: float,
) -> dict[str, Split]:
    """The splits: arrays, or streams where all images together are larger than ``in_memory_gib`` GiB.

    Args:
        prepared: the images.
        parts: split -> rows.
        groups: (N,) int32, ``group`` of the batches; None for no such.
        seed: of the order of the examples.
        in_memory_gib: the largest size of arrays.
    """
    summary = prepared.summary
    num_bytes = len(prepared.labels) * int(np.prod(summary.image_shape)) * np.dtype(summary.dtype).itemsize
    make = _array_split if num_bytes <= in_memory_gib * 2**30 else _streamed_split
    arrays = {"label": prepared.labels} | ({} if groups is None else {"group": groups})
    return {name: make(prepared, arrays, rows, seed) for name, rows in parts.items()}


def test_split(prepared: Prepared) -> dict[str, Split]:
    """All images as the one split ``test``, in memory."""
    return {"test": _array_split(prepared, {"label": prepared.labels}, np.arange(len(prepared.labels)), 0)}


def to_source(
    prepared: Prepared,
    folder: str | os.PathLike[str],
    splits: Mapping[str, Split],
    preprocessing: Mapping[str, Any] | None = None,
) -> Source:
    """The splits as a data set that is called like the folder."""
    summary = prepared.summary
    names = tuple(summary.num_examples)
    return Source(
        Path(folder).resolve().name,
        summary.image_shape,
        splits,
        names,
        channel_names=summary.channel_names,
        preprocessing=preprocessing,
        notices=summary.notices,
    )


def _members(prepared: Prepared, classes: Sequence[str]) -> np.ndarray:
    """(N,) bool, whether an image is of one of the classes."""
    known = list(prepared.summary.num_examples)
    if unknown := [name for name in classes if name not in known]:
        raise ValueError(f"unknown class {unknown[0]!r} to balance; {nearest(unknown[0], known)}")
    return np.isin(prepared.labels, [known.index(name) for name in classes])


def _check_classes(
    labels: np.ndarray, parts: Mapping[str, np.ndarray], class_names: Sequence[str], folder: str | os.PathLike[str]
) -> None:
    for split, rows in parts.items():
        missing = sorted(set(range(len(class_names))) - set(labels[rows].tolist()))
        if not missing or not len(rows):
            continue
        names = ", ".join(class_names[label] for label in missing)
        if split == "train":
            raise ValueError(
                f"no example of class {names} of {folder} is left to train on; expected every class in the train "
                "split; take another fold, a lower valid_rate, or leave the class out of classes"
            )
        _logger.warning("no example of class %s of %s in the %s split", names, folder, split)


def _array_split(prepared: Prepared, arrays: Mapping[str, np.ndarray], rows: np.ndarray, seed: int) -> Split:
    rows = np.random.default_rng(seed).permutation(rows)  # the first images of a split are of all classes
    arrays = {"x": read_in_chunks(prepared, rows), **{name: values[rows] for name, values in arrays.items()}}
    metadata = {name: values[rows] for name, values in prepared.columns.items()}
    return Split(len(rows), arrays, metadata=metadata, checksums=prepared.checksums[rows])


def read_in_chunks(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """The images (n, H, W, C) of rows (n,), a few at a time."""
    images = np.empty((len(rows), *prepared.summary.image_shape), prepared.summary.dtype)
    for start in range(0, len(rows), _CHUNK):
        images[start : start + _CHUNK] = prepared.read(rows[start : start + _CHUNK])
    return images


def _streamed_split(prepared: Prepared, arrays: Mapping[str, np.ndarray], rows: np.ndarray, seed: int) -> Split:
    rows = np.random.default_rng(seed).permutation(rows)
    summary = prepared.summary

    def examples() -> Any:
        tf = import_tensorflow()

        def with_images(chunk: dict[str, Any]) -> dict[str, Any]:
            images = tf.numpy_function(prepared.read, [chunk.pop("row")], np.dtype(summary.dtype))
            return {"x": tf.ensure_shape(images, (None, *summary.image_shape)), **chunk}

        chunks = tf.data.Dataset.from_tensor_slices(
            {"row": rows, **{key: values[rows] for key, values in arrays.items()}}
        )
        with_images = tf.autograph.experimental.do_not_convert(with_images)
        return chunks.batch(_CHUNK).map(with_images).prefetch(2).unbatch()

    metadata = {name: values[rows] for name, values in prepared.columns.items()}
    return Split(len(rows), None, examples, metadata, prepared.checksums[rows])
