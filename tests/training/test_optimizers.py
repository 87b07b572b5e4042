"""The Adam recipe against a float64 reference, its schedule, its mask and its refusals."""

import importlib.util
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cellfx.training.optimizers import adam, learning_rate_schedule

_SPEC = importlib.util.spec_from_file_location("adam", Path(__file__).parents[1] / "reference" / "adam.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)


def expected_rate(step, total, peak, warm, decay):
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.5 * (1 + np.cos(np.pi * (step - warm) / (total - warm))) if decay == "cosine" else 1.0)


@pytest.mark.parametrize("decay", ["constant", "cosine"])
@pytest.mark.parametrize("warm_up_rate", [0.0, 0.25])
def test_schedule(decay, warm_up_rate):
    schedule = learning_rate_schedule(40, 0.3, warm_up_rate, decay)
    expected = [expected_rate(step, 40, 0.3, 40 * warm_up_rate, decay) for step in range(40)]
    np.testing.assert_allclose([schedule(jnp.int32(step)) for step in range(40)], expected, rtol=2e-5)
    assert float(schedule(jnp.int32(0))) > 0
    assert float(schedule(jnp.int32(1000))) == pytest.approx(0.0 if decay == "cosine" else 0.3)


def test_adam_follows_the_papers():
    rng = np.random.default_rng(0)
    params = {"bias": rng.normal(size=3), "kernel": rng.normal(size=(4, 3))}
    params = {name: jnp.asarray(p, jnp.float32) for name, p in params.items()}
    grads = [[rng.normal(size=p.shape) * size for p in params.values()] for size in (0.1, 3.0, 1.0, 0.5, 2.0)]
    optimizer = adam(5, 0.02, clip_norm=1.5, weight_decay=0.3, warm_up_rate=0.4, decay="cosine")
    rates = [expected_rate(step, 5, 0.02, 2, "cosine") for step in range(5)]
    expected = reference.adamw(list(params.values()), grads, rates, [0.0, 0.3], 1.5)

    @jax.jit
    def update(params, state, grads):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for step, step_grads in enumerate(grads):
        step_grads = dict(zip(params, [jnp.asarray(g, jnp.float32) for g in step_grads], strict=True))
        params, state = update(params, state, step_grads)
        for got, want in zip(params.values(), expected[step], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        assert float(state[-1].hyperparams["learning_rate"]) == pytest.approx(rates[step], rel=1e-5)
    assert update._cache_size() == 1


def test_a_mask_that_matches_nothing():
    with pytest.raises(ValueError, match=r"\['offset'\] decide for no parameter.*correct the regular expression"):
        adam(5, weight_decay=0.1, weight_decay_exclude="offset").init({"kernel": jnp.zeros((2, 2))})


def test_every_third_step_moves_and_the_schedule_counts_those():
    """What comes between is as if it had not been: Adam of two steps and the schedule of two steps."""
    rng = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)}
    grads = [{"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)} for _ in range(7)]
    settings = {"learning_rate": 0.05, "clip_norm": 1.0, "warm_up_rate": 0.5, "decay": "cosine"}
    waiting, plain = adam(7, every=3, **settings), adam(2, **settings)
    found, state = [params], waiting.init(params)
    expected, plain_state = params, plain.init(params)
    for step, grad in enumerate(grads):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = waiting.update(grad, state, found[-1])
            if step in (2, 5):
                moved, plain_state = plain.update(grad, plain_state, expected)
                expected = optax.apply_updates(expected, moved)
        found.append(optax.apply_updates(found[-1], updates))
        np.testing.assert_allclose(found[-1]["kernel"], expected["kernel"], rtol=1e-6)
    changed = [bool(jnp.any(a["kernel"] != b["kernel"])) for a, b in itertools.pairwise(found)]
    assert changed == [step in (2, 5) for step in range(7)]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"every": 0}, r"every is out of range: got 0, expected 1 to 10 \(the run's steps\); set it in this range"),
        ({"every": 11}, r"every is out of range: got 11, expected 1 to 10"),
        ({"decay": "linear"}, r"unknown decay: got 'linear', expected one of \('constant', 'cosine'\)"),
        ({"warm_up_rate": 1.0}, r"warm_up_rate is out of range: got 1.0, expected 0 <= warm_up_rate < 1"),
        ({"warm_up_rate": -0.1}, r"got -0.1"),
        ({"learning_rate": 0.0}, r"learning_rate is not positive: got 0.0"),
        ({"learning_rate": float("nan")}, r"learning_rate is not positive: got nan"),
        ({"clip_norm": -1.0}, r"clip_norm is not positive: got -1.0"),
        ({"b2": 1.0}, r"b2 is out of range: got 1.0"),
        ({"weight_decay": -1e-3}, r"weight_decay is negative: got -0.001"),
        ({"total_steps": 0}, r"total_steps is not positive: got 0"),
    ],
)
def test_values_that_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        adam(**{"total_steps": 10, **kwargs})
