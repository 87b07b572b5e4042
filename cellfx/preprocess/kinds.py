"""The two kinds of channel that an imaging cytometer sends, what images of them must be, and what is unusual."""

from collections.abc import Sequence

import numpy as np

KINDS = ("brightfield", "fluorescence")

_BIT_DEPTHS = (8, 10, 12, 14, 16)


def check_kinds(kinds: Sequence[str], num_channels: int) -> None:
    """Raises a ValueError for a kind that does not exist, or for another number of kinds than of channels."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"unknown kind of channel: got {unknown[0]!r}, expected {' or '.join(KINDS)}; correct kinds")
    if len(kinds) != num_channels:
        raise ValueError(
            f"kinds and channels differ in number: got {len(kinds)} kinds ({', '.join(kinds)}) and {num_channels} "
            f"channels, expected one kind for every channel; correct kinds"
        )


def check_stored(images: np.ndarray, axes: str) -> None:
    """Raises a ValueError for images that are not stored intensities with the given axes, e.g. ``NHWC``."""
    if images.ndim != len(axes) or images.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"not stored images: got an array of shape {images.shape} and type {images.dtype}, expected "
            f"({', '.join(axes)}) of uint8 or uint16; convert them first"
        )
    if 0 in images.shape:
        raise ValueError(
            f"images without pixels: got shape {images.shape}, expected at least one of each of {', '.join(axes)}; "
            f"add images"
        )


def unusual(images: np.ndarray, kinds: Sequence[str]) -> list[str]:
    """Constant images, zeros in fluorescence and saturated pixels, counted.

    A pixel is saturated at the largest value of the camera's depth: the least of 8, 10, 12, 14 and 16 bits that holds
    all channels.

    Args:
        images: (N, H, W, C) uint8 or uint16.
        kinds: (C,) of ``KINDS``.

    Returns:
        A sentence for each of these that a channel has.
    """
    # One camera: the depth is that of the brightest channel.
    top = next(2**bits - 1 for bits in _BIT_DEPTHS if images.max() < 2**bits)
    per_channel = images[0, ..., 0].size * len(images)
    found = []
    for channel, kind in enumerate(kinds):
        pixels = images[..., channel]
        constant = int(np.sum(pixels.max(axis=(1, 2)) == pixels.min(axis=(1, 2))))
        saturated, zeros = int(np.sum(pixels == top)), int(np.sum(pixels == 0)) if kind == KINDS[1] else 0
        counts = (
            (constant, f"{constant} of {len(images)} images are constant"),
            (zeros, f"{zeros} of {per_channel} pixels are 0, which has no logarithm: taken for 1, left out of the fit"),
            (saturated, f"{saturated} of {per_channel} pixels are saturated, at {top}"),
        )
        found += [f"channel {channel} ({kind}): {sentence}" for count, sentence in counts if count]
    return found
