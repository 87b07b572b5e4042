"""Leaf and bias weights go until none is left and the function stays; compact networks and summaries of the rest."""

import json
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellfx.nn.activation import mish as jax_mish
from cellfx.sparsity.compact import apply, compact, from_json, to_json
from cellfx.sparsity.prune import mish, prune
from cellfx.sparsity.summary import latents_used, sparsity, summary


def network(seed, density, widths=(12, 9, 7, 6, 3), lead=()):
    rng = np.random.default_rng(seed)
    layers = {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        kernel = rng.normal(size=(*lead, inputs, outputs)) * (rng.random((*lead, inputs, outputs)) < density)
        layers[f"dense{i}"] = {"kernel": kernel, "bias": rng.normal(size=(*lead, outputs))}
    return layers


def forward(params, z, activation=mish):
    for i in range(len(params)):
        z = activation(z) if i else z
        z = z @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"]
    return z


def loose_weights(params):
    """(layer, unit) of every hidden unit that is fed but feeds nothing, or feeds but is not fed."""
    found = []
    for i in range(len(params) - 1):
        fed = np.any(params[f"dense{i}"]["kernel"] != 0, axis=0)
        feeds = np.any(params[f"dense{i + 1}"]["kernel"] != 0, axis=1)
        found += [(i, unit) for unit in np.flatnonzero(fed != feeds)]
    return found


Z = np.random.default_rng(7).normal(size=(50, 12)) * 3


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), density=st.floats(0.02, 0.6))
def test_pruning_changes_nothing_and_leaves_nothing(seed, density):
    before = network(seed, density)
    after = prune(before)
    np.testing.assert_allclose(forward(after, Z), forward(before, Z), rtol=0, atol=1e-6)
    assert loose_weights(after) == []
    for name in before:
        kept = after[name]["kernel"] != 0
        np.testing.assert_array_equal(after[name]["kernel"][kept], before[name]["kernel"][kept])


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), density=st.floats(0.02, 0.6))
def test_pruning_twice_is_pruning_once(seed, density):
    once = prune(network(seed, density))
    jax.tree.map(np.testing.assert_array_equal, prune(once), once)


def test_the_cases_are_not_trivial():
    """At 15 % the property above meets networks that lose weights and still depend on their inputs."""
    several = network(0, 0.15, lead=(200,))
    lost = sparsity(prune(several)) - sparsity(several)
    alive = np.any(latents_used(prune(several)), axis=-1)
    assert np.mean((lost > 0) & alive) > 0.5


def test_a_chain_of_leaves_and_a_chain_of_bias_weights():
    params = {f"dense{i}": {"kernel": np.zeros((2, 2)), "bias": np.array([0.5, -0.3])} for i in range(4)}
    params["dense0"]["kernel"][0, 0] = params["dense1"]["kernel"][0, 0] = 2.0  # ends at a unit that feeds nothing
    params["dense2"]["kernel"][1, 1] = params["dense3"]["kernel"][1, 0] = 3.0  # starts at a unit that nothing feeds
    after = prune(params)
    assert all(not layer["kernel"].any() for layer in after.values())
    np.testing.assert_allclose(after["dense3"]["bias"], [0.5 + 3 * mish(-0.3 + 3 * mish(-0.3)), -0.3], rtol=1e-12)
    assert all(not after[f"dense{i}"]["bias"].any() for i in range(3))


def test_networks_pruned_together_are_those_pruned_alone():
    several = network(3, 0.15, lead=(2, 5))
    together = prune(several)
    for place in np.ndindex(2, 5):
        alone = prune(jax.tree.map(lambda leaf, place=place: leaf[place], several))
        jax.tree.map(lambda a, b, place=place: np.testing.assert_allclose(a[place], b, rtol=1e-12), together, alone)
    assert sparsity(together).shape == (2, 5)
    assert latents_used(together).shape == (2, 5, 12)


def test_another_activation():
    before = network(5, 0.15)
    after = prune(before, np.tanh)
    np.testing.assert_allclose(forward(after, Z, np.tanh), forward(before, Z, np.tanh), atol=1e-9)
    assert np.abs(forward(after, Z) - forward(before, Z)).max() > 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_the_compact_network_is_the_same_function(seed):
    before = network(seed, 0.2)
    small = compact(before)
    expected = forward(before, Z)
    np.testing.assert_allclose(apply(small)(jnp.asarray(Z, jnp.float32)), expected, rtol=1e-5, atol=1e-4)
    again = from_json(json.loads(json.dumps(to_json(small))))
    jax.tree.map(np.testing.assert_array_equal, again, small)
    x = Z[:, small.inputs]
    for i, (kernel, bias) in enumerate(small.layers):
        x = (mish(x) if i else x) @ kernel + bias
        assert kernel.any(axis=0).all() or i == len(small.layers) - 1
        assert kernel.any(axis=1).all()
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


def test_the_compact_network_is_a_jax_function():
    logits = apply(compact(network(2, 0.25)), jax_mish)
    z = jnp.asarray(Z[:4], jnp.float32)
    np.testing.assert_allclose(jax.jit(logits)(z), logits(z), rtol=1e-5, atol=1e-5)
    mapped = jax.vmap(logits)(z[:, None])[:, 0]
    np.testing.assert_allclose(mapped, logits(z), rtol=1e-5, atol=1e-5)
    slopes = jax.grad(lambda z: logits(z)[:, 0].sum())(z)
    assert slopes.shape == z.shape
    unused = np.setdiff1d(np.arange(12), compact(network(2, 0.25)).inputs)
    assert not np.asarray(slopes)[:, unused].any()


def test_a_network_without_a_path_is_its_last_bias():
    small = compact(network(0, 0.0))
    assert small.inputs == ()
    assert [kernel.shape for kernel, _ in small.layers] == [(0, 0), (0, 0), (0, 0), (0, 3)]
    np.testing.assert_allclose(apply(small)(jnp.asarray(Z, jnp.float32)), forward(network(0, 0.0), Z), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, from_json(json.loads(json.dumps(to_json(small)))), small)


def test_summary_counts():
    params = {
        "dense0": {"kernel": np.array([[1.0, 0, 0], [0, 0, 2], [0, 0, 0], [0, 0, 0]]), "bias": np.zeros(3)},
        "dense1": {"kernel": np.array([[1.0, 0], [0, 0], [0, 0]]), "bias": np.ones(2)},
    }
    found = summary(params)
    assert found.weights == {"dense0": 2, "dense1": 1}
    assert found.sizes == {"dense0": 12, "dense1": 6}
    assert found.units == {"dense0": 1, "dense1": 1}
    assert found.latents == (0, 1)
    assert found.sparsity == pytest.approx(1 - 3 / 18)
    assert summary(prune(params)).latents == (0,)


def test_parameters_that_are_no_network():
    with pytest.raises(ValueError, match=r"not a fully connected network: got the layers .*'conv'.*expected dense0"):
        prune({"conv": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}})
    wrong = network(0, 0.5)
    wrong["dense1"]["kernel"] = wrong["dense1"]["kernel"][:-1]
    with pytest.raises(ValueError, match=r"layers that do not fit together: got a kernel \(8, 7\).*dense1.*9 inputs"):
        prune(wrong)
    wrong = network(0, 0.5)
    wrong["dense2"]["bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"not finite: got NaN or infinity in dense2.*lower its learning rate"):
        prune(wrong)
    with pytest.raises(ValueError, match=r"more than one network: got a first kernel of shape \(4, 12, 9\)"):
        compact(network(0, 0.5, lead=(4,)))


def test_json_that_is_no_network():
    fields = to_json(compact(network(1, 0.5)))
    with pytest.raises(ValueError, match=r"not a compact network: got the fields \['layers'\]"):
        from_json({"layers": fields["layers"]})
    fields["layers"][1]["kernel"].pop()
    with pytest.raises(ValueError, match=r"layers that do not fit together.*in layer 1"):
        from_json(fields)
