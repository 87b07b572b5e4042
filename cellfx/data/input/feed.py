"""What a compiled training program reads its batches from: the contract of the two input pipelines.

``pipeline`` streams batches through tf.data; ``device`` keeps the data set on the accelerator. A training loop handles
both the same way: it passes ``resident`` to every dispatch, takes the next item of ``stacked`` for the K steps of it,
and calls ``read`` inside the compiled step.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from cellfx.types import Batch, Key, PyTree


class Feed(NamedTuple):
    """An endless, stateless sequence of training batches.

    The global batch of step s depends on the data, the seed and s alone, so a resumed run sees what an undisturbed
    one would have seen. Within one epoch every example is used at most once; the s-th step belongs to epoch
    ``s // steps_per_epoch``.

    Attributes:
        resident: arrays that stay on the device and are handed to every dispatch; ``{}`` for a streamed feed.
        stacked: start step -> endless iterator over dispatches; each item is what K consecutive steps need, NumPy
            leaves (K, B, ...) with B the part of the global batch that this host reads. ``{}`` items for a resident
            feed.
        read: traced in the step, ``(resident, one step's slice of an item, key, step) -> batch`` of THIS device:
            x (B, H, W, C) float32 in [0, 1], augmented; mask (B,) ones; label, factors, group where the data has
            them.
        steps_per_epoch: steps after which the next permutation of the data starts.
    """

    resident: PyTree
    stacked: Callable[[int], Iterator[PyTree]]
    read: Callable[[PyTree, PyTree, Key, jax.Array], Batch]
    steps_per_epoch: int
