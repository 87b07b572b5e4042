"""What a formula is fitted to: hinge loss on labels -1 and +1, or the squared error on a network's output."""

import numpy as np

LOSSES = ("hinge", "squared")


def row_losses(loss: str, values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of every row; Soelistyo & Lowe 2024, supplement, eqs. 9 and 10.

    Args:
        loss: "hinge", max(0, 1 - y f), or "squared", (f - y)^2.
        values: (N,) of the formula.
        y: (N,), for "hinge" -1 or +1.

    Returns:
        (N,).
    """
    return np.maximum(0.0, 1.0 - y * values) if loss == "hinge" else np.square(values - y)


def mean_loss(loss: str, values: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The weighted mean of ``row_losses``; infinity where a value is not finite.

    Args:
        loss: "hinge" or "squared".
        values: (N,).
        y: (N,).
        weights: (N,) non-negative; None weighs all rows alike.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.average(row_losses(loss, values, y), weights=weights))
    return mean if np.isfinite(mean) else float("inf")


def check_targets(loss: str, y: np.ndarray) -> None:
    """Raises a ValueError for an unknown loss, a target that is not finite, or a hinge target other than -1 and +1."""
    if loss not in LOSSES:
        raise ValueError(f"unknown loss: got {loss!r}, expected one of {', '.join(LOSSES)}; correct distill.loss")
    wrong = ~np.isfinite(y)
    if wrong.any():
        raise ValueError(
            f"targets that are no numbers: got {y[wrong][0]} in {wrong.sum()} of {len(y)} rows, expected finite ones; "
            "look at the network that made them"
        )
    wrong = ~np.isin(y, (-1, 1))
    if loss == "hinge" and wrong.any():
        raise ValueError(
            f"labels that are not -1 or +1: got {y[wrong][0]:g} in {wrong.sum()} of {len(y)} rows, expected -1 for one "
            "class and +1 for the other; recode the labels or fit squared error"
        )
