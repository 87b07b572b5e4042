"""Fluorescent nuclei drawn from known factors: the built-in data set, with a known law to rediscover.

Every image shows a field of 64 x 64 px around one nucleus, in the look of H2B-GFP: gray nucleus, dark background.

| factor | unit | interphase | metaphase |
|---|---|---|---|
| area_px | px of a 64 px wide field | 300 to 900 | 120 to 450 |
| eccentricity | 0 circle, 1 line | 0 to .85 | .65 to .97 |
| orientation_rad | long axis, from x towards y (down) | 0 to pi | 0 to pi |
| x_px, y_px | center, from the middle of the field | -2 to 2 | -2 to 2 |
| brightness | fraction of full scale | .25 to .70 | .50 to .95 |
| texture | contrast of the chromatin | .30 to 1 | 0 to .50 |
| neighbours | number of other nuclei near the border | 0 to 3 | 0 to 3 |
| defocus_px | standard deviation of the blur | .8 to 2 | .8 to 2 |
| noise | camera noise, fraction of full scale | .005 to .03 | .005 to .03 |

A cell is proposed in either state with probability 1/2 and its factors are drawn independently and uniformly from that
column. The columns overlap, so the proposal is forgotten and the label follows from the factors alone, by

    metaphase  <=>  eccentricity^2 + brightness - area_px / 500 > 0.3

All other factors are nuisances. What is not a factor (outline, places of chromatin and neighbors, noise of a pixel)
comes from a 32-bit seed of the example, by integer hashing.
"""

import difflib
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import Number, Pixels, Seed, checked
from cellfx.data.input.hashing import uniform
from cellfx.data.simulated import nucleus
from cellfx.data.simulated.drawn import check_sizes, draw_split, example_seeds
from cellfx.data.source import Source, Split

CLASS_NAMES = ("interphase", "metaphase")
FACTOR_NAMES = (
    "area_px",
    "eccentricity",
    "orientation_rad",
    "x_px",
    "y_px",
    "brightness",
    "texture",
    "neighbours",
    "defocus_px",
    "noise",
)
THRESHOLD = 0.3
FACTOR_LOW = np.array(
    [[300, 0.0, 0, -2, -2, 0.25, 0.3, 0, 0.8, 0.005], [120, 0.65, 0, -2, -2, 0.5, 0.0, 0, 0.8, 0.005]], np.float32
)
"""Smallest value of each factor by state, (2, F)."""
FACTOR_HIGH = np.array(
    [[900, 0.85, math.pi, 2, 2, 0.7, 1.0, 4, 2, 0.03], [450, 0.97, math.pi, 2, 2, 0.95, 0.5, 4, 2, 0.03]], np.float32
)
"""Largest value of each factor by state, (2, F); neighbors are rounded down, hence 4."""


_Held = tuple[tuple[int, float], ...]
"""Columns of the factors that are held at a constant, each with its value."""

_Proposed = tuple[int, ...]
"""States that cells are proposed in, each as likely as the others."""


@checked("data")
def synthetic(
    num_train: Number = 20_000,
    num_valid: Number = 2_000,
    num_test: Number = 2_000,
    image_size: Pixels = 64,
    seed: Seed = 0,
    fixed: Mapping[str, float] | None = None,
    states: Sequence[str] = CLASS_NAMES,
) -> Source:
    """Draws the data set; what an example depends on is said in ``cellfx.data.simulated.drawn``.

    Args:
        num_train: examples to train on.
        num_valid: examples to validate on.
        num_test: examples to test on.
        image_size: height and width in pixels; the field of view stays the same.
        seed: names the data set.
        fixed: factor -> value that it has in every example instead of a drawn one, e.g. ``{"neighbours": 0}``, within
            its widest range in the module's table. Nothing else about an example changes. The label follows the law
            from the factors as they are then, so that fixing a factor of the law moves the balance of the classes.
        states: columns of the module's table that cells are proposed from, each as likely as the others. With one of
            them all factors are independent of each other.

    Returns:
        Source with splits train, valid and test: image (N, H, W, 1) uint8, label (N,) int32, factors (N, F) float32,
        metadata ``Metadata_Index`` and ``Metadata_State``.

    Raises:
        ValueError: a size is negative or too large, the image has fewer than 8 pixels a side, ``fixed`` names no
            factor or a value out of its range, or ``states`` names no state.
    """
    sizes = {"train": num_train, "valid": num_valid, "test": num_test}
    check_sizes(sizes)
    held, proposed = _held(fixed or {}), _proposed(states)
    return Source(
        name="synthetic",
        shape=(image_size, image_size, 1),
        splits={name: _split(name, size, image_size, seed, held, proposed) for name, size in sizes.items()},
        class_names=CLASS_NAMES,
        factor_names=FACTOR_NAMES,
    )


def law(factors: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """The hidden law: factors (N, F) -> score (N,), metaphase where positive."""
    f = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    return f["eccentricity"] ** 2 + f["brightness"] - f["area_px"] / 500.0 - THRESHOLD


def sample_factors(
    indices: jax.Array, seed: int | jax.Array, proposed: tuple[int, ...] = (0, 1)
) -> tuple[jax.Array, jax.Array]:
    """Factors of the given examples.

    Args:
        indices: (N,) uint32.
        seed: of the data set.
        proposed: states that they are proposed in.

    Returns:
        factors (N, F) in the units of the module's table, and the seeds (N,) uint32 that ``render`` takes.
    """
    seeds = example_seeds(indices, seed)
    return jax.vmap(functools.partial(_draw_factors, proposed=proposed))(seeds), seeds


@functools.partial(jax.jit, static_argnames="image_size")
def render(factors: jax.Array, seeds: jax.Array, image_size: int = 64) -> jax.Array:
    """Draws nuclei.

    Args:
        factors: (N, F) in the units of the module's table; any real values, e.g. for a traversal.
        seeds: (N,) uint32, for all that is no factor; hold it fixed while a factor is varied.
        image_size: height and width in pixels.

    Returns:
        (N, H, W, 1) uint8.
    """
    columns = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    return jax.vmap(functools.partial(nucleus.draw, image_size=image_size))(columns, seeds)[..., None]


def _held(fixed: Mapping[str, float]) -> _Held:
    low, high = FACTOR_LOW.min(axis=0), np.where(np.array(FACTOR_NAMES) == "neighbours", 3, FACTOR_HIGH.max(axis=0))
    for name, value in fixed.items():
        if name not in FACTOR_NAMES:
            near = difflib.get_close_matches(str(name), FACTOR_NAMES, 1, cutoff=0.5) or [", ".join(FACTOR_NAMES)]
            raise ValueError(f"no such factor to fix: got {name!r}, expected {near[0]}; correct fixed")
        column = FACTOR_NAMES.index(name)
        # The table is in float32, where .85 or pi is not what a config says.
        is_number = isinstance(value, int | float)
        if not is_number or not low[column] <= np.float32(value) <= high[column]:
            raise ValueError(
                f"fixed factor out of range: got {name}={value!r}, expected {low[column]:g} to {high[column]:g}; "
                f"change fixed.{name}"
            )
    return tuple(sorted((FACTOR_NAMES.index(name), float(value)) for name, value in fixed.items()))


def _proposed(states: Sequence[str]) -> _Proposed:
    unknown = [name for name in states if name not in CLASS_NAMES]
    if unknown or not states:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"no such state: got {got}, expected some of {', '.join(CLASS_NAMES)}; correct states")
    return tuple(sorted({CLASS_NAMES.index(name) for name in states}))


def _split(name: str, size: int, image_size: int, seed: int, held: _Held, proposed: _Proposed) -> Split:
    block = functools.partial(_block, image_size=image_size, held=held, proposed=proposed)
    numbers, images, factors = draw_split(block, name, size, seed)
    labels = (law(factors) > 0).astype(np.int32)
    return Split(
        num_examples=size,
        arrays={"x": images, "label": labels, "factors": factors},
        metadata={"Metadata_Index": numbers, "Metadata_State": np.array(CLASS_NAMES)[labels]},
    )


@functools.partial(jax.jit, static_argnames=("image_size", "held", "proposed"))
def _block(
    indices: jax.Array, seed: jax.Array, image_size: int, held: _Held, proposed: _Proposed
) -> tuple[jax.Array, jax.Array]:
    factors, seeds = sample_factors(indices, seed, proposed)
    for column, value in held:
        factors = factors.at[:, column].set(value)
    return render(factors, seeds, image_size), factors


def _draw_factors(seed: jax.Array, proposed: _Proposed) -> jax.Array:
    chosen, *drawn = uniform(seed, 1 + len(FACTOR_NAMES), stream=1)
    state = jnp.array(proposed)[jnp.floor(chosen * len(proposed)).astype(jnp.int32)]
    low, high = jnp.array(FACTOR_LOW)[state], jnp.array(FACTOR_HIGH)[state]
    factors = low + (high - low) * jnp.stack(drawn)
    return jnp.where(np.array(FACTOR_NAMES) == "neighbours", jnp.floor(factors), factors)
