"""Frames as an imaging cytometer sends them, drawn from known factors: only some show one whole cell in focus.

Every frame shows a field of 64 x 64 px, in the look of ``cellfx.data.synthetic``:

| kind | what there is | area_px of each | brightness | defocus_px |
|---|---|---|---|---|
| single | one nucleus | 180 to 900 | .25 to .85 | .8 to 2.2 |
| clump | 2 or 3 nuclei that touch or overlap | 100 to 420 | .20 to .70 | .8 to 2.2 |
| debris | 1 to 4 ragged fragments | 12 to 260 | .15 to .75 | .8 to 2.2 |
| out_of_focus | one nucleus | 180 to 900 | .15 to .50 | 4 to 9 |
| empty | nothing | | | |

The kind is drawn first, then its factors, independently and uniformly. Light of several nuclei adds up. Sizes overlap
on purpose: two small nuclei that overlap are no longer than one large or long nucleus, and the largest fragment covers
more than the smallest nucleus, so that a gate on size cannot tell singles from the rest. What lies in a frame is
centered on it but for up to 4 px; noise is that of ``synthetic``.
"""

import difflib
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import Number, Pixels, Seed, checked
from cellfx.data.input.hashing import GOLDEN, mix, uniform
from cellfx.data.simulated import nucleus
from cellfx.data.simulated.drawn import check_sizes, draw_split, example_seeds
from cellfx.data.source import Source, Split

CLASS_NAMES = ("single", "clump", "debris", "out_of_focus", "empty")
KIND_RATES = {"single": 0.5, "clump": 0.18, "debris": 0.14, "out_of_focus": 0.12, "empty": 0.06}
MAX_OBJECTS = 4
OBJECT_FACTORS = ("area_px", "eccentricity", "brightness", "texture")

LOW = np.array(
    [[180, 0.0, 0.25, 0.2], [100, 0.0, 0.2, 0.2], [12, 0.3, 0.15, 0.0], [180, 0.0, 0.15, 0.2], [1, 0.0, 0.0, 0.0]],
    np.float32,
)
"""Smallest value of each factor of an object by kind, (5, 4)."""
HIGH = np.array(
    [[900, 0.88, 0.85, 1.0], [420, 0.75, 0.7, 1.0], [260, 0.9, 0.75, 1.0], [900, 0.88, 0.5, 1.0], [1, 0.0, 0.0, 0.0]],
    np.float32,
)
"""Largest value of each factor of an object by kind, (5, 4)."""

_FEWEST, _MOST = np.array([[1, 2, 1, 1, 0], [1, 3, 4, 1, 0]], np.float32)
_DEFOCUS_LOW, _DEFOCUS_HIGH = np.array([[0.8, 0.8, 0.8, 4.0, 0.8], [2.2, 2.2, 2.2, 9.0, 2.2]], np.float32)
_BEND = np.array([nucleus.BEND, nucleus.BEND, 1.8, nucleus.BEND, nucleus.BEND], np.float32)
_NOISE, _OFFSET_PX = (0.005, 0.03), 4.0
# Centers of a clump's nuclei, in units of the sum of the radii of two discs of their areas: 1 touches.
_TOGETHER = (0.6, 1.05)
_FRAGMENTS_PX = (5.0, 20.0)


@checked("data")
def frames(
    num_train: Number = 10_000,
    num_valid: Number = 1_000,
    num_test: Number = 2_000,
    image_size: Pixels = 32,
    seed: Seed = 0,
    kind_rates: Mapping[str, float] | None = None,
) -> Source:
    """Draws the data set; what an example depends on is said in ``cellfx.data.simulated.drawn``.

    Args:
        num_train: frames to train on.
        num_valid: frames to validate on.
        num_test: frames to test on.
        image_size: height and width in pixels; the field of view stays the same.
        seed: names the data set.
        kind_rates: kind -> share of the frames, which are divided by their sum; kinds that are not named have none. By
            default ``KIND_RATES``, half of them singles.

    Returns:
        Source with splits train, valid and test: image (N, H, W, 1) uint8, label (N,) int32, an index into
        ``CLASS_NAMES``, metadata ``Metadata_Index`` and ``Metadata_Kind``.

    Raises:
        ValueError: a size is negative or too large, the image has fewer than 8 pixels a side, or ``kind_rates`` names
            no kind, a negative share, or none above 0.
    """
    sizes = {"train": num_train, "valid": num_valid, "test": num_test}
    check_sizes(sizes)
    shares = kind_shares(KIND_RATES if kind_rates is None else kind_rates)
    return Source(
        name="frames",
        shape=(image_size, image_size, 1),
        splits={name: _split(name, size, image_size, seed, shares) for name, size in sizes.items()},
        class_names=CLASS_NAMES,
    )


def kind_shares(kind_rates: Mapping[str, float]) -> np.ndarray:
    """Shares (5,) float32 of the kinds, in the order of ``CLASS_NAMES``, their sum 1; errors as ``frames``."""
    for kind, rate in kind_rates.items():
        if kind not in CLASS_NAMES:
            near = difflib.get_close_matches(str(kind), CLASS_NAMES, 1, cutoff=0.5) or [", ".join(CLASS_NAMES)]
            raise ValueError(f"no such kind of frame: got {kind!r}, expected {near[0]}; correct kind_rates")
        if not isinstance(rate, int | float) or not 0 <= rate < math.inf:
            raise ValueError(
                f"no such share of frames: got {kind}={rate!r}, expected 0 or more; change kind_rates.{kind}"
            )
    total = sum(kind_rates.values())
    if total <= 0:
        raise ValueError(f"kind_rates leave no frame: got {dict(kind_rates)}, expected one above 0; raise one")
    return np.array([kind_rates.get(kind, 0.0) / total for kind in CLASS_NAMES], np.float32)


def sample_scenes(
    indices: jax.Array, seed: int | jax.Array, shares: jax.Array
) -> tuple[dict[str, jax.Array], jax.Array]:
    """What is in the given frames.

    Args:
        indices: (N,) uint32.
        seed: of the data set.
        shares: (5,) of the kinds, see ``kind_shares``.

    Returns:
        kind (N,) int32; defocus_px, noise, bend and num_objects (N,); and for every object, (N, ``MAX_OBJECTS``) each,
        those of ``OBJECT_FACTORS``, orientation_rad, x_px and y_px, of which only the first ``num_objects`` are there.
        Besides the seeds (N,) uint32 that ``render`` takes.
    """
    seeds = example_seeds(indices, seed)
    return jax.vmap(functools.partial(_draw_scene, shares=shares))(seeds), seeds


@functools.partial(jax.jit, static_argnames="image_size")
def render(scenes: Mapping[str, jax.Array], seeds: jax.Array, image_size: int = 32) -> jax.Array:
    """Draws frames.

    Args:
        scenes: see ``sample_scenes``.
        seeds: (N,) uint32, for all that is not in the scene.
        image_size: height and width in pixels.

    Returns:
        (N, H, W, 1) uint8.
    """
    return jax.vmap(functools.partial(_draw_frame, image_size=image_size))(dict(scenes), seeds)[..., None]


def _split(name: str, size: int, image_size: int, seed: int, shares: np.ndarray) -> Split:
    block = functools.partial(_block, image_size=image_size, shares=shares)
    numbers, images, kinds = draw_split(block, name, size, seed)
    return Split(
        num_examples=size,
        arrays={"x": images, "label": kinds},
        metadata={"Metadata_Index": numbers, "Metadata_Kind": np.array(CLASS_NAMES)[kinds]},
    )


@functools.partial(jax.jit, static_argnames="image_size")
def _block(indices: jax.Array, seed: jax.Array, image_size: int, shares: jax.Array) -> tuple[jax.Array, jax.Array]:
    scenes, seeds = sample_scenes(indices, seed, shares)
    return render(scenes, seeds, image_size), scenes["kind"]


def _draw_scene(seed: jax.Array, shares: jax.Array) -> dict[str, jax.Array]:
    drawn = uniform(seed, 6, stream=1)
    ends = jnp.cumsum(shares)[:-1]
    # The last kind that has a share takes what rounding leaves.
    kind = jnp.sum((drawn[0] >= ends) & (ends < 1.0 - 1e-6), dtype=jnp.int32)
    fewest, most, defocus_low, defocus_high, bend = (
        jnp.asarray(table)[kind] for table in (_FEWEST, _MOST, _DEFOCUS_LOW, _DEFOCUS_HIGH, _BEND)
    )
    scene = {
        "kind": kind,
        "num_objects": jnp.floor(fewest + (most - fewest + 1.0) * drawn[1]),
        "defocus_px": defocus_low + (defocus_high - defocus_low) * drawn[2],
        "noise": _NOISE[0] + (_NOISE[1] - _NOISE[0]) * drawn[3],
        "bend": bend,
    }
    low, high = (jnp.asarray(table)[kind][:, None] for table in (LOW, HIGH))
    values = low + (high - low) * uniform(seed, len(OBJECT_FACTORS) * MAX_OBJECTS, stream=5).reshape(-1, MAX_OBJECTS)
    scene |= dict(zip(OBJECT_FACTORS, values, strict=True))
    scene["orientation_rad"] = math.pi * uniform(seed, MAX_OBJECTS, stream=6)
    x_px, y_px = _places(scene, uniform(seed, 2 * MAX_OBJECTS, stream=7))
    shift_px = _OFFSET_PX * (2.0 * drawn[4:6] - 1.0)
    return {**scene, "x_px": x_px + shift_px[0], "y_px": y_px + shift_px[1]}


def _places(scene: Mapping[str, jax.Array], drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Centers (``MAX_OBJECTS``,) of all objects about the middle of those that are there."""
    turn, near = drawn[:MAX_OBJECTS], drawn[MAX_OBJECTS:]
    radius_px = jnp.sqrt(scene["area_px"] / math.pi)
    together_px = (_TOGETHER[0] + (_TOGETHER[1] - _TOGETHER[0]) * near) * (radius_px[0] + radius_px)
    apart_px = _FRAGMENTS_PX[0] + (_FRAGMENTS_PX[1] - _FRAGMENTS_PX[0]) * near
    order = np.arange(MAX_OBJECTS, dtype=np.float32)
    is_other = np.minimum(order, 1.0)
    distance_px = jnp.where(scene["kind"] == CLASS_NAMES.index("clump"), together_px, apart_px) * is_other
    # Around the first, each within a third of the circle of its own, at least a twelfth from the next.
    angle = 2 * math.pi * (turn[0] + (order + 0.75 * turn * is_other) / 3.0)
    is_there = order < scene["num_objects"]
    x_px, y_px = distance_px * jnp.cos(angle), distance_px * jnp.sin(angle)
    return tuple(at - jnp.sum(at, where=is_there) / jnp.maximum(scene["num_objects"], 1.0) for at in (x_px, y_px))


def _draw_frame(scene: Mapping[str, jax.Array], seed: jax.Array, image_size: int) -> jax.Array:
    axis_px = nucleus.field_axis(image_size)
    order = np.arange(MAX_OBJECTS, dtype=np.uint32)

    def shine(f: Mapping[str, jax.Array], own_seed: jax.Array) -> jax.Array:
        return nucleus.shine({**f, "defocus_px": scene["defocus_px"]}, own_seed, axis_px, scene["bend"])

    objects = {name: scene[name] for name in (*OBJECT_FACTORS, "orientation_rad", "x_px", "y_px")}
    lights = jax.vmap(shine)(objects, mix(seed + GOLDEN * (order + np.uint32(1))))
    is_there = order.astype(np.float32) < scene["num_objects"]
    light = jnp.sum(lights, axis=0, where=is_there[:, None, None])
    return nucleus.expose(light, scene["noise"], seed)
