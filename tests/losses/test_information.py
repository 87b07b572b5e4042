import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.losses.divergence import kl_to_standard_normal, warm_up
from cellfx.losses.information import decompose_kl, weighted_bias

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[1] / "reference/information.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def codes(batch=12, latents=4, seed=0):
    rng = np.random.default_rng(seed)
    mean, logvar = rng.normal(size=(batch, latents)), rng.normal(size=(batch, latents)) - 1
    z = mean + np.exp(0.5 * logvar) * rng.normal(size=(batch, latents))
    return tuple(a.astype(np.float32) for a in (z, mean, logvar))


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_equals_the_slow_reference(estimator):
    z, mean, logvar = codes()
    terms = decompose_kl(z, mean, logvar, np.ones(12, np.float32), 1000, estimator)
    expected = reference.decompose_kl(*(a.astype(np.float64) for a in (z, mean, logvar)), 1000, estimator)
    np.testing.assert_allclose(np.stack(terms), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_terms_sum_to_the_sampled_kl(estimator):
    z, mean, logvar = codes()
    terms = decompose_kl(z, mean, logvar, np.ones(12, np.float32), 1000, estimator)
    log_ratio = reference.log_normal(z, mean, logvar).sum(1) - reference.log_normal(z, 0.0, 0.0).sum(1)
    np.testing.assert_allclose(sum(terms), log_ratio, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_padding_changes_nothing(estimator):
    z, mean, logvar = codes()
    mask = np.concatenate([np.ones(12), np.zeros(4)]).astype(np.float32)
    padded = [np.concatenate([a, np.full((4, 4), 3.0, np.float32)]) for a in (z, mean, logvar)]
    whole = decompose_kl(z, mean, logvar, np.ones(12, np.float32), 1000, estimator)
    masked = decompose_kl(*padded, mask, 1000, estimator)
    for a, b in zip(whole, masked, strict=True):
        np.testing.assert_allclose(a, b[:12], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_four_devices_equal_one_in_value_and_gradient(estimator):
    z, mean, logvar = codes(16)

    def total(z, mean, logvar, axis_name):
        terms = decompose_kl(z, mean, logvar, jnp.ones(len(z)), 500, estimator, axis_name)
        return jnp.mean(2.0 * terms.total_correlation + 0.5 * terms.index_code_mi + terms.dimension_wise_kl)

    def shifted(shift, z, mean, logvar, axis_name):
        return total(z + shift, mean * shift, logvar, axis_name)

    def mapped(shift, z, mean, logvar):
        value, gradient = jax.value_and_grad(shifted)(shift, z, mean, logvar, "devices")
        return jax.lax.pmean(value, "devices"), jax.lax.pmean(gradient, "devices")

    shift = jnp.float32(0.7)
    value, gradient = jax.value_and_grad(shifted)(shift, z, mean, logvar, None)
    parts = [a.reshape(4, 4, 4) for a in (z, mean, logvar)]
    values, gradients = jax.pmap(mapped, "devices", in_axes=(None, 0, 0, 0))(shift, *parts)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    np.testing.assert_allclose(gradients, np.full(4, gradient), rtol=1e-5)


def test_independent_codes_read_zero_once_the_constant_is_gone():
    """Batch = data set: aggregate posterior N(0, I), total correlation (L - 1) ln N before, about 0 after."""
    rng = np.random.default_rng(0)
    n, latents = 512, 3
    mean = rng.normal(size=(n, latents)).astype(np.float32) * np.sqrt(0.5, dtype=np.float32)
    logvar = np.full((n, latents), np.log(0.5), np.float32)
    z = (mean + np.sqrt(0.5) * rng.normal(size=mean.shape)).astype(np.float32)
    terms = decompose_kl(z, mean, logvar, np.ones(n, np.float32), n, "weighted")
    bias = weighted_bias(latents, n, "weighted")
    raw = float(jnp.mean(terms.total_correlation))
    assert raw == pytest.approx((latents - 1) * np.log(n), abs=0.3)
    assert raw - float(bias.total_correlation) == pytest.approx(0.0, abs=0.3)
    assert sum(float(b) for b in bias) == pytest.approx(0.0, abs=1e-5)
    assert all(float(b) == 0 for b in weighted_bias(latents, n, "stratified"))


def test_copied_latents_have_total_correlation():
    rng = np.random.default_rng(0)
    mean = np.repeat(rng.normal(size=(256, 1)), 2, axis=1).astype(np.float32)
    logvar = np.full_like(mean, np.log(0.01))
    z = (mean + 0.1 * rng.normal(size=mean.shape)).astype(np.float32)
    terms = decompose_kl(z, mean, logvar, np.ones(256, np.float32), 256, "weighted")
    excess = float(jnp.mean(terms.total_correlation) - weighted_bias(2, 256, "weighted").total_correlation)
    # Exact for N(0, [[1.01, 1], [1, 1.01]]): -ln(1 - (1 / 1.01)^2) / 2 = 1.96 nats.
    assert excess == pytest.approx(-0.5 * np.log(1 - (1 / 1.01) ** 2), abs=0.25)


def test_kl_of_the_prior_is_zero_and_of_a_known_normal_known():
    assert np.all(kl_to_standard_normal(jnp.zeros((3, 5)), jnp.zeros((3, 5))) == 0)
    # KL(N(1, 4) || N(0, 1)) = (1 + 4 - 1 - ln 4) / 2
    np.testing.assert_allclose(
        kl_to_standard_normal(jnp.ones((1, 1)), jnp.full((1, 1), np.log(4.0))), [(4 - np.log(4)) / 2], rtol=1e-6
    )


def test_warm_up_is_linear_then_one():
    weights = [float(warm_up(jnp.int32(step), 4)) for step in range(6)]
    np.testing.assert_allclose(weights, [0, 0.25, 0.5, 0.75, 1, 1])
    assert float(warm_up(jnp.int32(0), 0)) == 1
