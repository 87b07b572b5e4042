"""Unsupervised disentanglement ranking: models that found the same latents probably found the true ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.disentanglement.factors import rank_correlation, standardise
from cellfx.checks import UserError

VARIANTS = ("spearman", "lasso")


class Udr(NamedTuple):
    """Ranking of M models.

    Attributes:
        scores: (M,) median similarity to the other models, in [0, 1]; higher is more disentangled.
        pairwise: (M, M), [i, j] how well the latents of model i match those of model j; nan on the diagonal.
        num_informative: (M,) informative latents of each model; scores compare models that have as many.
        protocol: how it was measured.
    """

    scores: np.ndarray
    pairwise: np.ndarray
    num_informative: np.ndarray
    protocol: dict[str, Any]


def udr(
    codes: Sequence[np.ndarray],
    kls: Sequence[np.ndarray],
    variant: str = "spearman",
    kl_threshold: float = 0.01,
    alpha: float = 0.1,
) -> Udr:
    """Ranks models, usually seeds of one setting, by how alike their informative latents are.

    Duan et al. 2020, arXiv:1905.12614, section 4. Two models whose informative latents agree up to order and sign
    score 1 by Spearman correlation and 1 - alpha by Lasso, whose penalty shrinks every weight of standardized codes
    by alpha. Models with less than one informative latent score 0.

    Args:
        codes: M times (N, L) posterior means of the same N images in the same order; L may differ.
        kls: M times (L,) nats per example.
        variant: "spearman" (absolute rank correlation) or "lasso" (absolute weights that predict the latents of one
            model from those of the other).
        kl_threshold: nats per example that an informative latent exceeds.
        alpha: Lasso penalty; unused by Spearman.

    Raises:
        ValueError: fewer than two models, an unknown variant, or codes of different images.
    """
    _check(codes, kls, variant)
    informative = [
        np.asarray(z, np.float64)[:, (kl > kl_threshold) & (np.ptp(z, axis=0) > 0)]
        for z, kl in zip(codes, kls, strict=True)
    ]
    pairwise = np.full((len(codes), len(codes)), np.nan)
    for i, first in enumerate(informative):
        for j, second in enumerate(informative):
            if i != j:
                similarity = (
                    np.abs(rank_correlation(first, second))
                    if variant == "spearman"
                    else lasso_similarity(first, second, alpha)
                )
                pairwise[i, j] = match(similarity)
    protocol = {
        "source": "arXiv:1905.12614 section 4",
        "variant": variant if variant == "spearman" else f"lasso, alpha={alpha}, standardized codes",
        "codes": "mean",
        "num_examples": len(codes[0]),
        "num_models": len(codes),
        "informative": f"KL > {kl_threshold} nats",
    }
    counts = np.array([z.shape[1] for z in informative])
    return Udr(np.nanmedian(pairwise, axis=0), pairwise, counts, protocol)


def lasso_similarity(first: np.ndarray, second: np.ndarray, alpha: float) -> np.ndarray:
    """Absolute weights of Lasso regressions of every column of ``second`` on ``first``: (N, A), (N, B) -> (A, B)."""
    from sklearn.linear_model import Lasso

    if not (first.shape[1] and second.shape[1]):
        return np.zeros((first.shape[1], second.shape[1]))
    weights = Lasso(alpha=alpha).fit(standardise(first), standardise(second)).coef_
    return np.abs(np.reshape(weights, (second.shape[1], first.shape[1]))).T


def match(similarity: np.ndarray) -> float:
    """How close a similarity matrix (A, B) is to a permutation, in [0, 1].

    Duan et al. 2020, arXiv:1905.12614, section 4: the squared largest entry over the sum of every row and of every
    column, averaged over all A + B of them.
    """
    if similarity.size == 0:
        return 0.0
    parts = [_strength(similarity), _strength(similarity.T)]
    return float(np.mean(np.concatenate(parts)))


def _strength(similarity: np.ndarray) -> np.ndarray:
    totals = similarity.sum(axis=1)
    return np.square(similarity.max(axis=1)) / np.where(totals > 0, totals, 1.0)


def _check(codes: Sequence[np.ndarray], kls: Sequence[np.ndarray], variant: str) -> None:
    if variant not in VARIANTS:
        raise UserError(f"unknown variant of UDR: got {variant!r}, expected one of {VARIANTS}; choose one of them")
    if len(codes) < 2 or len(codes) != len(kls):
        raise UserError(
            f"UDR compares models with each other: got codes of {len(codes)} and divergences of {len(kls)} models, "
            "expected the same number, 2 or more; train further seeds"
        )
    shapes = [(z.shape, np.shape(kl)) for z, kl in zip(codes, kls, strict=True)]
    if any(len(z) != len(codes[0]) or np.shape(kl) != z.shape[1:] for z, kl in zip(codes, kls, strict=True)):
        raise UserError(
            f"codes do not belong together: got (codes, divergences) of shapes {shapes}, expected (N, L) and (L,) with "
            "one N; encode the same images with every model"
        )
