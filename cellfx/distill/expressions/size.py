"""How large the formula of a whole network would be, so that networks and formulas stand in one table.

Counted as the published expression size: operators, constants and inputs. A neuron of M inputs is a sum of 4M + 1
nodes; Mish, x tanh(log(1 + e^x)), names it twice and adds six. Soelistyo & Lowe 2024, supplement, section 5.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def dense_size(widths: Sequence[int]) -> int:
    """Eq. 5: 8 (M + 1) nodes for a hidden neuron and 4M + 1 for an output.

    Args:
        widths: neurons of every layer from the inputs to the logits, for instance (32, 32, 16, 16, 16, 2).
    """
    _check(widths)
    hidden = sum(8 * after * (before + 1) for before, after in pairwise(widths[:-1]))
    return hidden + widths[-1] * (4 * widths[-2] + 1)


def batch_norm_size(widths: Sequence[int]) -> int:
    """Eq. 7: batch normalization (eq. 6, 12 nodes) before Mish makes it 8M + 30 nodes for a hidden neuron.

    Args:
        widths: as ``dense_size``; of a CNN its head alone, whose inputs are the features of the last convolution.
    """
    _check(widths)
    hidden = sum(after * (8 * before + 30) for before, after in pairwise(widths[:-1]))
    return hidden + widths[-1] * (4 * widths[-2] + 1)


def sparse_size(compact: Any) -> int:
    """Eq. 8: 8M + 1 nodes for a hidden neuron with M > 0 inputs and 4M + 1 for such an output.

    As published. It counts a hidden neuron 7 nodes smaller than eq. 5 does, whose 8 (M + 1) is what the tree of its
    figure 3 has; a dense network given to both therefore comes out smaller here.

    Args:
        compact: a network with ``layers`` of (kernel (in, out), bias (out,)), a missing weight being zero; see
            ``cellfx.sparsity.compact``.
    """
    total = 0
    for place, (kernel, _) in enumerate(compact.layers):
        sources = np.count_nonzero(np.asarray(kernel), axis=0)
        by_source = 4 if place == len(compact.layers) - 1 else 8
        total += sum(by_source * int(count) + 1 for count in sources if count)
    return total


def _check(widths: Sequence[int]) -> None:
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(
            f"no network has these layers: got widths {tuple(widths)}, expected two or more positive numbers; give "
            "inputs, hidden layers and logits"
        )
