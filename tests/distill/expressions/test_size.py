from types import SimpleNamespace

import numpy as np
import pytest

from cellfx.distill.expressions.expression import num_nodes
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.size import batch_norm_size, dense_size, sparse_size

PUBLISHED_HEAD = (32, 32, 16, 16, 16, 2)


def test_the_published_dense_head():
    by_hand = 8 * 32 * 33 + 8 * 16 * 33 + 8 * 16 * 17 + 8 * 16 * 17 + 2 * (4 * 16 + 1)
    assert dense_size(PUBLISHED_HEAD) == by_hand == 17154


def test_batch_norm_adds_22_nodes_to_every_hidden_neuron():
    assert batch_norm_size(PUBLISHED_HEAD) - dense_size(PUBLISHED_HEAD) == 22 * (32 + 16 + 16 + 16)


def neuron(num_inputs):
    """b + x0 w0 + ... as text."""
    return "0.5" + "".join(f" + x{place}*{0.1 + place}" for place in range(num_inputs))


def mish(text):
    """x tanh(log(1 + e^x)); sin stands for tanh, which formulas do not have."""
    return f"({text})*sin(log(1 + exp({text})))"


@pytest.mark.parametrize("num_inputs", [1, 2, 5])
def test_sizes_of_single_neurons_equal_their_trees(num_inputs):
    names = [f"x{place}" for place in range(num_inputs)]
    linear = num_nodes(parse(neuron(num_inputs), names))
    hidden = num_nodes(parse(mish(neuron(num_inputs)), names))
    normalised = f"(({neuron(num_inputs)}) - 0.1)/sqrt(0.2 + 0.001)*0.3 + 0.4"
    # The variance and its stabiliser are two constants in the published tree too.
    with_norm = num_nodes(parse(mish(normalised), names))
    assert dense_size((num_inputs, 1)) == linear
    assert dense_size((num_inputs, 1, 1)) - dense_size((1, 1)) == hidden
    assert batch_norm_size((num_inputs, 1, 1)) - dense_size((1, 1)) == with_norm


def test_sparse_size_by_hand():
    first = np.array([[1.0, 0.0, 2.0], [0.5, 0.0, 0.0]])
    last = np.array([[1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    network = SimpleNamespace(inputs=(3, 17), layers=((first, np.ones(3)), (last, np.ones(2))))
    # Hidden neurons of 2, 0 and 1 inputs; outputs of 2 and 0.
    assert sparse_size(network) == (8 * 2 + 1) + (8 * 1 + 1) + (4 * 2 + 1)


def test_a_dense_network_is_seven_nodes_a_hidden_neuron_smaller_by_the_sparse_formula():
    widths = (5, 4, 3, 2)
    layers = tuple((np.ones(shape), np.zeros(shape[1])) for shape in ((5, 4), (4, 3), (3, 2)))
    assert sparse_size(SimpleNamespace(layers=layers)) == dense_size(widths) - 7 * (4 + 3)


def test_bad_widths():
    for widths in ((5,), (), (5, 0, 2)):
        for function in (dense_size, batch_norm_size):
            with pytest.raises(ValueError, match="no network has these layers: got widths"):
                function(widths)
