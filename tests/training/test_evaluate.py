"""A split's mean counts every real example once, however it is cut into batches and on however many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.collectives import batch_mean
from cellfx.training import parallel
from cellfx.training.evaluate import evaluator
from cellfx.types import Model

VALUES = np.random.default_rng(0).integers(0, 256, 21, dtype=np.uint8)


def model(axis_name):
    def loss(params, extra, batch, key, step, training):
        value = batch_mean(params * batch["x"], batch["mask"], axis_name) + extra * step
        return value, ({"noise": jax.random.uniform(key)}, extra)

    return Model(None, {"one": loss})


def prepare(batch):
    return {**batch, "x": batch["x"].astype(jnp.float32) / 255}


def batches(size):
    for start in range(0, len(VALUES), size):
        image = VALUES[start : start + size]
        count = len(image)
        # Padding holds the largest value: counted by mistake it would be seen.
        image = np.concatenate([image, np.full(size - count, 255, np.uint8)])
        yield {"x": image, "mask": (np.arange(size) < count).astype(np.float32)}


@pytest.mark.parametrize("num_devices", [1, 4])
def test_mean_over_real_examples(num_devices):
    devices = jax.devices()[:num_devices]
    axis_name = parallel.axis_of(devices)
    evaluate = evaluator(model(axis_name), prepare, devices, axis_name)
    params, extra, step = parallel.place((jnp.float32(2.0), jnp.float32(0.5), jnp.float32(6.0)), devices)
    expected = 2 * np.mean(VALUES.astype(np.float64)) / 255 + 3
    results = [evaluate(params, extra, batches(size), jax.random.key(1), step) for size in (8, 8, 24)]
    for result in results:
        assert result["one/loss"] == pytest.approx(expected, rel=1e-6)
    assert results[0] == results[1]
    assert results[0]["noise"] != results[2]["noise"]


def test_nothing_to_evaluate_on():
    evaluate = evaluator(model(None), prepare, jax.devices()[:1], None)
    with pytest.raises(ValueError, match="got no batch with a real example"):
        evaluate(jnp.float32(1), jnp.float32(0), [], jax.random.key(0), jnp.float32(0))
    padding = {"x": np.zeros(8, np.uint8), "mask": np.zeros(8, np.float32)}
    with pytest.raises(ValueError, match="got no batch with a real example"):
        evaluate(jnp.float32(1), jnp.float32(0), [padding], jax.random.key(0), jnp.float32(0))


def test_a_loss_is_told_that_it_does_not_train():
    def loss(params, extra, batch, key, step, training):
        return batch_mean((9.0 if training else params) * batch["x"], batch["mask"], None), ({}, extra)

    evaluate = evaluator(Model(None, {"one": loss}), prepare, jax.devices()[:1], None)
    result = evaluate(jnp.float32(2.0), jnp.float32(0.5), batches(8), jax.random.key(1), jnp.float32(6.0))
    assert result == {"one/loss": pytest.approx(2 * np.mean(VALUES.astype(np.float64)) / 255, rel=1e-6)}
