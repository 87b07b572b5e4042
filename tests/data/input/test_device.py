"""The device-resident pipeline: a permutation every epoch, and the same batches on one device and on four."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.collectives import gather
from cellfx.data.input import augment
from cellfx.data.input.device import device, permute
from cellfx.data.source import Split

COUNT, BATCH = 43, 8
AUGMENTATION = {"flips": True, "rotations": True, "crop_px": 2, "brightness": 0.1, "contrast": 0.2}


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (COUNT, 6, 6, 1)).astype(np.uint8)
    return Split(COUNT, arrays={"x": image, "label": np.arange(COUNT, dtype=np.int32)})


def _batches(feed, steps):
    read = jax.jit(lambda resident, key, step: feed.read(resident, {}, key, step))
    return [jax.device_get(read(feed.resident, jax.random.key(step), jnp.int32(step))) for step in steps]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 16, 17, 100, 4099])
def test_permute_is_a_permutation(size):
    rows = jax.jit(jax.vmap(lambda epoch: permute(jnp.arange(size), size, 7, epoch)))(jnp.arange(3))
    assert rows.dtype == np.int32
    for row in np.asarray(rows):
        np.testing.assert_array_equal(np.sort(row), np.arange(size))


def test_permute_works_for_the_largest_sizes():
    size = 2**31 - 1
    rows = np.asarray(permute(size - 1 - jnp.arange(1000), size, 0, 0))
    assert rows.min() >= 0
    assert len(set(rows.tolist())) == 1000


def test_permutations_look_random():
    size, epochs = 500, 400
    rows = np.asarray(jax.jit(jax.vmap(lambda epoch: permute(jnp.arange(size), size, 3, epoch)))(jnp.arange(epochs)))
    # Fixed points and successors are Poisson with mean 1, rank correlations normal with deviation 1 / sqrt(size).
    for hits in ((rows == np.arange(size)).sum(axis=1), (np.diff(rows, axis=1) == 1).sum(axis=1)):
        assert abs(hits.mean() - 1) < 5 / np.sqrt(epochs)
        assert abs(hits.var() - 1) < 0.5
    correlations = np.array([np.corrcoef(row, np.arange(size))[0, 1] for row in rows])
    assert abs(correlations.mean()) < 5 / np.sqrt(size * epochs)
    assert 0.9 < correlations.std() * np.sqrt(size) < 1.1
    # Every position takes every value equally often: chi-squared of 500 x 20 cells.
    cells = np.stack([np.bincount(rows[:, k] // 25, minlength=20) for k in range(size)])
    chi2 = ((cells - epochs / 20) ** 2 / (epochs / 20)).sum() / (size * 19)
    assert abs(chi2 - 1) < 5 * np.sqrt(2 / (size * 19))


def test_small_permutations_all_occur():
    rows = np.asarray(jax.jit(jax.vmap(lambda epoch: permute(jnp.arange(4), 4, 0, epoch)))(jnp.arange(2400)))
    found, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(found) == 24
    # 5 standard deviations of a binomial with mean 100.
    assert (abs(counts - 100) < 50).all()


def test_permutations_differ_by_epoch_and_seed():
    rows = [np.asarray(permute(jnp.arange(100), 100, seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))]
    np.testing.assert_array_equal(rows[0], rows[3])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (rows[i] == rows[j]).sum() < 10


def test_an_epoch_reads_every_example_at_most_once(split):
    feed = device(split, BATCH, 1, seed=0)
    assert feed.steps_per_epoch == 5
    batches = _batches(feed, range(10))
    epochs = [np.concatenate([batch["label"] for batch in batches[start : start + 5]]) for start in (0, 5)]
    for labels in epochs:
        assert len(set(labels.tolist())) == 40
    assert not np.array_equal(*epochs)
    for batch in batches:
        stored = split.arrays["x"][batch["label"]]
        # XLA multiplies by the reciprocal of 255.
        np.testing.assert_allclose(batch["x"], stored / np.float32(255), rtol=2e-7)
        np.testing.assert_array_equal(batch["mask"], np.ones(BATCH, np.float32))
        assert batch["mask"].dtype == np.float32


def test_a_batch_depends_on_seed_and_step_alone(split):
    later = _batches(device(split, BATCH, 1, 0), [7])[0]
    again, *_, last = _batches(device(split, BATCH, 4, 0), [7, 0, 3, 7])
    other = _batches(device(split, BATCH, 1, 1), [7])[0]
    for name in later:
        np.testing.assert_array_equal(later[name], again[name])
        np.testing.assert_array_equal(later[name], last[name])
    assert not np.array_equal(later["label"], other["label"])


def test_four_devices_read_the_batch_of_one(split):
    one = _batches(device(split, BATCH, 1, 0, **AUGMENTATION), [3])[0]
    feed = device(split, BATCH, 1, 0, axis_name="devices", **AUGMENTATION)

    def read(rank, resident, key, step):
        batch = feed.read(resident, {}, key, step)
        assert batch["x"].shape[0] == BATCH // 4
        return jax.tree.map(lambda x: gather(x, "devices"), batch)

    arguments = (np.arange(4), feed.resident, jax.random.key(3), jnp.int32(3))
    four = jax.pmap(read, "devices", in_axes=(0, None, None, None), out_axes=None, devices=jax.devices()[:4])(
        *arguments
    )
    for name in one:
        np.testing.assert_array_equal(jax.device_get(four[name]), one[name])


def test_images_are_augmented_with_the_key_of_the_step(split):
    plain, augmented = (_batches(device(split, BATCH, 1, 0, **kwargs), [2])[0] for kwargs in ({}, AUGMENTATION))
    np.testing.assert_array_equal(plain["label"], augmented["label"])
    expected = augment.apply(plain["x"], augment.draw(jax.random.key(2), BATCH, **AUGMENTATION))
    np.testing.assert_allclose(augmented["x"], expected, rtol=0, atol=3e-7)
    assert not np.array_equal(augmented["x"], plain["x"])


def test_nothing_is_streamed(split):
    stream = device(split, BATCH, 3, 0).stacked(5)
    assert [next(stream) for _ in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize("batch_size", [0, COUNT + 1])
def test_a_batch_that_the_data_cannot_fill_is_refused(split, batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size} and {COUNT} examples"):
        device(split, batch_size, 1, 0)


def test_streamed_data_is_refused():
    with pytest.raises(ValueError, match="split of 9 examples that is only streamed"):
        device(Split(9, examples=lambda: None), 2, 1, 0)


def test_augmentations_are_checked(split):
    with pytest.raises(ValueError, match="crop_px out of range: got 6"):
        device(split, BATCH, 1, 0, crop_px=6)
