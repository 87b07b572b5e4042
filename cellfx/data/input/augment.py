"""Random changes of images that leave their meaning alone, batched and pure: ``apply(images, draw(key, B, ...))``.

What is random is drawn first, as ``Draws``, so that the same draws can be given to the twin for tf.data and, under
pmap, be drawn for the global batch and cut into the devices' parts. Flips, turns and shifts work on stored pixels of
any type; brightness and contrast on float32 in [0, 1], which they do not leave.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cellfx.types import Key


class Draws(NamedTuple):
    """What was drawn for each image; None where an augmentation is off.

    Attributes:
        flip: (B, 2) bool, whether to reverse the rows and whether to reverse the columns.
        quarter_turns: (B,) int32 in 0..3, turns by 90 degrees counterclockwise, made after the flips.
        shift_px: (B, 2) int32, how far the content moves down and to the right, made after the turns.
        contrast: (B,) float32, factor on the distance from the mean of the image.
        brightness: (B,) float32, added to every pixel, after the contrast.
    """

    flip: jax.Array | None = None
    quarter_turns: jax.Array | None = None
    shift_px: jax.Array | None = None
    contrast: jax.Array | None = None
    brightness: jax.Array | None = None


def check(
    image_shape: tuple[int, int, int],
    flips: bool = False,
    rotations: bool = False,
    crop_px: int = 0,
    brightness: float = 0.0,
    contrast: float = 0.0,
) -> None:
    """Checks the settings of ``draw`` against the images they are meant for.

    Args:
        image_shape: (H, W, C).
        flips: see ``draw``.
        rotations: see ``draw``.
        crop_px: see ``draw``.
        brightness: see ``draw``.
        contrast: see ``draw``.

    Raises:
        ValueError: rotations of images that are not square, or a setting out of its range.
    """
    del flips
    height, width, _ = image_shape
    if rotations and height != width:
        raise ValueError(
            f"rotations need square images: got height {height} and width {width}; expected equal sides; "
            "crop the images to squares or set rotations=False"
        )
    if not 0 <= crop_px < min(height, width):
        raise ValueError(
            f"crop_px out of range: got {crop_px}; expected 0 to {min(height, width) - 1} for images of "
            f"{height} x {width}; change crop_px"
        )
    for name, value in (("brightness", brightness), ("contrast", contrast)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} out of range: got {value}; expected 0 (off) to 1; change {name}")


def draw(
    key: Key,
    batch_size: int,
    flips: bool = False,
    rotations: bool = False,
    crop_px: int = 0,
    brightness: float = 0.0,
    contrast: float = 0.0,
) -> Draws:
    """Draws what happens to each image of a batch.

    Args:
        key: key of the step; an augmentation's numbers do not depend on which others are on.
        batch_size: B.
        flips: reverse rows and columns, each with probability 1/2.
        rotations: turn by 0, 90, 180 or 270 degrees.
        crop_px: largest shift in either direction, uniform; the same as a random crop of the padded image.
        brightness: largest amount added or taken away, uniform.
        contrast: largest relative change of contrast, uniform.

    Returns:
        Draws of B images.
    """
    keys = jax.random.split(key, 5)
    shape = (batch_size,)
    return Draws(
        flip=jax.random.bernoulli(keys[0], shape=(batch_size, 2)) if flips else None,
        quarter_turns=jax.random.randint(keys[1], shape, 0, 4) if rotations else None,
        shift_px=jax.random.randint(keys[2], (batch_size, 2), -crop_px, crop_px + 1) if crop_px else None,
        contrast=jax.random.uniform(keys[3], shape, minval=1.0 - contrast, maxval=1.0 + contrast) if contrast else None,
        brightness=jax.random.uniform(keys[4], shape, minval=-brightness, maxval=brightness) if brightness else None,
    )


def apply(images: jax.Array, draws: Draws) -> jax.Array:
    """Images (B, H, W, C) with everything done to them that was drawn.

    Args:
        images: (B, H, W, C); float32 in [0, 1] where brightness or contrast were drawn, any type otherwise.
        draws: of the same B images.

    Returns:
        (B, H, W, C) of the same type.
    """
    return apply_photometric(apply_geometric(images, draws), draws)


def apply_geometric(images: jax.Array, draws: Draws) -> jax.Array:
    """Flips, turns and shifts of images (B, H, W, C) of any type; see ``apply``."""
    if draws.flip is not None:
        images = jnp.where(_per_image(draws.flip[:, 0]), images[:, ::-1], images)
        images = jnp.where(_per_image(draws.flip[:, 1]), images[:, :, ::-1], images)
    if draws.quarter_turns is not None:
        images = _turn(images, draws.quarter_turns)
    if draws.shift_px is not None:
        images = _shift(images, draws.shift_px)
    return images


def apply_photometric(images: jax.Array, draws: Draws) -> jax.Array:
    """Contrast about the mean of each image and channel, then brightness, of images in [0, 1]; see ``apply``."""
    if draws.contrast is not None:
        mean = jnp.mean(images, axis=(1, 2), keepdims=True)
        images = jnp.clip(mean + (images - mean) * _per_image(draws.contrast), 0.0, 1.0)
    if draws.brightness is not None:
        images = jnp.clip(images + _per_image(draws.brightness), 0.0, 1.0)
    return images


def _per_image(values: jax.Array) -> jax.Array:
    return values[:, None, None, None]


def _turn(images: jax.Array, quarter_turns: jax.Array) -> jax.Array:
    """A turn is a transposition, for odd numbers of quarters, and flips."""
    turns = _per_image(quarter_turns)
    images = jnp.where(turns % 2 == 1, images.swapaxes(1, 2), images)
    images = jnp.where((turns == 1) | (turns == 2), images[:, ::-1], images)
    return jnp.where(turns >= 2, images[:, :, ::-1], images)


def _shift(images: jax.Array, shift_px: jax.Array) -> jax.Array:
    """Moves the content and fills with background: the least value of the image and channel."""

    def shift_one(image: jax.Array, down_right: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        rows = jnp.arange(height)[:, None, None] - down_right[0]
        columns = jnp.arange(width)[None, :, None] - down_right[1]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        background = jnp.min(image, axis=(0, 1), keepdims=True)
        return jnp.where(inside, jnp.roll(image, down_right, axis=(0, 1)), background)

    return jax.vmap(shift_one)(images, shift_px)
