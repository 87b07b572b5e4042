"""One size for images of many sizes, as an imaging cytometer crops them: around each cell, no larger than needed.

Source: S. Isaksson, "Deeper Understanding of Autophagy and pseudo-Autophagy through Latent-Space Analysis", 2018,
section 3.1.
"""

from collections.abc import Sequence

import numpy as np

from cellfx.preprocess.kinds import check_kinds, check_stored

NO_SIGNAL = 20.0
"""Stored intensity where the published instrument saw no fluorescence."""


def resize(
    image: np.ndarray, size: int, kinds: Sequence[str], rng: np.random.Generator, constant: float | None = NO_SIGNAL
) -> np.ndarray:
    """Crops the center of what is too large and pads, evenly on both sides, what is too small.

    Bright field is padded with normal noise of the mean and the standard deviation of its own border, the pixels of
    all four edges, each counted once. Fluorescence is padded with a constant. Height and width are treated each for
    itself, and where nothing is padded no random number is drawn.

    Args:
        image: (H, W, C) uint8 or uint16.
        size: height and width to get.
        kinds: (C,) of ``KINDS``, one for each channel.
        rng: of the noise.
        constant: intensity without fluorescence; None takes the median of each image's own border instead.

    Returns:
        (size, size, C) of the same type, rounded and kept within its range.

    Raises:
        ValueError: the image is not as said, the kinds do not fit its channels, or the size is below 1.
    """
    check_stored(image, "HWC")
    check_kinds(kinds, image.shape[-1])
    if size < 1:
        raise ValueError(f"no such image size: got size={size}, expected 1 or more; raise size")
    (rows_from, rows_to), (columns_from, columns_to) = (_ranges(length, size) for length in image.shape[:2])
    kept = image[rows_from, columns_from]
    if kept.shape[:2] == (size, size):
        return kept.copy()
    border = _border(image)
    padded = np.stack(
        [_fill(kind, border[:, channel], size, rng, constant) for channel, kind in enumerate(kinds)], axis=-1
    )
    padded = np.clip(np.rint(padded), 0, np.iinfo(image.dtype).max).astype(image.dtype)
    padded[rows_to, columns_to] = kept
    return padded


def _ranges(length: int, size: int) -> tuple[slice, slice]:
    """What is taken of ``length`` pixels, and where it lies among ``size``."""
    kept = min(length, size)
    first, place = (length - kept) // 2, (size - kept) // 2
    return slice(first, first + kept), slice(place, place + kept)


def _border(image: np.ndarray) -> np.ndarray:
    """Pixels of the four edges, (n, C) float64."""
    is_border = np.ones(image.shape[:2], bool)
    is_border[1:-1, 1:-1] = False
    return image[is_border].astype(np.float64)


def _fill(kind: str, border: np.ndarray, size: int, rng: np.random.Generator, constant: float | None) -> np.ndarray:
    """What one channel is padded with, (size, size) float64."""
    if kind == "brightfield":
        return rng.normal(border.mean(), border.std(), (size, size))
    return np.full((size, size), np.median(border) if constant is None else constant, np.float64)
