"""The TFDS builder ``nuclei``: a folder of class-named folders, prepared as records that are read in any order.

Importing this module imports tensorflow_datasets, but not TensorFlow; so do preparing and reading. Use it through
``cellfx.data.nuclei``.
"""

import collections
import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cellfx.data.folder import Folder, parse_names
from cellfx.data.image_files import UnreadableImageError, fit, read_image
from cellfx.data.intensity import channel_limits, rescale
from cellfx.data.pose import adjust

SPLIT = "cells"
"""The one split of the prepared data; train, valid and test are made of it when it is loaded."""

_CHUNK = 512
_READERS = 8


@dataclasses.dataclass(eq=False, kw_only=True, repr=False)
class NucleiConfig(tfds.core.BuilderConfig):
    """What to prepare.

    Attributes:
        folder: the images.
        image_size: H and W.
        num_channels: C.
        dtype: ``uint8`` or ``uint16``.
        intensity: see ``cellfx.data.intensity``.
        pose: see ``cellfx.data.pose``.
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
    first = _first_image(folder, on_error)
    options = (image_size, intensity, pose, metadata_regex, on_error, folder.class_names)
    digest = hashlib.blake2b(f"{folder.fingerprint} {options!r}".encode(), digest_size=8).hexdigest()
    title = re.sub(r"[^A-Za-z0-9]+", "_", folder.root.resolve().name).strip("_")[:40] or "folder"
    return NucleiConfig(
        name=f"{title}-{digest}",
        folder=folder,
        image_size=image_size,
        num_channels=first.shape[-1],
        dtype=first.dtype.name,
        intensity=intensity,
        pose=pose,
        metadata_regex=metadata_regex,
        on_error=on_error,
    )


def _first_image(folder: Folder, on_error: str) -> np.ndarray:
    for file in folder.files:
        try:
            return read_image(folder.root / file)
        except UnreadableImageError:
            if on_error == "raise":
                raise
    raise UnreadableImageError(f"none of the {len(folder.files)} images in {folder.root} can be read; check the files")


class Nuclei(tfds.core.GeneratorBasedBuilder):
    """Builder of one ``NucleiConfig``; the folder is its manual download."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The manual directory is the folder: one folder of PNG or TIFF images per class."

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
            limits = channel_limits(image for _, image in self._read(root) if image is not None)
        skipped, sizes, counts = [], collections.Counter(), collections.Counter()
        for index, image in self._read(root):
            if image is None:
                skipped.append(config.folder.files[index])
                continue
            label = int(config.folder.labels[index])
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
        )

    def _check_classes(self, counts: collections.Counter[str]) -> None:
        for name in self.builder_config.folder.class_names:
            if not counts[name]:
                raise ValueError(
                    f"class {name!r} in {self.builder_config.folder.root} is empty: none of its images can be read; "
                    "replace them or leave the class out of classes"
                )

    def _read(self, root: Path) -> Iterator[tuple[int, np.ndarray | None]]:
        """Index and pixels of every file, None for one that is skipped."""
        config = self.builder_config
        files = config.folder.files
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(files), _CHUNK):
                paths = [root / file for file in files[start : start + _CHUNK]]
                for offset, image in enumerate(pool.map(lambda path: _read_or_skip(path, config.on_error), paths)):
                    if image is not None:
                        _check_kind(image, paths[offset], config)
                    yield start + offset, image


def _read_or_skip(path: Path, on_error: str) -> np.ndarray | None:
    try:
        return read_image(path)
    except UnreadableImageError as error:
        if on_error == "raise":
            raise
        logging.getLogger(__name__).warning("skipped: %s", error)
        return None


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
