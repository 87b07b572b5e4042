"""One step: players in turn, keys, metrics, low precision; and the state it starts from."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from cellfx.training.optimizers import adam
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.types import Model

BATCH = {"x": jnp.full((8, *toy.SHAPE), 0.5), "mask": jnp.ones(8)}


def duel(metric_names=("a/seen", "b/seen")):
    """Two players whose gradients and numbers can be worked out by hand: losses a^2 + a b and b^2 + a b."""

    def init(key):
        del key
        return {"a": jnp.float32(1.0), "b": jnp.float32(2.0)}, jnp.float32(0.0)

    def loss(own, name):
        def function(params, extra, batch, key, step, training):
            del batch, step, training
            value = params[own] ** 2 + params["a"] * params["b"]
            return value, ({name: jax.random.uniform(key)}, extra + 1)

        return function

    return Model(init, {"a": loss("a", metric_names[0]), "b": loss("b", metric_names[1])})


def test_players_take_turns_against_the_newest_others():
    optimizers = {"a": optax.sgd(0.1), "b": optax.sgd(0.1)}
    state = create_state(duel(), optimizers, jax.random.key(0))
    new, metrics = jax.jit(train_step(duel(), optimizers))(state, {})
    # a: gradient 2a + b = 4, so 1 - .4 = .6; b sees that a: gradient 2b + a = 4.6, so 2 - .46 = 1.54.
    assert float(new.params["a"]) == pytest.approx(0.6, rel=1e-6)
    assert float(new.params["b"]) == pytest.approx(1.54, rel=1e-6)
    assert float(metrics["a/loss"]) == pytest.approx(1 + 2)
    assert float(metrics["b/loss"]) == pytest.approx(4 + 0.6 * 2)
    assert float(metrics["a/grad_norm"]) == pytest.approx(4.0)
    assert float(metrics["b/grad_norm"]) == pytest.approx(4.6)
    assert int(new.step) == 1
    assert float(new.extra) == 2
    assert jax.random.key_data(new.key).tolist() == jax.random.key_data(state.key).tolist()
    assert jax.tree.structure(new) == jax.tree.structure(state)


def test_a_player_that_waits_lets_the_other_move_twice():
    """With every=2 of b: a moves at each step, b at every second, against the a of that step."""
    optimizers = {"a": optax.sgd(0.1), "b": adam(6, 0.01, every=2)}
    step, state = jax.jit(train_step(duel(), optimizers)), create_state(duel(), optimizers, jax.random.key(0))
    path = [{name: float(value) for name, value in state.params.items()}]
    for _ in range(6):
        state, metrics = step(state, {})
        path.append({name: float(value) for name, value in state.params.items()})
        assert float(metrics["b/loss"]) == pytest.approx(path[-2]["b"] ** 2 + path[-1]["a"] * path[-2]["b"], rel=1e-5)
        assert float(metrics["b/learning_rate"]) == pytest.approx(0.01)
    moved = {name: [old[name] != new[name] for old, new in itertools.pairwise(path)] for name in ("a", "b")}
    assert moved == {"a": [True] * 6, "b": [False, True] * 3}
    # The first step of Adam has the length of the learning rate.
    assert path[2]["b"] == pytest.approx(2.0 - 0.01, rel=1e-5)
    assert step._cache_size() == 1


def test_keys_differ_between_players_and_steps_and_depend_on_the_step_alone():
    optimizers = {"a": optax.sgd(0.0), "b": optax.sgd(0.0)}
    step = jax.jit(train_step(duel(), optimizers))
    state = create_state(duel(), optimizers, jax.random.key(0))
    state1, first = step(state, {})
    _, second = step(state1, {})
    seen = [float(metrics[name]) for metrics in (first, second) for name in ("a/seen", "b/seen")]
    assert len(set(seen)) == 4
    _, again = step(create_state(duel(), optimizers, jax.random.key(0))._replace(step=jnp.int32(1)), {})
    assert float(again["a/seen"]) == float(second["a/seen"])


def test_low_precision_keeps_the_state_in_float32():
    optimizers = {"vae": adam(100, 1e-2)}
    state = create_state(toy.model(), optimizers, jax.random.key(3))
    results = {}
    for dtype in ("float32", "bfloat16"):
        step = train_step(toy.model(), optimizers, compute_dtype=dtype)
        results[dtype] = jax.jit(step)(state, BATCH)
        hlo = jax.jit(step).lower(state, BATCH).as_text()
        assert ("bf16" in hlo) == (dtype == "bfloat16")
        new, metrics = results[dtype]
        assert jax.tree.map(lambda x: x.dtype, new) == jax.tree.map(lambda x: x.dtype, state)
        assert {metric.dtype for metric in metrics.values()} == {jnp.dtype("float32")}
        assert float(metrics["vae/learning_rate"]) == pytest.approx(1e-2)
    full, low = (float(metrics["vae/loss"]) for _, metrics in results.values())
    # bfloat16 keeps 8 bits: close to, but not the number of the full precision.
    assert low == pytest.approx(full, rel=2e-2)
    assert low != full


def test_refusals():
    optimizers = {"a": optax.sgd(0.1), "b": optax.sgd(0.1)}
    with pytest.raises(ValueError, match=r"unknown compute dtype: got 'float16', expected one of \('float32'"):
        train_step(duel(), optimizers, compute_dtype="float16")
    with pytest.raises(ValueError, match=r"got optimizers for \['a'\], expected one for each player of \['a', 'b'\]"):
        create_state(duel(), {"a": optax.sgd(0.1)}, jax.random.key(0))
    state = create_state(duel(), optimizers, jax.random.key(0))
    with pytest.raises(ValueError, match=r"got \['same'\] again from player 'b'"):
        jax.eval_shape(train_step(duel(("same", "same")), optimizers), state, {})


def test_the_start_depends_on_the_key_alone():
    def leaves(seed):
        return create_state(toy.model(), {"vae": optax.adam(1e-2)}, jax.random.key(seed))

    one, same, other = leaves(0), leaves(0), leaves(1)
    assert int(one.step) == 0
    np.testing.assert_array_equal(one.params["vae"]["decoder"], same.params["vae"]["decoder"])
    assert np.any(one.params["vae"]["decoder"] != other.params["vae"]["decoder"])
    assert jax.random.key_data(one.key).tolist() != jax.random.key_data(jax.random.key(0)).tolist()
