"""What is distilled: rows of a few latents, a target, a loss, and rows that are held out to judge by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.distill.criteria import check_targets

FEWEST_ROWS = 20


class Problem(NamedTuple):
    """N rows to fit and M to judge by, of d latents.

    A formula of standardized latents stands for one of (z - center) / scale; ``centre`` and ``scale`` are 0 and 1
    where nothing was standardized.

    Attributes:
        x: (N, d) float64.
        y: (N,) float64: -1 or +1 under "hinge", a network's output under "squared".
        labels: (N,) float64, -1 or +1: the class, which a formula names by its sign.
        valid_x: (M, d) float64.
        valid_y: (M,) float64.
        valid_labels: (M,) float64, -1 or +1.
        names: d names of the latents, such as "z17".
        loss: "hinge" or "squared".
        weights: (N,) float64 with mean 1.
        valid_weights: (M,) float64 with mean 1.
        centre: (d,) float64.
        scale: (d,) float64.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    valid_labels: np.ndarray
    names: tuple[str, ...]
    loss: str
    weights: np.ndarray
    valid_weights: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


class Budget(NamedTuple):
    """How much is searched; counted in work and not in seconds, so that a seed gives the same formulas anywhere.

    Attributes:
        population: trees of each of operon's islands.
        generations: of each island alone, and again of all of them together.
        islands: populations that start by themselves.
        max_size: the largest published complexity, PySR's ``maxsize``.
        max_rows: operon searches on so many rows at most, drawn at random; constants are fitted on all.
        searches: of one ``fit``, side by side, with seeds of their own.
        iterations: of PySR.
        starts: starting points when the constants of a formula are fitted.
    """

    population: int = 400
    generations: int = 40
    islands: int = 2
    max_size: int = 20
    max_rows: int = 3000
    searches: int = 2
    iterations: int = 100
    starts: int = 2


def problem(
    codes: np.ndarray,
    latents: Sequence[int],
    target: np.ndarray,
    loss: str = "hinge",
    labels: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    valid_rate: float = 0.2,
    standardise: bool = False,
    balanced: bool = False,
    seed: int = 0,
) -> Problem:
    """Poses the problem of finding a formula of some latents.

    Soelistyo & Lowe 2024, supplement 6: labels under hinge loss, or a network's outputs under squared error.

    Args:
        codes: (N, L) latents.
        latents: columns that may be used, such as the ``inputs`` of a compact network.
        target: (N,): labels -1 and +1 under "hinge"; outputs, positive for the class +1, under "squared".
        loss: "hinge" or "squared".
        labels: (N,) -1 and +1, what an accuracy is measured against; None takes the sign of the target.
        valid: (N,) bool, rows to judge by; None draws ``valid_rate`` of them at random, evenly from both classes.
        valid_rate: a fraction of the rows.
        standardise: whether a formula is one of (z - mean) / standard deviation, taken over the rows to fit.
        balanced: whether both classes weigh alike, however many rows they have.
        seed: of the rows that are drawn.

    Raises:
        ValueError: no latent, one that is constant or no number, a target of another length or kind, one class only,
            or too few rows.
    """
    codes, target = np.asarray(codes, np.float64), np.asarray(target, np.float64)
    _check_rows(codes, target, latents)
    check_targets(loss, target)
    labels = np.where(target > 0, 1.0, -1.0) if labels is None else np.asarray(labels, np.float64)
    if labels.shape != target.shape:
        raise ValueError(
            f"labels and rows do not belong together: got {len(labels)} labels and {len(target)} rows, expected one "
            "for each; pass the labels of these codes"
        )
    check_targets("hinge", labels)
    valid = _draw(labels, valid_rate, seed) if valid is None else np.asarray(valid, bool)
    _check_split(labels, valid)
    x = codes[:, list(latents)]
    _check_latents(x[~valid], latents)
    centre, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if standardise:
        centre, scale = x[~valid].mean(axis=0), x[~valid].std(axis=0)
        x = (x - centre) / scale
    weights = _balance(labels, valid) if balanced else np.ones(len(labels))
    names = tuple(f"z{latent}" for latent in latents)
    fitted, judged = ((x[rows], target[rows], labels[rows]) for rows in (~valid, valid))
    return Problem(*fitted, *judged, names, loss, weights[~valid], weights[valid], centre, scale)


def _check_rows(codes: np.ndarray, target: np.ndarray, latents: Sequence[int]) -> None:
    if codes.ndim != 2 or target.shape != codes.shape[:1]:
        raise ValueError(
            f"codes and target do not belong together: got shapes {codes.shape} and {target.shape}, expected (N, L) "
            "and (N,); pass one target for every row"
        )
    if len(latents) == 0:
        raise ValueError(
            "no latent to make a formula of: got a head in which none survived, expected one or more; train the head "
            "with a lower sparsity"
        )
    wrong = [latent for latent in latents if not 0 <= latent < codes.shape[1]]
    if wrong or len(set(latents)) != len(latents):
        raise ValueError(
            f"latents that are no different columns of the codes: got {list(latents)}, expected numbers from 0 to "
            f"{codes.shape[1] - 1}, each once; use the codes that the head was trained on"
        )


def _check_latents(x: np.ndarray, latents: Sequence[int]) -> None:
    for column, latent in zip(x.T, latents, strict=True):
        bad = ~np.isfinite(column)
        if bad.any():
            raise ValueError(
                f"latent that is no number: got {column[bad][0]} for z{latent} in {bad.sum()} of {len(x)} rows, "
                "expected finite ones; look at the images of these rows and at the encoder"
            )
        if np.ptp(column) == 0:
            raise ValueError(
                f"constant latent: got {column[0]:g} for z{latent} in all {len(x)} rows, expected one that differs "
                "between cells; leave it out, or train the encoder again if all are so"
            )


def _check_split(labels: np.ndarray, valid: np.ndarray) -> None:
    if valid.shape != labels.shape:
        raise ValueError(
            f"held-out rows and rows do not belong together: got {valid.shape} and {labels.shape}, expected one bool "
            "for each row; pass the split of these codes"
        )
    for name, rows in (("fit", ~valid), ("judge by", valid)):
        counts = [int(np.sum(labels[rows] == label)) for label in (-1, 1)]
        if min(counts) == 0 or (name == "fit" and sum(counts) < FEWEST_ROWS):
            raise ValueError(
                f"too few rows to {name}: got {counts[0]} of class -1 and {counts[1]} of class +1, expected both "
                f"classes and {FEWEST_ROWS} rows or more to fit; use more data or another split"
            )


def _draw(labels: np.ndarray, rate: float, seed: int) -> np.ndarray:
    if not 0 < rate < 1:
        raise ValueError(
            f"fraction of held-out rows out of range: got {rate}, expected more than 0 and less than 1; correct "
            "valid_rate"
        )
    rng, valid = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in (-1, 1):
        rows = np.flatnonzero(labels == label)
        valid[rng.permutation(rows)[: max(1, round(rate * len(rows)))]] = len(rows) > 0
    return valid


def _balance(labels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Weights (N,) that are the same in total for both classes, among the rows to fit and among those to judge by."""
    weights = np.ones(len(labels))
    for rows in (valid, ~valid):
        for label in (-1, 1):
            chosen = rows & (labels == label)
            weights[chosen] = rows.sum() / (2 * chosen.sum())
    return weights
