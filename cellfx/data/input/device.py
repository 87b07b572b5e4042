"""The input pipeline whose data set lives on the accelerator: sampled and augmented inside the compiled step."""

import itertools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import Count, Seed, checked
from cellfx.collectives import local_part
from cellfx.data.input import augment
from cellfx.data.input.feed import Feed
from cellfx.data.input.hashing import GOLDEN, mix
from cellfx.data.source import Split, to_float
from cellfx.types import Batch, Key, PyTree

_NUM_ROUNDS = 6


@checked("input")
def device(
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
    """A feed that keeps the whole split on every device.

    Which examples a step takes, and what is drawn to augment them, is computed for the global batch; under a mapped
    program each device then takes its own part. So one device and many see the same batches.

    Args:
        split: data with ``arrays``; images stay as stored (uint8, uint16) until a batch is read.
        batch_size: B of the global batch, over all devices.
        steps_per_call: K; not needed here, taken so that both pipelines are built alike.
        seed: of the permutations.
        axis_name: device axis that the step is mapped over, None outside a mapped program.
        flips: see ``cellfx.data.input.augment.draw``, also for the arguments below.
        rotations: turns by multiples of 90 degrees.
        crop_px: largest shift in pixels.
        brightness: largest change of brightness, in units of full scale.
        contrast: largest relative change of contrast.

    Returns:
        The feed. ``resident`` holds the split's arrays, for the caller to place on the devices.

    Raises:
        ValueError: the split is only streamed, the batch is larger than the split, or an augmentation does not fit
            the images.
    """
    del steps_per_call
    arrays = _arrays(split)
    if not 1 <= batch_size <= split.num_examples:
        raise ValueError(
            f"batch larger than the data: batch_size={batch_size} and {split.num_examples} examples to train on; "
            f"expected 1 to {split.num_examples}; lower batch_size or add examples"
        )
    augmentation = {
        "flips": flips,
        "rotations": rotations,
        "crop_px": crop_px,
        "brightness": brightness,
        "contrast": contrast,
    }
    augment.check(arrays["x"].shape[1:], **augmentation)
    steps_per_epoch = split.num_examples // batch_size

    def read(resident: PyTree, stacked: PyTree, key: Key, step: jax.Array) -> Batch:
        del stacked
        positions = (step % steps_per_epoch) * batch_size + jnp.arange(batch_size)
        rows = permute(positions, split.num_examples, np.uint32(seed % 2**32), step // steps_per_epoch)
        draws = augment.draw(key, batch_size, **augmentation)
        rows, draws = jax.tree.map(lambda x: local_part(x, axis_name), (rows, draws))
        batch = {name: array.at[rows].get(mode="promise_in_bounds") for name, array in resident.items()}
        images = to_float(augment.apply_geometric(batch["x"], draws))
        return {**batch, "x": augment.apply_photometric(images, draws), "mask": jnp.ones(rows.shape)}

    return Feed(resident=arrays, stacked=_nothing, read=read, steps_per_epoch=steps_per_epoch)


def permute(positions: jax.Array, size: int, seed: int | jax.Array, epoch: int | jax.Array) -> jax.Array:
    """Pseudo-random permutation of 0..size - 1, evaluated at some positions without making the whole.

    A Feistel network on Z_a x Z_b with a b >= size, and cycle walking for the few numbers that fall outside.
    Source: J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002,
    doi:10.1007/3-540-45760-7_9, methods 2 (cycle walking) and 3 (generalized Feistel). Differs from the paper: the
    round function is an integer hash, good for shuffling and of no use as a cipher.

    Args:
        positions: (B,) integers in 0..size - 1.
        size: N, below 2^31.
        seed: names the sequence of permutations.
        epoch: which permutation of the sequence.

    Returns:
        (B,) int32 in 0..size - 1; different positions give different values.
    """
    # a b exceeds N by less than a, so a walk outside 0..N - 1 is rare and short.
    rows = max(1, math.isqrt(size - 1) + 1)
    columns = -(-size // rows)
    keys = _round_keys(seed, epoch)

    def shuffle(x: jax.Array) -> jax.Array:
        left, right = x // columns, x % columns
        for i in range(0, _NUM_ROUNDS, 2):
            right = (right + mix(left ^ keys[i]) % columns) % columns
            left = (left + mix(right ^ keys[i + 1]) % rows) % rows
        return left * columns + right

    def is_outside(x: jax.Array) -> jax.Array:
        return jnp.any(x >= size)

    def walk(x: jax.Array) -> jax.Array:
        return jnp.where(x >= size, shuffle(x), x)

    return jax.lax.while_loop(is_outside, walk, shuffle(positions.astype(jnp.uint32))).astype(jnp.int32)


def _arrays(split: Split) -> dict[str, np.ndarray]:
    if split.arrays is None:
        raise ValueError(
            f"device pipeline needs the data in memory: got a split of {split.num_examples} examples that is only "
            "streamed; expected arrays; use input.pipeline=pipeline"
        )
    return dict(split.arrays)


def _nothing(start_step: int) -> Iterator[PyTree]:
    del start_step
    return itertools.repeat({})


def _round_keys(seed: int | jax.Array, epoch: int | jax.Array) -> jax.Array:
    """(rounds,) uint32 that differ by seed and by epoch."""
    seed, epoch = (jnp.asarray(x).astype(jnp.uint32) for x in (seed, epoch))
    counters = jnp.arange(_NUM_ROUNDS, dtype=jnp.uint32) * GOLDEN
    return mix(mix(mix(seed) + epoch) + counters)
