"""Single cells from a folder of class-named folders of image files, prepared once by a TFDS builder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.checks import Count, Folds, Number, Rate, Seed, Weight, checked
from cellfx.data.images.folder import parse_names, scan
from cellfx.data.images.intensity import check_intensity
from cellfx.data.images.many_files import check_options
from cellfx.data.images.noticed import of_constant, of_sizes
from cellfx.data.images.pose import check_pose
from cellfx.data.prepared.prepared import (
    Prepared,
    Summary,
    check_column,
    count_by_class,
    divide,
    make_splits,
    refuse_constant,
    test_split,
    to_source,
)
from cellfx.data.prepared.records import build_records, image_reader, notes
from cellfx.data.source import Source


@checked("data")
def nuclei(
    folder: str | os.PathLike[str],
    image_size: Count = 64,
    metadata_regex: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
    num_folds: Folds = 5,
    fold: Number = 0,
    valid_rate: Rate = 0.1,
    seed: Seed = 0,
    balance: Sequence[str] | None = None,
    intensity: str = "raw",
    pose: str = "raw",
    on_error: str = "raise",
    in_memory_gib: Weight = 4.0,
    data_dir: str | os.PathLike[str] | None = None,
    by_class: bool = True,
) -> Source:
    """Images of single cells, one per file, labeled by the folder they lie in.

    The images are prepared on first use, and anew whenever a file of the folder or an option that they depend on has
    changed: cropped about the center or padded with their background to one size, never stretched. Which examples
    train, validate and test is decided when the data is loaded.

    Args:
        folder: holds one folder per class, each with PNG or TIFF files of 8 or 16 bits, or JPEG, BMP, GIF or WebP,
            and any number of channels, the same for all (see ``cellfx.data.images.image_files``).
        image_size: H and W.
        metadata_regex: searched in every file name; each named group becomes a column ``Metadata_<Group>``.
        group: column whose values are kept together: no value, for instance no plate, is in two splits. It becomes
            ``group`` of the batches. None splits at random, every class alike, which is too kind to a model if images
            resemble each other more than a new experiment will resemble them.
        classes: the classes to use, in the order of the labels; None for all, by name.
        num_folds: number of folds.
        fold: the fold that tests.
        valid_rate: share of the other folds that validates.
        seed: of the choice of what validates, and of the order of streamed splits.
        balance: the classes whose images the folds shall share evenly; None counts all. Used with ``group`` only.
        intensity: ``raw``, ``sqrt``, ``percentile`` or ``range`` (see ``cellfx.data.images.intensity``), whose
            limits are of all images, also those that test: two numbers per channel, no labels.
        pose: ``raw``, or ``upright`` to turn every cell (see ``cellfx.data.images.pose``).
        on_error: ``raise``, or ``skip`` to leave out images that cannot be read; they are logged and counted.
        in_memory_gib: data larger than this many GiB is streamed from the prepared files.
        data_dir: where prepared data is kept; by default ``$CELLFX_CACHE/datasets`` if set, else that of TFDS.
        by_class: where there is no group, whether every split gets its share of every class. Older versions left that
            to chance; a run of theirs keeps its splits.

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
    refuse_constant(prepared, folder)
    parts, groups = divide(prepared, folder, num_folds, fold, valid_rate, seed, group, balance, by_class)
    return to_source(prepared, folder, make_splits(prepared, parts, groups, seed, in_memory_gib))


def unsplit(
    folder: str | os.PathLike[str],
    image_size: int = 64,
    intensity: str = "raw",
    pose: str = "raw",
    on_error: str = "raise",
    data_dir: str | os.PathLike[str] | None = None,
    metadata_regex: str | None = None,
    classes: Sequence[str] | None = None,
) -> Source:
    """All images of a folder as one test split, for a model that was trained on others; arguments as ``nuclei``."""
    prepared = _prepare(folder, image_size, metadata_regex, classes, intensity, pose, on_error, data_dir)
    return to_source(prepared, folder, test_split(prepared))


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
    unknown = set(loading) - {"num_folds", "fold", "valid_rate", "seed", "balance", "in_memory_gib", "by_class"}
    if unknown:
        raise TypeError(f"nuclei has no argument {sorted(unknown)[0]!r}")
    prepared = _prepare(folder, image_size, metadata_regex, classes, intensity, pose, on_error, data_dir)
    refuse_constant(prepared, folder)
    if group is not None:
        check_column(prepared, group)
    return prepared.summary


def _prepare(
    folder: str | os.PathLike[str],
    image_size: int,
    metadata_regex: str | None,
    classes: Sequence[str] | None,
    intensity: str,
    pose: str,
    on_error: str,
    data_dir: str | os.PathLike[str] | None,
) -> Prepared:
    check_intensity(intensity)
    check_pose(pose)
    check_options(image_size, on_error)
    listed = scan(folder, classes)
    columns = parse_names(listed.files, metadata_regex)

    from cellfx.data.prepared.nuclei_builder import SPLIT, Nuclei, make_config  # imports TFDS, which takes a moment

    config = make_config(listed, image_size, intensity, pose, metadata_regex, on_error)
    builder = build_records(Nuclei, config, listed.root, data_dir)
    noted = notes(builder, ("skipped", "sizes", "limits", "constant", "checksums"))
    kept = ~np.isin(listed.files, noted["skipped"])
    labels, columns = listed.labels[kept], {name: values[kept] for name, values in columns.items()}
    empty = of_constant(noted["constant"], labels, listed.class_names, columns["Metadata_File"])
    summary = Summary(
        path=Path(builder.data_path),
        num_examples=count_by_class(labels, listed.class_names),
        image_shape=(image_size, image_size, config.num_channels),
        dtype=config.dtype,
        sizes=noted["sizes"],
        skipped=tuple(noted["skipped"]),
        limits=noted["limits"],
        num_constant=len(noted["constant"]),
        notices=(*listed.notices, *of_sizes(noted["sizes"], image_size), *empty),
    )
    read = image_reader(builder, SPLIT, len(labels))
    return Prepared(summary, labels, columns, read, np.array(noted["checksums"], np.uint32))
