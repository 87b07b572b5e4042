"""TIFF files to pixels: the whole of a file, as it means them, or a reason why not.

tifffile gives stored values, and the first of several images. What a file says of its pixels beyond that is applied
here (palettes, white as zero) or refused.
"""

import contextlib
import io
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from cellfx.data.images.decoded import Decoded, RefusedImageError, through_palette

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG = (6, 7)  # compressions whose YCbCr tifffile turns into RGB
_MASK = 4  # bit of NewSubfileType
_FEW = 8  # pixels in a row that are rather channels
_PHOTOMETRIC, _ORIENTATION = 262, 274  # tags
_NAMES = {5: "CMYK", 6: "uncompressed YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "a color filter array"}


def decode_tiff(data: bytes, as_pages: bool) -> Decoded:
    """All of a TIFF but its reduced-resolution pages.

    Args:
        data: the file.
        as_pages: disregards OME-XML; see ``image_files.read_planes``.

    Raises:
        RefusedImageError: more than one image, pages that differ, planes that lie elsewhere, or a kind of pixels that
            is not the intensity of light.
        Exception: whatever tifffile raises.
    """
    import tifffile

    with _complaints() as complaints, tifffile.TiffFile(io.BytesIO(data), is_ome=False if as_pages else None) as file:
        xml = None if as_pages else file.ome_metadata
        root = None if xml is None else ElementTree.fromstring(xml)
        own = [page for page in file.pages if not page.is_reduced] or list(file.pages)
        try:
            _refuse_kinds(own)
            series = _only_series(file, own, root)
        except RefusedImageError:
            _refuse_cut(complaint for complaint in complaints if "OME series" not in complaint)
            raise
        image, axes = series.asarray(maxworkers=1), series.axes
        ends = [
            start + count
            for page in series.pages
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    _refuse_cut(complaints)
    if max(ends) > len(data):  # an LZW strip without its end is decoded, with wrong last pixels
        raise EOFError("the file is cut off")
    _refuse_rows_as_pages(image, axes)
    image, axes = _as_light(image, axes, own[0])
    return Decoded(image, axes, _channel_names(root), _orientation(own[0]))


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile logs of a file that this thread reads; our error says it, with the name of the file."""
    complaints: list[str] = []
    reader = threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        if threading.get_ident() != reader or record.levelno < logging.WARNING:  # other threads read other files
            return True
        complaints.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(note)
    try:
        yield complaints
    finally:
        logger.removeFilter(note)


def _refuse_cut(complaints: Iterable[str]) -> None:
    """Raises the first: tifffile only logs a page or tag that lies behind the end of the file."""
    for complaint in complaints:
        raise EOFError(complaint)


def _photometric(page: Any) -> int:
    """Of a page; one that does not tell it holds intensities or, of three samples, colors, as libtiff has it."""
    if _PHOTOMETRIC not in page.tags and page.photometric == _MIN_IS_WHITE:
        return _RGB if page.samplesperpixel == 3 else _MIN_IS_BLACK
    return int(page.photometric)


def _orientation(page: Any) -> int:
    return int(page.tags.valueof(_ORIENTATION, 1))


def _refuse_kinds(pages: Sequence[Any]) -> None:
    """Refuses pages that differ, and those whose values are no intensities of light."""
    kinds = {(page.shape, str(page.dtype), _photometric(page), page.planarconfig, _orientation(page)) for page in pages}
    if len(kinds) > 1:
        shown = dict.fromkeys(f"{'x'.join(map(str, page.shape))} {page.dtype}" for page in pages)
        alike = "" if len(shown) > 1 else ", which differ in their photometric interpretation or orientation"
        raise RefusedImageError(
            f"holds {len(pages)} pages of different kinds: {', '.join([*shown][:4])}{alike}; expected pages of one "
            "size and type, the channels of one image; save each image in a file of its own"
        )
    kind, page = _photometric(pages[0]), pages[0]
    if any(page.subfiletype & _MASK for page in pages):
        raise RefusedImageError("holds a transparency mask; expected pages of pixels alone; save it without the mask")
    is_light = kind in (_MIN_IS_BLACK, _RGB, _PALETTE) or (kind == _YCBCR and page.compression in _JPEG)
    if not is_light and not (kind == _MIN_IS_WHITE and page.samplesperpixel == 1):
        name = "several samples of which 0 is white" if kind == _MIN_IS_WHITE else _NAMES.get(kind)
        raise RefusedImageError(
            f"holds {name or f'pixels of the photometric interpretation {kind}'}; expected gray, RGB, a palette or "
            "channels; convert it"
        )
    for page in pages:
        if page.subifds and not all(sub.is_reduced for sub in page.pages):
            raise RefusedImageError(
                "holds images within a page (SubIFDs) that are no reduced copies; expected one image; save each in a "
                "file of its own"
            )


def _only_series(file: Any, own: Sequence[Any], root: ElementTree.Element | None) -> Any:
    """The one image of a file, with all of its pages."""
    others = sorted(
        {uuid.get("FileName", "") for uuid in root.iter() if uuid.tag.endswith("}UUID")} if root is not None else ()
    )
    found = [series for series in file.series if not series.keyframe.is_reduced] or list(file.series)
    if len(others) > 1:
        raise RefusedImageError(
            f"belongs to a set of {len(others)} files ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}) "
            f"and holds {len(own)} planes of it; expected a file of all channels, or for the flowcytometry data set "
            "one file per channel with names ending in _Ch1, _Ch2 and so on; export it so or rename the files"
        )
    if len(found) != 1:
        shapes = ", ".join(f"{series.axes} {'x'.join(map(str, series.shape))}" for series in found[:4])
        raise RefusedImageError(
            f"holds {len(found)} images ({shapes}{', ...' if len(found) > 4 else ''}); expected one; save each in a "
            "file of its own, or all planes as one image"
        )
    pages = list(found[0].pages)
    present = {page.index for page in pages if page is not None}
    if None in pages:
        raise RefusedImageError(
            f"holds {len(present)} of the {len(pages)} planes that its OME-XML tells; expected all; export it again"
        )
    if present != {page.index for page in own}:
        raise RefusedImageError(
            f"holds {len(own)} pages, of which its metadata ({found[0].kind}) tells {len(present)}; expected metadata "
            "of all pages; save it again without that metadata"
        )
    return found[0]


def _refuse_rows_as_pages(image: np.ndarray, axes: str) -> None:
    """Refuses an image with its channels last that was written row by row, each as a page of its own."""
    if len(axes) == 3 and axes[0] in "CQI" and axes[1:] == "YX" and image.shape[2] <= min(_FEW, image.shape[0] - 1):
        count, height, width = image.shape
        raise RefusedImageError(
            f"holds {count} pages of {height}x{width} pixels, which look like {count} rows of an image of {height} "
            f"columns and {width} channels; expected one page per channel; save it with its channels first, or as "
            "samples of one page"
        )


def _as_light(image: np.ndarray, axes: str, page: Any) -> tuple[np.ndarray, str]:
    """Intensities of stored values: inverted where 0 is white, looked up where there is a palette."""
    kind = _photometric(page)
    if image.dtype.kind != "u":
        if kind in (_MIN_IS_WHITE, _PALETTE) and image.dtype.kind == "f":
            raise RefusedImageError(
                "holds floating-point pixels of which 0 is white; expected 0 to be black; convert it"
            )
        return image, axes
    if kind == _MIN_IS_WHITE:
        return np.array((1 << page.bitspersample) - 1, image.dtype) - image, axes
    if kind != _PALETTE:
        return image, axes
    if page.colormap is None or page.samplesperpixel != 1:
        raise RefusedImageError("holds indices of a palette that it does not hold; expected both; convert it to RGB")
    colors = np.asarray(page.colormap).T
    if colors.max() < 256:  # written as 8 bits against the specification, which libtiff accepts too
        colors = colors.astype(np.uint8)
    elif not np.any(colors % 257) or not np.any(colors & 255):
        colors = (colors >> 8).astype(np.uint8)
    image = through_palette(image, colors)
    return image, axes if image.ndim == len(axes) else f"{axes}S"


def _channel_names(root: ElementTree.Element | None) -> tuple[str, ...]:
    """Names of the channels of an OME image; none where one has none, or where images name them differently."""
    if root is None:
        return ()
    named = {
        tuple(channel.get("Name", "") for channel in image.iterfind("{*}Pixels/{*}Channel"))
        for image in root.iterfind("{*}Image")
    }
    names = named.pop() if len(named) == 1 else ()
    return names if all(names) else ()
