"""What a person should know of a folder of images before training on it: left aside, cut off, or empty."""

import collections
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

# fmt: off
IMAGE_SUFFIXES = (
    ".png", ".apng", ".tif", ".tiff", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".jp2",
    ".j2k", ".jxl", ".heic", ".avif", ".svs", ".ndpi", ".lsm", ".stk", ".czi", ".nd2", ".lif", ".oib", ".oif",
    ".vsi", ".ims", ".dv", ".mrxs", ".cif", ".rif", ".daf", ".dcm", ".pgm", ".ppm", ".pnm", ".tga", ".exr", ".fits",
    ".npy",
)
# fmt: on
"""Ends, in lower case, of the names of files that hold images, whether they are read here or not."""

_SHOWN = 10


def is_image(name: str) -> bool:
    """Whether a file with that name holds an image, as far as its name tells."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def of_other_suffixes(files: Sequence[str], root: Path, suffixes: Sequence[str]) -> list[str]:
    """A line if there are images of formats that are not read.

    Args:
        files: relative to ``root``, not looked at.
        root: the folder.
        suffixes: those that are read.
    """
    kinds = collections.Counter(Path(file).suffix.lower() for file in files)
    shown = ", ".join(f"{count:,} {'end' if count > 1 else 'ends'} in {kind}" for kind, count in kinds.most_common())
    return _not_looked_at(files, root, f": {shown}, such as", f"expected {', '.join(suffixes)}; convert or remove them")


def of_inner_folders(folders: Iterable[Path], root: Path) -> list[str]:
    """A line if there are images in folders below those of the classes."""
    found = [path.relative_to(root).as_posix() for folder in folders for path in images_below(folder)]
    expected = "expected images in the folder of their class itself; move them there"
    return _not_looked_at(found, root, ", in folders within those of the classes, such as", expected)


def of_loose(names: Sequence[str], root: Path) -> list[str]:
    """A line if images lie beside the folders of the classes."""
    expected = "expected images in the folder of their class; move or remove them"
    return _not_looked_at([name for name in names if is_image(name)], root, ", beside the class folders:", expected)


def _not_looked_at(files: Sequence[str], root: Path, where: str, expected: str) -> list[str]:
    if not files:
        return []
    count = f"{len(files):,} image files of {root} are" if len(files) > 1 else f"1 image file of {root} is"
    first = files[0].encode(errors="replace").decode()  # of a name that is not UTF-8
    return [f"{count} not looked at{where} {first}; {expected}"]


def of_twins(files: Sequence[str], root: Path) -> list[str]:
    """A line if files differ in their suffix alone, as previews that lie beside the images do."""
    stems = [os.path.splitext(file)[0] for file in files]
    twins = [file for file, count in zip(files, map(collections.Counter(stems).get, stems), strict=True) if count > 1]
    if not twins:
        return []
    told = f"differ from others in their suffix alone, such as {twins[0]} and {twins[1]}"
    expected = "expected each image once, or models are tested on what they learned from; remove one of each"
    return [f"{len(twins):,} images of {root} {told}; {expected}"]


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and those within it."""
    return [
        Path(place, name)
        for place, folders, names in os.walk(folder)
        if not Path(place).name.startswith(".")
        for name in sorted(names)
        if is_image(name)
    ]


def list_sizes(sizes: Mapping[str, int]) -> str:
    """The sizes of images, such as ``64x80``, and how many have each; the first few of them."""
    listed = [f"{size} {count:,}" for size, count in sizes.items()]
    more = [f"{len(listed) - _SHOWN} sizes more"] if len(listed) > _SHOWN else []
    return ", ".join(listed[:_SHOWN] + more)


def of_sizes(sizes: Mapping[str, int], image_size: int) -> list[str]:
    """A line if images are larger than what is cut out of them.

    Args:
        sizes: number of images by size, such as ``64x80``.
        image_size: height and width of the prepared images.
    """
    larger = {tuple(map(int, size.split("x"))): count for size, count in sizes.items()}
    larger = {size: count for size, count in larger.items() if max(size) > image_size}
    if not larger:
        return []
    height, width = max(larger, key=lambda size: (size[0] * size[1], size))
    counts = f"{sum(larger.values()):,} of {sum(sizes.values()):,}"
    largest = f"the largest is {height}x{width}"
    return [f"{counts} images are larger than image_size {image_size} and are cropped; {largest}"]


def constant_value(image: np.ndarray) -> int | None:
    """The largest value of an image (H, W, C) of which each channel is constant; None for any other."""
    flat = image.reshape(-1, image.shape[-1])
    return int(flat[0].max()) if np.array_equal(flat.min(axis=0), flat.max(axis=0)) else None


def of_constant(
    constant: Sequence[tuple[int, int]], labels: np.ndarray, class_names: Sequence[str], files: np.ndarray
) -> list[str]:
    """A line if there is nothing to see in some images.

    Args:
        constant: row and value of every image whose pixels are all alike.
        labels: (N,) of all images.
        class_names: names of the labels.
        files: (N,) their names.
    """
    if not constant:
        return []
    rows = [row for row, _ in constant]
    what = "all pixels 0" if not any(value for _, value in constant) else "one value in all pixels"
    counts, totals = (np.bincount(some, minlength=len(class_names)) for some in (labels[rows], labels))
    each = zip(class_names, counts, totals, strict=True)
    shown = [f"{count:,} of {total:,} of {name}" for name, count, total in each if count]
    listed = ", ".join([*shown[:5], *(["..."] if len(shown) > 5 else [])])
    return [f"{len(rows):,} of {len(labels):,} images are constant ({what}): {listed}, such as {files[rows[0]]}"]
