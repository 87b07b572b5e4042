"""Images of an imaging cytometer as they are prepared, before they are split and their intensities normalized."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.data.images.channels import choose
from cellfx.data.images.many_files import check_options
from cellfx.data.images.noticed import of_constant, of_sizes
from cellfx.data.images.tables import ClassTable
from cellfx.data.prepared.objects import find_objects
from cellfx.data.prepared.prepared import Prepared, Summary, convert, count_by_class
from cellfx.data.prepared.records import build_records, image_reader, notes


class Cells(NamedTuple):
    """What to prepare of a folder, and which channels to take of it.

    Attributes:
        folder: of the images.
        image_size: H and W.
        channels: names or indices of the channels to take, see ``channels.choose``.
        channel_names: names for the channels of files that carry none.
        brightfield: which channels are bright field, see ``channels.kinds_of``.
        padding: stored intensity that fluorescence is padded with, or ``estimated``.
        labels: table that tells the classes; None takes the names of the folders.
        labels_file: see ``tables.ClassTable``.
        labels_object: as before.
        labels_class: as before.
        metadata_regex: see ``objects.find_objects``.
        classes: the classes to take, in the order of the labels.
        on_error: ``raise`` or ``skip``.
        data_dir: see ``records.build_records``.
    """

    folder: str | os.PathLike[str]
    image_size: int = 64
    channels: Sequence[str | int] | None = None
    channel_names: Sequence[str] | None = None
    brightfield: Sequence[str | int] | None = None
    padding: float | str = 20.0
    labels: str | os.PathLike[str] | None = None
    labels_file: str = "file"
    labels_object: str = "object"
    labels_class: str = "class"
    metadata_regex: str | None = None
    classes: Sequence[str] | None = None
    on_error: str = "raise"
    data_dir: str | os.PathLike[str] | None = None


def prepare_cells(cells: Cells) -> tuple[Prepared, tuple[str, ...]]:
    """The images in the chosen channels, and the kind of each of these.

    Raises:
        ValueError, OSError: see ``flowcytometry``.
    """
    check_options(cells.image_size, cells.on_error)
    constant = _constant(cells.padding)
    table = None
    if cells.labels is not None:
        table = ClassTable(cells.labels, cells.labels_file, cells.labels_object, cells.labels_class)
    objects = find_objects(cells.folder, cells.classes, table, cells.metadata_regex, cells.on_error)

    from cellfx.data.prepared.flowcytometry_builder import (  # imports TFDS, not at once
        SPLIT,
        FlowCytometry,
        make_config,
    )

    config = make_config(objects, cells.image_size, cells.channel_names, cells.brightfield, constant, cells.on_error)
    chosen = choose(cells.channels, config.names, config.first_path)
    builder = build_records(FlowCytometry, config, objects.root, cells.data_dir)
    noted = notes(builder, ("skipped", "heights", "widths", "constant", "checksums"))
    found = ~np.isin(objects.columns["Metadata_File"], noted["skipped"])
    columns = {name: values[found] for name, values in objects.columns.items()}
    columns["Metadata_Height_px"] = np.array(noted["heights"], np.int64)
    columns["Metadata_Width_px"] = np.array(noted["widths"], np.int64)
    sizes = collections.Counter(f"{h}x{w}" for h, w in zip(noted["heights"], noted["widths"], strict=True))
    labels, files = objects.labels[found], columns["Metadata_File"]
    empty = of_constant(noted["constant"], labels, objects.class_names, files)
    summary = Summary(
        path=Path(builder.data_path),
        num_examples=count_by_class(labels, objects.class_names),
        image_shape=(cells.image_size, cells.image_size, len(config.names)),
        dtype=config.dtype,
        sizes=dict(sizes.most_common()),
        skipped=tuple(noted["skipped"]),
        channel_names=config.names,
        num_constant=len(noted["constant"]),
        notices=(*objects.notices, *of_sizes(sizes, cells.image_size), *empty),
    )
    read, checksums = image_reader(builder, SPLIT, int(found.sum())), np.array(noted["checksums"], np.uint32)
    prepared = Prepared(summary, labels, columns, read, checksums)
    names = tuple(config.names[index] for index in chosen)
    kinds = tuple(config.kinds[index] for index in chosen)
    return convert(prepared, lambda images: images[..., chosen], names, config.dtype), kinds


def _constant(padding: float | str) -> float | None:
    if padding == "estimated":
        return None
    if isinstance(padding, str) or not 0 <= padding <= np.iinfo(np.uint16).max:
        raise ValueError(
            f"no such padding: got {padding!r}; expected a stored intensity, 0 or more, or 'estimated'; correct padding"
        )
    return float(padding)
