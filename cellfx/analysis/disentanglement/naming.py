"""What a latent stands for where the factors that made the images are known."""

from collections.abc import Sequence

import numpy as np

from cellfx.analysis.disentanglement.factors import rank_correlation

SHAPE, ANGLE = "eccentricity", "orientation_rad"
NUM_DIRECTIONS = 24


def factor_columns(factors: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Factors as a latent can hold them: an elongation with its direction is a vector, which two latents share.

    An axis has no head, so eccentricity e along t is the vector e^2 (cos 2t, sin 2t); its component along each of
    ``NUM_DIRECTIONS`` directions is a column of its own.

    Args:
        factors: (N, F).
        names: F names.

    Returns:
        Columns (N, F'), and the name of each; components are called "eccentricity along an axis".
    """
    columns, labels = list(np.asarray(factors, np.float64).T), list(names)
    if SHAPE in labels and ANGLE in labels:
        square, angle = columns[labels.index(SHAPE)] ** 2, columns[labels.index(ANGLE)]
        for direction in np.arange(NUM_DIRECTIONS) * np.pi / NUM_DIRECTIONS:
            columns.append(square * np.cos(2 * angle - direction))
            labels.append(f"{SHAPE} along an axis")
    return np.stack(columns, axis=1), labels


def strongest_factors(codes: np.ndarray, factors: np.ndarray, names: Sequence[str]) -> list[list[tuple[str, float]]]:
    """For every latent the factors by the absolute value of their rank correlation with it, largest first.

    Args:
        codes: (N, L).
        factors: (N, F).
        names: F names.

    Returns:
        For each latent (name, Spearman's correlation) of every factor; of a vector's components the best.
    """
    columns, labels = factor_columns(factors, names)
    found = []
    for row in rank_correlation(codes, columns):
        best: dict[str, float] = {}
        for name, value in zip(labels, row, strict=True):
            if abs(value) >= abs(best.get(name, 0.0)):
                best[name] = float(value)
        found.append(sorted(best.items(), key=lambda item: -abs(item[1])))
    return found
