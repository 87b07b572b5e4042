"""The filter that labs use without a network: limits on height, width and aspect ratio of what an image shows."""

from typing import NamedTuple

import numpy as np

from cellfx.analysis.images.morphology import MIN_CONTRAST, NUM_DEVIATIONS, border_level, label_pieces
from cellfx.analysis.images.screening import check_labels
from cellfx.checks import UserError

_BLOCK, _SIDES = 1024, ("left", "right")


class SizeGate(NamedTuple):
    """Limits, all inclusive; what has no size at all is never let through.

    Attributes:
        min_rows: lowest height in pixels.
        max_rows: largest height in pixels.
        min_columns: lowest width in pixels.
        max_columns: largest width in pixels.
        max_ratio: largest ratio of the longer to the shorter side.
    """

    min_rows: float
    max_rows: float
    min_columns: float
    max_columns: float
    max_ratio: float


def fit_size_gate(sizes: np.ndarray, labels: np.ndarray, num_values: int = 16) -> SizeGate:
    """Finds the limits of best accuracy among all combinations of a grid.

    Isaksson 2018, section 4.2: limits on the size of rows and columns, from below and above, and on their ratio, by a
    grid search over every combination. The grid of each limit are quantiles of that size over all images, the smallest
    and the largest among them; so no grid has to be chosen for a new instrument. Of gates of the same accuracy the
    widest is taken: the one that is fewest steps of the grid away from no limit at all, all five limits together.

    Args:
        sizes: (N, 2) rows and columns in pixels, as of ``extent`` or of images that the instrument cropped itself.
        labels: (N,) bool, whether an image is usable.
        num_values: quantiles per limit, 2 or more; 16 make 290,000 combinations.

    Raises:
        ValueError: sizes and labels that do not fit, sizes that are negative or all zero, or a grid of one value.
    """
    sizes = _check_sizes(sizes)
    labels = check_labels(labels, len(sizes))
    if num_values < 2:
        raise UserError(f"num_values makes no grid: got {num_values}, expected 2 or more; raise num_values")
    shown = np.all(sizes > 0, axis=1)
    if not shown.any():
        raise UserError(
            f"nothing to fit a size gate to: got {len(sizes)} images without anything in them, expected some with an "
            "object; lower min_contrast of extent"
        )
    columns = (*sizes[shown].T, _ratio(sizes[shown]))
    levels = np.linspace(0, 1, num_values)
    grids = [np.unique(np.quantile(column, levels, method="inverted_cdf")) for column in columns]
    gain = _gain(columns, grids, np.where(labels[shown], 1, -1))
    pairs = [np.stack(np.triu_indices(len(grid)), axis=1) for grid in grids[:2]]
    inside = _within(gain, pairs[0])
    inside = np.moveaxis(_within(np.moveaxis(inside, 1, 0), pairs[1]), 0, 1)
    inside = np.cumsum(inside, axis=2)[..., ::2]
    width = [pair[:, 1] - pair[:, 0] for pair in pairs]
    width = width[0][:, None, None] + width[1][None, :, None] + np.arange(len(grids[2]))
    best = np.argmax(np.where(inside == inside.max(), width, -1))
    row, column, ratio = np.unravel_index(best, inside.shape)
    limits = (*grids[0][pairs[0][row]], *grids[1][pairs[1][column]], grids[2][ratio])
    return SizeGate(*(float(limit) for limit in limits))


def gate(size_gate: SizeGate, sizes: np.ndarray) -> np.ndarray:
    """Whether images are let through.

    Args:
        size_gate: the limits.
        sizes: (N, 2) rows and columns in pixels.

    Returns:
        (N,) bool.

    Raises:
        ValueError: sizes of another shape, negative or not finite.
    """
    sizes = _check_sizes(sizes)
    lowest, highest = size_gate[0:4:2], size_gate[1:4:2]
    within = np.all((sizes >= lowest) & (sizes <= highest) & (sizes > 0), axis=1)
    return within & (_ratio(sizes) <= size_gate.max_ratio)


def extent(
    images: np.ndarray,
    num_deviations: float = NUM_DEVIATIONS,
    min_contrast: float = MIN_CONTRAST,
    min_area_px: int = 9,
) -> np.ndarray:
    """Height and width of what an image shows, for images that all have one size.

    An imaging flow cytometer crops each image to its object, and the size gate is about that crop. Here it is the
    bounding box of all pixels that stand out from the background, brighter or darker, in any channel: two cells side
    by side measure as both together. The background is the median of the image's border; specks are noise.

    Args:
        images: (N, H, W, C) in [0, 1].
        num_deviations: of the border's noise by which a pixel has to stand out.
        min_contrast: fraction of full scale by which it has to stand out too, where the border is free of noise.
        min_area_px: pixels that touch; smaller pieces are left out.

    Returns:
        (N, 2) int64, rows and columns in pixels; 0 and 0 where nothing stands out.

    Raises:
        ValueError: images of another shape.
    """
    if np.ndim(images) != 4 or min(images.shape[1:3]) < 3:
        raise UserError(
            f"images without a border and a middle: got shape {np.shape(images)}, expected (N, H, W, C) with H and W "
            "of 3 or more; give whole images"
        )
    sizes = np.zeros((len(images), 2), np.int64)
    for start in range(0, len(images), _BLOCK):
        block = np.asarray(images[start : start + _BLOCK], np.float32)
        stands_out = np.zeros(block.shape[:3], bool)
        for channel in np.moveaxis(block, -1, 0):
            level, noise = (value[:, None, None] for value in border_level(channel))
            stands_out |= np.abs(channel - level) > np.maximum(num_deviations * noise, min_contrast)
        pieces, image_of = label_pieces(stands_out)
        large = np.bincount(pieces.ravel(), minlength=len(image_of)) >= min_area_px
        large[0] = False
        shown = large[pieces]
        sizes[start : start + len(block)] = np.stack([_span(shown.any(axis=2)), _span(shown.any(axis=1))], axis=1)
    return sizes


def _ratio(sizes: np.ndarray) -> np.ndarray:
    """Longer over shorter side, (N,); infinite where a side is 0."""
    shorter = sizes.min(axis=1)
    return np.where(shorter > 0, sizes.max(axis=1) / np.where(shorter > 0, shorter, 1.0), np.inf)


def _span(line: np.ndarray) -> np.ndarray:
    """From the first to the last True of every line, both included: (N, S) bool -> (N,) int, 0 where there is none."""
    return np.where(line.any(axis=1), line.shape[1] - line.argmax(axis=1) - line[:, ::-1].argmax(axis=1), 0)


def _gain(columns: tuple[np.ndarray, ...], grids: list[np.ndarray], signs: np.ndarray) -> np.ndarray:
    """Usable minus unusable images in every cell of the grid of rows, columns and ratios.

    A grid of n values has 2 n - 1 cells along its axis: one for each value itself and one for each gap between two. So
    what lies between value i and value j, both included, are the cells 2 i to 2 j.
    """
    places = [sum(np.searchsorted(grid, c, s) for s in _SIDES) - 1 for c, grid in zip(columns, grids, strict=True)]
    cells = np.zeros([2 * len(grid) - 1 for grid in grids], np.int64)
    np.add.at(cells, tuple(places), signs)
    return cells


def _within(cells: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Sums of cells (2 n - 1, ...) from the first value to the second of pairs (P, 2): (P, ...)."""
    until = np.concatenate([np.zeros_like(cells[:1]), np.cumsum(cells, axis=0)])
    return until[2 * pairs[:, 1] + 1] - until[2 * pairs[:, 0]]


def _check_sizes(sizes: np.ndarray) -> np.ndarray:
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not (np.isfinite(sizes) & (sizes >= 0)).all():
        raise UserError(
            f"sizes that are none: got shape {sizes.shape} with "
            f"{int(np.sum(~(np.isfinite(sizes) & (sizes >= 0))))} negative or undefined numbers, expected (N, 2) rows "
            "and columns of 0 or more; take them from extent or from the files' own sizes"
        )
    return sizes
