"""The input pipeline on tf.data: batches are made on the host, by few threads, ahead of the training program.

A batch depends on the data, the seed and its step alone; so the pipeline starts at any step with the batches that an
undisturbed run would have got. Data in memory starts there at once; streamed data is skipped over up to there, from
the beginning of the epoch.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import Count, Seed, checked
from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.input import augment, augment_tf
from cellfx.data.input.feed import Feed
from cellfx.data.source import Split, to_float
from cellfx.types import Batch, Key, PyTree

_SHUFFLE_BYTES = 2**30
_FOREVER = np.iinfo(np.int64).max


@checked("input")
def pipeline(
    split: Split,
    batch_size: int,
    steps_per_call: Count,
    seed: Seed,
    axis_name: str | None = None,
    flips: bool = False,
    rotations: bool = False,
    crop_px: int = 0,
    brightness: float = 0.0,
    contrast: float = 0.0,
) -> Feed:
    """Streams batches through tf.data.

    Images travel to the device as they are stored, a quarter of the bytes of float32, unless brightness or contrast
    change them. Data in memory is permuted anew in every epoch, as a whole; every host computes the permutation and
    gathers its part of each global batch. Streamed data is divided among the hosts and shuffled within a buffer of 1
    GiB; it is not cached, because prepared records hold decoded pixels and the operating system keeps what it can.

    Args:
        split: the training data.
        batch_size: B of the global batch.
        steps_per_call: K, the steps of one dispatch.
        seed: of order and augmentation.
        axis_name: not used, since batches come divided; the same signature as ``device``.
        flips: see ``cellfx.data.input.augment.draw``.
        rotations: see ``cellfx.data.input.augment.draw``.
        crop_px: see ``cellfx.data.input.augment.draw``.
        brightness: see ``cellfx.data.input.augment.draw``.
        contrast: see ``cellfx.data.input.augment.draw``.

    Returns:
        A feed without resident arrays.

    Raises:
        ValueError: a batch larger than the data, a batch that the hosts do not divide, or augmentations that do not
            suit the images.
        ModuleNotFoundError: TensorFlow is not installed.
    """
    del axis_name
    hosts = jax.process_count()
    _check_batch_size(batch_size, split.num_examples, hosts)
    settings = {
        "flips": flips,
        "rotations": rotations,
        "crop_px": crop_px,
        "brightness": brightness,
        "contrast": contrast,
    }
    tf = import_tensorflow()
    steps = _steps_of_arrays if split.arrays is not None else _steps_of_stream
    batches = steps(split, batch_size, seed, settings)

    def stacked(start: int) -> Iterator[PyTree]:
        dataset = batches(start).batch(steps_per_call, drop_remainder=True).prefetch(1)
        return dataset.with_options(_options(tf)).as_numpy_iterator()

    return Feed({}, stacked, _read, split.num_examples // batch_size)


def _check_batch_size(batch_size: int, num_examples: int, hosts: int) -> None:
    if not 0 < batch_size <= num_examples:
        raise ValueError(
            f"batch size out of range: got {batch_size}; expected 1 to {num_examples}, the number of training "
            "examples; make the batch smaller"
        )
    if batch_size % hosts:
        raise ValueError(
            f"the hosts do not divide the batch: got {batch_size} examples for {hosts} hosts; expected a multiple of "
            f"{hosts}; change the batch size"
        )


def _read(resident: PyTree, stacked: PyTree, key: Key, step: jax.Array) -> Batch:
    del resident, key, step
    return {**stacked, "x": to_float(stacked["x"]), "mask": jnp.ones(stacked["x"].shape[0], jnp.float32)}


def _num_threads() -> int:
    """A quarter of the cores: training needs them more, and one thread makes over 100,000 small images a second."""
    return max(1, (os.cpu_count() or 1) // 4)


def _options(tf: Any) -> Any:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = _num_threads()
    options.threading.max_intra_op_parallelism = 1
    return options


def _steps_of_arrays(split: Split, batch_size: int, seed: int, settings: dict[str, Any]) -> Callable[[int], Any]:
    """Start step -> dataset of batches: positions in the epoch, permuted, gathered and augmented."""
    tf = import_tensorflow()
    change = _augmentation(split.arrays["x"].shape[1:], batch_size, seed, settings)
    tensors = {name: tf.constant(array) for name, array in split.arrays.items()}
    steps_per_epoch = split.num_examples // batch_size
    part = batch_size // jax.process_count()
    positions = np.arange(part, dtype=np.int64) + jax.process_index() * part

    @tf.autograph.experimental.do_not_convert
    def batch(step: Any) -> dict[str, Any]:
        epoch, within = step // steps_per_epoch, step % steps_per_epoch
        rows = tf.random.experimental.index_shuffle(
            positions + within * batch_size,
            tf.stack([tf.constant(seed, tf.int64), epoch]),
            np.int64(split.num_examples - 1),
        )
        rows = {name: tf.gather(tensor, rows) for name, tensor in tensors.items()}
        return {**rows, "x": change(rows["x"], step)}

    def batches(start: int) -> Any:
        return tf.data.Dataset.range(start, _FOREVER).map(batch, num_parallel_calls=_num_threads(), deterministic=True)

    return batches


def _steps_of_stream(split: Split, batch_size: int, seed: int, settings: dict[str, Any]) -> Callable[[int], Any]:
    """Start step -> dataset of batches: this host's examples, shuffled anew in every epoch, batched and augmented."""
    tf = import_tensorflow()
    hosts = jax.process_count()
    examples = split.examples().shard(hosts, jax.process_index())
    shape = examples.element_spec["x"].shape
    change = _augmentation(tuple(shape), batch_size, seed, settings)
    steps_per_epoch = split.num_examples // batch_size
    image_bytes = int(np.prod(shape)) * examples.element_spec["x"].dtype.size
    buffer = max(2, min(split.num_examples // hosts, _SHUFFLE_BYTES // image_bytes))

    def batches(start: int) -> Any:
        first, skipped = divmod(start, steps_per_epoch)

        @tf.autograph.experimental.do_not_convert
        def epoch(number: Any) -> Any:
            shuffled = examples.shuffle(buffer, seed=number + seed % 2**31 * 2**32, reshuffle_each_iteration=False)
            whole = shuffled.batch(batch_size // hosts, drop_remainder=True).take(steps_per_epoch)
            return whole.skip(tf.where(number == first, np.int64(skipped), np.int64(0)))

        @tf.autograph.experimental.do_not_convert
        def augmented(step: Any, batch: dict[str, Any]) -> dict[str, Any]:
            return {**batch, "x": change(batch["x"], step)}

        endless = tf.data.Dataset.range(first, _FOREVER).flat_map(epoch)
        return endless.enumerate(start).map(augmented, num_parallel_calls=_num_threads(), deterministic=True)

    return batches


def _augmentation(
    image_shape: tuple[int, ...], batch_size: int, seed: int, settings: dict[str, Any]
) -> Callable[[Any, Any], Any]:
    """(this host's images (B, H, W, C) as stored, step) -> augmented; drawn for the global batch."""
    tf = import_tensorflow()
    augment.check(image_shape, **settings)
    photometric = bool(settings["brightness"] or settings["contrast"])
    part = batch_size // jax.process_count()
    rows = slice(jax.process_index() * part, (jax.process_index() + 1) * part)

    def change(images: Any, step: Any) -> Any:
        images = tf.ensure_shape(images, (part, *image_shape))
        drawn = augment_tf.draw(tf.stack([tf.constant(seed, tf.int64), step]), batch_size, **settings)
        draws = augment.Draws(*(None if values is None else values[rows] for values in drawn))
        images = augment_tf.apply_geometric(images, draws, settings["crop_px"])
        return augment_tf.apply_photometric(augment_tf.to_float(images), draws) if photometric else images

    return change
