"""Fluorescent nuclei, drawn from their factors: the light of one, and what a camera makes of light.

Written for one image and made for ``jax.vmap``. The work per pixel is arithmetic, one square root and two divisions;
everything that needs more is a function of x or of y alone. One core draws some 30,000 images of 64 x 64 a second.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cellfx.data.input.hashing import mix, uniform

FIELD_PX = 64.0
"""Width and height of the field of view, the unit of all lengths; an image of another size shows the same field."""

BACKGROUND = 0.015
"""Light where there is no nucleus, as a fraction of full scale."""

BEND = 0.4
"""How far outlines of nuclei depart from an ellipse."""

_NUM_WAVES, _NUM_NEIGHBOURS = 10, 3


def draw(f: Mapping[str, jax.Array], seed: jax.Array, image_size: int) -> jax.Array:
    """One image.

    Args:
        f: factor -> () value, names and units as in ``cellfx.data.synthetic``.
        seed: () uint32, for all that is no factor.
        image_size: height and width in pixels.

    Returns:
        (H, W) uint8.
    """
    axis_px = field_axis(image_size)
    signal = jnp.maximum(shine(f, seed, axis_px), _neighbours(f, seed, axis_px))
    return expose(signal, f["noise"], seed)


def field_axis(image_size: int) -> jax.Array:
    """Centers of the pixels of a row or a column, (W,) in px from the middle of the field."""
    return (jnp.arange(image_size, dtype=jnp.float32) + 0.5) * (FIELD_PX / image_size) - FIELD_PX / 2


def shine(f: Mapping[str, jax.Array], seed: jax.Array, axis_px: jax.Array, bend: float | jax.Array = BEND) -> jax.Array:
    """Light of one nucleus alone.

    Args:
        f: as for ``draw``, without ``neighbours`` and ``noise``.
        seed: () uint32, for all that is no factor.
        axis_px: (W,), see ``field_axis``.
        bend: how far its outline departs from an ellipse; from 1 on it is ragged.

    Returns:
        (W, W) fraction of full scale.
    """
    x, y = axis_px - f["x_px"], axis_px - f["y_px"]
    speckle = _speckle(f, seed, x, y)
    return f["brightness"] * _outline(f, seed, x, y, speckle, bend) * (1.0 + speckle)


def expose(signal: jax.Array, noise: jax.Array, seed: jax.Array) -> jax.Array:
    """Adds background and camera noise to light (W, W) and stores it, (W, W) uint8."""
    signal = signal + BACKGROUND
    noisy = signal + noise * (0.4 + signal) * _noise(seed, signal.shape[0])
    return jnp.clip(jnp.round(noisy * 255.0), 0, 255).astype(jnp.uint8)


def _outline(
    f: Mapping[str, jax.Array],
    seed: jax.Array,
    x: jax.Array,
    y: jax.Array,
    speckle: jax.Array,
    bend: float | jax.Array,
) -> jax.Array:
    """Soft-edged, slightly irregular disc: an ellipse where round, close to a rod where long; (H, W) in [0, 1]."""
    rod = f["eccentricity"] ** 8
    flattening = jnp.sqrt(jnp.maximum(1.0 - f["eccentricity"] ** 2, 1e-3))
    # (1 - rod) p^2 + rod p^4 + q^2 < 1 covers pi (1 + .11 rod) times the product of the semi-axes.
    long_px = jnp.sqrt(f["area_px"] / (math.pi * flattening * (1.0 + 0.11 * rod)))
    short_px = long_px * flattening
    bend = bend * (uniform(seed, 2, stream=2) - 0.5)
    p, q = _along_axes(x, y, f["orientation_rad"], long_px, short_px)
    p2, q2 = p * p, q * q
    r2 = p2 + q2
    lobes = (bend[0] * p * (p2 - 3.0 * q2) + bend[1] * q * (3.0 * p2 - q2)) / (1.0 + r2)
    level = 1.0 - r2 - rod * p2 * (p2 - 1.0) - lobes
    # Signed distance to first order, level / |gradient|; at the center, where the gradient vanishes, the short axis.
    inner = jnp.maximum(1.0 - r2, 0.0)
    slope2 = p2 * (4.0 / long_px**2) + (4.0 * q2 + inner * inner) * (1.0 / short_px**2)
    distance_px = level / jnp.sqrt(slope2 + 1e-12) + 1.5 * speckle
    return _smooth_step(0.5 + distance_px * (0.25 / f["defocus_px"])) * (0.8 + 0.2 * inner)


def _speckle(f: Mapping[str, jax.Array], seed: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Chromatin, (H, W) about 0: plane waves, each of them two products of a function of x and one of y."""
    angle, wavelength, phase = uniform(seed, 3 * _NUM_WAVES, stream=3).reshape(3, _NUM_WAVES, 1)
    cycles_per_px = 1.0 / (4.0 + 8.0 * wavelength)
    blur = jnp.exp(-0.5 * (2 * math.pi * cycles_per_px * (f["defocus_px"] - 0.8)) ** 2)
    amplitude = 0.25 * f["texture"] * math.sqrt(2.0 / _NUM_WAVES) * blur
    along_x = cycles_per_px * jnp.cos(2 * math.pi * angle) * x[None] + phase
    along_y = cycles_per_px * jnp.sin(2 * math.pi * angle) * y[None]
    of_x = jnp.concatenate([amplitude * _cosine(along_x), amplitude * _cosine(along_x + 0.25)])
    of_y = jnp.concatenate([_cosine(along_y), _cosine(along_y - 0.25)])
    return jnp.maximum(jnp.einsum("kh,kw->hw", of_y, of_x, precision="highest"), -0.8)


def _neighbours(f: Mapping[str, jax.Array], seed: jax.Array, axis_px: jax.Array) -> jax.Array:
    """Other nuclei that reach into the field, (H, W); a fractional number fades the last one in."""
    first_angle, *drawn = uniform(seed, 1 + 6 * _NUM_NEIGHBOURS, stream=4)
    brightest = jnp.zeros(())
    for k in range(_NUM_NEIGHBOURS):
        where, far, size, flattening, tilt, strength = drawn[6 * k : 6 * k + 6]
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
