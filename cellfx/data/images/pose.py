"""Turning a cell so that it lies along the image: position and orientation, which tell nothing, leave the data."""

import numpy as np

POSES = ("raw", "upright")

_CENTRE_RATE, _REACH_RATE = 1 / 8, 1 / 3
"""Radii, as fractions of the shorter side: where the cell's own intensity is looked for, and how far it may reach."""


def check_pose(pose: str) -> None:
    """Raises a ValueError for a name that ``adjust`` does not know."""
    if pose not in POSES:
        raise ValueError(f"unknown pose {pose!r}; expected one of {', '.join(POSES)}; correct data.pose")


def adjust(image: np.ndarray, pose: str) -> np.ndarray:
    """Moves and turns an image, never stretching it.

    The cell is what is connected, nearest to the center, and brighter than halfway between background and center, all
    channels together. Its two ends are not told apart: flips remain.

    Args:
        image: (H, W, C) uint8 or uint16, one cell in its middle.
        pose: ``raw`` changes nothing; ``upright`` moves the cell's centroid to the middle and its longer axis (of its
            second moments, as in Hu 1962, doi:10.1109/TIT.1962.1057692) to the horizontal.

    Returns:
        (H, W, C) of the same type, bilinear; corners from outside the image are background.
    """
    if pose == "raw":
        return image
    from scipy import ndimage

    gray = ndimage.gaussian_filter(image.mean(axis=-1), 1.0)
    centre = (np.array(gray.shape) - 1) / 2
    y, x = np.meshgrid(
        *(np.arange(size) - middle for size, middle in zip(gray.shape, centre, strict=True)), indexing="ij"
    )
    own = _cell(gray, np.hypot(y, x))
    if own is None:
        return image
    y, x = y[own], x[own]
    shift = np.array([y.mean(), x.mean()])
    y, x = y - shift[0], x - shift[1]
    angle = 0.5 * np.arctan2(2 * np.sum(x * y), np.sum(x * x) - np.sum(y * y))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    offset = centre + shift - turn @ centre
    background = np.percentile(image, 20, axis=(0, 1))
    turned = [
        ndimage.affine_transform(
            image[..., channel].astype(np.float32), turn, offset, order=1, cval=background[channel]
        )
        for channel in range(image.shape[-1])
    ]
    return np.rint(np.stack(turned, axis=-1)).astype(image.dtype)


def _cell(gray: np.ndarray, radius: np.ndarray) -> np.ndarray | None:
    """(H, W) bool, or None where nothing stands out from the background."""
    from scipy import ndimage

    side = min(gray.shape)
    low = np.percentile(gray, 20)
    high = np.percentile(gray[radius <= max(_CENTRE_RATE * side, 1)], 90)
    parts, count = ndimage.label((gray > (low + high) / 2) & (radius < _REACH_RATE * side))
    if not count or high <= low:
        return None
    nearest = np.argmin(np.where(parts > 0, radius, np.inf))
    return parts == parts.flat[nearest]
