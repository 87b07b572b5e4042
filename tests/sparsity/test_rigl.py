"""Sparse training against a NumPy reference, step by step; the same alone, mapped and on four devices."""

import importlib.util
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cellfx.nn.head import Head
from cellfx.sparsity.masked import masks_of, sparse
from cellfx.sparsity.rigl import by_magnitude, magnitude, rigl, set_, static
from cellfx.training.optimizers import adam
from cellfx.trees import named_leaves

_SPEC = importlib.util.spec_from_file_location("rigl", Path(__file__).parents[1] / "reference" / "rigl.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

SHAPES = {"dense0/kernel": (12, 10), "dense1/kernel": (10, 8), "dense2/kernel": (8, 2)}
SETTING = {"density": 0.2, "update_every": 7, "update_rate": 0.8, "end_step": 180, "warm_up": 40}
STEPS = 300


def nested(flat, seed=0):
    """Kernels by path -> parameters of a network, whose biases are drawn."""
    rng = np.random.default_rng(seed)
    biases = {name.split("/")[0]: rng.normal(size=kernel.shape[1]) for name, kernel in flat.items()}
    return {
        layer: {"kernel": jnp.asarray(flat[f"{layer}/kernel"], jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
        for layer, bias in biases.items()
    }


def updater(optimizer):
    @jax.jit
    def update(params, state, grads):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return update


def run(optimizer, num_steps, params=None, grads_of=None):
    """(params, state) after every step, on random gradients."""
    rng = np.random.default_rng(1)
    params = params or nested({name: rng.normal(size=shape) for name, shape in SHAPES.items()})
    state, update, history = optimizer.init(params), updater(optimizer), []
    for step in range(num_steps):
        grads = grads_of(step) if grads_of else nested({n: rng.normal(size=s) for n, s in SHAPES.items()}, step)
        params, state = update(params, state, grads)
        history.append((params, state))
    assert update._cache_size() == 1
    return history


@pytest.fixture(scope="module")
def both():
    """The transform's and the reference's histories of 300 steps of Adam on the same gradients."""
    rng = np.random.default_rng(3)
    start = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    grads = [{name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()} for _ in range(STEPS)]
    ours = run(rigl(optax.adam(0.02), **SETTING), STEPS, nested(start), lambda step: nested(grads[step], step))
    return ours, reference.rigl(start, grads, **SETTING, rate=0.02)


def test_masks_and_counts_of_every_step(both):
    changes = 0
    for step, ((params, state), expected) in enumerate(zip(*both, strict=True)):
        named = named_leaves(params)
        for name, (_, mask, _, _) in expected.items():
            np.testing.assert_array_equal(state.masks[name], mask, err_msg=f"{name}, step {step}")
            assert not np.asarray(named[name])[~mask].any()
        if step > SETTING["warm_up"]:
            assert sum(int(mask.sum()) for mask in state.masks.values()) == round(0.2 * 216)
        changes += step and any(
            np.any(mask != both[1][step - 1][name][1]) for name, (_, mask, _, _) in expected.items()
        )
    assert changes > 15


def test_weights_and_moments_of_every_step(both):
    for step, ((params, state), expected) in enumerate(zip(*both, strict=True)):
        named, moments = named_leaves(params), named_leaves(state.inner[0].mu)
        for name, (weights, _, first, _) in expected.items():
            np.testing.assert_allclose(named[name], weights, rtol=1e-3, atol=1e-4, err_msg=f"{name}, step {step}")
            np.testing.assert_allclose(moments[name], first, rtol=1e-3, atol=1e-5, err_msg=f"{name}, step {step}")


def test_the_schedule(both):
    """Weights replaced: as scheduled, falling to none at the end step, and at no other step than the scheduled ones."""
    replaced = np.array([[layer[3] for layer in expected.values()] for expected in both[1]])
    at = np.flatnonzero(replaced[:, 0])
    np.testing.assert_array_equal(at, 40 + 7 * np.arange(1, len(at) + 1))
    assert at[-1] < 40 + 180
    assert np.all(np.diff(replaced[at, 0]) <= 0)
    for step, (_, state) in enumerate(both[0][1:], start=1):
        changed = any(np.any(new != both[0][step - 1][1].masks[name]) for name, new in state.masks.items())
        assert not changed or step == 40 or step in at


def test_dense_leaves_are_those_of_the_inner_optimizer():
    """Where no update is skipped (warm-up only) everything equals the inner optimizer."""
    plain, ours = run(optax.adam(0.02), 6), run(rigl(optax.adam(0.02), warm_up=6), 6)
    for (expected, _), (params, _) in zip(plain, ours, strict=True):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), params, expected)


def test_biases_move_on_all_but_the_updates_of_the_topology():
    history = run(rigl(optax.sgd(0.1), 0.3, update_every=4, warm_up=3), 12)
    bias = np.array([params["dense0"]["bias"] for params, _ in history])
    still = ~np.any(np.diff(bias, axis=0) != 0, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(still) + 1, [3, 7, 11])


@pytest.mark.parametrize("inner", [optax.adam(0.05), adam(20, 0.05, clip_norm=1.0), optax.sgd(0.1, momentum=0.9)])
def test_grown_weights_start_at_zero_with_fresh_moments(inner):
    optimizer = rigl(inner, 0.3, update_every=5, update_rate=0.6, warm_up=4)
    history = run(optimizer, 10)
    (_, before), (params, after) = history[8:10]
    fresh = jax.tree.leaves(optimizer.init(params).inner)
    num_checked = 0
    for name, mask in after.masks.items():
        grown = np.asarray(mask & ~before.masks[name])
        stayed = np.asarray(mask & before.masks[name])
        assert grown.any()
        assert not np.asarray(named_leaves(params)[name])[grown].any()
        for old, new, first in zip(jax.tree.leaves(before.inner), jax.tree.leaves(after.inner), fresh, strict=True):
            if new.shape == mask.shape:
                np.testing.assert_array_equal(np.asarray(new)[~stayed], np.asarray(first)[~stayed])
                np.testing.assert_array_equal(np.asarray(new)[stayed], np.asarray(old)[stayed])
                num_checked += 1
            elif new.ndim == 0:
                np.testing.assert_array_equal(new, old)
    assert num_checked >= 3


def test_dropped_and_grown_at_once_was_never_gone():
    """Of three weights the smallest is dropped, has the largest gradient and so keeps its value and its moments."""
    params = {"kernel": jnp.asarray([[3.0], [2.0], [0.5], [0.1]])}
    optimizer = rigl(optax.sgd(0.01, momentum=0.9), 0.75, update_every=2, update_rate=0.7, end_step=1000)
    grads = {"kernel": jnp.asarray([[0.1], [0.1], [5.0], [1.0]])}
    state, update = optimizer.init(params), updater(optimizer)
    for _ in range(2):
        params, state = update(params, state, grads)
    moved, moment = params["kernel"][2, 0], named_leaves(state.inner)["0/trace/kernel"][2, 0]
    params, state = update(params, state, grads)
    np.testing.assert_array_equal(state.masks["kernel"][:, 0], [True, False, True, True])
    assert params["kernel"][2, 0] == moved != 0
    assert named_leaves(state.inner)["0/trace/kernel"][2, 0] == moment != 0
    assert params["kernel"][3, 0] == 0


@pytest.mark.parametrize("recipe", [rigl, set_, static, magnitude])
def test_the_other_ways_keep_their_number_of_weights(recipe):
    setting = {} if recipe in (static, magnitude) else {"update_every": 5, "update_rate": 0.5}
    history = run(recipe(optax.sgd(0.01), 0.25, warm_up=3, seed=4, **setting), 20)
    for params, state in history[3:]:
        assert sum(int(mask.sum()) for mask in masks_of(state).values()) == round(0.25 * 216)
        assert all(not np.asarray(named_leaves(params)[name])[~mask].any() for name, mask in state.masks.items())
    changed = any(np.any(history[3][1].masks[name] != mask) for name, mask in history[-1][1].masks.items())
    assert changed == (recipe in (rigl, set_))


def test_which_weights_the_other_ways_take():
    grads = {"kernel": jnp.zeros((40, 30))}
    params = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(40, 30)), jnp.float32)}

    def mask(recipe, steps, **kwargs):
        return run(recipe(optax.sgd(0.1), 0.2, **kwargs), steps, params, lambda _: grads)[-1][1].masks["kernel"]

    threshold = np.sort(np.abs(params["kernel"]).ravel())[-240]
    np.testing.assert_array_equal(mask(magnitude, 1), np.abs(params["kernel"]) >= threshold)
    random = [np.asarray(mask(static, 1, seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(random[0], random[1])
    shared = np.sum(random[0] & random[2]) / 240
    assert 0.1 < shared < 0.3
    assert 0.1 < np.sum(random[0] & mask(magnitude, 1)) / 240 < 0.3
    # Without a gradient RigL grows the first inactive weights; SET grows anywhere.
    grown = np.asarray(mask(set_, 5, update_every=4, update_rate=1.0)) & ~np.asarray(mask(magnitude, 1))
    assert np.flatnonzero(grown.ravel()).mean() == pytest.approx(600, abs=100)


def train(seed, density, update_every, warm_up, num_steps=60, axis_name=None, grow=None, rows=slice(None)):
    """A head on a product of two inputs; everything but the seed and the length may be traced."""
    head = Head((8, 6))
    rng = np.random.default_rng(0)
    z = jnp.asarray(rng.normal(size=(64, 6)), jnp.float32)
    y = (z[:, 0] * z[:, 1] > 0).astype(jnp.int32)
    params = head.init(jax.random.key(seed), z)["params"]
    optimizer = rigl(optax.adam(0.02), density, update_every, 0.5, 45, warm_up)
    if grow is not None:
        optimizer = sparse(optax.adam(0.02), by_magnitude, grow, density, update_every, 0.5, 45, warm_up)

    def loss(params, z, y):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(head.apply({"params": params}, z), y))

    def step(carry, _):
        params, state = carry
        z_here, y_here = z, y
        if axis_name is not None:
            start = jax.lax.axis_index(axis_name) * 16
            z_here, y_here = (jax.lax.dynamic_slice_in_dim(a, start, 16) for a in (z, y))
        grads = jax.grad(loss)(params, z_here, y_here)
        if axis_name is not None:
            grads = jax.lax.pmean(grads, axis_name)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), state.masks

    (params, _), masks = jax.lax.scan(step, (params, optimizer.init(params)), None, length=num_steps)
    return params, masks


def assert_same(found, expected):
    for (name, one), other in zip(named_leaves(found).items(), jax.tree.leaves(expected), strict=True):
        if one.dtype == bool:
            np.testing.assert_array_equal(one, other, err_msg=name)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone():
    """Runs one after another, by (seed, density, update_every, warm_up); compiled once for all."""
    compiled = jax.jit(train)

    def one(seed, density, update_every, warm_up):
        return compiled(jnp.int32(seed), jnp.float32(density), jnp.int32(update_every), jnp.int32(warm_up))

    one.compiled = compiled
    return one


HYPERS = [(0, 0.2, 5, 10), (1, 0.35, 7, 10), (2, 0.5, 3, 20), (3, 1.0, 4, 0)]


def test_runs_side_by_side_are_the_runs_alone(alone):
    arrays = [jnp.asarray(column, kind) for column, kind in zip(zip(*HYPERS, strict=True), "ifii", strict=True)]
    found = jax.jit(jax.vmap(train))(*arrays)
    for i, hyper in enumerate(HYPERS):
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], found), alone(*hyper))


def test_a_map_of_maps_is_the_runs_alone(alone):
    """Densities outside, seeds inside, the periods mapped in neither."""
    seeds, densities = jnp.arange(2), jnp.asarray([0.2, 0.35], jnp.float32)
    inner = jax.vmap(train, in_axes=(0, None, None, None))
    found = jax.jit(jax.vmap(inner, in_axes=(None, 0, None, None)))(seeds, densities, jnp.int32(5), jnp.int32(10))
    for d, density in enumerate(densities):
        for s in range(2):
            picked = jax.tree.map(lambda leaf, place=(d, s): leaf[place], found)
            assert_same(picked, alone(s, density, 5, 10))


def test_all_hyperparameters_take_one_compilation(alone):
    for hyper in HYPERS:
        alone(*hyper)
    assert alone.compiled._cache_size() == 1


def test_numbers_traced_or_not_are_the_same(alone):
    assert_same(jax.jit(lambda seed: train(seed, 0.35, 7, 10))(jnp.int32(1)), alone(1, 0.35, 7, 10))


def test_four_devices_are_one(alone):
    found = jax.pmap(lambda seed: train(seed, 0.35, 7, 10, axis_name="devices"), "devices")(jnp.full(4, 1))
    for device in range(4):
        assert_same(jax.tree.map(lambda leaf, device=device: leaf[device], found), alone(1, 0.35, 7, 10))


@pytest.mark.parametrize("mapped", [False, True])
def test_scores_are_computed_for_whoever_is_due_and_no_one_else(mapped):
    counted = []

    def counting(weights, gradients, key):
        jax.debug.callback(lambda _: counted.append(1), weights[0, 0])
        return jnp.abs(gradients)

    def periods(update_every):
        return train(0, 0.3, update_every, 10, grow=counting)[0]

    every = [5, 9, 100] if mapped else [5]
    function = jax.vmap(periods) if mapped else lambda every: periods(every[0])
    jax.block_until_ready(jax.jit(function)(jnp.asarray(every)))
    jax.effects_barrier()
    rewirings = sum(1 + len(range(period, 45, period)) for period in every)  # the 1 is the pruning after the warm-up
    assert len(counted) == rewirings


def test_masks_are_found_in_any_state():
    params = nested({name: np.ones(shape) for name, shape in SHAPES.items()})
    state = optax.chain(optax.identity(), rigl(optax.adam(0.1))).init(params)
    assert set(masks_of(state)) == set(SHAPES)
    assert masks_of(optax.adam(0.1).init(params)) == {}


def test_only_the_named_weights_are_sparse():
    history = run(rigl(optax.sgd(0.1), 0.1, weights=r"dense1/kernel"), 2)
    assert {name: int(mask.sum()) for name, mask in history[-1][1].masks.items()} == {"dense1/kernel": 8}
    assert np.all(named_leaves(history[-1][0])["dense0/kernel"])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"density": 0.0}, r"density is out of range: got 0.0, expected 0 < density <= 1; set it"),
        ({"density": 1.2}, r"got 1.2"),
        ({"density": float("nan")}, r"density is out of range: got nan"),
        ({"update_every": 0}, r"update_every is out of range: got 0, expected 1 or more updates"),
        ({"update_rate": 1.5}, r"update_rate is out of range: got 1.5, expected 0 <= update_rate <= 1"),
        ({"end_step": 0}, r"end_step is out of range: got 0, expected a positive number of updates"),
        ({"warm_up": -1}, r"warm_up is out of range: got -1, expected 0 or more updates"),
    ],
)
def test_numbers_that_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        rigl(optax.adam(0.1), **kwargs)


def test_a_pattern_that_matches_nothing():
    with pytest.raises(ValueError, match=r"no parameter is made sparse: got weights='offset'.*correct it"):
        rigl(optax.adam(0.1), weights="offset").init({"kernel": jnp.ones((2, 2))})
