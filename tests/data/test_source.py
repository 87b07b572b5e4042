"""Batches for evaluation: every example once, in order, padded and masked."""

import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.data.source import Split, iterate, to_float


def _split(count):
    image = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    return Split(count, arrays={"image": image, "label": np.arange(1, count + 1, dtype=np.int32)})


@pytest.mark.parametrize(("count", "batch_size", "masks"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (0, 4, [])])
def test_iterate_pads_the_last_batch_and_masks_the_padding(count, batch_size, masks):
    batches = list(iterate(_split(count), batch_size))
    assert [batch["mask"].sum() for batch in batches] == masks
    for batch in batches:
        assert {name: (array.shape[0], array.dtype) for name, array in batch.items()} == {
            "image": (batch_size, np.uint8),
            "label": (batch_size, np.int32),
            "mask": (batch_size, np.float32),
        }
        padding = batch["mask"] == 0
        assert not batch["image"][padding].any()
        assert not batch["label"][padding].any()
        np.testing.assert_array_equal(np.diff(batch["mask"]) <= 0, True)
    real = [batch["label"][batch["mask"] == 1] for batch in batches]
    np.testing.assert_array_equal(np.concatenate([*real, []]), np.arange(1, count + 1))


def test_iterate_reads_streamed_examples_like_arrays():
    split = _split(5)

    class Stream:
        """As much of tf.data.Dataset as is used, without TensorFlow."""

        def take(self, count):
            self.count = count
            return self

        def batch(self, size):
            self.size = size
            return self

        def prefetch(self, count):
            return self

        def as_numpy_iterator(self):
            for start in range(0, self.count, self.size):
                stop = min(start + self.size, self.count)
                yield {name: array[start:stop] for name, array in split.arrays.items()}

    streamed = list(iterate(Split(5, examples=Stream), 2))
    for ours, expected in zip(streamed, iterate(split, 2), strict=True):
        assert ours.keys() == expected.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], expected[name])


@pytest.mark.parametrize("library", [np, jnp])
@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_to_float_maps_stored_pixels_onto_0_to_1(library, dtype, largest):
    values = to_float(library.asarray(np.array([0, 1, largest], dtype)))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(values), np.array([0, 1 / largest, 1], np.float32))


def test_to_float_lets_floats_pass():
    values = np.array([-1.5, 0.25, 3.0])
    np.testing.assert_array_equal(to_float(values), values)
    assert to_float(values).dtype == np.float32
