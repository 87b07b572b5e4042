"""Folders of class-named folders of images: which files there are, and what their names tell.

folder/Interphase/cell_1.png
folder/Metaphase/cell_2.ome.tif
"""

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

SUFFIXES = (".png", ".tif", ".tiff")


class Folder(NamedTuple):
    """The images of a folder, ordered by class and file name.

    Attributes:
        root: the folder.
        class_names: K names, in the order of the labels.
        files: N paths relative to ``root``, with ``/`` between class and file name.
        labels: (N,) int32, index into ``class_names``.
        fingerprint: hexadecimal digest of the path, size and times of every file.
    """

    root: Path
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    labels: np.ndarray
    fingerprint: str


def scan(folder: str | os.PathLike[str], classes: Sequence[str] | None = None) -> Folder:
    """Lists the images of a folder without opening them.

    The fingerprint takes the time of the last change of the inode in as well as that of the content: two files of the
    same size and date that swap their names are noticed. A copy of the folder has a fingerprint of its own.

    Args:
        folder: holds one folder per class; files whose names start with a dot or end in none of ``SUFFIXES`` are not
            looked at.
        classes: the classes to take, in the order of their labels; None takes all, sorted by name.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: no class folders, an unknown or repeated class, a class without images, a link out of the folder.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(
            f"the image folder {root} does not exist; expected a folder with one folder of images per class; "
            "check the path"
        )
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected a folder with one folder of images per class")
    names = _class_names(root, classes)
    files, labels, digest = [], [], hashlib.blake2b(digest_size=16)
    for label, name in enumerate(names):
        entries = _image_entries(root, name)
        for entry in entries:
            stat = entry.stat()
            files.append(f"{name}/{entry.name}")
            digest.update(f"{files[-1]}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode())
        labels += [label] * len(entries)
    return Folder(root, names, tuple(files), np.array(labels, np.int32), digest.hexdigest())


def _class_names(root: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise ValueError(
            f"no class folders in {root}; expected one folder of images per class, such as {root}/Interphase; "
            "unlabelled images go into one folder"
        )
    if classes is None:
        return tuple(found)
    for name in classes:
        if name not in found:
            raise ValueError(f"unknown class {name!r} in {root}; {nearest(name, found)}")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be different names, at least one; got {list(classes)}")
    return tuple(classes)


def _image_entries(root: Path, class_name: str) -> list[os.DirEntry[str]]:
    entries = sorted(
        (
            entry
            for entry in os.scandir(root / class_name)
            if not entry.name.startswith(".") and entry.name.lower().endswith(SUFFIXES)
        ),
        key=lambda entry: entry.name,
    )
    if not entries:
        raise ValueError(
            f"class folder {root / class_name} is empty: it holds no file ending in {', '.join(SUFFIXES)}; "
            "add images, remove the folder or leave it out of classes"
        )
    inside = root.resolve()
    for path in [root / class_name, *(Path(entry.path) for entry in entries if entry.is_symlink())]:
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path} is a link out of the folder {root}; expected images inside it; copy them there")
    return entries


def nearest(name: str, choices: Sequence[str]) -> str:
    """The end of a message about an unknown name: the most similar choice, and all of them if they are few."""
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)
    listed = f" (there are {', '.join(choices)})" if len(choices) <= 20 else ""
    return f"did you mean {close[0]!r}?{listed}" if close else "there are none"


def parse_names(files: Sequence[str], regex: str | None) -> dict[str, np.ndarray]:
    """Metadata that the paths of images tell.

    Args:
        files: N paths ``class/file``, as in ``Folder``.
        regex: searched in the file name, without the class; each named group becomes a column. None: no such columns.

    Returns:
        Column -> (N,) array of text: ``Metadata_File`` the path, ``Metadata_Class``, and ``Metadata_<Group>``.

    Raises:
        ValueError: not a regular expression, without named groups, or one that does not match a file name.
    """
    columns = {
        "Metadata_File": np.array(files, np.str_),
        "Metadata_Class": np.array([file.partition("/")[0] for file in files], np.str_),
    }
    if regex is None:
        return columns
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ValueError(f"metadata_regex {regex!r} is not a regular expression: {error}") from None
    if not pattern.groupindex or {"File", "Class"} & set(pattern.groupindex):
        raise ValueError(
            f"metadata_regex {regex!r} needs named groups other than File and Class, such as (?P<Plate>[^_]+)"
        )
    matches = [_match(pattern, file) for file in files]
    return columns | {
        f"Metadata_{group}": np.array([match[group] or "" for match in matches], np.str_)
        for group in pattern.groupindex
    }


def _match(pattern: re.Pattern[str], file: str) -> re.Match[str]:
    match = pattern.search(file.partition("/")[2])
    if match is None:
        raise ValueError(
            f"metadata_regex does not match the name of {file}; got {pattern.pattern!r}; expected it to match "
            "every file; change the expression or remove the file"
        )
    return match
