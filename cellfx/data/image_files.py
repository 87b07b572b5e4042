"""PNG and TIFF files to pixels, losing nothing, and all of one size.

imagecodecs and tifffile are imported where an image is read. Pillow would not do: it reads 16-bit colour as 8-bit.
"""

import io
import logging
import os
from pathlib import Path

import numpy as np

_PNG_END = b"IEND\xaeB`\x82"
_CHANNEL_AXES = "CSQI"  # C and S are channels and colour samples; Q and I are pages that no metadata explains


class UnreadableImageError(ValueError):
    """An image file that cannot be decoded, or not wholly."""


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
    try:
        data = Path(path).read_bytes()
        image, axes = _decode_png(data) if str(path).lower().endswith(".png") else _decode_tiff(data)
    except Exception as error:  # the decoders raise anything from struct.error to MemoryError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnreadableImageError(
            f"cannot read the image {path}: {reason}; expected a whole PNG or TIFF file; replace or remove it, "
            "or set on_error to 'skip'"
        ) from None
    if image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise ValueError(f"{path} has {image.dtype} pixels; expected 8 or 16 bits, unsigned; convert it")
    return np.ascontiguousarray(_to_hwc(image, axes, path).astype(image.dtype.newbyteorder("=")))


def _decode_png(data: bytes) -> tuple[np.ndarray, str]:
    import imagecodecs

    image = imagecodecs.png_decode(data)
    if _PNG_END not in data:
        raise EOFError("the file is cut off")
    return image, "YXC"[: image.ndim]


def _decode_tiff(data: bytes) -> tuple[np.ndarray, str]:
    import tifffile

    complaints: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complaints.append(record.getMessage())
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = file.series[0]
            image, axes = series.asarray(), series.axes
            ends = [
                start + count
                for page in series.pages
                for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
    finally:
        logger.removeHandler(handler)
    if complaints:  # tifffile only logs a page or tag that lies behind the end of the file
        raise EOFError(complaints[0])
    if max(ends) > len(data):  # an LZW strip without its end is decoded, with wrong last pixels
        raise EOFError("the file is cut off")
    return image, axes


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
