"""Single cells from a folder of class-named folders of PNG or TIFF files, prepared once by a TFDS builder."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.folder import nearest, parse_names, scan
from cellfx.data.intensity import check_intensity
from cellfx.data.pose import check_pose
from cellfx.data.records import build_records, image_reader, notes
from cellfx.data.source import Source, Split
from cellfx.data.splits import split_at_random, split_by_group

_CHUNK = 256
_logger = logging.getLogger(__name__)


class Summary(NamedTuple):
    """What ``prepare`` made or found.

    Attributes:
        path: folder of the prepared data.
        num_examples: number of prepared images by class.
        image_shape: (H, W, C) of the prepared images.
        dtype: ``uint8`` or ``uint16``.
        sizes: number of images by their size in the folder, such as ``64x64``; the most frequent first.
        skipped: files that could not be read, relative to the folder.
        limits: (2, C) stored values that became 0 and 1, where ``intensity`` is ``range``.
    """

    path: Path
    num_examples: dict[str, int]
    image_shape: tuple[int, int, int]
    dtype: str
    sizes: dict[str, int]
    skipped: tuple[str, ...]
    limits: list[list[float]] | None


class _Prepared(NamedTuple):
    summary: Summary
    labels: np.ndarray  # (N,) int32
    columns: dict[str, np.ndarray]  # (N,) text each
    read: Callable[[np.ndarray], np.ndarray]  # rows (n,) -> images (n, H, W, C)


def nuclei(
    folder: str | os.PathLike[str],
    image_size: int = 64,
    metadata_regex: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
    num_folds: int = 5,
    fold: int = 0,
    valid_rate: float = 0.1,
    seed: int = 0,
    balance: Sequence[str] | None = None,
    intensity: str = "raw",
    pose: str = "raw",
    on_error: str = "raise",
    in_memory_gib: float = 4.0,
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """Images of single cells, one per file, labelled by the folder they lie in.

    The images are prepared on first use, and anew whenever a file of the folder or an option that they depend on has
    changed: cropped about the centre or padded with their background to one size, never stretched. Which examples
    train, validate and test is decided when the data is loaded.

    Args:
        folder: holds one folder per class, each with PNG or TIFF files of 8 or 16 bits and any number of channels,
            the same for all (see ``cellfx.data.image_files``).
        image_size: H and W.
        metadata_regex: searched in every file name; each named group becomes a column ``Metadata_<Group>``.
        group: column whose values are kept together: no value, for instance no plate, is in two splits. It becomes
            ``group`` of the batches. None splits at random, which is too kind to a model if images resemble each
            other more than a new experiment will resemble them.
        classes: the classes to use, in the order of the labels; None for all, by name.
        num_folds: number of folds.
        fold: the fold that tests.
        valid_rate: share of the other folds that validates.
        seed: of the choice of what validates, and of the order of streamed splits.
        balance: the classes whose images the folds shall share evenly; None counts all. Used with ``group`` only.
        intensity: ``raw``, ``sqrt``, ``percentile`` or ``range`` (see ``cellfx.data.intensity``), whose limits are of
            all images, also those that test: two numbers per channel, no labels.
        pose: ``raw``, or ``upright`` to turn every cell (see ``cellfx.data.pose``).
        on_error: ``raise``, or ``skip`` to leave out images that cannot be read; they are logged and counted.
        in_memory_gib: data larger than this many GiB is streamed from the prepared files.
        data_dir: where prepared data is kept; by default ``$CELLFX_CACHE/datasets`` if set, else that of TFDS.

    Returns:
        Splits train, valid and test; with arrays, or with ``examples`` for data larger than ``in_memory_gib``.
        Columns ``Metadata_File``, ``Metadata_Class`` and those of ``metadata_regex``, all text.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: nothing usable in it, an image that cannot be read or unlike the others, a file name that the
            regular expression does not match, an unknown class or column, too few images or groups for the splits.
        OSError: prepared data cannot be written or read.
    """
    prepared = _prepare(folder, image_size, metadata_regex, classes, intensity, pose, on_error, data_dir)
    groups = None if group is None else _column(prepared.columns, group)
    try:
        if groups is None:
            parts = split_at_random(len(prepared.labels), num_folds, fold, valid_rate, seed)
        else:
            counted = None if balance is None else _members(prepared, balance)
            parts = split_by_group(groups, num_folds, fold, valid_rate, seed, counted)
    except ValueError as error:
        raise ValueError(f"cannot split {folder}: {error}") from None
    class_names = tuple(prepared.summary.num_examples)
    _check_classes(prepared.labels, parts, class_names, folder)
    arrays = {"label": prepared.labels}
    if groups is not None:
        arrays["group"] = np.unique(groups, return_inverse=True)[1].astype(np.int32)
    shape = prepared.summary.image_shape
    num_bytes = len(prepared.labels) * int(np.prod(shape)) * np.dtype(prepared.summary.dtype).itemsize
    make = _array_split if num_bytes <= in_memory_gib * 2**30 else _streamed_split
    splits = {name: make(prepared, arrays, rows, seed) for name, rows in parts.items()}
    return Source(Path(folder).resolve().name, shape, splits, class_names)


def unsplit(
    folder: str | os.PathLike[str],
    image_size: int = 64,
    intensity: str = "raw",
    pose: str = "raw",
    on_error: str = "raise",
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """All images of a folder as one test split, for a model that was trained on others; arguments as ``nuclei``."""
    prepared = _prepare(folder, image_size, None, None, intensity, pose, on_error, data_dir)
    split = _array_split(prepared, {"label": prepared.labels}, np.arange(len(prepared.labels)), 0)
    names = tuple(prepared.summary.num_examples)
    return Source(Path(folder).resolve().name, prepared.summary.image_shape, {"test": split}, names)


def prepare(
    folder: str | os.PathLike[str],
    image_size: int = 64,
    metadata_regex: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
    intensity: str = "raw",
    pose: str = "raw",
    on_error: str = "raise",
    data_dir: str | os.PathLike[str] | None = None,
    **loading: Any,
) -> Summary:
    """Prepares what ``nuclei`` with the same arguments would, and says what there is.

    Args:
        folder: see ``nuclei``, as for all others.
        image_size: H and W.
        metadata_regex: tells metadata from file names.
        group: checked to be a column.
        classes: the classes to use.
        intensity: how intensities are stretched.
        pose: how cells are turned.
        on_error: what to do with images that cannot be read.
        data_dir: where prepared data is kept.
        **loading: the other arguments of ``nuclei``, which change nothing in the prepared data.

    Raises:
        As ``nuclei``; TypeError for an argument that it does not have.
    """
    unknown = set(loading) - {"num_folds", "fold", "valid_rate", "seed", "balance", "in_memory_gib"}
    if unknown:
        raise TypeError(f"nuclei has no argument {sorted(unknown)[0]!r}")
    prepared = _prepare(folder, image_size, metadata_regex, classes, intensity, pose, on_error, data_dir)
    if group is not None:
        _column(prepared.columns, group)
    return prepared.summary


def _members(prepared: _Prepared, classes: Sequence[str]) -> np.ndarray:
    """(N,) bool, whether an image is of one of the classes."""
    known = list(prepared.summary.num_examples)
    if unknown := [name for name in classes if name not in known]:
        raise ValueError(f"unknown class {unknown[0]!r} to balance; {nearest(unknown[0], known)}")
    return np.isin(prepared.labels, [known.index(name) for name in classes])


def _column(columns: dict[str, np.ndarray], group: str) -> np.ndarray:
    if group not in columns:
        raise ValueError(
            f"unknown group column {group!r}; {nearest(group, list(columns))}; metadata_regex makes such columns"
        )
    return columns[group]


def _check_classes(
    labels: np.ndarray, parts: dict[str, np.ndarray], class_names: Sequence[str], folder: str | os.PathLike[str]
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


def _array_split(prepared: _Prepared, arrays: dict[str, np.ndarray], rows: np.ndarray, seed: int) -> Split:
    rows = np.random.default_rng(seed).permutation(rows)  # the first images of a split are of all classes
    images = np.empty((len(rows), *prepared.summary.image_shape), prepared.summary.dtype)
    for start in range(0, len(rows), _CHUNK):
        images[start : start + _CHUNK] = prepared.read(rows[start : start + _CHUNK])
    arrays = {"image": images, **{name: values[rows] for name, values in arrays.items()}}
    return Split(len(rows), arrays, metadata={name: values[rows] for name, values in prepared.columns.items()})


def _streamed_split(prepared: _Prepared, arrays: dict[str, np.ndarray], rows: np.ndarray, seed: int) -> Split:
    rows = np.random.default_rng(seed).permutation(rows)
    summary = prepared.summary

    def examples() -> Any:
        tf = import_tensorflow()

        def with_images(chunk: dict[str, Any]) -> dict[str, Any]:
            images = tf.numpy_function(prepared.read, [chunk.pop("row")], np.dtype(summary.dtype))
            return {"image": tf.ensure_shape(images, (None, *summary.image_shape)), **chunk}

        chunks = tf.data.Dataset.from_tensor_slices(
            {"row": rows, **{key: values[rows] for key, values in arrays.items()}}
        )
        with_images = tf.autograph.experimental.do_not_convert(with_images)
        return chunks.batch(_CHUNK).map(with_images).prefetch(2).unbatch()

    metadata = {name: values[rows] for name, values in prepared.columns.items()}
    return Split(len(rows), None, examples, metadata)


def _prepare(
    folder: str | os.PathLike[str],
    image_size: int,
    metadata_regex: str | None,
    classes: Sequence[str] | None,
    intensity: str,
    pose: str,
    on_error: str,
    data_dir: str | os.PathLike[str] | None,
) -> _Prepared:
    check_intensity(intensity)
    check_pose(pose)
    if on_error not in ("raise", "skip"):
        raise ValueError(f"unknown on_error {on_error!r}; expected 'raise' or 'skip'")
    if image_size < 1:
        raise ValueError(f"image_size must be positive; got {image_size}")
    listed = scan(folder, classes)
    columns = parse_names(listed.files, metadata_regex)

    from cellfx.data.nuclei_builder import SPLIT, Nuclei, make_config  # imports TFDS, which takes a moment

    config = make_config(listed, image_size, intensity, pose, metadata_regex, on_error)
    builder = build_records(Nuclei, config, listed.root, data_dir)
    noted = notes(builder, ("skipped", "sizes", "limits"))
    kept = ~np.isin(listed.files, noted["skipped"])
    labels = listed.labels[kept]
    counts = np.bincount(labels, minlength=len(listed.class_names)).tolist()
    summary = Summary(
        path=Path(builder.data_path),
        num_examples=dict(zip(listed.class_names, counts, strict=True)),
        image_shape=(image_size, image_size, config.num_channels),
        dtype=config.dtype,
        sizes=noted["sizes"],
        skipped=tuple(noted["skipped"]),
        limits=noted["limits"],
    )
    read = image_reader(builder, SPLIT, len(labels))
    return _Prepared(summary, labels, {name: values[kept] for name, values in columns.items()}, read)
