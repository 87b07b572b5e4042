"""Files of one plane, gray or in color, to pixels: PNG, JPEG, BMP, GIF and WebP.

PNG is not read by Pillow, which makes 8 bits of 16-bit color; the others have 8 bits.
"""

import io
from collections.abc import Iterator

import numpy as np

from cellfx.data.images.decoded import Decoded, RefusedImageError, through_palette

_PNG_END = b"IEND\xaeB`\x82"
_PNG_PALETTE = 3
_ORIENTATION = 274
_FORMATS = ("JPEG", "BMP", "GIF", "WEBP")
_AXES = {"L": "YX", "RGB": "YXS", "RGBA": "YXS"}
_SEVERAL = "holds {} frames; expected one; save each in a file of its own"
_SEE_THROUGH = "has a palette with transparent colors; expected opaque ones; save it without transparency"


def decode_png(data: bytes) -> Decoded:
    """A PNG: its palette looked up, a single transparent color (tRNS), which hides no value, disregarded.

    Raises:
        RefusedImageError: an animation, or a palette of which transparent colors are used.
        Exception: whatever imagecodecs raises.
    """
    import imagecodecs

    image = imagecodecs.png_decode(data)
    if _PNG_END not in data:
        raise EOFError("the file is cut off")
    chunks = dict(_png_chunks(data))
    if "acTL" in chunks and (count := int.from_bytes(chunks["acTL"][:4], "big")) > 1:
        raise RefusedImageError(_SEVERAL.format(count))
    is_palette = chunks["IHDR"][9] == _PNG_PALETTE
    if is_palette and image.shape[-1] == 4 and image[..., 3].min() < 255:
        raise RefusedImageError(_SEE_THROUGH)
    if "tRNS" in chunks:
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    if is_palette and not np.ptp(np.frombuffer(chunks["PLTE"], np.uint8).reshape(-1, 3), axis=1).any():
        image = image[..., 0]
    return Decoded(image, "YXS"[: image.ndim], (), _exif_orientation(chunks.get("eXIf")))


def decode_photo(data: bytes) -> Decoded:
    """A JPEG, BMP, GIF or WebP, the latter of one channel where all of it is gray.

    Raises:
        RefusedImageError: an animation, CMYK, 1 bit, or a palette of which transparent colors are used.
        Exception: whatever Pillow raises.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if (count := getattr(image, "n_frames", 1)) > 1:
            raise RefusedImageError(_SEVERAL.format(count))
        orientation = image.getexif().get(_ORIENTATION, 1)
        image.load()
        pixels, mode = np.asarray(image), image.mode
        if "transparency" in image.info and mode in ("L", "P") and np.any(pixels == image.info["transparency"]):
            raise RefusedImageError(_SEE_THROUGH)
        if mode == "P":
            pixels = through_palette(pixels, np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3))
            mode = "L" if pixels.ndim == 2 else "RGB"
        if image.format == "WEBP" and mode == "RGB" and not np.ptp(pixels, axis=-1).any():  # it has no other gray
            pixels, mode = pixels[..., 0], "L"
    if mode not in _AXES:
        raise RefusedImageError(f"holds pixels of the mode {mode}; expected gray or RGB; convert it")
    return Decoded(pixels, _AXES[mode], (), orientation)


def _png_chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    start = 8
    while start + 8 <= len(data):
        length, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8].decode("latin-1")
        yield name, data[start + 8 : start + 8 + length]
        start += length + 12


def _exif_orientation(exif: bytes | None) -> int:
    if exif is None:
        return 1
    from PIL import Image

    known = Image.Exif()
    known.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
    return known.get(_ORIENTATION, 1)
