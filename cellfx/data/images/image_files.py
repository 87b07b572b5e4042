"""Image files to pixels, losing nothing and leaving nothing out, and all of one size.

imagecodecs, tifffile and Pillow are imported where an image is read.
"""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.data.images.decoded import Decoded, RefusedImageError, turned
from cellfx.data.images.flat_files import decode_photo, decode_png
from cellfx.data.images.tiff_files import decode_tiff

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP"}
SUFFIXES = (".png", ".tif", ".tiff", *_FORMATS)
"""Ends, in lower case, of the names of files that ``read_image`` reads."""
_CHANNEL_AXES = "CSQI"  # C and S are channels and color samples; Q and I are pages that no metadata explains
_ROUNDING = 1e-6  # that scaling leaves of floating-point pixels outside [0, 1]


class UnreadableImageError(UserError):
    """An image file that cannot be decoded, or not wholly."""


class Planes(NamedTuple):
    """An image whose channels may have names.

    Attributes:
        pixels: (H, W, C) uint8 or uint16.
        names: C names; empty where the file does not name every channel.
        depth: how the file stores pixels: ``uint8``, ``uint16`` or ``float``.
        checksum: CRC-32 of the file.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    depth: str
    checksum: int


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The pixels of one file of 8 or 16 bits, without names; see ``read_planes``.

    Returns:
        (H, W, C) uint8 or uint16.
    """
    return read_planes(path, floats=False).pixels


def read_planes(path: str | os.PathLike[str], as_pages: bool = False, floats: bool = True) -> Planes:
    """Decodes one file, losing nothing: PNG or TIFF of 8 or 16 bits, JPEG, BMP, GIF or WebP of one frame.

    In a TIFF, channels are color samples, the channel axis of OME or ImageJ, or plain pages. The alpha of a PNG is a
    channel like any other, because four stains are often stored so. Palettes are looked up, and give one channel where
    they are gray; where 0 is white, pixels are inverted; an orientation is applied. What else would be left out or
    mean something else is refused; only the reduced-resolution pages of a TIFF are passed over.

    Args:
        path: the file.
        as_pages: takes a TIFF for what its own pages hold and disregards its OME-XML, which in a file of one channel
            may describe an image of which other files hold the rest.
        floats: takes floating-point pixels too if all of them lie in [0, 1], but for rounding; they become uint16,
            round(65535 x).

    Returns:
        The pixels, with the names that OME-XML gives the channels.

    Raises:
        UnreadableImageError: cannot be decoded, or is cut off.
        ValueError: decoded, but with another kind of pixels, with axes besides Y, X and channels, with more than one
            image, or floating-point pixels outside [0, 1].
    """
    decoded, checksum = _decode(path, as_pages)
    image = decoded.pixels
    depth = "float" if image.dtype.kind == "f" else image.dtype.name
    if depth == "float" and floats:
        image = _from_floats(image, path)
    if image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise ValueError(f"{path} has {image.dtype} pixels; expected 8 or 16 bits, unsigned; convert it")
    image = _to_hwc(image.astype(image.dtype.newbyteorder("="), copy=False), decoded.axes, path)
    pixels = np.ascontiguousarray(turned(image, decoded.orientation))
    return Planes(pixels, decoded.names if len(decoded.names) == pixels.shape[-1] else (), depth, checksum)


def _decode(path: str | os.PathLike[str], as_pages: bool) -> tuple[Decoded, int]:
    """What a file holds, and its checksum."""
    suffix = Path(path).suffix.lower()
    try:
        data = Path(path).read_bytes()
        if suffix == ".png":
            decoded = decode_png(data)
        elif suffix in (".tif", ".tiff"):
            decoded = decode_tiff(data, as_pages)
        else:
            decoded = decode_photo(data)
        if not 1 <= decoded.orientation <= 8:
            raise RefusedImageError(f"has the orientation {decoded.orientation}; expected 1 to 8; correct the tag")
    except RefusedImageError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # the decoders raise anything from struct.error to MemoryError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnreadableImageError(
            f"cannot read the image {path}: {reason}; expected a whole {_FORMATS.get(suffix, 'PNG or TIFF')} file; "
            "replace or remove it, or set on_error to 'skip'"
        ) from None
    return decoded, zlib.crc32(data)


def _from_floats(image: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    if num_nan := int(np.isnan(image).sum()):
        raise ValueError(
            f"{path} has {num_nan:,} of {image.size:,} pixels that are no number (NaN); expected 0 to 1; fill them "
            "with the background"
        )
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -_ROUNDING and highest <= 1.0 + _ROUNDING):
        raise ValueError(
            f"{path} has floating-point pixels from {lowest:.9g} to {highest:.9g}; expected 0 to 1; divide them by "
            "their largest possible value, or save 8 or 16 bits"
        )
    return np.round(np.clip(image.astype(np.float64), 0.0, 1.0) * 65535.0).astype(np.uint16)


def _to_hwc(image: np.ndarray, axes: str, path: str | os.PathLike[str]) -> np.ndarray:
    kept = [axis for axis, size in zip(axes, image.shape, strict=True) if axis in "YX" or size > 1]
    channels = [axis for axis in kept if axis not in "YX"]
    if (
        sorted(axis for axis in kept if axis in "YX") != ["X", "Y"]
        or len(channels) > 1
        or not set(channels) <= set(_CHANNEL_AXES)
    ):
        raise ValueError(
            f"{path} has axes {axes} of {image.shape}; expected Y, X and at most one axis of channels; "
            "save single planes"
        )
    image = image.reshape([size for axis, size in zip(axes, image.shape, strict=True) if axis in kept])
    order = [kept.index("Y"), kept.index("X"), *(kept.index(axis) for axis in channels)]
    image = image.transpose(order)
    return image if channels else image[..., None]


def fit(image: np.ndarray, size: int) -> np.ndarray:
    """Crops the center, and pads what is too small with its background; never stretches.

    Args:
        image: (H, W, C).
        size: height and width of the result.

    Returns:
        (size, size, C); the padding is the median of the image's border, channel by channel.
    """
    for axis in (0, 1):
        start = max(image.shape[axis] - size, 0) // 2
        image = image.take(range(start, min(start + size, image.shape[axis])), axis)
    before = [(size - length) // 2 for length in image.shape[:2]]
    if image.shape[:2] == (size, size):
        return image
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    canvas = np.empty((size, size, image.shape[2]), image.dtype)
    canvas[:] = np.median(border, axis=0).astype(image.dtype)
    canvas[before[0] : before[0] + image.shape[0], before[1] : before[1] + image.shape[1]] = image
    return canvas
