"""Heads on columns are the heads on rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn import columns
from cellfx.nn.head import Head


@pytest.fixture(scope="module", params=[2, 5])
def case(request):
    head = Head((7, 4, 3), request.param)
    z = jax.random.normal(jax.random.key(1), (11, 6))
    params = jax.vmap(lambda key: head.init(key, z)["params"])(jax.random.split(jax.random.key(0), 3))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    return head, params, z, jax.random.normal(jax.random.key(2), (11, request.param))


def test_logits_and_gradients_are_those_of_the_head(case):
    head, params, z, weight = case

    def total(apply):
        return lambda params: jnp.sum(weight * jnp.sin(apply(params)))

    expected = jax.vmap(jax.value_and_grad(total(lambda params: head.apply({"params": params}, z))))(params)
    found = jax.vmap(jax.value_and_grad(total(lambda params: columns.logits(params, z))))(params)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_the_slope_of_mish_is_finite_and_right_far_out():
    y = np.array([-1e4, -100.0, -30.0, -5.0, -1.2, 0.0, 0.3, 5.0, 30.0, 100.0, 1e4], np.float32)
    params = {"dense0": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}
    params["dense1"] = {"kernel": jnp.ones((1, 2)), "bias": jnp.zeros(2)}

    def slope(value):  # by the bias of the hidden unit
        return jax.grad(lambda params: columns.logits(params, value[None, None])[0, 0])(params)["dense0"]["bias"][0]

    with np.errstate(over="ignore"):
        x = y.astype(np.float64)
        gate, sigmoid = np.tanh(np.logaddexp(0, x)), 1 / (1 + np.exp(-x))
    expected = gate + x * (1 - gate**2) * sigmoid
    np.testing.assert_allclose(jax.vmap(slope)(jnp.asarray(y)), expected, rtol=1e-5, atol=1e-5)
