"""RigL finds a planted network with 95 % zeros, and a random mask of the same density does not; five seeds each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cellfx.nn.head import Head
from cellfx.sparsity.rigl import rigl, static

SEEDS = jnp.arange(5)
DENSITY = 0.05


def fit(recipe, start, predict, teacher, z, z_test, num_steps):
    """Train on the teacher's outputs at z; parameters and the share of the variance at z_test that is not explained."""
    optimizer = recipe(optax.adam(0.01))
    target, expected = predict(teacher, z), predict(teacher, z_test)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(lambda params: jnp.mean((predict(params, z) - target) ** 2))(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), ()

    (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), None, length=num_steps)
    error = jnp.mean((predict(params, z_test) - expected) ** 2)
    return params, error / jnp.mean((expected - jnp.mean(expected, axis=0, keepdims=True)) ** 2)


def planted(recipe, predict, init, num_inputs, num_steps):
    """Of five seeds: teacher, student, unexplained variance; leading axis 5 each."""

    def one(seed):
        keys = jax.random.split(jax.random.key(seed), 4)
        z, z_test = (jax.random.normal(key, (512, num_inputs)) for key in keys[:2])
        teacher = static(optax.sgd(1.0), DENSITY, seed=seed)
        whole = jax.tree.map(lambda leaf: 3 * leaf, init(keys[2]))
        updates, _ = teacher.update(whole, teacher.init(whole), whole)
        whole = optax.apply_updates(whole, updates)

        def seeded(inner):
            return recipe(inner, DENSITY, seed=seed + 1000)

        return whole, *fit(seeded, init(keys[3]), predict, whole, z, z_test, num_steps)

    return jax.jit(jax.vmap(one))(SEEDS)


def growing(inner, density, seed):
    return rigl(inner, density, update_every=20, update_rate=0.5, end_step=450, seed=seed)


def linear(params, z):
    return z @ params["kernel"]


def linear_init(key):
    return {"kernel": jax.random.normal(key, (60, 10)) / 8}


def test_the_weights_of_a_planted_layer():
    found = {}
    for recipe in (growing, static):
        teacher, student, _ = planted(recipe, linear, linear_init, 60, 600)
        planted_at, kept = np.asarray(teacher["kernel"]) != 0, np.asarray(student["kernel"]) != 0
        assert np.all(planted_at.sum(axis=(1, 2)) == 30)
        found[recipe] = (planted_at & kept).sum(axis=(1, 2)) / 30
    assert np.all(found[growing] >= 0.9)
    assert np.all(found[static] <= 0.3)


@pytest.fixture(scope="module")
def networks():
    head = Head((16,))

    def predict(params, z):
        return head.apply({"params": params}, z)

    def init(key):
        return head.init(key, jnp.zeros((1, 20)))["params"]

    return {recipe: planted(recipe, predict, init, 20, 600) for recipe in (growing, static)}


def test_the_function_of_a_planted_network(networks):
    unexplained = {recipe: np.asarray(result[2]) for recipe, result in networks.items()}
    assert np.all(unexplained[growing] < 0.5 * unexplained[static])
    assert np.median(unexplained[growing]) < 0.1
    assert np.median(unexplained[static]) > 0.3


def test_the_inputs_of_a_planted_network(networks):
    """Share of those inputs that the teacher's outputs depend on which the student uses."""
    shares = {}
    for recipe, (teacher, student, _) in networks.items():
        paths = [np.abs(net["dense0"]["kernel"]) @ np.abs(net["dense1"]["kernel"]) for net in (teacher, student)]
        used, kept = (path.sum(axis=2) > 0 for path in paths)
        shares[recipe] = (used & kept).sum(axis=1) / used.sum(axis=1)
    assert np.mean(shares[growing]) > np.mean(shares[static]) + 0.2
