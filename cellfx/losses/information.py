"""The KL term of a VAE taken apart: index-code mutual information, total correlation, dimension-wise KL.

Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders", arXiv:1802.04942, equation 2.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cellfx.collectives import axis_size, gather
from cellfx.losses.distributions import normal_log_prob

ESTIMATORS = ("weighted", "stratified")


class KLTerms(NamedTuple):
    """Estimates for each local example, (B,), in nats; their sum is log q(z|x) - log p(z) whatever the estimator."""

    index_code_mi: jax.Array
    total_correlation: jax.Array
    dimension_wise_kl: jax.Array


def decompose_kl(
    z: jax.Array,
    mean: jax.Array,
    logvar: jax.Array,
    mask: jax.Array,
    num_examples: int,
    estimator: str = "weighted",
    axis_name: str | None = None,
) -> KLTerms:
    """Estimate the three terms from the global batch.

    ``weighted`` is minibatch-weighted sampling (appendix C.1), ``stratified`` minibatch stratified sampling (C.2). The
    weighted estimate of log q(z) is too low by about ln N, see ``weighted_bias``.

    Args:
        z: (B, L), sampled from N(mean, exp(logvar)); this device's part of the batch.
        mean: (B, L).
        logvar: (B, L).
        mask: (B,), 1 real and 0 padding; padding is no part of the aggregate posterior.
        num_examples: N, size of the training set.
        estimator: one of ``ESTIMATORS``.
        axis_name: device axis whose devices hold the other parts of the batch.
    """
    log_weights = _log_weights(mask, num_examples, estimator, axis_name)
    means, logvars = gather(mean, axis_name), gather(logvar, axis_name)
    log_qz, log_qz_product = _aggregate_log_densities(z, means, logvars, log_weights)
    log_qz_given_x = jnp.sum(normal_log_prob(z, mean, logvar), axis=1)
    log_pz = jnp.sum(normal_log_prob(z, jnp.zeros_like(z), jnp.zeros_like(z)), axis=1)
    return KLTerms(log_qz_given_x - log_qz, log_qz - log_qz_product, log_qz_product - log_pz)


def weighted_bias(latents: int, num_examples: int, estimator: str) -> KLTerms:
    """Constants to subtract from the logged terms so that independent codes read 0; zero for ``stratified``.

    The weights of minibatch-weighted sampling sum to 1 / N instead of 1, which lowers log q(z) by ln N and the sum of
    L marginals by L ln N: the total correlation of independent codes reads (L - 1) ln N.
    """
    log_n = math.log(num_examples) if estimator == "weighted" else 0.0
    return KLTerms(jnp.array(log_n), jnp.array((latents - 1) * log_n), jnp.array(-latents * log_n))


def _aggregate_log_densities(
    z: jax.Array, means: jax.Array, logvars: jax.Array, log_weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log q(z), (B,), and sum over latents of log q(z_l), (B,), as mixtures over the global batch."""
    pairwise = normal_log_prob(z.T[:, :, None], means.T[:, None, :], logvars.T[:, None, :])  # (L, B, global B)
    log_qz = jax.nn.logsumexp(jnp.sum(pairwise, axis=0) + log_weights, axis=1)
    log_marginals = jax.nn.logsumexp(pairwise + log_weights[None], axis=2)
    return log_qz, jnp.sum(log_marginals, axis=0)


def _log_weights(mask: jax.Array, num_examples: int, estimator: str, axis_name: str | None) -> jax.Array:
    """(B, global B): log of the weight that example j has in the estimate of q(z_i)."""
    real = gather(mask, axis_name)
    count = jnp.sum(real)
    if estimator == "weighted":
        weights = jnp.broadcast_to(real / (count * num_examples), (len(mask), len(real)))
    else:
        weights = _stratified_weights(real, count, num_examples)
        if axis_size(axis_name) > 1:
            start = jax.lax.axis_index(axis_name) * len(mask)
            weights = jax.lax.dynamic_slice_in_dim(weights, start, len(mask))
    return jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1.0)), -jnp.inf)


def _stratified_weights(real: jax.Array, count: jax.Array, num_examples: int) -> jax.Array:
    """(B, B): 1/N for the example itself, (N - M) / (N M) for one other, 1/M for the rest, M = examples - 1."""
    others = jnp.maximum(count - 1.0, 1.0)
    index = jnp.arange(len(real))
    itself = index[:, None] == index[None, :]
    following = jnp.where(index + 1 < count.astype(jnp.int32), index + 1, 0)
    representative = index[None, :] == following[:, None]
    leftover = (num_examples - others) / (num_examples * others)
    weights = jnp.where(itself, 1.0 / num_examples, jnp.where(representative, leftover, 1.0 / others))
    return weights * real[None, :]
