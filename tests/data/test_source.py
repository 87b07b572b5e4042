import numpy as np
import pytest

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.source import Split, iterate, to_float

ARRAYS = {"image": np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1), "label": np.arange(7, dtype=np.int32)}


@pytest.fixture(params=["arrays", "stream"])
def split(request):
    if request.param == "arrays":
        return Split(7, ARRAYS)
    tf = import_tensorflow()
    return Split(7, None, lambda: tf.data.Dataset.from_tensor_slices(dict(ARRAYS)))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_every_example_comes_once_in_order_and_padding_is_masked(split, batch_size):
    batches = list(iterate(split, batch_size))
    assert len(batches) == -(-7 // batch_size)
    mask = np.concatenate([batch["mask"] for batch in batches])
    np.testing.assert_array_equal(mask, np.arange(len(mask)) < 7)
    for name, array in ARRAYS.items():
        assert all(batch[name].shape == (batch_size, *array.shape[1:]) for batch in batches)
        found = np.concatenate([batch[name] for batch in batches])
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found[:7], array)
        np.testing.assert_array_equal(found[7:], 0)


def test_a_stream_is_read_in_one_pass():
    tf = import_tensorflow()
    made = []

    def examples():
        made.append(None)
        return tf.data.Dataset.from_tensor_slices(dict(ARRAYS))

    assert len(list(iterate(Split(7, None, examples), 2))) == 4
    assert len(made) == 1


def test_an_empty_split_gives_no_batch():
    assert list(iterate(Split(0, {name: array[:0] for name, array in ARRAYS.items()}), 4)) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_largest_stored_value_is_one(dtype):
    values = to_float(np.array([0, np.iinfo(dtype).max], dtype))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [0.0, 1.0])


def test_floats_pass():
    np.testing.assert_array_equal(to_float(np.array([0.25, 0.5])), np.array([0.25, 0.5], np.float32))
