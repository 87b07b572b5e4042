"""Stretching the intensities of stored images, which keep their type (8 or 16 bits); NumPy only.

A camera of 12 bits fills a sixteenth of a 16-bit file, so raw fluorescence images are often nearly black.
"""

from collections.abc import Iterable

import numpy as np

INTENSITIES = ("raw", "sqrt", "percentile", "range")
PERCENTILES = (0.1, 99.9)


def check_intensity(intensity: str) -> None:
    """Raises a ValueError for a name that ``rescale`` does not know."""
    if intensity not in INTENSITIES:
        raise ValueError(f"unknown intensity {intensity!r}; expected one of {', '.join(INTENSITIES)}")


def rescale(image: np.ndarray, intensity: str, limits: np.ndarray | None = None) -> np.ndarray:
    """Maps stored values to the whole range of their type.

    Args:
        image: (H, W, C) uint8 or uint16.
        intensity: ``raw`` changes nothing; ``sqrt`` takes the square root of the fraction of the largest value, which
            evens out the noise of photon counts; ``percentile`` maps the percentiles ``PERCENTILES`` of each image and
            channel to 0 and 1, which forgets how bright a cell is; ``range`` does so with ``limits``, the same for
            all images, which keeps it.
        limits: (2, C) lowest and highest value of each channel, for ``range`` (see ``channel_limits``).

    Returns:
        (H, W, C) of the same type, rounded.
    """
    if intensity == "raw":
        return image
    top = np.iinfo(image.dtype).max
    if intensity == "sqrt":
        fraction = np.sqrt(image / top)
    else:
        low, high = limits if intensity == "range" else np.percentile(image, PERCENTILES, axis=(0, 1))
        fraction = np.clip((image - low) / np.maximum(high - low, 1.0), 0.0, 1.0)
    return np.rint(fraction * top).astype(image.dtype)


def channel_limits(images: Iterable[np.ndarray]) -> np.ndarray:
    """The percentiles ``PERCENTILES`` of each channel over all pixels of all images, exactly and in one pass.

    Args:
        images: (H, W, C) each, uint8 or uint16, C and type the same; at least one.

    Returns:
        (2, C) float64.
    """
    counts = None
    for image in images:
        if counts is None:
            counts = np.zeros((image.shape[-1], np.iinfo(image.dtype).max + 1), np.int64)
        for channel in range(image.shape[-1]):
            values, repeats = np.unique(image[..., channel], return_counts=True)
            counts[channel, values] += repeats
    cumulated = np.cumsum(counts, axis=1)
    shares = np.array(PERCENTILES) / 100.0
    return np.array([np.searchsorted(row, shares * row[-1]) for row in cumulated], np.float64).T
