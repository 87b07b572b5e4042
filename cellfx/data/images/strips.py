"""A few images of each of several groups, on one scale of intensity, to be shown side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cellfx.checks import UserError
from cellfx.data.images.image_files import fit, read_planes
from cellfx.data.images.intensity import channel_limits, rescale


def read_strips(files: Mapping[str, Sequence[str]], root: Path | str, image_size: int = 64) -> dict[str, np.ndarray]:
    """Reads images and stretches each channel between its percentiles over all of them, so that strips compare.

    Args:
        files: group -> paths of image files relative to ``root``; one or more each.
        root: folder of the images, which no path may lead out of.
        image_size: H and W in pixels; images are cropped or padded around their center.

    Returns:
        Group -> (n, H, W, C) float32 in [0, 1].

    Raises:
        ValueError: a path out of the folder, a file that is no image, or images that differ in channels or depth.
    """
    root = Path(root)
    images = {group: [_read(root, path, image_size) for path in paths] for group, paths in files.items()}
    every = [image for some in images.values() for image in some]
    kinds = sorted({f"{image.shape[-1]} channels of {image.dtype}" for image in every})
    if len(kinds) > 1:
        raise UserError(
            f"images that cannot be shown side by side: got {kinds[0]} and {kinds[1]} in {root}, expected the same of "
            "all; convert some"
        )
    limits, largest = channel_limits(every), np.iinfo(every[0].dtype).max
    return {
        group: np.stack([rescale(image, "range", limits) / largest for image in some]).astype(np.float32)
        for group, some in images.items()
    }


def _read(root: Path, path: str, image_size: int) -> np.ndarray:
    if not (root / path).resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"an image out of its folder: got {path!r}, expected a path inside of {root}; correct the table or the root"
        )
    return fit(read_planes(root / path).pixels, image_size)
