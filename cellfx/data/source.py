"""The contract between data sets and everything that reads them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SPLITS = ("train", "valid", "test")


class Split(NamedTuple):
    """Some examples, as arrays in memory or as a stream.

    Attributes:
        num_examples: N.
        arrays: batch key -> (N, ...) array: x (N, H, W, C) uint8 or uint16, and where the data has them label
            (N,) int32, factors (N, F) float32, group (N,) int32. None where the data is only streamed.
        examples: () -> tf.data.Dataset of single examples with the same keys, always in the same order, which is
            also that of the metadata; mixed, because training shuffles only within a buffer. None where the arrays
            are all there is.
        metadata: column -> (N,) array of anything else known of an example, named ``Metadata_...``.
        checksums: (N,) uint32, of the files that the examples were read from; None where they were not.
    """

    num_examples: int
    arrays: Mapping[str, np.ndarray] | None = None
    examples: Callable[[], Any] | None = None
    metadata: Mapping[str, np.ndarray] = {}
    checksums: np.ndarray | None = None


class Source(NamedTuple):
    """A data set.

    Attributes:
        name: what it is called in reports.
        shape: of every example, (H, W, C) of images, (D,) of vectors.
        splits: split by name, of ``SPLITS``; no example, and where groups matter no group, is in two of them.
        class_names: K names; the label is an index into them.
        factor_names: F names; empty where the generating factors are unknown.
        channel_names: C names; empty where the channels have none.
        preprocessing: how stored intensities became these images, as plain values for JSON; None where nothing was
            fitted to the data. It is kept with a trained model.
        notices: lines about what a person should know before training: images left aside, cut off, or empty.
    """

    name: str
    shape: tuple[int, ...]
    splits: Mapping[str, Split]
    class_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = ()


def to_float(images: Any) -> Any:
    """Stored pixels to float32 in [0, 1]: uint8 and uint16 are divided by their largest value; floats pass.

    Works on NumPy and JAX arrays, inside or outside a compiled program.
    """
    if not np.issubdtype(images.dtype, np.integer):
        return images.astype(np.float32)
    return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)


def grouped(source: Source, classes: Mapping[str, Sequence[str]]) -> Source:
    """The examples of some classes, several of which may count as one.

    Which example is in which split stays as it is.

    Args:
        source: with labels, in memory.
        classes: new class -> classes of the source that it takes in, in the order of the new labels.

    Raises:
        ValueError: fewer than two new classes, an unknown class or one that is named twice, data that is only streamed,
            or a class without an example to train or to test on.
    """
    members = [member for names in classes.values() for member in names]
    unknown = [member for member in members if member not in source.class_names]
    if unknown:
        raise ValueError(
            f"unknown class in data.grouped: got {unknown[0]!r}, expected one of "
            f"{', '.join(source.class_names) or 'none, the data has no classes'}; correct the name"
        )
    check_groups(classes)
    label_of = np.full(len(source.class_names), -1, np.int32)
    for label, names in enumerate(classes.values()):
        label_of[[source.class_names.index(name) for name in names]] = label
    splits = {name: _relabeled(split, label_of) for name, split in source.splits.items()}
    for name in ("train", "test"):
        present = set(splits[name].arrays["label"].tolist()) if name in splits else set()
        missing = [new for label, new in enumerate(classes) if label not in present]
        if present and missing:
            raise ValueError(
                f"a class of data.grouped is missing: got no example of {', '.join(missing)} in the {name} split of "
                f"{source.name}, expected some of every class; take another fold or other classes"
            )
    return source._replace(splits=splits, class_names=tuple(classes))


def check_groups(classes: Mapping[str, Sequence[str]]) -> None:
    """Raises a ValueError for fewer than two new classes, or a class of the data that two take in; see ``grouped``."""
    members = [member for names in classes.values() for member in names]
    if len(classes) < 2 or len(set(members)) < len(members):
        raise ValueError(
            f"data.grouped tells no classes apart: got {', '.join(classes) or 'none'} of {', '.join(members)}, "
            f"expected two or more that share no class of the data; correct it"
        )


def count_classes(split: Split, num_classes: int) -> tuple[int, ...]:
    """Examples of every class, (K,); empty where the split has no labels in memory."""
    if split.arrays is None or "label" not in split.arrays:
        return ()
    return tuple(np.bincount(split.arrays["label"], minlength=num_classes).tolist())


def _relabeled(split: Split, label_of: np.ndarray) -> Split:
    """The examples whose new label, ``label_of`` their old one, is not negative."""
    if split.arrays is None:
        raise ValueError(
            f"streamed data cannot be grouped: got a split of {split.num_examples} examples that are not in memory, "
            f"expected arrays; raise data.in_memory_gib, or leave data.grouped out"
        )
    label = label_of[split.arrays["label"]]
    rows = np.flatnonzero(label >= 0)
    arrays = {**{name: array[rows] for name, array in split.arrays.items()}, "label": label[rows]}
    metadata = {name: values[rows] for name, values in split.metadata.items()}
    checksums = None if split.checksums is None else split.checksums[rows]
    return Split(len(rows), arrays, metadata=metadata, checksums=checksums)


def iterate(split: Split, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every example once, in order, in batches of exactly ``batch_size``; the last is padded and says so in ``mask``.

    Yields:
        Batches with the keys of the split plus ``mask`` (B,) float32; images as stored (see ``to_float``).
    """
    for rows in _stored_batches(split, batch_size):
        yield _pad(rows, batch_size)


def _stored_batches(split: Split, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    if split.arrays is None:
        yield from split.examples().take(split.num_examples).batch(batch_size).prefetch(1).as_numpy_iterator()
        return
    for start in range(0, split.num_examples, batch_size):
        yield {name: array[start : start + batch_size] for name, array in split.arrays.items()}


def _pad(rows: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    count = len(rows["x"])
    padded = {
        name: np.concatenate([array, np.zeros((batch_size - count, *array.shape[1:]), array.dtype)])
        for name, array in rows.items()
    }
    return {**padded, "mask": (np.arange(batch_size) < count).astype(np.float32)}
