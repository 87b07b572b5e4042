import itertools
import re
import sys

import jax
import numpy as np
import pytest

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.input.device import device
from cellfx.data.input.pipeline import pipeline
from cellfx.data.source import Split

NUM_EXAMPLES, SIZE, BATCH, STEPS = 70, 6, 16, 3  # 4 steps an epoch, 6 examples left over in each
STEPS_PER_EPOCH = NUM_EXAMPLES // BATCH
ALL = {"flips": True, "rotations": True, "crop_px": 2, "brightness": 0.2, "contrast": 0.3}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x": rng.integers(0, 256, (NUM_EXAMPLES, SIZE, SIZE, 1), np.uint8),
        "label": np.arange(NUM_EXAMPLES, dtype=np.int32),
        "factors": rng.random((NUM_EXAMPLES, 2), np.float32),
    }


@pytest.fixture(scope="module", params=["arrays", "stream"])
def split(request, arrays):
    if request.param == "arrays":
        return Split(NUM_EXAMPLES, arrays)
    tf = import_tensorflow()
    return Split(NUM_EXAMPLES, None, lambda: tf.data.Dataset.from_tensor_slices(dict(arrays)))


def _steps(feed, start, count):
    """Batches of single steps, of dispatches of K from ``start`` on."""
    calls = list(itertools.islice(feed.stacked(start), -(-count // STEPS)))
    return [{name: array[k] for name, array in call.items()} for call in calls for k in range(STEPS)][:count]


def test_items_hold_the_steps_of_a_dispatch_as_stored(split, arrays):
    feed = pipeline(split, BATCH, STEPS, 0)
    item = next(feed.stacked(0))
    assert feed.resident == {}
    assert feed.steps_per_epoch == STEPS_PER_EPOCH
    assert {name: (array.shape, array.dtype) for name, array in item.items()} == {
        "x": ((STEPS, BATCH, SIZE, SIZE, 1), np.uint8),
        "label": ((STEPS, BATCH), np.int32),
        "factors": ((STEPS, BATCH, 2), np.float32),
    }
    rows = item["label"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(item[name], array[rows])


def test_every_epoch_takes_every_example_at_most_once_in_an_order_of_its_own(split):
    feed = pipeline(split, BATCH, STEPS, 0)
    labels = np.array([step["label"] for step in _steps(feed, 0, 3 * STEPS_PER_EPOCH)])
    epochs = labels.reshape(3, -1)
    for epoch in epochs:
        assert len(set(epoch.tolist())) == STEPS_PER_EPOCH * BATCH
    for one, other in itertools.combinations(epochs, 2):
        assert np.mean(one == other) < 0.2
        assert set(one.tolist()) != set(other.tolist())  # nor are the same left over
    assert np.mean(epochs[0][1:] > epochs[0][:-1]) < 0.8  # shuffled, not in order


@pytest.mark.parametrize("start", [1, STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH + 3])
def test_any_start_gives_the_batches_of_an_undisturbed_run(split, start):
    feed = pipeline(split, BATCH, STEPS, 0, **ALL)
    undisturbed = _steps(feed, 0, start + 2 * STEPS)[start:]
    again = pipeline(split, BATCH, STEPS, 0, **ALL)
    for expected, step in zip(undisturbed, _steps(again, start, 2 * STEPS), strict=True):
        for name in expected:
            np.testing.assert_array_equal(step[name], expected[name])


def test_seeds_differ(split):
    one, other = (next(pipeline(split, BATCH, STEPS, seed, flips=True).stacked(0)) for seed in (0, 1))
    assert np.any(one["label"] != other["label"])


def test_steps_per_dispatch_do_not_change_the_batches(split):
    steps = _steps(pipeline(split, BATCH, STEPS, 0, **ALL), 0, 5)
    single = list(itertools.islice(pipeline(split, BATCH, 1, 0, **ALL).stacked(0), 5))
    for step, item in zip(steps, single, strict=True):
        np.testing.assert_array_equal(step["x"], item["x"][0])


def test_hosts_read_parts_of_the_same_global_batch(arrays, monkeypatch):
    split = Split(NUM_EXAMPLES, arrays)
    whole = _steps(pipeline(split, BATCH, STEPS, 0, **ALL), 0, 6)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    parts = []
    for host in range(2):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        parts.append(_steps(pipeline(split, BATCH, STEPS, 0, **ALL), 0, 6))
    for step, expected in enumerate(whole):
        for name in expected:
            together = np.concatenate([part[step][name] for part in parts])
            if name == "x":  # vectorized sums over another number of images may differ in the last bit
                np.testing.assert_allclose(together, expected[name], rtol=0, atol=3e-7)
            else:
                np.testing.assert_array_equal(together, expected[name])


def test_hosts_divide_a_stream(arrays, monkeypatch):
    tf = import_tensorflow()
    split = Split(NUM_EXAMPLES, None, lambda: tf.data.Dataset.from_tensor_slices(dict(arrays)))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    seen = []
    for host in range(2):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        steps = _steps(pipeline(split, BATCH, STEPS, 0), 0, STEPS_PER_EPOCH)
        seen.append({int(label) for step in steps for label in step["label"]})
    assert [len(labels) for labels in seen] == [STEPS_PER_EPOCH * BATCH // 2] * 2
    assert not seen[0] & seen[1]


def test_read_makes_a_batch(arrays):
    feed = pipeline(Split(NUM_EXAMPLES, arrays), BATCH, STEPS, 0)
    item = {name: array[0] for name, array in next(feed.stacked(0)).items()}
    batch = jax.jit(feed.read)({}, item, jax.random.key(0), 0)
    assert batch["x"].dtype == np.float32
    np.testing.assert_allclose(batch["x"], item["x"] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(batch["mask"], np.ones(BATCH, np.float32))
    np.testing.assert_array_equal(batch["label"], item["label"])


def _orbits(images):
    """The 8 flips and turns of each image, as (N, 8, pixels)."""
    square = images[..., 0]
    turned = [np.rot90(kind, turns, (1, 2)) for kind in (square, square[:, ::-1]) for turns in range(4)]
    return np.stack(turned, 1).reshape(len(images), 8, -1)


def _epochs(feed, count):
    read = jax.jit(lambda *data, step: feed.read(*data, jax.random.fold_in(jax.random.key(0), step), step))
    items = ({name: array[k] for name, array in call.items()} for call in feed.stacked(0) for k in range(STEPS))
    steps = zip(range(count * feed.steps_per_epoch), items, strict=False)  # both endless items are cut off
    batches = [read(feed.resident, item, step=np.int32(step)) for step, item in steps]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_both_pipelines_see_every_example_in_every_orientation_alike(arrays):
    split, num_epochs = Split(NUM_EXAMPLES, arrays), 12
    for make in (pipeline, device):
        seen = _epochs(make(split, 14, STEPS, 0, flips=True, rotations=True), num_epochs)  # 5 steps, none left over
        np.testing.assert_array_equal(np.bincount(seen["label"]), np.full(NUM_EXAMPLES, num_epochs))
        np.testing.assert_array_equal(seen["factors"], arrays["factors"][seen["label"]])
        orbits = _orbits(arrays["x"] / np.float32(255))[seen["label"]]
        matches = np.all(np.abs(orbits - seen["x"].reshape(len(orbits), 1, -1)) < 1e-6, axis=2)
        np.testing.assert_array_equal(matches.sum(1), 1)
        expected = len(matches) / 8
        assert np.abs(matches.sum(0) - expected).max() < 5 * np.sqrt(expected)


def test_both_pipelines_see_the_same_means_and_variances(arrays):
    split = Split(NUM_EXAMPLES, arrays)
    ours, theirs = (_epochs(make(split, 14, STEPS, 0, **ALL), 12)["x"] for make in (pipeline, device))
    for statistic in (lambda x: x.mean((1, 2, 3)), lambda x: x.var((1, 2, 3)), lambda x: x.min((1, 2, 3))):
        one, other = statistic(ours), statistic(theirs)
        assert abs(one.mean() - other.mean()) < 5 * np.sqrt((one.var() + other.var()) / len(one))
    pixel_error = np.sqrt((ours.var(0) + theirs.var(0)) / len(ours))
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < 5 * pixel_error)
    assert np.abs(ours.var(0) / theirs.var(0) - 1).max() < 0.3


@pytest.mark.parametrize("make", [pipeline, device])
def test_batch_larger_than_the_data_is_refused(arrays, make):
    with pytest.raises(ValueError, match=f"(?s)71.*{NUM_EXAMPLES}"):
        make(Split(NUM_EXAMPLES, arrays), NUM_EXAMPLES + 1, STEPS, 0)


def test_batch_that_the_hosts_do_not_divide_is_refused(arrays, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    with pytest.raises(ValueError, match="got 16 examples for 3 hosts; expected a multiple of 3"):
        pipeline(Split(NUM_EXAMPLES, arrays), BATCH, STEPS, 0)


def test_augmentation_that_does_not_suit_the_images_is_refused(arrays):
    with pytest.raises(ValueError, match="crop_px out of range: got 6"):
        pipeline(Split(NUM_EXAMPLES, arrays), BATCH, STEPS, 0, crop_px=SIZE)


def test_missing_tensorflow_says_what_works_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("--config.input.pipeline=device")):
        import_tensorflow()
