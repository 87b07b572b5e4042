"""Single cells from an imaging flow cytometer: TIFF files of several channels, prepared once by a TFDS builder."""

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.checks import Count, Folds, Number, Rate, Seed, Weight, checked
from cellfx.data.images.tables import read_kept
from cellfx.data.prepared.cells import Cells, prepare_cells
from cellfx.data.prepared.prepared import (
    Prepared,
    Summary,
    check_column,
    convert,
    divide,
    make_splits,
    read_in_chunks,
    refuse_constant,
    restrict,
    test_split,
    to_source,
)
from cellfx.data.source import Source
from cellfx.preprocess import cytometry

MAX_FITTED_IMAGES = 4096
"""Training images that intensities are fitted on; of more than these, random ones."""

_logger = logging.getLogger(__name__)


@checked("data")
def flowcytometry(
    folder: str | os.PathLike[str],
    image_size: Count = 64,
    channels: Sequence[str | int] | None = None,
    channel_names: Sequence[str] | None = None,
    brightfield: Sequence[str | int] | None = None,
    normalise: bool = True,
    floor: str = "brightest",
    padding: float | str = 20.0,
    labels: str | os.PathLike[str] | None = None,
    labels_file: str = "file",
    labels_object: str = "object",
    labels_class: str = "class",
    metadata_regex: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
    kept: str | os.PathLike[str] | None = None,
    num_folds: Folds = 5,
    fold: Number = 0,
    valid_rate: Rate = 0.1,
    seed: Seed = 0,
    balance: Sequence[str] | None = None,
    on_error: str = "raise",
    in_memory_gib: Weight = 4.0,
    data_dir: str | os.PathLike[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Source:
    """Images of single cells in several channels, labeled by the folder they lie in or by a table.

    An object is one TIFF file of all channels, or one file per channel, ``<object>_Ch1.ome.tif`` and so on. All
    channels are prepared on first use, and anew whenever a file or an option that they depend on has changed: cropped
    or padded to one size (see ``cellfx.preprocess.size``). Which channels are taken, which examples train, validate and
    test, and how intensities are normalized is decided when the data is loaded: the normalization (see
    ``cellfx.preprocess.cytometry``) is fitted on training images only and is ``preprocessing`` of the source.

    Cells of one sample resemble each other, and so do samples of one experiment: where there are several, tell them by
    ``metadata_regex`` and split by ``group``.

    Args:
        folder: holds one folder of TIFF files per class; with ``labels``, TIFF files in any arrangement. All have the
            same channels and the same kind of pixels: 8 bits, 16 bits (also 12 bits stored so), or floating point in
            [0, 1], which becomes 16 bits.
        image_size: H and W.
        channels: names or indices, from 0, of the channels to take, in that order; None takes all. Names are those of
            the OME-XML or of the files (``Ch1``); case, spaces, underscores and hyphens do not matter.
        channel_names: names of the channels, in their order, for files that carry none.
        brightfield: which channels are bright field, names or indices; all others, scatter too, count as fluorescence.
            None takes those whose name contains ``bright`` or ``bf``.
        normalise: whether intensities are normalized; otherwise images have the stored ones.
        floor: what normalized fluorescence begins at, ``brightest`` or ``background``; see ``cytometry.fit``.
        padding: stored intensity that fluorescence is padded with, or ``estimated`` for each image's own background.
        labels: CSV or Parquet that tells the class of every file; None takes the folder's name.
        labels_file: its column of paths relative to ``folder``.
        labels_object: its column of object numbers, used where it has no paths; compared to ``Metadata_Object``.
        labels_class: its column of classes.
        metadata_regex: searched in every path below ``folder``; each named group, such as ``Experiment``, ``Sample`` or
            ``Object``, becomes a column ``Metadata_<Group>``.
        group: column whose values are kept together: no value is in two splits. It becomes ``group`` of the batches.
            None splits at random, every class alike.
        classes: the classes to use, in the order of the labels; None for all, by name.
        kept: CSV whose column ``Metadata_File`` names the images to use; None uses all.
        num_folds: number of folds.
        fold: the fold that tests.
        valid_rate: share of the other folds that validates.
        seed: of what is chosen at random, and of the order of the examples.
        balance: the classes whose images the folds shall share evenly; None counts all. Used with ``group`` only.
        on_error: ``raise``, or ``skip`` to leave out images that cannot be read, and files without a row in ``labels``;
            they are logged.
        in_memory_gib: data larger than this many GiB is streamed from the prepared files.
        data_dir: where prepared data is kept; by default ``$CELLFX_CACHE/datasets`` if set, else that of TFDS.
        preprocessing: of this source when it was loaded before, to be applied again; None fits it.

    Returns:
        Splits train, valid and test; with arrays, or with ``examples`` for data larger than ``in_memory_gib``. Images
        are uint16 where normalized. Columns ``Metadata_File`` (of several files the first), ``Metadata_Class``,
        ``Metadata_Object`` (number at the end of the file's name, where no regular expression tells it), the size in
        the file as ``Metadata_Height_px`` and ``Metadata_Width_px``, and those of ``metadata_regex``: text, or whole
        numbers where all of a column are.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder or table.
        ValueError: nothing usable in it, an image that cannot be read or unlike the others, a channel that a file does
            not have, a table that does not fit, an unknown class or column, or too few images for the splits.
        OSError: prepared data cannot be written or read.
    """
    cells = Cells(
        folder,
        image_size,
        channels,
        channel_names,
        brightfield,
        padding,
        labels,
        labels_file,
        labels_object,
        labels_class,
        metadata_regex,
        classes,
        on_error,
        data_dir,
    )
    prepared, kinds = prepare_cells(cells)
    refuse_constant(prepared, folder)
    if kept is not None:
        prepared = restrict(prepared, read_kept(kept, prepared.columns["Metadata_File"].tolist(), Path(folder)))
    _refuse_single_images(prepared, folder)
    parts, groups = divide(prepared, folder, num_folds, fold, valid_rate, seed, group, balance, by_class=True)
    if normalise:
        preprocessing = preprocessing or _fitted(prepared, kinds, parts["train"], seed, floor)
        prepared = _normalised(prepared, preprocessing)
    splits = make_splits(prepared, parts, groups, seed, in_memory_gib)
    return to_source(prepared, folder, splits, preprocessing if normalise else None)


def unsplit(
    folder: str | os.PathLike[str],
    preprocessing: Mapping[str, Any] | None = None,
    image_size: int = 64,
    channels: Sequence[str | int] | None = None,
    channel_names: Sequence[str] | None = None,
    brightfield: Sequence[str | int] | None = None,
    padding: float | str = 20.0,
    on_error: str = "raise",
    data_dir: str | os.PathLike[str] | None = None,
    labels: str | None = None,
    labels_file: str = "file",
    labels_object: str = "object",
    labels_class: str = "class",
    metadata_regex: str | None = None,
    classes: Sequence[str] | None = None,
) -> Source:
    """All images of a folder as one test split, for a model that was trained on others.

    Args:
        folder: see ``flowcytometry``, as for all others.
        preprocessing: of the source that the model was trained on; None leaves intensities as they are stored.
        image_size: H and W.
        channels: the channels to take.
        channel_names: for files that carry none.
        brightfield: which channels are bright field.
        padding: what fluorescence is padded with.
        on_error: what to do with images that cannot be read.
        data_dir: where prepared data is kept.
        labels: table of the classes; None takes the names of the folders.
        labels_file: its column of paths.
        labels_object: its column of object numbers.
        labels_class: its column of classes.
        metadata_regex: tells metadata from paths.
        classes: the classes to take.

    Raises:
        As ``flowcytometry``; ValueError if ``preprocessing`` is of other channels or another type of pixels.
    """
    table = (labels, labels_file, labels_object, labels_class)
    cells = Cells(
        folder, image_size, channels, channel_names, brightfield, padding, *table, metadata_regex, classes, on_error
    )
    prepared, kinds = prepare_cells(cells._replace(data_dir=data_dir))
    if preprocessing is not None:
        expected = (preprocessing["normalisation"]["dtype"], preprocessing["kinds"])
        if (prepared.summary.dtype, list(kinds)) != expected:
            raise ValueError(
                f"the images of {folder} are not such as the intensities were fitted on: got {prepared.summary.dtype} "
                f"of {', '.join(kinds)}, expected {expected[0]} of {', '.join(expected[1])}; convert the images or "
                "choose their channels"
            )
        prepared = _normalised(prepared, preprocessing)
    return to_source(prepared, folder, test_split(prepared), preprocessing)


def prepare(folder: str | os.PathLike[str], **options: Any) -> Summary:
    """Prepares what ``flowcytometry`` with the same arguments would, and says what there is.

    Args:
        folder: see ``flowcytometry``.
        **options: its other arguments; those that matter only when the data is loaded change nothing.

    Raises:
        As ``flowcytometry``; TypeError for an argument that it does not have.
    """
    if unknown := sorted(set(options) - set(inspect.signature(flowcytometry).parameters)):
        raise TypeError(f"flowcytometry has no argument {unknown[0]!r}")
    used = {name: value for name, value in options.items() if name in Cells._fields}
    prepared, _ = prepare_cells(Cells(folder, **used))
    refuse_constant(prepared, folder)
    if options.get("group") is not None:
        check_column(prepared, options["group"])
    return prepared.summary


def _refuse_single_images(prepared: Prepared, folder: str | os.PathLike[str]) -> None:
    for label, (name, count) in enumerate(prepared.summary.num_examples.items()):
        if count < 2:
            files = prepared.columns["Metadata_File"][prepared.labels == label].tolist()
            raise ValueError(
                f"too few images of class {name!r} in {folder}: got {', '.join(files) or 'none'}; expected two or "
                "more, to train and to test on; add images or leave the class out of classes"
            )


def _fitted(prepared: Prepared, kinds: tuple[str, ...], rows: np.ndarray, seed: int, floor: str) -> dict[str, Any]:
    """How intensities are normalized, fitted on images of the given rows, as plain values."""
    if len(rows) > MAX_FITTED_IMAGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_FITTED_IMAGES, replace=False))
    normalisation = cytometry.fit(read_in_chunks(prepared, rows), kinds, seed=seed, floor=floor)
    for notice in normalisation.notices:
        _logger.warning("normalizing %s: %s", ", ".join(prepared.summary.channel_names), notice)
    return {"kinds": list(kinds), "normalisation": cytometry.to_json(normalisation)}


def _normalised(prepared: Prepared, preprocessing: Mapping[str, Any]) -> Prepared:
    normalisation = cytometry.from_json(preprocessing["normalisation"])

    def change(images: np.ndarray) -> np.ndarray:
        return np.round(cytometry.apply(normalisation, images) * np.float32(65535)).astype(np.uint16)

    return convert(prepared, change, prepared.summary.channel_names, "uint16")
