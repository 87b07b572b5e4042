"""A run is the same alone and in company, on one device and on several, and equals a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cellfx.training import many
from cellfx.training.progress import Progress

STEPS, BATCH = 7, 5
DATA = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
RATES = {"rate": np.array([0.01, 0.1, 0.3], np.float32)}


def init(key):
    return {"w": jax.random.normal(key, (3,)), "b": jnp.zeros(())}


def loss(params, batch, key):
    noise = 0.1 * jax.random.normal(key, (BATCH,))
    return jnp.mean((batch @ params["w"] + params["b"] - jnp.sin(batch[:, 0]) + noise) ** 2)


def optimizer(setting, key):
    del key
    return optax.adam(setting["rate"])


def sample(data, key, step):
    return data[jax.random.randint(jax.random.fold_in(key, step), (BATCH,), 0, len(data))]


def keys(*seeds):
    return jax.vmap(jax.random.key)(np.array(seeds, np.uint32))


def train(rates, seeds, num_devices=1, steps_per_call=3, **kwargs):
    run = many.trainer(init, loss, optimizer, sample, STEPS, steps_per_call, jax.devices()[:num_devices])
    return run(DATA, rates, keys(*seeds), **kwargs)


@pytest.fixture(scope="module")
def company():
    return train(RATES, (4, 9))


def same(one, other):
    for name, leaf in {**one.params, "loss": one.loss}.items():
        found = {**other.params, "loss": other.loss}[name]
        assert found.shape == leaf.shape
        np.testing.assert_allclose(found, leaf, rtol=1e-5, atol=1e-6, err_msg=name)


def test_settings_come_first_and_then_seeds(company):
    assert company.params["w"].shape == (3, 2, 3)
    assert company.loss.shape == (3, 2)
    assert len(np.unique(company.params["w"][..., 0])) == 6


def test_a_run_is_the_same_alone(company):
    alone = train({"rate": RATES["rate"][1:2]}, (9,))
    same(many.Runs(jax.tree.map(lambda leaf: leaf[1:2, 1:2], company.params), company.loss[1:2, 1:2]), alone)


def test_a_run_is_a_plain_loop(company):
    key = jax.random.key(9)
    streams = [jax.random.fold_in(key, i) for i in range(3)]
    params, transform = init(streams[0]), optax.adam(RATES["rate"][2])
    state = transform.init(params)
    for step in range(STEPS):
        batch = sample(jnp.asarray(DATA), streams[2], jnp.int32(step))
        value, grads = jax.value_and_grad(loss)(params, batch, jax.random.fold_in(streams[2], step))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = transform.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(company.params["w"][2, 1], params["w"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(company.params["b"][2, 1], params["b"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(company.loss[2, 1], value, rtol=1e-5)


@pytest.mark.parametrize(("settings", "seeds"), [((0, 1, 2), (4, 9)), ((0, 1, 2, 0, 1), (4,)), ((0,), (1, 2, 3, 4, 9))])
def test_several_devices_give_the_runs_of_one(settings, seeds):
    rates = {"rate": RATES["rate"][list(settings)]}
    same(train(rates, seeds), train(rates, seeds, num_devices=4))


def test_the_number_of_steps_of_a_dispatch_changes_nothing(company):
    same(company, train(RATES, (4, 9), steps_per_call=100))


def test_a_second_call_compiles_nothing():
    run = many.trainer(init, loss, optimizer, sample, STEPS, 3, jax.devices()[:2])
    first = run(DATA, RATES, keys(4, 9))
    count = 0

    def listen(event, duration, **_):
        nonlocal count
        count += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    second = run(DATA, {"rate": RATES["rate"] * 2}, keys(5, 6))
    assert count == 0
    assert not np.allclose(first.loss, second.loss)


def test_progress_is_shown_after_every_dispatch(company):
    seen = []
    display = Progress(lambda step, value, rate: seen.append((step, value)), lambda _: None, lambda: None)
    train(RATES, (4, 9), progress=display)
    assert [step for step, _ in seen] == [3, 6, 7]
    np.testing.assert_allclose(seen[-1][1], company.loss.mean(), rtol=1e-6)


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing to train: got 0 steps"):
        many.trainer(init, loss, optimizer, sample, 0)
    for rates, seeds in (({"rate": np.zeros(0, np.float32)}, (1,)), (RATES, ())):
        with pytest.raises(ValueError, match="no runs to train"):
            train(rates, seeds)
    uneven = {"rate": np.ones(2, np.float32), "other": np.ones(3, np.float32)}
    with pytest.raises(ValueError, match=r"settings of lengths \[2, 3\]"):
        train(uneven, (1,))
