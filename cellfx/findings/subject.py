"""A trained model together with its data, as whoever measures it sees them."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cellfx.data.source import Source, Split, iterate, to_float
from cellfx.files.whole import read_mapping, write_whole

Encode = Callable[[np.ndarray], tuple[Any, Any]]
Decode = Callable[[np.ndarray], Any]
Predict = Callable[[np.ndarray], Any]
Translate = Callable[[np.ndarray], Any]
Sample = Callable[[Any, int], tuple[Any, Any]]

PREPROCESSING = "preprocessing.json"
BATCH_SIZE = 256
MAX_IMAGES = 20_000
"""Images of a split that are looked at; more would not change a figure, and codes of billions would not fit."""


class Subject(NamedTuple):
    """A trained model and the data it was trained for; None means that the model lacks this ability.

    Attributes:
        source: the data.
        encode: x (B, H, W, C) float32 -> (mean, logvar), each (B, L).
        decode: z (B, L) -> x; a model has both of these or neither.
        step: training steps that it has behind it.
        predict: x -> logits (B, K).
        translate: x -> the channels that are predicted, (B, H, W, C') in [0, 1].
        sample: (key, count) -> x (count, H, W, C), z (count, L), from the prior.
        max_images: of the split that is judged; None for ``MAX_IMAGES``.
    """

    source: Source
    encode: Encode | None
    decode: Decode | None
    step: int
    predict: Predict | None = None
    translate: Translate | None = None
    sample: Sample | None = None
    max_images: int | None = None


def keep_preprocessing(workdir: Path, source: Source) -> None:
    """Writes how intensities were normalized, where they were, beside the config of a run."""
    if source.preprocessing is not None and not jax.process_index():
        write_whole(workdir / PREPROCESSING, json.dumps(source.preprocessing, indent=2).encode())


def kept_preprocessing(workdir: Path) -> dict[str, Any] | None:
    """What ``keep_preprocessing`` wrote; None where nothing was normalized."""
    return read_preprocessing(workdir) if (workdir / PREPROCESSING).is_file() else None


def read_preprocessing(workdir: Path) -> dict[str, Any]:
    """How the intensities of a run's images were normalized, as its source said when it was trained.

    Raises:
        FileNotFoundError: the workdir does not hold it.
        ValueError: it is damaged.
    """
    path = Path(workdir) / PREPROCESSING
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} holds no {PREPROCESSING}; expected what its images were normalized by; restore the file or "
            "train in a new workdir"
        )
    return read_mapping(path)


def judged_name(source: Source) -> str:
    """Name of the split that a model is judged on: test, or where that is empty the next best."""
    return next(
        name for name in ("test", "valid", "train") if name in source.splits and source.splits[name].num_examples
    )


def judged_by_validation(source: Source) -> Source:
    """The source without its test split, so that every score is one of validation images.

    Raises:
        ValueError: there is no validation image.
    """
    valid = source.splits.get("valid")
    if valid is None or not valid.num_examples:
        raise ValueError(
            f"nothing to judge on: got no validation image of {source.name}, expected some, as probe.split is valid; "
            "raise data.valid_rate or set aside other validation images"
        )
    return source._replace(splits={name: split for name, split in source.splits.items() if name != "test"})


def judged_split(source: Source, max_images: int | None = None) -> Split:
    """The split that a model is judged on; of a large one ``max_images`` (``MAX_IMAGES``) evenly spread examples."""
    split, count = source.splits[judged_name(source)], MAX_IMAGES if max_images is None else max_images
    if split.num_examples <= count:
        return split
    if split.arrays is None:  # a stream is mixed, its first examples are as good as any
        metadata = {column: values[:count] for column, values in split.metadata.items()}
        return split._replace(num_examples=count, metadata=metadata)
    return some(split, np.linspace(0, split.num_examples - 1, count).astype(np.int64))


def some(split: Split, rows: np.ndarray) -> Split:
    """Examples of a split in memory; rows (n,) int, or (N,) bool."""
    arrays = {key: array[rows] for key, array in split.arrays.items()}
    metadata = {column: values[rows] for column, values in split.metadata.items()}
    return Split(len(arrays["x"]), arrays, metadata=metadata)


def batches(split: Split, count: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """A split, or about its first ``count`` examples, in order, in padded batches with images in [0, 1]."""
    num_batches = None if count is None else -(-count // BATCH_SIZE)
    for batch in itertools.islice(iterate(split, BATCH_SIZE), num_batches):
        yield {**batch, "x": to_float(batch["x"])}


def over(function: Predict, split: Split) -> np.ndarray:
    """What a function of images x (B, H, W, C) gives, (B, ...), for every image of a split in order: (N, ...)."""
    return np.concatenate([np.asarray(function(batch["x"]))[batch["mask"] > 0] for batch in batches(split)])
