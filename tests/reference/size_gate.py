"""The size gate in float64 NumPy: every combination, every image, one by one."""

import itertools

import numpy as np


def passes(limits, size):
    rows, columns = size
    if not (rows > 0 and columns > 0):
        return False
    min_rows, max_rows, min_columns, max_columns, max_ratio = limits
    ratio = max(rows, columns) / min(rows, columns)
    return min_rows <= rows <= max_rows and min_columns <= columns <= max_columns and ratio <= max_ratio


def best_size_gate(sizes, labels, num_values):
    """Isaksson 2018, section 4.2: (accuracy, gate) of the best combination, the widest where several are as good."""
    shown = [size for size in sizes if min(size) > 0]
    columns = [
        [size[0] for size in shown],
        [size[1] for size in shown],
        [max(size) / min(size) for size in shown],
    ]
    grids = []
    for column in columns:
        rising = sorted(column)
        chosen = {rising[max(int(np.ceil(q * len(rising))) - 1, 0)] for q in np.linspace(0, 1, num_values)}
        grids.append(sorted(chosen))
    best = (-1.0, -1, None)
    for (a, b), (c, d) in itertools.product(*(list(itertools.product(range(len(g)), repeat=2)) for g in grids[:2])):
        for e in range(len(grids[2])):
            if a > b or c > d:
                continue
            limits = (grids[0][a], grids[0][b], grids[1][c], grids[1][d], grids[2][e])
            accuracy = np.mean([passes(limits, size) == label for size, label in zip(sizes, labels, strict=True)])
            width = b - a + d - c + e
            if (accuracy, width) > best[:2]:
                best = (accuracy, width, limits)
    return best
