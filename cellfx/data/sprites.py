"""dSprites, regenerated from its factor grid: 737,280 binary images of known factors, for disentanglement metrics.

Source: L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, "dSprites: Disentanglement testing Sprites dataset", 2017.
Differs from the original: drawn anew from the geometry, 216 of 77,010 sprite pixels of 320 published images differ;
and its constant factor, color, is left out.

A pixel is on if its center lies inside the shape. With scale s, angle a, and the offset (dx, dy) from the sprite's
center in pixels, y down,

    u = (cos(a) dx - sin(a) dy) / s,   v = (sin(a) dx + cos(a) dy) / s

the square is |u|, |v| < 9.6, the ellipse (u / 12.8)^2 + (v / 7.2)^2 < 1, and the heart a polygon in (u, v) kept beside
this file, by the even-odd rule.

| factor | sizes | values |
|---|---|---|
| shape | 3 | 0 square, 1 ellipse, 2 heart |
| scale | 6 | .5 to 1 |
| orientation_rad | 40 | 0 to 2 pi, both ends included: the first and the last look alike |
| x | 32 | 0 to 1: the center in pixels is 16 + 32 x |
| y | 32 | 0 to 1, the same downwards |
"""

import functools
import pathlib

import numpy as np

from cellfx.checks import Number, Seed, checked
from cellfx.data.source import Source, Split

CLASS_NAMES = ("square", "ellipse", "heart")
FACTOR_NAMES = ("shape", "scale", "orientation_rad", "x", "y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
NUM_IMAGES = 737_280
IMAGE_SIZE = 64
FACTOR_VALUES = (
    np.arange(3.0),
    np.linspace(0.5, 1.0, 6),
    np.linspace(0.0, 2.0 * np.pi, 40),
    np.linspace(0.0, 1.0, 32),
    np.linspace(0.0, 1.0, 32),
)

# No sprite reaches further from its center than the corner of the largest square, 9.6 sqrt(2) = 13.6 px.
_REACH_PX = 14
_BLOCK = 256


@checked("data")
def sprites(
    num_train: Number | None = 50_000,
    num_valid: Number = 5_000,
    num_test: Number = 10_000,
    seed: Seed = 0,
) -> Source:
    """A random part of the grid, split at random.

    Args:
        num_train: images to train on; None for all that the other splits leave (3 GB of memory).
        num_valid: images to validate on.
        num_test: images to test on.
        seed: of the draw; splits are disjoint parts of one permutation, test first, then valid, then train.

    Returns:
        Source with splits train, valid and test: image (N, 64, 64, 1) uint8 of 0 and 255, label (N,) int32 the shape,
        factors (N, F) float32, metadata ``Metadata_Index`` in the official order.

    Raises:
        ValueError: more images asked for than there are, or fewer than none.
    """
    wanted = NUM_IMAGES - num_valid - num_test if num_train is None else num_train
    sizes = {"test": num_test, "valid": num_valid, "train": wanted}
    if min(sizes.values()) < 0 or sum(sizes.values()) > NUM_IMAGES:
        raise ValueError(
            f"no such split of the sprites: num_train={num_train}, num_valid={num_valid}, num_test={num_test}; "
            f"expected none below 0 and {NUM_IMAGES} together at most; lower them"
        )
    order = np.random.default_rng(seed).permutation(NUM_IMAGES)
    ends = np.cumsum(list(sizes.values()))
    parts = {name: order[end - size : end] for (name, size), end in zip(sizes.items(), ends, strict=True)}
    return Source(
        name="sprites",
        shape=(IMAGE_SIZE, IMAGE_SIZE, 1),
        splits={name: _split(parts[name]) for name in ("train", "valid", "test")},
        class_names=CLASS_NAMES,
        factor_names=FACTOR_NAMES,
    )


def factor_indices(indices: np.ndarray) -> np.ndarray:
    """Official indices (B,) of images in 0..737,279 -> index of each factor's value, (B, 5) int64."""
    return np.stack(np.unravel_index(indices, FACTOR_SIZES), axis=-1)


def factor_values(factors: np.ndarray) -> np.ndarray:
    """Index of each factor's value (B, 5) -> values (B, 5) float32, in the units of the module's table."""
    columns = [values[index] for values, index in zip(FACTOR_VALUES, factors.T, strict=True)]
    return np.stack(columns, axis=-1).astype(np.float32)


def render(factors: np.ndarray) -> np.ndarray:
    """Draws sprites, in any order and number.

    Every row of pixels is filled between the points where it crosses the outline. Those depend on four factors, but
    not on x, and are tabulated once (half a second), so an image costs some tens of additions and one running parity.

    Args:
        factors: (B, 5) integers, index of each factor's value.

    Returns:
        (B, 64, 64, 1) uint8 of 0 and 255.

    Raises:
        ValueError: an index that its factor does not have.
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(FACTOR_SIZES):
        raise ValueError(
            f"not a table of factors: got shape {factors.shape}; expected (B, {len(FACTOR_SIZES)}), one column each "
            f"for {', '.join(FACTOR_NAMES)}; pass what factor_indices returns"
        )
    if factors.size and not ((factors >= 0) & (factors < FACTOR_SIZES)).all():
        raise ValueError(
            f"no such factor value: got indices {factors.min(axis=0)} to {factors.max(axis=0)}; expected 0 to "
            f"{np.array(FACTOR_SIZES) - 1} for {', '.join(FACTOR_NAMES)}; change them"
        )
    images = np.zeros((len(factors), IMAGE_SIZE, IMAGE_SIZE, 1), np.uint8)
    # Blocks that stay in the cache.
    for start in range(0, len(factors), _BLOCK):
        images[start : start + _BLOCK, :, :, 0] = _fill(factors[start : start + _BLOCK])
    return images


def _split(indices: np.ndarray) -> Split:
    factors = factor_indices(indices)
    return Split(
        num_examples=len(indices),
        arrays={
            "x": render(factors),
            "label": factors[:, 0].astype(np.int32),
            "factors": factor_values(factors),
        },
        metadata={"Metadata_Index": indices},
    )


def _fill(factors: np.ndarray) -> np.ndarray:
    """Sprites (B, 64, 64) uint8: the parity of the number of crossings to the left of each pixel's center."""
    first, table_row, table_dx = _crossings()
    x_index, y_index = factors[:, 3], factors[:, 4]
    sprite = np.ravel_multi_index(factors[:, :3].T, FACTOR_SIZES[:3])
    # The rows that a sprite can reach follow one another in the table.
    num_lines = 2 * _REACH_PX + 1
    line = (sprite * FACTOR_SIZES[4] + y_index) * num_lines
    begin, end = first[line], first[line + num_lines]
    image = np.repeat(np.arange(len(factors)), end - begin)
    entry = np.arange(len(image)) + np.repeat(begin - np.concatenate([[0], np.cumsum(end - begin)[:-1]]), end - begin)
    row = 16 + y_index[image] + table_row[entry]
    # The first pixel whose center, column + .5, lies to the right of the crossing.
    column = np.floor(table_dx[entry] + (16.5 + 32.0 * FACTOR_VALUES[3][x_index[image]])).astype(np.int64)
    flips = np.zeros((len(factors), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    np.add.at(flips.reshape(-1), (image * IMAGE_SIZE + row) * IMAGE_SIZE + column, np.uint8(1))
    return (np.cumsum(flips, axis=2, dtype=np.uint8) & 1) * np.uint8(255)


@functools.cache
def _crossings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where rows of pixels cross outlines.

    Returns:
        first (lines + 1,) int64, where the entries of each line begin; lines are ordered by shape, scale, orientation,
        y and row. row and dx, of all entries: the row of pixels, counted from 16 + index of y, and the pixels from
        the center of the sprite to the right.
    """
    rows = np.arange(-_REACH_PX, _REACH_PX + 1)
    # The center lies at 16 + 32 k / 31 = 16 + k + k / 31 for the k-th y.
    heights = (rows[None, :] + 0.5 - FACTOR_VALUES[4][:, None]).reshape(-1)
    heart = np.load(pathlib.Path(__file__).with_name("heart_poly.npy")).astype(np.float64)
    square = np.array([[-9.6, -9.6], [9.6, -9.6], [9.6, 9.6], [-9.6, 9.6]])
    shapes = (
        functools.partial(_cross_polygon, square),
        _cross_ellipse,
        functools.partial(_cross_polygon, heart),
    )
    found = [
        cross(scale, angle, heights) for cross in shapes for scale in FACTOR_VALUES[1] for angle in FACTOR_VALUES[2]
    ]
    counts = np.concatenate([np.bincount(line, minlength=len(heights)) for line, _ in found])
    first = np.concatenate([[0], np.cumsum(counts)])
    line, dx = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, rows[line % len(rows)], dx


def _cross_polygon(
    vertices: np.ndarray, scale: float, angle: float, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lines dy = heights (R,) against a polygon (V, 2) in (u, v): line of each crossing, in order, and its dx."""
    u, v = scale * vertices.T
    x, y = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    line, edge = np.nonzero((y > heights[:, None]) != (next_y > heights[:, None]))
    slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
    return line, x[edge] + (heights[line] - y[edge]) * slope


def _cross_ellipse(scale: float, angle: float, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As ``_cross_polygon``, from the two roots of the ellipse's equation in dx."""
    cos, sin, long2, short2 = np.cos(angle), np.sin(angle), 12.8**2, 7.2**2
    a = cos**2 / long2 + sin**2 / short2
    half_b = heights * cos * sin * (1 / short2 - 1 / long2)
    c = heights**2 * (sin**2 / long2 + cos**2 / short2) - scale**2
    line = np.flatnonzero(half_b**2 - a * c > 0)
    middle, half = -half_b[line] / a, np.sqrt(half_b[line] ** 2 - a * c[line]) / a
    return np.repeat(line, 2), np.stack([middle - half, middle + half], axis=-1).reshape(-1)
