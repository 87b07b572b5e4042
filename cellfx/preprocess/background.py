"""Bright field: where cells usually lie, where background does, and how bright each image's background is.

Source: S. Isaksson, "Deeper Understanding of Autophagy and pseudo-Autophagy through Latent-Space Analysis", 2018,
section 3.2.1.
"""

import numpy as np

_BLOCK = 1024


def deviation_map(images: np.ndarray) -> np.ndarray:
    """Standard deviation of every pixel position over the images, (N, H, W) -> (H, W) float64."""
    blocks = [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(images)
    return np.sqrt(sum(np.square(block - mean).sum(axis=0) for block in blocks) / len(images))


def cell_positions(deviations: np.ndarray, threshold: float | None = None) -> tuple[np.ndarray, float | None]:
    """Where cells usually lie: the positions whose deviation is above a threshold. All others are background.

    Args:
        deviations: (H, W), of two pixels or more; see ``deviation_map``.
        threshold: in stored gray levels; None for Otsu's (see ``otsu``), which has nothing to be set and gives the same
            positions whatever the gain of the camera.

    Returns:
        (H, W) bool, both values present, and the threshold. Where all positions deviate alike, as those of a single
        image do, the middle half of rows and columns and None.

    Raises:
        ValueError: a given threshold has no position above it, or none below.
    """
    low, high = float(deviations.min()), float(deviations.max())
    if threshold is None and low == high:
        middle = np.zeros(deviations.shape, bool)
        middle[tuple(slice(length // 4, length // 4 + max(length // 2, 1)) for length in deviations.shape)] = True
        return middle, None
    threshold = otsu(deviations) if threshold is None else float(threshold)
    if not low <= threshold < high:
        raise ValueError(
            f"threshold leaves no cell or no background: got threshold={threshold:g}, expected at least {low:g} and "
            f"less than {high:g}, the deviations that were found; change it, or set it to None"
        )
    return deviations > threshold, threshold


def background_and_deviation(images: np.ndarray, is_cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of the background and standard deviation of the cell of each image.

    Args:
        images: (N, H, W) as stored.
        is_cell: (H, W) bool, see ``cell_positions``.

    Returns:
        (N,) float64 twice, in stored gray levels.
    """
    deviations = images[:, is_cell].astype(np.float64).std(axis=1)
    return np.median(images[:, ~is_cell], axis=1).astype(np.float64), deviations


def otsu(values: np.ndarray) -> float:
    """The cut that leaves two groups whose means lie furthest apart for their sizes; values above it are the high ones.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979, DOI 10.1109/TSMC.1979.4310076, equation
    14. Differs from the paper: on the values themselves, not on a histogram of them.

    Args:
        values: any shape, finite, at least two different ones.

    Returns:
        The largest of the low values, so that neither group is empty.
    """
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    low_counts = np.cumsum(counts)[:-1]
    high_counts = counts.sum() - low_counts
    # Sums about the smallest value: large values that differ little would cancel out.
    sums = np.cumsum(counts * (distinct - distinct[0]))
    apart = (sums[-1] - sums[:-1]) / high_counts - sums[:-1] / low_counts
    return float(distinct[np.argmax(low_counts * high_counts * apart**2)])
