"""Divergences between distributions over latents, and the schedule of their weight."""

import jax
import jax.numpy as jnp

from cellfx.losses.distributions import normal_kl


def kl_to_standard_normal(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(q(z|x) || N(0, I)): (B, L), (B, L) -> nats per example, (B,)."""
    return jnp.sum(normal_kl(mean, logvar), axis=1)


def kl_between_normals(mean: jax.Array, logvar: jax.Array, prior_mean: jax.Array, prior_logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(prior_mean, exp(prior_logvar))): four times (B, L) -> nats per example, (B,)."""
    difference = logvar - prior_logvar
    distance = jnp.square(mean - prior_mean) * jnp.exp(-prior_logvar)
    return 0.5 * jnp.sum(jnp.exp(difference) - 1.0 - difference + distance, axis=1)


def warm_up(step: jax.Array, steps: int) -> jax.Array:
    """Weight that grows linearly from 0 at step 0 to 1 at ``steps``, and is 1 throughout where ``steps`` is 0."""
    return jnp.minimum(1.0, step / steps) if steps else jnp.ones(())
