"""PNG and TIFF files to pixels, losing nothing, and all of one size.

imagecodecs and tifffile are imported where an image is read. Pillow would not do: it reads 16-bit colour as 8-bit.
"""

import io
import logging
import os
import threading
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

_PNG_END = b"IEND\xaeB`\x82"
_CHANNEL_AXES = "CSQI"  # C and S are channels and colour samples; Q and I are pages that no metadata explains


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded, or not wholly."""


class Planes(NamedTuple):
    """An image whose channels may have names.

    Attributes:
        pixels: (H, W, C) uint8 or uint16.
        names: C names; empty where the file does not name every channel.
        depth: how the file stores pixels: ``uint8``, ``uint16`` or ``float``.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    depth: str


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Decodes one PNG or TIFF file of 8 or 16 bits, losing nothing.

    In a TIFF, channels are colour samples, the channel axis of OME or ImageJ, or plain pages. The alpha of a PNG is a
    channel like any other, because four stains are often stored so.

    Returns:
        (H, W, C) uint8 or uint16.

    Raises:
        UnreadableImageError: cannot be decoded, or is cut off.
        ValueError: decoded, but with another kind of pixels, or with axes besides Y, X and channels.
    """
    image, axes, _ = _decode(path, False)
    return _to_integers(image, axes, path)


def read_planes(path: str | os.PathLike[str], as_pages: bool = False) -> Planes:
    """Decodes one PNG or TIFF file as ``read_image`` does, with the names that OME-XML gives its channels.

    Floating-point pixels are taken too if all of them lie in [0, 1]; they become uint16, round(65535 x).

    Args:
        path: the file.
        as_pages: takes a TIFF for what its own pages hold and disregards its OME-XML, which in a file of one channel
            may describe an image of which other files hold the rest.

    Raises:
        UnreadableImageError: cannot be decoded, or is cut off.
        ValueError: see ``read_image``; or floating-point pixels outside [0, 1].
    """
    image, axes, names = _decode(path, as_pages)
    depth = "float" if image.dtype.kind == "f" else image.dtype.name
    pixels = _to_integers(_from_floats(image, path) if depth == "float" else image, axes, path)
    return Planes(pixels, names if len(names) == pixels.shape[-1] else (), depth)


def _decode(path: str | os.PathLike[str], as_pages: bool) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Pixels, their axes and the names of the channels."""
    try:
        data = Path(path).read_bytes()
        return _decode_png(data) if str(path).lower().endswith(".png") else _decode_tiff(data, as_pages)
    except Exception as error:  # the decoders raise anything from struct.error to MemoryError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnreadableImageError(
            f"cannot read the image {path}: {reason}; expected a whole PNG or TIFF file; replace or remove it, "
            "or set on_error to 'skip'"
        ) from None


def _from_floats(image: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= 0.0 and highest <= 1.0):  # also where they are NaN
        raise ValueError(
            f"{path} has floating-point pixels from {lowest:g} to {highest:g}; expected 0 to 1; divide them by their "
            "largest possible value, or save 8 or 16 bits"
        )
    return np.round(image.astype(np.float64) * 65535.0).astype(np.uint16)


def _to_integers(image: np.ndarray, axes: str, path: str | os.PathLike[str]) -> np.ndarray:
    if image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise ValueError(f"{path} has {image.dtype} pixels; expected 8 or 16 bits, unsigned; convert it")
    return np.ascontiguousarray(_to_hwc(image, axes, path).astype(image.dtype.newbyteorder("=")))


def _decode_png(data: bytes) -> tuple[np.ndarray, str, tuple[str, ...]]:
    import imagecodecs

    image = imagecodecs.png_decode(data)
    if _PNG_END not in data:
        raise EOFError("the file is cut off")
    return image, "YXC"[: image.ndim], ()


def _decode_tiff(data: bytes, as_pages: bool) -> tuple[np.ndarray, str, tuple[str, ...]]:
    import tifffile

    complaints: list[str] = []
    reader = threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        if threading.get_ident() != reader or record.levelno < logging.WARNING:  # other threads read other files
            return True
        complaints.append(record.getMessage())
        return False  # our error says it, with the name of the file

    logger = logging.getLogger("tifffile")
    logger.addFilter(note)
    try:
        with tifffile.TiffFile(io.BytesIO(data), is_ome=False if as_pages else None) as file:
            series = file.series[0]
            image, axes = series.asarray(maxworkers=1), series.axes
            names = () if as_pages else _ome_names(file.ome_metadata)
            ends = [
                start + count
                for page in series.pages
                for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
    finally:
        logger.removeFilter(note)
    if complaints:  # tifffile only logs a page or tag that lies behind the end of the file
        raise EOFError(complaints[0])
    if max(ends) > len(data):  # an LZW strip without its end is decoded, with wrong last pixels
        raise EOFError("the file is cut off")
    return image, axes, names


def _ome_names(xml: str | None) -> tuple[str, ...]:
    """Names of the first image's channels; none where one of them has none."""
    if xml is None:
        return ()
    image = ElementTree.fromstring(xml).find("{*}Image")
    names = [] if image is None else [channel.get("Name", "") for channel in image.iterfind("{*}Pixels/{*}Channel")]
    return tuple(names) if all(names) else ()


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
    """Crops the centre, and pads what is too small with its background; never stretches.

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
