"""What the decoders of image files give: pixels, what their axes are, and which way up they are."""

from typing import NamedTuple

import numpy as np


class RefusedImageError(ValueError):
    """A whole file of which only a part would be read, or with pixels that mean something else.

    The message goes on after the path of the file.
    """


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        pixels: as stored, in the order of ``axes``.
        axes: a letter for each axis, as tifffile names them: Y, X, C for channels, S for samples ...
        names: of the channels; empty where the file does not name every one.
        orientation: 1 to 8, as the tag Orientation of TIFF 6.0 and EXIF has it.
    """

    pixels: np.ndarray
    axes: str
    names: tuple[str, ...] = ()
    orientation: int = 1


def through_palette(indices: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The colors that indices stand for.

    Args:
        indices: (...) unsigned.
        colors: (n, 3) red, green and blue.

    Returns:
        (...) where the whole palette is gray, otherwise (..., 3).
    """
    if int(indices.max()) >= len(colors):
        raise RefusedImageError(
            f"holds the index {indices.max()} into a palette of {len(colors)} colors; expected a smaller one; save it "
            "again without a palette"
        )
    is_gray = np.array_equal(colors[:, 0], colors[:, 1]) and np.array_equal(colors[:, 0], colors[:, 2])
    return (colors[:, 0] if is_gray else colors)[indices]


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image (H, W, C) the way up that viewers show it in; ``orientation`` as in ``Decoded``."""
    if orientation >= 5:  # the first row is the left or right side
        image = image.swapaxes(0, 1)
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
