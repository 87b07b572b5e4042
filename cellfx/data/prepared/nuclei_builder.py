"""The TFDS builder ``nuclei``: a folder of class-named folders, prepared as records that are read in any order.

Importing this module imports tensorflow_datasets, but not TensorFlow; so do preparing and reading. Use it through
``cellfx.data.nuclei``.
"""

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cellfx.data.images.folder import Folder, parse_names
from cellfx.data.images.image_files import Planes, fit, read_planes
from cellfx.data.images.intensity import channel_limits, rescale
from cellfx.data.images.many_files import config_name, first_readable, read_all, refuse_empty_classes
from cellfx.data.images.noticed import constant_value
from cellfx.data.images.pose import adjust

SPLIT = "cells"
"""The one split of the prepared data; train, valid and test are made of it when it is loaded."""


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class NucleiConfig(tfds.core.BuilderConfig):
    """What to prepare.

    Attributes:
        folder: the images.
        image_size: H and W.
        num_channels: C.
        dtype: ``uint8`` or ``uint16``.
        intensity: see ``cellfx.data.images.intensity``.
        pose: see ``cellfx.data.images.pose``.
        metadata_regex: see ``parse_names``.
        on_error: ``raise`` or ``skip`` for images that cannot be read.
    """

    folder: Folder
    image_size: int
    num_channels: int
    dtype: str
    intensity: str
    pose: str
    metadata_regex: str | None
    on_error: str


def make_config(
    folder: Folder, image_size: int, intensity: str, pose: str, metadata_regex: str | None, on_error: str
) -> NucleiConfig:
    """The configuration, under a name that another content of the folder or another option would change.

    Opens images until one can be read, for the number of channels and the type.
    """
    first = first_readable([folder.root / file for file in folder.files], _read_file, on_error, folder.root).pixels
    options = (image_size, intensity, pose, metadata_regex, on_error, folder.class_names)
    return NucleiConfig(
        name=config_name(folder.root, folder.fingerprint, options),
        folder=folder,
        image_size=image_size,
        num_channels=first.shape[-1],
        dtype=first.dtype.name,
        intensity=intensity,
        pose=pose,
        metadata_regex=metadata_regex,
        on_error=on_error,
    )


class Nuclei(tfds.core.GeneratorBasedBuilder):
    """Builder of one ``NucleiConfig``; the folder is its manual download."""

    VERSION = tfds.core.Version("1.1.0")  # another one for pixels that are read or prepared differently
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The manual directory is the folder: one folder of images per class."

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        if not isinstance(config, NucleiConfig):
            raise ValueError("the TFDS data set nuclei needs a NucleiConfig; use cellfx.data.nuclei.prepare")
        shape = (config.image_size, config.image_size, config.num_channels)
        columns = parse_names(config.folder.files[:1], config.metadata_regex)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of single cells from class-named folders.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=shape, dtype=np.dtype(config.dtype), encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.ClassLabel(names=list(config.folder.class_names)),
                    "metadata": tfds.features.FeaturesDict({name: tfds.features.Text() for name in columns}),
                }
            ),
            supervised_keys=("image", "label"),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {SPLIT: self._generate_examples(Path(dl_manager.manual_dir))}

    def _generate_examples(self, root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        columns = parse_names(config.folder.files, config.metadata_regex)
        limits = None
        if config.intensity == "range":
            limits = channel_limits(planes.pixels for _, planes in self._read(root) if planes is not None)
        skipped, sizes, counts, constant, checksums = [], collections.Counter(), collections.Counter(), [], []
        for index, planes in self._read(root):
            if planes is None:
                skipped.append(config.folder.files[index])
                continue
            image, label = planes.pixels, int(config.folder.labels[index])
            if (value := constant_value(image)) is not None:
                constant.append([len(checksums), value])
            checksums.append(planes.checksum)
            sizes[f"{image.shape[0]}x{image.shape[1]}"] += 1
            counts[config.folder.class_names[label]] += 1
            yield (
                index,
                {
                    "image": rescale(fit(adjust(image, config.pose), config.image_size), config.intensity, limits),
                    "label": label,
                    "metadata": {name: str(values[index]) for name, values in columns.items()},
                },
            )
        self._check_classes(counts)
        self.info.metadata.update(
            skipped=skipped,
            sizes=dict(sizes.most_common()),
            limits=None if limits is None else limits.tolist(),
            constant=constant,
            checksums=checksums,
        )

    def _check_classes(self, counts: collections.Counter[str]) -> None:
        folder = self.builder_config.folder
        refuse_empty_classes(counts, folder.class_names, folder.root)

    def _read(self, root: Path) -> Iterator[tuple[int, Planes | None]]:
        """Index and pixels of every file, None for one that is skipped."""
        config = self.builder_config
        paths = [root / file for file in config.folder.files]
        for index, planes in read_all(paths, _read_file, config.on_error):
            if planes is not None:
                _check_kind(planes.pixels, paths[index], config)
            yield index, planes


def _read_file(path: Path) -> Planes:
    return read_planes(path, floats=False)


def _check_kind(image: np.ndarray, path: Path, config: NucleiConfig) -> None:
    if image.shape[-1] != config.num_channels:
        raise ValueError(
            f"{path} has {image.shape[-1]} channels; expected {config.num_channels}, as the first image of "
            f"{config.folder.root} has; convert or remove it"
        )
    if image.dtype.name != config.dtype:
        raise ValueError(
            f"{path} has {image.dtype.name} pixels; expected {config.dtype}, as the first image of "
            f"{config.folder.root} has; convert or remove it"
        )
