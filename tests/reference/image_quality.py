"""Kernel distances and nearest neighbors in float64 NumPy, with loops and no cleverness."""

import numpy as np


def kernel(x, y):
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def squared_mmd(x, y):
    """Binkowski et al. 2018: unbiased, from all pairs, one by one."""
    within_x = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    return np.mean(within_x) + np.mean(within_y) - 2 * np.mean(between)


def nearest(points, known):
    return np.array([min(np.sqrt(np.sum((p - k) ** 2)) for k in known) for p in points])
