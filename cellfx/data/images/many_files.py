"""Many image files, read at once and in order; those that cannot be read stop the reading or are left out."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from cellfx.data.images.image_files import UnreadableImageError

Item = TypeVar("Item")
Image = TypeVar("Image")

_CHUNK = 512
_READERS = 8
_logger = logging.getLogger(__name__)


def check_options(image_size: int, on_error: str) -> None:
    """Raises a ValueError for a size or a way with errors that there is not."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"unknown on_error {on_error!r}; expected 'raise' or 'skip'")
    if image_size < 1:
        raise ValueError(f"image_size must be positive; got {image_size}")


def read_all(items: Sequence[Item], read: Callable[[Item], Image], on_error: str) -> Iterator[tuple[int, Image | None]]:
    """Index and image of every item, in their order; None for an image that is skipped.

    Args:
        items: N files, or whatever ``read`` takes.
        read: raises an ``UnreadableImageError`` for what cannot be read.
        on_error: ``raise``, or ``skip`` to log such an image and go on.
    """

    def read_or_skip(item: Item) -> Image | None:
        try:
            return read(item)
        except UnreadableImageError as error:
            if on_error == "raise":
                raise
            _logger.warning("skipped: %s", error)
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(items), _CHUNK):
            for offset, image in enumerate(pool.map(read_or_skip, items[start : start + _CHUNK])):
                yield start + offset, image


def first_readable(items: Sequence[Item], read: Callable[[Item], Image], on_error: str, root: Path) -> Image:
    """The first image, or where ``on_error`` is ``skip`` the first that can be read.

    Raises:
        UnreadableImageError: it cannot be read, or none of them can.
    """
    reasons = []
    for item in items:
        try:
            return read(item)
        except UnreadableImageError as error:
            if on_error == "raise":
                raise
            reasons.append(str(error))
    raise UnreadableImageError(f"none of the {len(items)} images in {root} can be read; of the first: {reasons[0]}")


def refuse_empty_classes(counts: Mapping[str, int], class_names: Sequence[str], root: Path) -> None:
    """Raises a ValueError for a class of which no image was read."""
    for name in class_names:
        if not counts.get(name):
            raise ValueError(
                f"class {name!r} in {root} is empty: none of its images can be read; "
                "replace them or leave the class out of classes"
            )


def config_name(root: Path, fingerprint: str, options: tuple[object, ...]) -> str:
    """The name of a TFDS configuration, which another content of the folder or another option would change."""
    digest = hashlib.blake2b(f"{fingerprint} {options!r}".encode(), digest_size=8).hexdigest()
    title = re.sub(r"[^A-Za-z0-9]+", "_", root.resolve().name).strip("_")[:40] or "folder"
    return f"{title}-{digest}"
