"""The bound against float64 NumPy, and what it must be where the information is known."""

import importlib.util
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.losses.mutual_information import categorical_bound, continuous_bound
from cellfx.nn.infogan import HALF_WIDTH

_SPEC = importlib.util.spec_from_file_location(
    "adversarial", Path(__file__).parents[1] / "reference" / "adversarial.py"
)
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)


def test_bound_and_its_gradient_equal_the_reference():
    rng = np.random.default_rng(0)
    codes, mean, logvar = rng.uniform(-HALF_WIDTH, HALF_WIDTH, (6, 3)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    as_jax = [jnp.asarray(part, jnp.float32) for part in (codes, mean, logvar)]
    expected = reference.uniform_code_bound(codes, mean, logvar, HALF_WIDTH)
    np.testing.assert_allclose(continuous_bound(*as_jax, HALF_WIDTH), expected, rtol=1e-5, atol=1e-5)
    by_mean, by_logvar = jax.grad(lambda m, s: jnp.sum(continuous_bound(as_jax[0], m, s, HALF_WIDTH)), (0, 1))(
        *as_jax[1:]
    )
    np.testing.assert_allclose(by_mean, (codes - mean) / np.exp(logvar), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_logvar, ((codes - mean) ** 2 / np.exp(logvar) - 1) / 2, rtol=1e-4, atol=1e-5)


def test_bound_is_tight_for_what_is_known():
    """Codes seen through normal noise of deviation s: Q of that deviation reads ln(range) - ln(s sqrt(2 pi e))."""
    rng, deviation = np.random.default_rng(0), 0.1
    codes = rng.uniform(-HALF_WIDTH, HALF_WIDTH, (200_000, 1)).astype(np.float32)
    seen = codes + deviation * rng.standard_normal(codes.shape).astype(np.float32)
    logvar = jnp.full(codes.shape, 2 * math.log(deviation))
    bound = float(jnp.mean(continuous_bound(jnp.asarray(codes), jnp.asarray(seen), logvar, HALF_WIDTH)))
    assert bound == pytest.approx(math.log(2 * HALF_WIDTH / (deviation * math.sqrt(2 * math.pi * math.e))), abs=0.01)
    ignorant = continuous_bound(jnp.asarray(codes), jnp.zeros(codes.shape), jnp.zeros(codes.shape), HALF_WIDTH)
    assert float(jnp.mean(ignorant)) < 0


def test_categories():
    one_hot = jnp.eye(4)
    np.testing.assert_allclose(categorical_bound(one_hot, jnp.zeros((4, 4))), np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(categorical_bound(one_hot, 50.0 * one_hot), np.full(4, math.log(4)), rtol=1e-6)
