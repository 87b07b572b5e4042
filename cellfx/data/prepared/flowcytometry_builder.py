"""The TFDS builder ``flowcytometry``: objects of an imaging cytometer, prepared as records that are read in any order.

Importing this module imports tensorflow_datasets, but not TensorFlow; so do preparing and reading. Use it through
``cellfx.data.flowcytometry``.
"""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cellfx.data.images.channels import align, kinds_of, name_channels
from cellfx.data.images.image_files import Planes
from cellfx.data.images.many_files import config_name, first_readable, read_all, refuse_empty_classes
from cellfx.data.images.noticed import constant_value
from cellfx.data.prepared.objects import Objects, read_object
from cellfx.preprocess.size import resize

SPLIT = "cells"
"""The one split of the prepared data; train, valid and test are made of it when it is loaded."""

_SEED = 20180101
"""Of the noise that bright field is padded with, together with the index of the object."""


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class FlowCytometryConfig(tfds.core.BuilderConfig):
    """What to prepare.

    Attributes:
        objects: the images.
        image_size: H and W.
        names: C names of all channels, in the order of the first image.
        kinds: C, ``brightfield`` or ``fluorescence``; how each channel is padded.
        channel_names: names for the channels of files that carry none.
        first_path: the first image, which stands for all in errors about channels.
        depth: how the files store pixels: ``uint8``, ``uint16`` or ``float``.
        constant: intensity that fluorescence is padded with; None estimates it image by image.
        on_error: ``raise`` or ``skip`` for images that cannot be read.
    """

    objects: Objects
    image_size: int
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    channel_names: tuple[str, ...] | None
    first_path: Path
    depth: str
    constant: float | None
    on_error: str

    @property
    def dtype(self) -> str:
        """Of the prepared images; floating-point pixels become 16 bits."""
        return "uint8" if self.depth == "uint8" else "uint16"


def make_config(
    objects: Objects,
    image_size: int,
    channel_names: Sequence[str] | None,
    brightfield: Sequence[str | int] | None,
    constant: float | None,
    on_error: str,
) -> FlowCytometryConfig:
    """The configuration, under a name that another content of the folder or another option would change.

    Opens images until one can be read, for the channels and the depth.
    """
    files, first = first_readable(
        objects.files, lambda files: (files, read_object(objects, files)), on_error, objects.root
    )
    path = objects.root / files[0]
    given = None if channel_names is None else tuple(channel_names)
    names = name_channels(first.names, first.pixels.shape[-1], given, objects.channels, path)
    kinds = kinds_of(brightfield, names, path)
    told = [(name, values.tolist()) for name, values in objects.columns.items()]
    options = (image_size, names, kinds, given, constant, on_error, objects.class_names, objects.labels.tolist(), told)
    return FlowCytometryConfig(
        name=config_name(objects.root, objects.fingerprint, options),
        objects=objects,
        image_size=image_size,
        names=names,
        kinds=kinds,
        channel_names=given,
        first_path=path,
        depth=first.depth,
        constant=constant,
        on_error=on_error,
    )


class FlowCytometry(tfds.core.GeneratorBasedBuilder):
    """Builder of one ``FlowCytometryConfig``; the folder is its manual download."""

    name = "flowcytometry"
    VERSION = tfds.core.Version("1.1.0")  # another one for pixels that are read or prepared differently
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The manual directory is the folder of the TIFF images."

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        if not isinstance(config, FlowCytometryConfig):
            raise ValueError(
                "the TFDS data set flowcytometry needs a FlowCytometryConfig; use cellfx.data.flowcytometry.prepare"
            )
        shape = (config.image_size, config.image_size, len(config.names))
        sizes = {"Metadata_Height_px": np.int64, "Metadata_Width_px": np.int64}
        told = {
            name: np.int64 if values.dtype.kind == "i" else tfds.features.Text()
            for name, values in config.objects.columns.items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of single cells from an imaging flow cytometer.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=shape, dtype=np.dtype(config.dtype), encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.ClassLabel(names=list(config.objects.class_names)),
                    "metadata": tfds.features.FeaturesDict(told | sizes),
                }
            ),
            supervised_keys=("image", "label"),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        config, objects = self.builder_config, self.builder_config.objects
        skipped, sizes, counts, constant, checksums = [], [], collections.Counter(), [], []
        for index, planes in read_all(objects.files, lambda files: read_object(objects, files), config.on_error):
            if planes is None:
                skipped.append(objects.files[index][0])
                continue
            label, (height, width) = int(objects.labels[index]), planes.pixels.shape[:2]
            sizes.append((height, width))
            if (value := constant_value(planes.pixels)) is not None:
                constant.append([len(checksums), value])
            checksums.append(planes.checksum)
            counts[objects.class_names[label]] += 1
            told = {name: values[index].item() for name, values in objects.columns.items()}
            yield (
                index,
                {
                    "image": self._sized(planes, index),
                    "label": label,
                    "metadata": {**told, "Metadata_Height_px": height, "Metadata_Width_px": width},
                },
            )
        refuse_empty_classes(counts, objects.class_names, objects.root)
        self.info.metadata.update(
            skipped=skipped,
            heights=[height for height, _ in sizes],
            widths=[width for _, width in sizes],
            constant=constant,
            checksums=checksums,
        )

    def _sized(self, planes: Planes, index: int) -> np.ndarray:
        """The image in the size and with the order of channels of all."""
        config = self.builder_config
        root, path = config.objects.root, config.objects.root / config.objects.files[index][0]
        if planes.depth != config.depth:
            raise ValueError(
                f"{path} has {planes.depth} pixels; expected {config.depth}, as the first image of {root} has; convert "
                "or remove it"
            )
        count = planes.pixels.shape[-1]
        names = name_channels(planes.names, count, config.channel_names, config.objects.channels, path)
        pixels = planes.pixels[..., align(names, config.names, path, root)]
        return resize(pixels, config.image_size, config.kinds, np.random.default_rng([_SEED, index]), config.constant)
