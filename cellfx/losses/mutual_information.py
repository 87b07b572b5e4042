"""Lower bounds on the information that a generated image holds about the codes it was drawn from: nats per example.

Chen et al. 2016, "InfoGAN", arXiv:1606.03657, equation 5: I(c; x) >= E[log Q(c|x)] + H(c), averaged over the examples.
"""

import math

import jax
import jax.numpy as jnp

from cellfx.losses.distributions import normal_log_prob


def continuous_bound(codes: jax.Array, mean: jax.Array, logvar: jax.Array, half_width: float) -> jax.Array:
    """Bound for uniform codes under a normal Q whose variance is learnt.

    Args:
        codes: (B, L), uniform in -half_width..half_width.
        mean: (B, L) of Q.
        logvar: (B, L) of Q.
        half_width: of the codes' range.

    Returns:
        (B,), summed over the codes; at most the information there is, and negative where Q is worse than no answer.
    """
    entropy = math.log(2.0 * half_width)
    return jnp.sum(normal_log_prob(codes, mean, logvar) + entropy, axis=1)


def categorical_bound(one_hot: jax.Array, logits: jax.Array) -> jax.Array:
    """Bound for a code that is one of K categories, all equally likely.

    Args:
        one_hot: (B, K).
        logits: (B, K) of Q.

    Returns:
        (B,), at most ln K.
    """
    return jnp.sum(one_hot * jax.nn.log_softmax(logits), axis=1) + math.log(logits.shape[1])
