"""The objects of a folder of cytometer images: which files belong to each, its class, and what is known of it.

folder/G1/cell00016.ome.tif                                  an object in one file of all channels
folder/G1/123_Ch1.ome.tif, folder/G1/123_Ch5.ome.tif         an object in one file per channel, as IDEAS exports them
"""

import collections
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.data.images.folder import check_inside, choose_classes, existing, fingerprint, named_groups, scan
from cellfx.data.images.image_files import Planes, read_planes
from cellfx.data.images.noticed import is_image, of_other_suffixes
from cellfx.data.images.tables import ClassTable, read_classes

SUFFIXES = (".tif", ".tiff")
_TAKEN = ("File", "Class", "Height_px", "Width_px")  # columns that are not told by names
_STEM = re.compile(r"(?P<object>.*?)(?:_Ch(?P<channel>\d+))?(?:\.ome)?\.tiff?", re.IGNORECASE | re.DOTALL)


class Objects(NamedTuple):
    """The objects of a folder.

    Attributes:
        root: the folder.
        class_names: K names, in the order of the labels.
        files: N objects; of each the paths relative to ``root`` of its file, or of its files in the order of channels.
        labels: (N,) int32, index into ``class_names``.
        channels: names of the channels that the names of the files tell; empty where an object is one file.
        columns: ``Metadata_...`` -> (N,) text, or whole numbers where all of a column are.
        fingerprint: hexadecimal digest of the path, size and times of every file.
        notices: lines about images that are not looked at.
    """

    root: Path
    class_names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    channels: tuple[str, ...]
    columns: dict[str, np.ndarray]
    fingerprint: str
    notices: tuple[str, ...] = ()


def find_objects(
    folder: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    table: ClassTable | None = None,
    metadata_regex: str | None = None,
    on_error: str = "raise",
) -> Objects:
    """Lists the objects of a folder without opening an image.

    Args:
        folder: holds one folder of TIFF files per class; with a table, TIFF files in any arrangement.
        classes: the classes to take, in the order of their labels; None takes all, sorted by name.
        table: tells the classes in place of the folders.
        metadata_regex: searched in the path of every object's first file, relative to ``folder`` and with ``/`` between
            its parts; each named group becomes a column ``Metadata_<Group>``.
        on_error: ``raise``, or ``skip`` to leave out what a table and the files do not both have.

    Returns:
        The objects by class and path. ``Metadata_File`` is the path of the first file. ``Metadata_Object`` is what the
        group ``Object`` tells, otherwise the number that the name of the file ends with, before the channel.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder or table.
        ValueError: see ``scan``, ``named_groups`` and ``read_classes``; or an object lacks the file of a channel.
    """
    if table is None:
        listed = scan(folder, classes, SUFFIXES)
        root, found, notices = listed.root, listed.files, listed.notices
    else:
        root = existing(folder, "a folder of images")
        found, notices = _images_below(root)
    files, channels = _grouped(found, root)
    first = [group[0] for group in files]
    columns = {"Metadata_File": np.array(first, np.str_)} | named_groups(first, first, metadata_regex, _TAKEN)
    numbers = columns.get("Metadata_Object", np.array([_number_at_end(file) for file in first], np.str_))
    columns["Metadata_Object"] = _whole(numbers)
    if table is None:
        names: list[str | None] = [file.partition("/")[0] for file in first]
    else:
        names = read_classes(table, files, columns["Metadata_Object"], root, on_error)
    class_names = listed.class_names if table is None else _chosen(names, classes, table)
    labels = np.array([class_names.index(name) if name in class_names else -1 for name in names], np.int32)
    rows = np.argsort(labels, kind="stable")[np.sum(labels < 0) :]
    files, labels = tuple(files[row] for row in rows), labels[rows]
    columns = {name: values[rows] for name, values in columns.items()}
    columns["Metadata_Class"] = np.array(class_names, np.str_)[labels]
    found = [file for group in files for file in group]
    return Objects(root, class_names, files, labels, channels, columns, fingerprint(root, found), notices)


def read_object(objects: Objects, files: Sequence[str]) -> Planes:
    """All channels of an object.

    Args:
        objects: the object is one of these.
        files: its paths relative to the folder.

    Raises:
        UnreadableImageError: a file cannot be decoded.
        ValueError: see ``read_planes``; or files of one object that differ in size or in depth, or hold several planes.
    """
    if not objects.channels:
        return read_planes(objects.root / files[0])
    planes = [read_planes(objects.root / file, as_pages=True) for file in files]
    height, width = planes[0].pixels.shape[:2]
    for file, plane in zip(files, planes, strict=True):
        path, shape = objects.root / file, plane.pixels.shape
        if shape[2] != 1:
            raise ValueError(
                f"{path} holds {shape[2]} planes; expected one, of the channel that its name tells; save one plane, or "
                "rename files of all channels so that they do not end in _Ch and a number"
            )
        if shape[:2] != (height, width):
            raise ValueError(
                f"{path} has {shape[0]}x{shape[1]} pixels; expected {height}x{width}, as {files[0]} of the same object "
                "has; export the object again or remove its files"
            )
        if plane.depth != planes[0].depth:
            raise ValueError(
                f"{path} has {plane.depth} pixels; expected {planes[0].depth}, as {files[0]} of the same object has; "
                "convert or remove it"
            )
    checksum = zlib.crc32(np.array([plane.checksum for plane in planes], "<u4").tobytes())
    return Planes(np.concatenate([plane.pixels for plane in planes], axis=-1), (), planes[0].depth, checksum)


def _images_below(root: Path) -> tuple[list[str], tuple[str, ...]]:
    """The images, and lines about those of other formats."""
    found, others = [], []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = [Path(place, name) for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
        check_inside(root, (path for path in images if path.is_symlink()))
        found += [path.relative_to(root).as_posix() for path in images]
        rest = (Path(place, name) for name in sorted(names) if is_image(name) and not name.lower().endswith(SUFFIXES))
        others += [path.relative_to(root).as_posix() for path in rest]
    if not found:
        raise ValueError(
            f"no images in {root} or below: no file ends in {', '.join(SUFFIXES)}; expected TIFF files; check the path"
        )
    return sorted(found), tuple(of_other_suffixes(others, root, SUFFIXES))


def _grouped(files: Sequence[str], root: Path) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The files of each object, and the names of the channels where these are files of their own."""
    objects: dict[str, dict[int, str]] = {}
    whole = []
    for file in files:
        match = _STEM.fullmatch(file)
        if match["channel"] is None:
            whole.append(file)
        elif file != (other := objects.setdefault(match["object"], {}).setdefault(int(match["channel"]), file)):
            raise ValueError(f"{root / other} and {root / file} are the same channel of one object; remove one of them")
    if not objects:
        return tuple((file,) for file in whole), ()
    if whole:
        raise ValueError(
            f"{root / whole[0]} tells no channel, but {len(files) - len(whole)} other files of {root} do; expected all "
            "to end in _Ch and a number, or none; rename or remove it"
        )
    sets = collections.Counter(frozenset(channels) for channels in objects.values())
    expected = sorted(max(sets, key=lambda channels: (sets[channels], len(channels))))
    for channels in objects.values():
        _check_channels(channels, expected, root)
    names = tuple(f"Ch{_STEM.fullmatch(channels[number])['channel']}" for number in expected)
    return tuple(tuple(channels[number] for number in expected) for channels in objects.values()), names


def _check_channels(channels: dict[int, str], expected: Sequence[int], root: Path) -> None:
    got, wanted = (", ".join(f"Ch{number}" for number in sorted(numbers)) for numbers in (channels, expected))
    first = root / channels[min(channels)]
    if lacking := sorted(set(expected) - set(channels)):
        raise ValueError(
            f"the object of {first} lacks the file of its channel Ch{lacking[0]}; got {got}; expected {wanted}, as "
            "most objects have; add that file or remove the others"
        )
    if len(channels) > len(expected):
        raise ValueError(
            f"the object of {first} has files of more channels than most; got {got}; expected {wanted}; remove the "
            "file of the channel that is too many, or add it to all objects"
        )


def _number_at_end(file: str) -> str:
    return re.search(r"\d*\Z", _STEM.fullmatch(file)["object"]).group()


def _whole(values: np.ndarray) -> np.ndarray:
    """Whole numbers instead of text, where every value is one."""
    is_number = all(re.fullmatch(r"[0-9]{1,18}", value) for value in values.tolist())
    return values.astype(np.int64) if is_number else values


def _chosen(names: Sequence[str | None], classes: Sequence[str] | None, table: ClassTable) -> tuple[str, ...]:
    known = sorted({name for name in names if name is not None})
    if not known:
        raise ValueError(f"{table.path} tells the class of no image of the folder; expected a row for each; correct it")
    return choose_classes(classes, known, table.path)
