"""dSprites pixel by pixel, written from the geometry alone: float64, one image at a time."""

import numpy as np


def draw(heart: np.ndarray, shape: int, scale: float, orientation: float, x: float, y: float) -> np.ndarray:
    """One sprite (64, 64) bool; ``shape`` 0 square, 1 ellipse, 2 the polygon ``heart`` (V, 2)."""
    j, i = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    dx, dy = j - (16 + 32 * x), i - (16 + 32 * y)
    t = -orientation
    u, v = (np.cos(t) * dx + np.sin(t) * dy) / scale, (-np.sin(t) * dx + np.cos(t) * dy) / scale
    if shape == 0:
        return (np.abs(u) < 9.6) & (np.abs(v) < 9.6)
    if shape == 1:
        return (u / 12.8) ** 2 + (v / 7.2) ** 2 < 1
    inside = np.zeros((64, 64), bool)
    for (u0, v0), (u1, v1) in zip(heart.astype(float), np.roll(heart, -1, axis=0).astype(float), strict=True):
        crosses = (v0 > v) != (v1 > v)
        where = u0 + (v - v0) * (u1 - u0) / np.where(v1 == v0, 1.0, v1 - v0)
        inside ^= crosses & (u < where)
    return inside
