"""A trained model together with its data, as whoever measures it sees them."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cellfx.data.source import Source, Split, iterate, to_float

Encode = Callable[[np.ndarray], tuple[Any, Any]]
Decode = Callable[[np.ndarray], Any]

BATCH_SIZE = 256
MAX_IMAGES = 20_000
"""Images of a split that are looked at; more would not change a figure, and codes of billions would not fit."""


class Subject(NamedTuple):
    """A trained model and the data it was trained for.

    Attributes:
        source: the data.
        encode: x (B, H, W, C) float32 -> (mean, logvar), each (B, L).
        decode: z (B, L) -> x.
        step: training steps that it has behind it.
    """

    source: Source
    encode: Encode
    decode: Decode
    step: int


def judged_split(source: Source) -> Split:
    """The test split, or where it is empty the next best; of large ones ``MAX_IMAGES`` evenly spread examples."""
    splits = (source.splits.get(name) for name in ("test", "valid", "train"))
    split = next(split for split in splits if split is not None and split.num_examples)
    if split.num_examples <= MAX_IMAGES:
        return split
    if split.arrays is None:
        return split._replace(num_examples=MAX_IMAGES)  # a stream is mixed, its first examples are as good as any
    rows = np.linspace(0, split.num_examples - 1, MAX_IMAGES).astype(np.int64)
    return Split(MAX_IMAGES, {name: array[rows] for name, array in split.arrays.items()})


def batches(split: Split, count: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """A split, or about its first ``count`` examples, in order, in padded batches with images in [0, 1]."""
    num_batches = None if count is None else -(-count // BATCH_SIZE)
    for batch in itertools.islice(iterate(split, BATCH_SIZE), num_batches):
        yield {**batch, "image": to_float(batch["image"])}
