"""How far a reconstruction is from its image: nats per example, (B,)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cellfx.losses.distributions import bernoulli_log_prob

LIKELIHOODS = ("normal", "bernoulli")


def squared_error(x: jax.Array, logits: jax.Array, scale: float, weight: jax.Array) -> jax.Array:
    """Negative log-density, less its constant, under independent normals of mean sigmoid(logits).

    Args:
        x: (B, H, W, C) in [0, 1].
        logits: (B, H, W, C).
        scale: standard deviation of every pixel; smaller weighs the reconstruction more against the latents' terms.
        weight: of each pixel, broadcast to (B, H, W, C).

    Returns:
        (B,), sum over pixels of weight (x - sigmoid(logits))^2 / (2 scale^2).
    """
    error = weight * jnp.square(x - jax.nn.sigmoid(logits))
    return jnp.sum(error, axis=(1, 2, 3)) / (2.0 * scale**2)


def cross_entropy(x: jax.Array, logits: jax.Array, weight: jax.Array) -> jax.Array:
    """Negative Bernoulli log-likelihood summed over pixels; arguments as ``squared_error``."""
    return -jnp.sum(weight * bernoulli_log_prob(x, logits), axis=(1, 2, 3))


def centre_window(image_shape: tuple[int, int, int], width_px: float | None) -> jax.Array:
    """Weights that favour the cell in the center over its neighbors.

    Args:
        image_shape: (H, W, C).
        width_px: standard deviation of a Gaussian centered on the image; None weighs all pixels 1.

    Returns:
        (1, H, W, 1), 1 at the center.
    """
    height, width, _ = image_shape
    if width_px is None:
        return jnp.ones((1, height, width, 1))
    rows = jnp.square(jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)
    columns = jnp.square(jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2)
    window = jnp.exp(-(rows.reshape(-1, 1) + columns.reshape(1, -1)) / (2.0 * width_px**2))
    return window.reshape(1, height, width, 1)


def logit(intensity: float) -> float:
    """The logit whose sigmoid is an intensity.

    Raises:
        ValueError: the intensity is not in (0, 1).
    """
    if not 0 < intensity < 1:
        raise ValueError(
            f"model.background is no intensity: got {intensity}, expected a number above 0 and below 1; correct it"
        )
    return math.log(intensity / (1 - intensity))


def reconstruction_loss(
    image_shape: tuple[int, int, int], likelihood: str, scale: float, window_px: float | None
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The reconstruction loss that a config asks for: (x, logits), both (B, H, W, C), -> (B,).

    Args:
        image_shape: (H, W, C).
        likelihood: one of ``LIKELIHOODS``.
        scale: see ``squared_error``.
        window_px: see ``centre_window``.

    Raises:
        ValueError: an unknown likelihood, or a scale or width that is not positive.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(
            f"unknown likelihood: got {likelihood!r}, expected one of {LIKELIHOODS}; correct model.likelihood"
        )
    for name, value in (("scale", scale), ("window_px", window_px)):
        if value is not None and not value > 0:
            raise ValueError(f"model.{name} is no width: got {value}, expected a number above 0; correct model.{name}")
    weight = centre_window(image_shape, window_px)

    def loss(x: jax.Array, logits: jax.Array) -> jax.Array:
        x, logits = x.astype(jnp.float32), logits.astype(jnp.float32)
        return squared_error(x, logits, scale, weight) if likelihood == "normal" else cross_entropy(x, logits, weight)

    return loss
