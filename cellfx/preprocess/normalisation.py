"""What is kept of training images so that others can be normalized like them: plain values, checked when read back."""

import math
from typing import NamedTuple

import numpy as np

from cellfx.preprocess.mixture import NUM_COMPONENTS, Mixture

CLIP = 3.0
"""Where standardized values are cut, in standard deviations."""


class BrightField(NamedTuple):
    """What is kept of a bright-field channel.

    Attributes:
        threshold: deviation of a pixel position, in gray levels, above which cells lie there; None where all positions
            deviated alike and the middle was taken.
        cell: (H,) rows of W characters, ``1`` where cells usually lie and ``0`` on background.
    """

    threshold: float | None
    cell: tuple[str, ...]


class Fluorescence(NamedTuple):
    """What is kept of a fluorescence channel.

    Attributes:
        mixture: of its log intensities; the last component is the one that images are standardized by.
        low: standardized value that becomes 0.
    """

    mixture: Mixture
    low: float


class Normalisation(NamedTuple):
    """How stored images become float32 in [0, 1]. Plain values only, so that two of them can be compared.

    Attributes:
        dtype: of the stored images, ``uint8`` or ``uint16``.
        image_size: (H, W).
        channels: (C,) what was fitted to each.
        notices: what was unusual about the training images, in sentences with counts.
    """

    dtype: str
    image_size: tuple[int, int]
    channels: tuple[BrightField | Fluorescence, ...]
    notices: tuple[str, ...] = ()


def cell_mask(channel: BrightField) -> np.ndarray:
    """Where cells usually lie, (H, W) bool; all else is background."""
    return np.array([[at == "1" for at in row] for row in channel.cell])


def check_whole(normalisation: Normalisation) -> None:
    """Makes sure that a normalization, read back from a file, can be applied.

    Raises:
        ValueError: a value is missing, out of its range or of another type.
    """
    _require("dtype", normalisation.dtype, normalisation.dtype in ("uint8", "uint16"), "uint8 or uint16")
    size = normalisation.image_size
    is_size = len(size) == 2 and all(type(length) is int and length > 0 for length in size)
    _require("image_size", size, is_size, "height and width")
    _require("channels", normalisation.channels, len(normalisation.channels) > 0, "one or more")
    is_text = all(isinstance(sentence, str) for sentence in normalisation.notices)
    _require("notices", normalisation.notices, is_text, "sentences")
    for channel in normalisation.channels:
        if isinstance(channel, BrightField):
            _check_bright_field(channel, size)
        else:
            _check_fluorescence(channel)


def _check_bright_field(channel: BrightField, size: tuple[int, int]) -> None:
    _require("threshold", channel.threshold, channel.threshold is None or _is_number(channel.threshold), "a number")
    is_mask = len(channel.cell) == size[0] and all(isinstance(row, str) and len(row) == size[1] for row in channel.cell)
    is_mask = is_mask and set("".join(channel.cell)) == {"0", "1"}
    _require("cell", channel.cell, is_mask, f"{size[0]} rows of {size[1]} characters 0 and 1, some of each")


def _check_fluorescence(channel: Fluorescence) -> None:
    weights, means, deviations, num_pixels = channel.mixture
    for name, values in (("weights", weights), ("means", means), ("deviations", deviations)):
        is_list = isinstance(values, tuple) and 1 <= len(values) <= NUM_COMPONENTS and len(values) == len(weights)
        is_list = is_list and all(_is_number(value) for value in values)
        _require(f"mixture.{name}", values, is_list, f"1 to {NUM_COMPONENTS} numbers, one for every component")
    _require("mixture.weights", weights, all(w >= 0 for w in weights) and sum(weights) < 1.001, "shares, 1 together")
    _require("mixture.means", means, list(means) == sorted(means), "rising numbers")
    _require("mixture.deviations", deviations, all(d > 0 for d in deviations), "numbers above 0")
    _require("mixture.num_pixels", num_pixels, type(num_pixels) is int and num_pixels > 0, "1 or more")
    _require("low", channel.low, _is_number(channel.low) and channel.low <= -CLIP, f"-{CLIP:g} or less")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _require(name: str, got: object, holds: bool, expected: str) -> None:
    if not holds:
        text = repr(got) if len(repr(got)) < 80 else f"{repr(got)[:77]}..."
        raise ValueError(f"not a saved normalization: got {name}={text}, expected {expected}; fit again")
