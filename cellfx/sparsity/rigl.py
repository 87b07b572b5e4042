"""RigL, and three simpler ways to sparse networks that it is compared with: recipes over ``masked.sparse``."""

import math

import jax
import jax.numpy as jnp
import optax

from cellfx.sparsity.masked import Number, sparse
from cellfx.types import Key

MANTISSA_BITS = 12
"""Magnitudes are compared to this many binary places. The gradients of two logits are opposite numbers, which only
rounding would tell apart, and with it the number of devices and of runs side by side."""


def by_magnitude(weights: jax.Array, gradients: jax.Array, key: Key) -> jax.Array:
    """|weights|, see ``MANTISSA_BITS``."""
    return jax.lax.reduce_precision(jnp.abs(weights), 8, MANTISSA_BITS)


def by_gradient(weights: jax.Array, gradients: jax.Array, key: Key) -> jax.Array:
    """|gradients| of the dense network's loss, see ``MANTISSA_BITS``."""
    return jax.lax.reduce_precision(jnp.abs(gradients), 8, MANTISSA_BITS)


def at_random(weights: jax.Array, gradients: jax.Array, key: Key) -> jax.Array:
    """Uniform in [0, 1)."""
    return jax.random.uniform(key, weights.shape)


def rigl(
    inner: optax.GradientTransformation,
    density: Number = 0.05,
    update_every: Number = 100,
    update_rate: Number = 0.3,
    end_step: Number = math.inf,
    warm_up: Number = 0,
    **rest: object,
) -> optax.GradientTransformation:
    """RigL: dropped by magnitude, grown by the dense gradient; arguments as in ``sparse``.

    Evci et al. 2020, arXiv:1911.11134, algorithm 1, with the dense warm-up of Soelistyo and Lowe 2024, supplement 2.3.
    Differs from the papers: magnitudes are compared to ``MANTISSA_BITS``.
    """
    return sparse(inner, by_magnitude, by_gradient, density, update_every, update_rate, end_step, warm_up, **rest)


def set_(
    inner: optax.GradientTransformation,
    density: Number = 0.05,
    update_every: Number = 100,
    update_rate: Number = 0.3,
    end_step: Number = math.inf,
    warm_up: Number = 0,
    **rest: object,
) -> optax.GradientTransformation:
    """SET: dropped by magnitude, grown at random; arguments as in ``sparse``.

    Mocanu et al. 2018, doi:10.1038/s41467-018-04316-3, algorithm 1. Differs from the paper: magnitude regardless of
    sign, and the annealed update rate of ``sparse``.
    """
    return sparse(inner, by_magnitude, at_random, density, update_every, update_rate, end_step, warm_up, **rest)


def static(
    inner: optax.GradientTransformation, density: Number = 0.05, warm_up: Number = 0, **rest: object
) -> optax.GradientTransformation:
    """A random mask, drawn once; arguments as in ``sparse``."""
    return sparse(inner, at_random, None, density, warm_up=warm_up, **rest)


def magnitude(
    inner: optax.GradientTransformation, density: Number = 0.05, warm_up: Number = 0, **rest: object
) -> optax.GradientTransformation:
    """Pruned once by magnitude, after the warm-up; arguments as in ``sparse``."""
    return sparse(inner, by_magnitude, None, density, warm_up=warm_up, **rest)
