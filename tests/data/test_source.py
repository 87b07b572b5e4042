"""Batches for evaluation: every example once, in order, padded and masked."""

import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.data.source import Source, Split, count_classes, grouped, iterate, to_float


def _split(count):
    image = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    return Split(count, arrays={"x": image, "label": np.arange(1, count + 1, dtype=np.int32)})


@pytest.mark.parametrize(("count", "batch_size", "masks"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (0, 4, [])])
def test_iterate_pads_the_last_batch_and_masks_the_padding(count, batch_size, masks):
    batches = list(iterate(_split(count), batch_size))
    assert [batch["mask"].sum() for batch in batches] == masks
    for batch in batches:
        assert {name: (array.shape[0], array.dtype) for name, array in batch.items()} == {
            "x": (batch_size, np.uint8),
            "label": (batch_size, np.int32),
            "mask": (batch_size, np.float32),
        }
        padding = batch["mask"] == 0
        assert not batch["x"][padding].any()
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


NAMES = ("prophase", "metaphase", "alignment", "interphase")


def _labeled(label):
    label = np.array(label, np.int32)
    image = np.arange(len(label), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    arrays = {"x": image, "label": label, "group": np.arange(len(label), dtype=np.int32) // 2}
    return Split(len(label), arrays, metadata={"Metadata_File": np.array([f"file{i}" for i in range(len(label))])})


def _source(train=(0, 1, 2, 3, 3, 1), test=(3, 0, 2)):
    splits = {"train": _labeled(train), "valid": _labeled([3]), "test": _labeled(test)}
    return Source("cells", (2, 2, 1), splits, NAMES, ("size",))


def test_grouped_classes_count_as_one_and_the_others_are_left_out():
    found = grouped(_source(), {"resting": ["interphase"], "dividing": ["metaphase", "alignment"]})
    assert found.class_names == ("resting", "dividing")
    assert found.factor_names == ("size",)
    train, test = found.splits["train"], found.splits["test"]
    assert (train.num_examples, found.splits["valid"].num_examples, test.num_examples) == (5, 1, 2)
    np.testing.assert_array_equal(train.arrays["label"], [1, 1, 0, 0, 1])
    assert train.arrays["label"].dtype == np.int32
    np.testing.assert_array_equal(train.arrays["x"][:, 0, 0, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(train.arrays["group"], [0, 1, 1, 2, 2])
    assert train.metadata["Metadata_File"].tolist() == ["file1", "file2", "file3", "file4", "file5"]
    np.testing.assert_array_equal(test.arrays["label"], [0, 1])
    assert count_classes(train, 2) == (2, 3)


def test_the_data_that_was_grouped_stays_as_it_was():
    source = _source()
    grouped(source, {"a": ["interphase"], "b": ["metaphase", "alignment"]})
    np.testing.assert_array_equal(source.splits["train"].arrays["label"], [0, 1, 2, 3, 3, 1])


@pytest.mark.parametrize(
    ("source", "classes", "message"),
    [
        (
            _source(),
            {"a": ["meta"], "b": ["prophase"]},
            r"unknown class in data\.grouped: got 'meta', expected one of pro",
        ),
        (
            _source(),
            {"a": ["metaphase"]},
            r"data\.grouped tells no classes apart: got a of metaphase, expected two or more",
        ),
        (
            _source(),
            {"a": ["metaphase"], "b": ["metaphase", "prophase"]},
            r"data\.grouped tells no classes apart: got a, b of metaphase, metaphase, prophase, expected two",
        ),
        (
            _source(train=(0, 1, 2)),
            {"a": ["interphase"], "b": ["prophase"]},
            r"a class of data\.grouped is missing: got no example of a in the train split of cells, expected some of",
        ),
        (
            _source(test=(3, 3)),
            {"a": ["interphase"], "b": ["prophase"]},
            r"a class of data\.grouped is missing: got no example of b in the test split of cells, expected some of",
        ),
        (
            _source()._replace(splits={"train": Split(9, examples=print)}),
            {"a": ["interphase"], "b": ["prophase"]},
            r"streamed data cannot be grouped: got a split of 9 examples that are not in memory, expected arrays;",
        ),
        (
            _source()._replace(class_names=()),
            {"a": ["interphase"], "b": ["prophase"]},
            r"unknown class in data\.grouped: got 'interphase', expected one of none, the data has no classes; correct",
        ),
    ],
)
def test_classes_that_cannot_be_grouped_are_refused(source, classes, message):
    with pytest.raises(ValueError, match=message):
        grouped(source, classes)


def test_classes_of_a_stream_are_not_counted():
    assert count_classes(Split(9, examples=print), 2) == ()
    assert count_classes(_labeled([1, 1, 0]), 3) == (1, 2, 0)
