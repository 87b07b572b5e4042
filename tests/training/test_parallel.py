"""One device and four compute the same, each program compiles once, and batches that do not fit are refused."""

import jax
import numpy as np
import pytest
import toy

from cellfx.training import parallel
from cellfx.trees import named_leaves

K = 3


class Compilations:
    """Counts what XLA compiles, however it was asked to."""

    def __init__(self):
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self)

    def __call__(self, event, duration, **_):
        self.count += event.endswith("backend_compile_duration")


def run(feed, devices, dispatches=3):
    program, state, feed = toy.setup(feed, K, devices)
    inputs, metrics = feed.stacked(0), []
    for _ in range(dispatches):
        state, new = program(state, feed.resident, next(inputs))
        metrics.append(jax.device_get(new))
    return jax.device_get(state._replace(key=0)), jax.tree.map(lambda *parts: np.concatenate(parts), *metrics)


@pytest.fixture(scope="module", params=["streamed", "resident"])
def one_and_four(request):
    def feed(devices):
        return toy.streamed(K) if request.param == "streamed" else toy.resident(parallel.axis_of(devices))

    return [run(feed(devices), devices) for devices in (jax.devices()[:1], jax.devices())]


def test_four_devices_give_the_metrics_of_one(one_and_four):
    (_, one), (_, four) = one_and_four
    assert set(one) == {"error", "crowding", "vae/loss", "vae/grad_norm"}
    for name in one:
        assert one[name].shape == (9,)
        np.testing.assert_allclose(four[name], one[name], rtol=1e-5, err_msg=name)


def test_four_devices_give_the_parameters_of_one(one_and_four):
    (one, _), (four, _) = one_and_four
    assert one.step == four.step == 9
    for name, leaf in named_leaves(one).items():
        np.testing.assert_allclose(named_leaves(four)[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_toy_would_show_a_local_loss():
    # With the gather left out a device sees 2 of 8 examples and the crowding changes by more than the tolerance.
    z = np.random.default_rng(0).normal(size=(8, 4))

    def crowding(z):
        return np.mean(np.log(np.sum(np.exp(-np.sum((z[:, None] - z[None]) ** 2, axis=2)), axis=1)))

    assert abs(crowding(z) - np.mean([crowding(part) for part in np.split(z, 4)])) > 1e-2


@pytest.mark.parametrize("num_devices", [1, 4])
def test_one_compilation_for_each_length_and_the_state_is_donated(num_devices):
    devices = jax.devices()[:num_devices]
    program, state, feed = toy.setup(toy.streamed(K), K, devices)
    inputs = feed.stacked(0)
    counter = Compilations()
    seen = []
    for length in (K, K, K, 2, 2, K):
        old = state
        state, metrics = program(state, feed.resident, next(inputs), length)
        seen.append(counter.count)
        assert metrics["vae/loss"].shape == (length,)
        assert old.params["vae"]["decoder"].is_deleted()
    assert seen == [1, 1, 1, 2, 2, 2]
    assert int(state.step) == 4 * K + 4


def test_a_batch_that_the_devices_do_not_divide():
    with pytest.raises(ValueError, match=r"batch size of 10 on 4 devices.*multiple of 4; set for instance 8"):
        parallel.local_batch_size(10, 4)
    with pytest.raises(ValueError, match=r"batch size of 0 on 4 devices.*set for instance 4"):
        parallel.local_batch_size(0, 4)
    assert parallel.local_batch_size(12, 4) == 3
    program, state, feed = toy.setup(toy.streamed(K), K, jax.devices()[:3])
    with pytest.raises(ValueError, match=r"batch size of 8 on 3 devices"):
        program(state, feed.resident, next(feed.stacked(0)))


def test_wrong_programs():
    with pytest.raises(ValueError, match=r"too few steps per call: got 0"):
        parallel.mapped(None, None, 0, jax.devices()[:1], None)
    with pytest.raises(ValueError, match=r"got 4 devices and None"):
        parallel.over_devices(lambda x: x, (0,), jax.devices(), None)


def test_a_lone_process_is_left_alone(monkeypatch):
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    assert parallel.initialize_hosts() == 1
    assert not jax.distributed.is_initialized()
