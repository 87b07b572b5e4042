"""The FactorVAE score, which needs images drawn with one factor fixed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cellfx.analysis.disentanglement.factors import Protocol
from cellfx.analysis.latents.encoding import Encode


class FactorVae(NamedTuple):
    """Score of the FactorVAE paper.

    Attributes:
        score: accuracy of the majority vote on fresh votes, in [0, 1].
        votes: (L, F) how often latent l varied least while factor f was fixed, of the votes that it was learnt from.
        protocol: how it was measured.
    """

    score: float
    votes: np.ndarray
    protocol: Protocol


def factor_vae(
    encode: Encode,
    sample: Callable[[np.random.Generator, int, int], np.ndarray],
    num_factors: int,
    codes: np.ndarray,
    num_votes: int = 800,
    num_images: int = 100,
    smallest_deviation: float = 0.05,
    seed: int = 0,
) -> FactorVae:
    """Accuracy with which the latent that varies least tells the factor that was fixed.

    Kim and Mnih 2018, arXiv:1802.05983, section 4. As in disentanglement_lib (Locatello et al. 2019,
    arXiv:1811.12359), latents whose standard deviation over the data is below ``smallest_deviation`` are collapsed onto
    the prior and may not vote, and the factor that most votes of a latent stand for is judged on fresh votes, half as
    many. Differs from it: every factor gets as many votes as any other, 1,200 votes in all and not 15,000.

    Args:
        encode: x -> (mean, logvar); called with ``num_images`` images at a time.
        sample: (rng, factor, count) -> images (count, H, W, C) float32 in [0, 1] that share one random value of that
            factor, all other factors random.
        num_factors: F, factors with more than one value only.
        codes: (N, L) means over the data, which give the scale of every latent.
        num_votes: votes to learn from, shared equally among the factors.
        num_images: images per vote.
        smallest_deviation: of a latent that may vote, in its own units, in which the prior has a deviation of 1.
        seed: of the images.
    """
    rng, variance = np.random.default_rng(seed), np.var(np.asarray(codes, np.float64), axis=0)
    voters = np.flatnonzero(np.sqrt(variance) >= smallest_deviation)

    def vote(count: int) -> np.ndarray:
        votes = np.zeros((len(variance), num_factors), np.int64)
        for number in range(count if voters.size else 0):
            factor = number % num_factors
            mean = np.asarray(encode(sample(rng, factor, num_images))[0], np.float64)
            votes[voters[np.argmin(np.var(mean[:, voters], axis=0) / variance[voters])], factor] += 1
        return votes

    num_fresh = -(-num_votes // 2)
    learnt, fresh = vote(num_votes), vote(num_fresh)
    right = fresh[np.arange(len(variance)), learnt.argmax(axis=1)].sum()
    protocol = {
        "source": "arXiv:1802.05983 section 4; collapsed latents left out and judged afresh as in arXiv:1811.12359",
        "codes": "mean",
        "num_votes": num_votes,
        "num_fresh_votes": num_fresh,
        "num_images_per_vote": num_images,
        "num_examples_for_scale": len(codes),
        "voting_latents": f"{voters.size} with standard deviation >= {smallest_deviation}",
        "seed": seed,
    }
    return FactorVae(float(right / num_fresh), learnt, protocol)
