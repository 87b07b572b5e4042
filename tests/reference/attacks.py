"""Projected gradient ascent in float64, one example at a time, from arXiv:1706.06083, for a known slope."""

import numpy as np


def project(change, epsilon, norm):
    """The nearest change of at most ``epsilon``."""
    if norm == "linf":
        return np.array([min(max(value, -epsilon), epsilon) for value in change])
    length = np.sqrt(sum(value**2 for value in change))
    return change if length <= epsilon else change * (epsilon / length)


def ascend(margin, slope, x, epsilon, norm, num_steps, step_size, bounds=None):
    """The best point on the way, x (L,) among them; ``margin`` and ``slope`` are functions of one example."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    point, best = x.copy(), x.copy()
    for _ in range(num_steps):
        gradient = slope(point)
        if norm == "linf":
            step = np.array([0.0 if g == 0 else (1.0 if g > 0 else -1.0) for g in gradient])
        else:
            length = np.sqrt(sum(g**2 for g in gradient))
            step = gradient * 0 if length == 0 else gradient / length
        change = project(point + step_size * step - x, epsilon, norm)
        point = np.minimum(np.maximum(x + change, low), high)
        if margin(point) > margin(best):
            best = point.copy()
    return best
