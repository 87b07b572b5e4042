"""Losses of a generator and a discriminator, and what keeps their game stable: nats per example, (B,)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def call_real(logits: jax.Array) -> jax.Array:
    """-log D with D = sigmoid(logits): what the discriminator pays for real images, and the generator for its own.

    Goodfellow et al. 2014, arXiv:1406.2661, equation 1 and the end of section 3 (the generator's without saturation).

    Args:
        logits: (B,).

    Returns:
        (B,).
    """
    return jax.nn.softplus(-logits)


def call_fake(logits: jax.Array) -> jax.Array:
    """-log(1 - D), what the discriminator pays for generated images; see ``call_real``. (B,) -> (B,)."""
    return jax.nn.softplus(logits)


def slopes(
    critic: Callable[[jax.Array], tuple[jax.Array, Any]], x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, Any]:
    """Gradients of the logits of images by the images.

    Where batch norm couples the images, it is the gradient of the sum of all real examples' logits, as in the authors'
    own code.

    Args:
        critic: x -> logits (B,), and anything else.
        x: (B, H, W, C).
        mask: (B,), 1 real and 0 padding.

    Returns:
        gradients (B, H, W, C), and what the critic returns besides the logits.
    """

    def total(x: jax.Array) -> tuple[jax.Array, Any]:
        logits, others = critic(x)
        return jnp.sum(logits * mask), others

    return jax.grad(total, has_aux=True)(x)


def gradient_norm_penalty(logits: jax.Array, gradient: jax.Array, real: bool) -> jax.Array:
    """The regularizer of Roth et al. 2017, arXiv:1705.09367, algorithm 1 (as Isaksson 2018, eq. 2.15).

    Its weight in the discriminator's loss is gamma / 2.

    Args:
        logits: (B,) of the discriminator.
        gradient: (B, H, W, C) of the logits by the images.
        real: whether the images are real; weighted by (1 - D)^2 then, and by D^2 where they are generated.

    Returns:
        (B,).
    """
    weight = jax.nn.sigmoid(-logits if real else logits)
    return jnp.square(weight) * jnp.sum(jnp.square(gradient), axis=(1, 2, 3))


def annealed(value: float, factor: float, step: jax.Array, steps: int) -> jax.Array:
    """``value`` at step 0, falling geometrically to ``value * factor`` at ``steps`` and no further; 0 steps: constant.

    Roth et al. 2017, algorithm 1: gamma falls to a hundredth over the training.
    """
    if not steps:
        return jnp.asarray(value, jnp.float32)
    return value * jnp.asarray(factor, jnp.float32) ** jnp.minimum(step / steps, 1.0)
