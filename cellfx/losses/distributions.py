"""Probability distributions as plain functions of their parameters: log-density, sample, divergence; all in nats."""

import math

import jax
import jax.numpy as jnp

LOG_TWO_PI = math.log(2.0 * math.pi)


def normal_log_prob(x: jax.Array, mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """Log-density of a normal distribution, elementwise; shapes broadcast."""
    return -0.5 * (LOG_TWO_PI + logvar + jnp.square(x - mean) * jnp.exp(-logvar))


def normal_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(0, 1)), elementwise, in nats (Kingma & Welling 2013, arXiv:1312.6114, app. B)."""
    return 0.5 * (jnp.square(mean) + jnp.exp(logvar) - 1.0 - logvar)


def bernoulli_log_prob(x: jax.Array, logits: jax.Array) -> jax.Array:
    """Log-probability of ``x`` in [0, 1] under Bernoulli(sigmoid(logits)), elementwise.

    For gray values strictly between 0 and 1 it is the cross-entropy with the sign changed, no density.
    """
    return x * jax.nn.log_sigmoid(logits) + (1.0 - x) * jax.nn.log_sigmoid(-logits)
