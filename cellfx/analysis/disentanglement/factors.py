"""Factors as classes, and how much codes know of them: what all scores of disentanglement share."""

from typing import Any

import numpy as np

from cellfx.checks import UserError

Protocol = dict[str, Any]
"""How a score was measured: name of a choice -> what was chosen, fit for a table."""


def prepare(
    codes: np.ndarray, factors: np.ndarray, code_kind: str, factor_bins: int | None
) -> tuple[np.ndarray, Protocol]:
    """Checks codes and factors, and cuts the factors into classes.

    Args:
        codes: (N, L).
        factors: (N, F).
        code_kind: "mean" or "sampled".
        factor_bins: bins of equal count of a continuous factor; None where all factors are discrete.

    Returns:
        (N, F) classes 0, 1, ..., and what all protocols state.

    Raises:
        ValueError: shapes do not fit, no factor varies, or a continuous factor comes without ``factor_bins``.
    """
    if code_kind not in ("mean", "sampled"):
        raise UserError(
            f"unknown kind of codes: got {code_kind!r}, expected 'mean' or 'sampled'; say which one was measured"
        )
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or len(codes) < 2:
        raise UserError(
            f"codes and factors do not belong together: got {codes.shape} and {factors.shape}, expected (N, L) and "
            "(N, F) with N >= 2; encode the examples whose factors are given"
        )
    if np.all(np.ptp(factors, axis=0) == 0):
        raise UserError(
            f"no factor varies: got {factors.shape[1]} factors with one value each, expected at least one with two; "
            "measure on data whose factors differ"
        )
    classes = np.stack([_classes(column, factor_bins) for column in factors.T], axis=1)
    continuous = [index for index, column in enumerate(factors.T) if is_continuous(column, factor_bins)]
    return classes, {
        "codes": code_kind,
        "num_examples": len(codes),
        "factors": [i for i in range(factors.shape[1]) if np.ptp(classes[:, i]) > 0],
        "factor_bins": f"{factor_bins} of equal count for factors {continuous}" if continuous else "values as they are",
    }


def is_continuous(column: np.ndarray, factor_bins: int | None) -> bool:
    """Whether a factor (N,) has more values than there are bins for them."""
    return factor_bins is not None and len(np.unique(column)) > factor_bins


def _classes(column: np.ndarray, factor_bins: int | None) -> np.ndarray:
    values, classes = np.unique(column, return_inverse=True)
    if is_continuous(column, factor_bins):
        edges = np.quantile(column, np.linspace(0, 1, factor_bins + 1)[1:-1])
        return np.searchsorted(edges, column, side="right")
    if len(values) > max(len(column) // 10, 2):
        raise UserError(
            f"a factor is continuous: got {len(values)} values in {len(column)} examples, expected at least 10 "
            "examples per value; set factor_bins or measure on more examples"
        )
    return classes


def bins_of_equal_width(codes: np.ndarray, num_bins: int) -> np.ndarray:
    """Bin of every code in the range of its own latent, (N, L) int; a constant latent has one bin."""
    codes = np.asarray(codes, np.float64)
    low, width = codes.min(axis=0), np.ptp(codes, axis=0)
    scaled = (codes - low) / np.where(width > 0, width, 1.0) * num_bins
    return np.minimum(scaled.astype(np.int64), num_bins - 1)


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Plug-in estimate in nats from two columns of classes (N,); of a column with itself its entropy."""
    columns = int(second.max()) + 1
    joint = np.bincount(first * columns + second, minlength=(int(first.max()) + 1) * columns).reshape(-1, columns)
    joint = joint / joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def hold_out(count: int, test_rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (training, test) examples, drawn with ``seed``."""
    order = np.random.default_rng(seed).permutation(count)
    num_test = max(round(count * test_rate), 1)
    return order[num_test:], order[:num_test]


def rank_correlation(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Spearman correlation of every latent with every factor, 0 where one of them is constant.

    Args:
        codes: (N, L).
        factors: (N, F).

    Returns:
        (L, F) float64 in [-1, 1].
    """
    from scipy.stats import rankdata

    first, second = (standardise(rankdata(np.asarray(values), axis=0)) for values in (codes, factors))
    return first.T @ second / len(first)


def standardise(values: np.ndarray) -> np.ndarray:
    """Every column (N, D) with mean 0 and standard deviation 1; a constant column is 0."""
    centred = np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)
    scale = centred.std(axis=0)
    return centred / np.where(scale > 0, scale, 1.0)
