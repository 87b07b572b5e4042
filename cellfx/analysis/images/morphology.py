"""Size, brightness and shape of the cell in the middle of an image, and how varied they are among generated images."""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError

FIELD_PX = 64.0
"""Width of the field of view, in which lengths and areas are given; the unit of the synthetic cells."""

MIN_CONTRAST, NUM_DEVIATIONS = 0.05, 4.0
"""A cell exceeds its background by this fraction of full scale, and by as many deviations of the background."""

COMPARED = ("area_px", "brightness", "eccentricity")

_BLOCK, _ROUNDS, _CORE_RATE = 512, 3, 0.95
_RAMP = (0.25, 0.75)
_NORMAL_MAD = 1.4826


class Measured(NamedTuple):
    """What was measured of N cells; all are 0 where none was found.

    Attributes:
        area_px: (N,) in pixels of a field of the width that was asked for.
        brightness: (N,) mean level of the cell above the background, in [0, 1]; its blurred rim counts less.
        eccentricity: (N,) in [0, 1]; 0 circle, 1 line.
        x_px: (N,) center of the cell from the middle of the field, to the right.
        y_px: (N,) likewise, downwards.
        found: (N,) bool, whether anything stands out from the background.
    """

    area_px: np.ndarray
    brightness: np.ndarray
    eccentricity: np.ndarray
    x_px: np.ndarray
    y_px: np.ndarray
    found: np.ndarray


def measure(images: np.ndarray, field_px: float = FIELD_PX, min_contrast: float = MIN_CONTRAST) -> Measured:
    """Measures the cell in the middle of every image, if it is brighter than its background and not tiny (1 %).

    A pixel counts to the cell by how far it is on the way from the background (median of the image's border) to the
    cell's own mean level: nothing below a quarter, all above three quarters, linearly in between. So the outline lies
    halfway, and the area grows smoothly rather than by whole pixels. Other cells in the field are left out as long as a
    gap parts them from the one that covers most of the middle. Eccentricity is sqrt(1 - minor / major) of the
    eigenvalues of the second moments: that of the ellipse which has these moments.

    Args:
        images: (N, H, W, C) in [0, 1]; channels are averaged.
        field_px: width of the field of view, the unit of all lengths, whatever the width of the images.
        min_contrast: fraction of full scale by which a cell exceeds the background.

    Raises:
        ValueError: images of another shape, or smaller than 8 x 8.
    """
    if np.ndim(images) != 4 or min(images.shape[1:3]) < 8 or not len(images):
        raise UserError(
            f"images that cannot be measured: got shape {np.shape(images)}, expected (N, H, W, C) with N of 1 or more "
            "and H and W of 8 or more; give images of whole cells"
        )
    starts = range(0, len(images), _BLOCK)
    gray = (np.mean(images[i : i + _BLOCK], axis=-1, dtype=np.float64) for i in starts)
    blocks = [_measure(block, field_px, min_contrast) for block in gray]
    return Measured(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def border_level(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level and noise of the background, from the outermost pixels: (N, H, W) -> median and deviation, (N,) each.

    The deviation is that of normal noise with the same median absolute deviation, which a cell that covers less than
    half of the border does not change much.
    """
    border = np.ones(images.shape[1:3], bool)
    border[1:-1, 1:-1] = False
    values = images[:, border].astype(np.float64)
    level = np.median(values, axis=1)
    return level, _NORMAL_MAD * np.median(np.abs(values - level[:, None]), axis=1)


def label_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected pieces within each image of a mask.

    Args:
        mask: (N, H, W) bool.

    Returns:
        (N, H, W) int, 0 where there is none and else the number of the piece; (P + 1,) the image of each number, where
        number 0 belongs to none. Pixels that touch at a corner are connected.
    """
    from scipy.ndimage import label

    connected = np.zeros((3, 3, 3), bool)
    connected[1] = True
    pieces, count = label(mask, connected)
    image_of = np.zeros(count + 1, np.int64)
    image, row, column = np.nonzero(pieces)
    image_of[pieces[image, row, column]] = image
    return pieces, image_of


def spread_ratio(real: np.ndarray, fake: np.ndarray) -> float:
    """How varied a factor is among generated images, as a fraction of its variety among real ones.

    The spread is the distance from the 5th to the 95th percentile: a few failed images or measurements cannot make up
    for a generator that shows one cell over and over, as they could in a standard deviation.

    Args:
        real: (N,) factor of real images.
        fake: (M,) the same of generated ones.

    Returns:
        About 1 for the same distribution, 0 where every generated image is alike.

    Raises:
        ValueError: no image, a value that is not finite, or real images that are all alike.
    """
    for name, values in (("real", real), ("generated", fake)):
        if np.ndim(values) != 1 or not len(values) or not np.isfinite(values).all():
            raise UserError(
                f"no spread of {name} values: got shape {np.shape(values)} with "
                f"{int(np.sum(~np.isfinite(values)))} that are not finite, expected (N,) finite numbers, N of 1 or "
                "more; leave out images in which nothing was found"
            )
    spread = [float(np.subtract(*np.quantile(values, [0.95, 0.05]))) for values in (real, fake)]
    if spread[0] == 0:
        raise UserError(
            f"real images without variety: got {len(real)} values of which nine in ten equal {np.median(real):g}, "
            "expected some that differ; leave this factor out or take more images"
        )
    return spread[1] / spread[0]


def spread_ratios(real: Measured, fake: Measured, names: tuple[str, ...] = COMPARED) -> dict[str, float]:
    """``spread_ratio`` of each factor: one near 0 where a generator has collapsed.

    Args:
        real: measured on real images; those in which nothing was found are left out.
        fake: measured on generated ones, likewise.
        names: of the factors.

    Returns:
        Factor -> ratio; 0 where nothing was found in any generated image.
    """
    if not np.any(fake.found):
        return dict.fromkeys(names, 0.0)
    return {name: spread_ratio(getattr(real, name)[real.found], getattr(fake, name)[fake.found]) for name in names}


def _measure(gray: np.ndarray, field_px: float, min_contrast: float) -> Measured:
    height, width = gray.shape[1:]
    unit_px = field_px / width
    y, x = ((np.arange(n) + 0.5 - n / 2) * unit_px for n in (height, width))
    distance = np.hypot(y[:, None], x[None]) / (min(height, width) * unit_px)
    background, noise = border_level(gray)
    signal = gray - background[:, None, None]
    # The middle is a fifth of the image; its brightest twentieth belongs to any cell that covers 1 % of the image.
    level = np.quantile(signal[:, distance < 0.25], _CORE_RATE, axis=1)
    found = level > np.maximum(min_contrast, NUM_DEVIATIONS * noise)
    window = np.exp(-0.5 * np.square(distance / 0.15))
    for _ in range(_ROUNDS):
        weight = _soft(signal, np.where(found, level, np.inf), window)
        # Squared, so that the blurred rim draws the level down less.
        inner = np.square(weight)
        level = np.sum(inner * signal, axis=(1, 2)) / np.maximum(inner.sum(axis=(1, 2)), 1e-9)
    total = weight.sum(axis=(1, 2))
    found &= total > 0
    share = weight / np.maximum(total, 1e-9)[:, None, None]
    across, down = share.sum(axis=1), share.sum(axis=2)
    centre_x, centre_y = across @ x, down @ y
    var_x, var_y = across @ x**2 - centre_x**2, down @ y**2 - centre_y**2
    cov = np.einsum("nhw,h,w->n", share, y, x) - centre_x * centre_y
    half, apart = (var_x + var_y) / 2, np.hypot((var_x - var_y) / 2, cov)
    eccentricity = np.sqrt(np.clip(2 * apart / np.maximum(half + apart, 1e-12), 0.0, 1.0))
    columns = (total * unit_px**2, level, eccentricity, centre_x, centre_y)
    return Measured(*(np.where(found, column, 0.0) for column in columns), found)


def _soft(signal: np.ndarray, level: np.ndarray, window: np.ndarray) -> np.ndarray:
    """How much each pixel belongs to the cell in the middle, (n, H, W) in [0, 1]."""
    weight = np.clip((signal / level[:, None, None] - _RAMP[0]) / (_RAMP[1] - _RAMP[0]), 0.0, 1.0)
    pieces, image_of = label_pieces(weight > 0)
    central = np.bincount(pieces.ravel(), weights=(weight * window).ravel(), minlength=len(image_of))
    best = np.zeros(len(signal), np.int64)
    order = 1 + np.argsort(central[1:], kind="stable")
    best[image_of[order]] = order  # the last one stays, which has the most
    return np.where((pieces == best[:, None, None]) & (pieces > 0), weight, 0.0)
