"""Fluorescent nuclei drawn from known factors: the built-in data set, with a known law to rediscover.

Every image shows a field of 64 x 64 px around one nucleus, in the look of H2B-GFP: grey nucleus, dark background.

| factor | unit | interphase | metaphase |
|---|---|---|---|
| area_px | px of a 64 px wide field | 300 to 900 | 120 to 450 |
| eccentricity | 0 circle, 1 line | 0 to .85 | .65 to .97 |
| orientation_rad | long axis, from x towards y (down) | 0 to pi | 0 to pi |
| x_px, y_px | centre, from the middle of the field | -2 to 2 | -2 to 2 |
| brightness | fraction of full scale | .25 to .70 | .50 to .95 |
| texture | contrast of the chromatin | .30 to 1 | 0 to .50 |
| neighbours | number of other nuclei near the border | 0 to 3 | 0 to 3 |
| defocus_px | standard deviation of the blur | .8 to 2 | .8 to 2 |
| noise | camera noise, fraction of full scale | .005 to .03 | .005 to .03 |

A cell is proposed in either state with probability 1/2 and its factors are drawn independently and uniformly from that
column. The columns overlap, so the proposal is forgotten and the label follows from the factors alone, by

    metaphase  <=>  eccentricity^2 + brightness - area_px / 500 > 0.3

All other factors are nuisances. What is not a factor (outline, places of chromatin and neighbours, noise of a pixel)
comes from a 32-bit seed of the example, by integer hashing.
"""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.data.hashing import GOLDEN, mix
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
FIELD_PX = 64.0
THRESHOLD = 0.3
FACTOR_LOW = np.array(
    [[300, 0.0, 0, -2, -2, 0.25, 0.3, 0, 0.8, 0.005], [120, 0.65, 0, -2, -2, 0.5, 0.0, 0, 0.8, 0.005]], np.float32
)
"""Smallest value of each factor by state, (2, F)."""
FACTOR_HIGH = np.array(
    [[900, 0.85, math.pi, 2, 2, 0.7, 1.0, 4, 2, 0.03], [450, 0.97, math.pi, 2, 2, 0.95, 0.5, 4, 2, 0.03]], np.float32
)
"""Largest value of each factor by state, (2, F); neighbours are rounded down, hence 4."""

_FIRST_INDEX = {"train": 0, "valid": 1 << 29, "test": 1 << 30}
_BLOCK = 256
_NUM_WAVES, _NUM_NEIGHBOURS = 10, 3
_BACKGROUND = 0.015


def synthetic(
    num_train: int = 20_000,
    num_valid: int = 2_000,
    num_test: int = 2_000,
    image_size: int = 64,
    seed: int = 0,
) -> Source:
    """Draws the data set.

    Example i of a split depends on (seed, split, i) alone, so a larger data set begins with the smaller one. Drawing
    happens on the CPU wherever there is a CPU backend, so that every machine with an accelerator gets the same images;
    CPUs of different makers may round single pixels differently by one grey level.

    Args:
        num_train: examples to train on.
        num_valid: examples to validate on.
        num_test: examples to test on.
        image_size: height and width in pixels; the field of view stays the same.
        seed: names the data set.

    Returns:
        Source with splits train, valid and test: image (N, H, W, 1) uint8, label (N,) int32, factors (N, F) float32,
        metadata ``Metadata_Index`` and ``Metadata_State``.

    Raises:
        ValueError: a size is negative or too large, or the image has fewer than 8 pixels a side.
    """
    sizes = {"train": num_train, "valid": num_valid, "test": num_test}
    for name, size in sizes.items():
        if not 0 <= size <= _FIRST_INDEX["valid"]:
            raise ValueError(
                f"number of examples out of range: num_{name}={size}; expected 0 to {_FIRST_INDEX['valid']}; "
                f"change num_{name}"
            )
    if image_size < 8:
        raise ValueError(
            f"image too small to show a nucleus: image_size={image_size}; expected 8 or more; raise image_size"
        )
    return Source(
        name="synthetic",
        image_shape=(image_size, image_size, 1),
        splits={name: _split(_FIRST_INDEX[name], size, image_size, seed) for name, size in sizes.items()},
        class_names=CLASS_NAMES,
        factor_names=FACTOR_NAMES,
    )


def law(factors: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """The hidden law: factors (N, F) -> score (N,), metaphase where positive."""
    f = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    return f["eccentricity"] ** 2 + f["brightness"] - f["area_px"] / 500.0 - THRESHOLD


def sample_factors(indices: jax.Array, seed: int | jax.Array) -> tuple[jax.Array, jax.Array]:
    """Factors of the given examples.

    Args:
        indices: (N,) uint32.
        seed: of the data set.

    Returns:
        factors (N, F) in the units of the module's table, and the seeds (N,) uint32 that ``render`` takes.
    """
    first = mix(jnp.asarray(seed).astype(jnp.uint32))
    # Bijective in the index: no two examples of a data set share a seed.
    seeds = mix(mix(indices ^ first) + mix(first + GOLDEN))
    return jax.vmap(_draw_factors)(seeds), seeds


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
    return jax.vmap(functools.partial(_draw, image_size=image_size))(factors, seeds)[..., None]


def _split(first: int, size: int, image_size: int, seed: int) -> Split:
    images = np.zeros((size, image_size, image_size, 1), np.uint8)
    factors = np.zeros((size, len(FACTOR_NAMES)), np.float32)
    with _on_cpu():
        for start in range(0, size, _BLOCK):
            rows = slice(start, min(start + _BLOCK, size))
            indices = (np.arange(_BLOCK) + first + start).astype(np.uint32)
            block_images, block_factors = _block(indices, np.uint32(seed % 2**32), image_size)
            images[rows], factors[rows] = (np.asarray(x)[: rows.stop - start] for x in (block_images, block_factors))
    labels = (law(factors) > 0).astype(np.int32)
    return Split(
        num_examples=size,
        arrays={"image": images, "label": labels, "factors": factors},
        metadata={
            "Metadata_Index": np.arange(first, first + size),
            "Metadata_State": np.array(CLASS_NAMES)[labels],
        },
    )


def _on_cpu() -> contextlib.AbstractContextManager[None]:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # a JAX that was told to start no CPU backend
        return contextlib.nullcontext()


@functools.partial(jax.jit, static_argnames="image_size")
def _block(indices: jax.Array, seed: jax.Array, image_size: int) -> tuple[jax.Array, jax.Array]:
    factors, seeds = sample_factors(indices, seed)
    return render(factors, seeds, image_size), factors


def _draw_factors(seed: jax.Array) -> jax.Array:
    state, *uniform = _uniform(seed, 1 + len(FACTOR_NAMES), stream=1)
    low, high = (jnp.where(state < 0.5, table[0], table[1]) for table in (FACTOR_LOW, FACTOR_HIGH))
    factors = low + (high - low) * jnp.stack(uniform)
    return jnp.where(np.array(FACTOR_NAMES) == "neighbours", jnp.floor(factors), factors)


def _draw(factors: jax.Array, seed: jax.Array, image_size: int) -> jax.Array:
    """One image, (H, W) uint8; the work per pixel is arithmetic, one square root and two divisions."""
    f = dict(zip(FACTOR_NAMES, factors, strict=True))
    axis_px = (jnp.arange(image_size, dtype=jnp.float32) + 0.5) * (FIELD_PX / image_size) - FIELD_PX / 2
    x, y = axis_px - f["x_px"], axis_px - f["y_px"]
    speckle = _speckle(f, seed, x, y)
    signal = f["brightness"] * _outline(f, seed, x, y, speckle) * (1.0 + speckle)
    signal = jnp.maximum(signal, _neighbours(f, seed, axis_px)) + _BACKGROUND
    noisy = signal + f["noise"] * (0.4 + signal) * _noise(seed, image_size)
    return jnp.clip(jnp.round(noisy * 255.0), 0, 255).astype(jnp.uint8)


def _outline(f: dict[str, jax.Array], seed: jax.Array, x: jax.Array, y: jax.Array, speckle: jax.Array) -> jax.Array:
    """Soft-edged, slightly irregular disc: an ellipse where round, close to a rod where long; (H, W) in [0, 1]."""
    rod = f["eccentricity"] ** 8
    flattening = jnp.sqrt(jnp.maximum(1.0 - f["eccentricity"] ** 2, 1e-3))
    # (1 - rod) p^2 + rod p^4 + q^2 < 1 covers pi (1 + .11 rod) times the product of the semi-axes.
    long_px = jnp.sqrt(f["area_px"] / (math.pi * flattening * (1.0 + 0.11 * rod)))
    short_px = long_px * flattening
    bend = 0.4 * (_uniform(seed, 2, stream=2) - 0.5)
    p, q = _along_axes(x, y, f["orientation_rad"], long_px, short_px)
    p2, q2 = p * p, q * q
    r2 = p2 + q2
    lobes = (bend[0] * p * (p2 - 3.0 * q2) + bend[1] * q * (3.0 * p2 - q2)) / (1.0 + r2)
    level = 1.0 - r2 - rod * p2 * (p2 - 1.0) - lobes
    # Signed distance to first order, level / |gradient|; at the centre, where the gradient vanishes, the short axis.
    inner = jnp.maximum(1.0 - r2, 0.0)
    slope2 = p2 * (4.0 / long_px**2) + (4.0 * q2 + inner * inner) * (1.0 / short_px**2)
    distance_px = level / jnp.sqrt(slope2 + 1e-12) + 1.5 * speckle
    return _smooth_step(0.5 + distance_px * (0.25 / f["defocus_px"])) * (0.8 + 0.2 * inner)


def _speckle(f: dict[str, jax.Array], seed: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Chromatin, (H, W) about 0: plane waves, each of them two products of a function of x and one of y."""
    angle, wavelength, phase = _uniform(seed, 3 * _NUM_WAVES, stream=3).reshape(3, _NUM_WAVES, 1)
    cycles_per_px = 1.0 / (4.0 + 8.0 * wavelength)
    blur = jnp.exp(-0.5 * (2 * math.pi * cycles_per_px * (f["defocus_px"] - 0.8)) ** 2)
    amplitude = 0.25 * f["texture"] * math.sqrt(2.0 / _NUM_WAVES) * blur
    along_x = cycles_per_px * jnp.cos(2 * math.pi * angle) * x[None] + phase
    along_y = cycles_per_px * jnp.sin(2 * math.pi * angle) * y[None]
    of_x = jnp.concatenate([amplitude * _cosine(along_x), amplitude * _cosine(along_x + 0.25)])
    of_y = jnp.concatenate([_cosine(along_y), _cosine(along_y - 0.25)])
    return jnp.maximum(jnp.einsum("kh,kw->hw", of_y, of_x, precision="highest"), -0.8)


def _neighbours(f: dict[str, jax.Array], seed: jax.Array, axis_px: jax.Array) -> jax.Array:
    """Other nuclei that reach into the field, (H, W); a fractional number fades the last one in."""
    first_angle, *uniform = _uniform(seed, 1 + 6 * _NUM_NEIGHBOURS, stream=4)
    brightest = jnp.zeros(())
    for k in range(_NUM_NEIGHBOURS):
        where, far, size, flattening, tilt, strength = uniform[6 * k : 6 * k + 6]
        angle, far_px = 2 * math.pi * (first_angle + (k + 0.8 * where) / _NUM_NEIGHBOURS), 33.0 + 8.0 * far
        x, y = axis_px - far_px * jnp.cos(angle), axis_px - far_px * jnp.sin(angle)
        long_px = 10.0 + 4.0 * size
        p, q = _along_axes(x, y, math.pi * tilt, long_px, long_px * (0.65 + 0.35 * flattening))
        edge = _smooth_step(0.5 + (1.0 - p * p - q * q) * (1.5 / f["defocus_px"]))
        present = jnp.clip(f["neighbours"] - k, 0.0, 1.0)
        brightest = jnp.maximum(brightest, present * (0.2 + 0.25 * strength) * edge)
    return brightest


def _along_axes(
    x: jax.Array, y: jax.Array, angle: jax.Array, long_px: jax.Array, short_px: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Coordinates (H, W) along the two axes of an ellipse, in units of its semi-axes."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    p_of_x, p_of_y = x * (cos / long_px), y * (sin / long_px)
    q_of_x, q_of_y = x * (-sin / short_px), y * (cos / short_px)
    return p_of_x[None, :] + p_of_y[:, None], q_of_x[None, :] + q_of_y[:, None]


def _cosine(turns: jax.Array) -> jax.Array:
    """cos(2 pi turns) to 5e-5, by a least-squares polynomial: a third of the time of the library's."""
    turns = turns - jnp.round(turns)
    square = turns * turns
    return 1.0 + square * (-19.73368 + square * (64.71498 + square * (46.07491 * square - 82.63669)))


def _smooth_step(t: jax.Array) -> jax.Array:
    t = jnp.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _noise(seed: jax.Array, image_size: int) -> jax.Array:
    """Nearly normal noise of mean 0 and variance 1, (H, W): the sum of the four bytes of a hash."""
    pixel = jnp.arange(image_size * image_size, dtype=jnp.uint32).reshape(image_size, image_size)
    bits = mix(pixel + mix(seed))
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    # A byte has mean 127.5 and variance (256^2 - 1) / 12.
    return (total.astype(jnp.float32) - 510.0) * (1.0 / math.sqrt(4 * (256**2 - 1) / 12))


def _uniform(seed: jax.Array, count: int, stream: int) -> jax.Array:
    """(count,) numbers in [0, 1); a stream of its own for each purpose."""
    counters = np.arange(count, dtype=np.uint32) * GOLDEN + np.uint32(stream << 16)
    return (mix(mix(seed) ^ counters) >> 8).astype(jnp.float32) * (2.0**-24)
