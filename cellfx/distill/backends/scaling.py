"""The best scale and offset of many formulas at once, so that a search only has to find what is between them.

A search that had to find 0.8 (...) - 1.7 as well would spend most of its time on two numbers that have a closed form,
or nearly one. Constants inside a formula are moved towards ``wanted``, what a formula should give on every row.
"""

from typing import NamedTuple

import numpy as np

WRONG_RATE = 0.03
"""Of labels that are taken to be wrong: one then costs at most log(1 / 0.03), however far from the border it is."""
UNUSABLE = np.float32(1e9)
"""The loss of a formula that is constant or not finite somewhere."""

_NUM_BINS = 128
_REACH = 6.0
_STEEPNESS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_NUM_STEPS = 5


class Scaled(NamedTuple):
    """Of P formulas: how well scale * values + offset does.

    Attributes:
        loss: (P,) float32; UNUSABLE where there is no such fit.
        scale: (P,) float32.
        offset: (P,) float32.
    """

    loss: np.ndarray
    scale: np.ndarray
    offset: np.ndarray


def fit_scale(loss: str, values: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Scaled:
    """Fits scale and offset of every formula by itself.

    Under "squared" these are the least squares. Under "hinge" they are those of a logistic likelihood in which a label
    is wrong with probability WRONG_RATE. The hinge itself has no bound: rows far on the wrong side move its border, and
    of two formulas it can prefer the one with the worse border.

    Args:
        loss: "hinge" or "squared".
        values: (P, N) float32 of the formulas.
        y: (N,) float32 targets; under "hinge" -1 or +1.
        weights: (N,) float32 with sum 1.
    """
    with np.errstate(all="ignore"):
        centre, spread = _middle(values)
        unusable = ~np.isfinite(values).all(axis=1) | ~(spread > 1e-6 * (1e-6 + np.abs(centre))) | (spread > 1e9)
        spread = np.where(unusable, 1, spread).astype(np.float32)
        standard = np.where(unusable[:, None], 0, (values - centre[:, None]) / spread[:, None]).astype(np.float32)
        found = (_fit_squared if loss == "squared" else _fit_labels)(standard, y, weights)
        scale = found.scale / spread
        usable = ~unusable & np.isfinite(found.loss) & np.isfinite(scale) & np.isfinite(found.offset)
        offset = found.offset - scale * np.where(usable, centre, 0)
    return Scaled(
        np.where(usable, found.loss, UNUSABLE).astype(np.float32),
        np.where(usable, scale, 1).astype(np.float32),
        np.where(usable, offset, 0).astype(np.float32),
    )


def wanted(loss: str, scores: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What least squares should move formulas to, so that the loss falls.

    For labels this is one step of a majorisation: the likelihood is under a parabola of curvature 1/4, whose lowest
    point is the wanted value. Scores are first shrunk until that parabola is a good one.

    Args:
        loss: "hinge" or "squared".
        scores: (P, N) float32, scale * values + offset.
        y: (N,) float32.

    Returns:
        wanted (P, N) and the factors (P,) by which scores were shrunk.
    """
    if loss == "squared":
        return np.broadcast_to(y, scores.shape), np.ones(len(scores), np.float32)
    shrink = np.minimum(1, 2 / np.maximum(np.abs(scores).mean(axis=1), 1e-6)).astype(np.float32)
    shrunk = scores * shrink[:, None]
    right = _sigmoid(y * shrunk)
    return shrunk + 4 * y * (_belief(right) - right), shrink


def _middle(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center and spread that single huge values do not move: median and mean distance from it of some rows."""
    some = values[:, :: max(1, values.shape[1] // 250)]
    centre = np.median(some, axis=1)
    return centre, np.maximum(np.median(np.abs(some - centre[:, None]), axis=1), 0.02 * values.std(axis=1))


def _fit_squared(values: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Scaled:
    mean, target = values @ weights, weights @ y
    centred = values - mean[:, None]
    variance = np.square(centred) @ weights
    scale = (centred @ (weights * (y - target))) / np.maximum(variance, np.float32(1e-12))
    error = y - target - scale[:, None] * centred
    return Scaled(np.square(error) @ weights, scale, target - scale * mean)


def _fit_labels(values: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Scaled:
    """Works on histograms: border by counting, steepness from a few, then Newton steps from there."""
    centres, positive, negative = _histograms(values, y, weights)
    border, sign = _best_border(positive, negative)
    distance = sign[:, None] * (centres - border[:, None])
    losses = np.stack([_binned_loss(steep * distance, positive, negative) for steep in _STEEPNESS])
    scale = sign * np.asarray(_STEEPNESS, np.float32)[np.argmin(losses, axis=0)]
    offset = -scale * border
    for _ in range(_NUM_STEPS):
        scale, offset = _newton_step(scale, offset, centres, positive, negative)
    loss = _binned_loss(scale[:, None] * centres + offset[:, None], positive, negative)
    least = np.argmin(np.stack([loss, losses.min(axis=0)]), axis=0)
    steep = sign * np.asarray(_STEEPNESS, np.float32)[np.argmin(losses, axis=0)]
    return Scaled(
        np.where(least == 0, loss, losses.min(axis=0)),
        np.where(least == 0, scale, steep),
        np.where(least == 0, offset, -steep * border),
    )


def _histograms(values: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean value and weight of either label in every bin, (P, K) each; bins are fine near zero and wide far away."""
    shape = (len(values), _NUM_BINS)
    place = (np.arcsinh(4 * values) + _REACH) * np.float32(_NUM_BINS / (2 * _REACH))
    flat = np.clip(place, 0, _NUM_BINS - 1).astype(np.int64) + _NUM_BINS * np.arange(len(values))[:, None]
    every = np.broadcast_to(weights, values.shape)

    def total(columns: np.ndarray, of: np.ndarray) -> np.ndarray:
        counts = np.bincount(flat[:, columns].ravel(), of[:, columns].ravel(), minlength=shape[0] * shape[1])
        return counts.reshape(shape).astype(np.float32)

    positive, negative = total(y > 0, every), total(y <= 0, every)
    both = positive + negative
    edges = np.sinh((np.arange(_NUM_BINS) + 0.5) * (2 * _REACH / _NUM_BINS) - _REACH) / 4
    mean = total(np.ones(len(y), bool), every * values) / np.where(both > 0, both, 1)
    return np.where(both > 0, mean, edges.astype(np.float32)), positive, negative


def _best_border(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The border (P,) between bins with the fewest wrong sides, and the sign (P,) of the side of the positives."""
    edges = np.sinh(np.arange(1, _NUM_BINS) * (2 * _REACH / _NUM_BINS) - _REACH).astype(np.float32) / 4
    below, above = np.cumsum(positive, axis=1)[:, :-1], np.cumsum(negative, axis=1)[:, :-1]
    wrong = below + negative.sum(axis=1, keepdims=True) - above
    other = (positive + negative).sum(axis=1, keepdims=True) - wrong
    rising = wrong.min(axis=1) <= other.min(axis=1)
    place = np.where(rising, np.argmin(wrong, axis=1), np.argmin(other, axis=1))
    return edges[place], np.where(rising, 1, -1).astype(np.float32)


def _sigmoid(margin: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * margin)


def _belief(right: np.ndarray) -> np.ndarray:
    """The probability that a label is right, where the formula gives it probability ``right``."""
    return (1 - WRONG_RATE) * right / (WRONG_RATE + (1 - 2 * WRONG_RATE) * right)


def _binned_loss(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    right = _sigmoid(scores)
    cost = positive * np.log(WRONG_RATE + (1 - 2 * WRONG_RATE) * right)
    return -(cost + negative * np.log(1 - WRONG_RATE - (1 - 2 * WRONG_RATE) * right)).sum(axis=1)


def _newton_step(
    scale: np.ndarray, offset: np.ndarray, centres: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A step under a parabola that never overshoots: Jaakkola & Jordan 2000, doi:10.1023/A:1008932416310, eq. 6."""
    scores = scale[:, None] * centres + offset[:, None]
    right = _sigmoid(scores)
    pull = positive * (_belief(right) - right) - negative * (_belief(1 - right) - (1 - right))
    far = np.maximum(np.abs(scores), 1e-3)
    stiff = (positive + negative) * np.tanh(0.5 * far) / (2 * far)
    first, second = (pull * centres).sum(axis=1), pull.sum(axis=1)
    a, b, c = (stiff * np.square(centres)).sum(axis=1), (stiff * centres).sum(axis=1), stiff.sum(axis=1)
    a, c = a * (1 + 1e-4) + 1e-9, c * (1 + 1e-4) + 1e-9
    determinant = np.maximum(a * c - b * b, 1e-12)
    return scale + (c * first - b * second) / determinant, offset + (a * second - b * first) / determinant
