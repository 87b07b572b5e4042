"""Folders of class-named folders of images: which files there are, and what their names tell.

folder/Interphase/cell_1.png
folder/Metaphase/cell_2.ome.tif
"""

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.data.images.image_files import SUFFIXES
from cellfx.data.images.noticed import images_below, is_image, of_inner_folders, of_loose, of_other_suffixes, of_twins


class Folder(NamedTuple):
    """The images of a folder, ordered by class and file name.

    Attributes:
        root: the folder.
        class_names: K names, in the order of the labels.
        files: N paths relative to ``root``, with ``/`` between class and file name.
        labels: (N,) int32, index into ``class_names``.
        fingerprint: hexadecimal digest of the path, size and times of every file.
        notices: lines about images that are not looked at.
    """

    root: Path
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    labels: np.ndarray
    fingerprint: str
    notices: tuple[str, ...] = ()


def scan(
    folder: str | os.PathLike[str], classes: Sequence[str] | None = None, suffixes: Sequence[str] = SUFFIXES
) -> Folder:
    """Lists the images of a folder without opening them.

    The fingerprint takes the time of the last change of the inode in as well as that of the content: two files of the
    same size and date that swap their names are noticed. A copy of the folder has a fingerprint of its own.

    Args:
        folder: holds one folder per class; files whose names start with a dot or end in none of ``suffixes`` are not
            looked at, nor what lies in folders within those of the classes. Where these are images, ``notices`` tell.
        classes: the classes to take, in the order of their labels; None takes all, sorted by name.
        suffixes: ends of the names of images, in lower case.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: no class folders, an unknown or repeated class, a class without images, a link out of the folder.
    """
    root = existing(folder, "a folder with one folder of images per class")
    names, loose = _class_names(root, classes)
    files, labels, others, inner = [], [], [], []
    for label, name in enumerate(names):
        entries, rest = _image_entries(root, name, suffixes)
        files += [f"{name}/{entry.name}" for entry in entries]
        labels += [label] * len(entries)
        inner += [Path(entry.path) for entry in rest if entry.is_dir()]
        others += [f"{name}/{entry.name}" for entry in rest if is_image(entry.name) and not entry.is_dir()]
    unseen = [*of_other_suffixes(others, root, suffixes), *of_inner_folders(inner, root), *of_loose(loose, root)]
    notices = (*unseen, *of_twins(files, root))
    return Folder(root, names, tuple(files), np.array(labels, np.int32), fingerprint(root, files), notices)


def existing(folder: str | os.PathLike[str], expected: str) -> Path:
    """The path of a folder that is there; ``expected`` is what the errors say it should be.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"the image folder {root} does not exist; expected {expected}; check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected {expected}")
    return root


def fingerprint(root: Path, files: Sequence[str]) -> str:
    """Hexadecimal digest of the path, size and times of files below a folder; see ``scan``.

    Raises:
        ValueError: a name that is not UTF-8.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        stat = (root / file).stat()
        try:
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode())
        except UnicodeEncodeError:
            raise ValueError(
                f"a name in {root} is not UTF-8: got {os.fsencode(file)!r}; expected UTF-8, which tables and reports "
                "are written in; rename it (convmv -r -f latin1 -t utf8 renames a whole folder)"
            ) from None
    return digest.hexdigest()


def _class_names(root: Path, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """The classes, and the names of the files beside their folders."""
    found, loose = [], []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if not entry.name.startswith("."):
            (found if entry.is_dir() else loose).append(entry.name)
    if not found:
        raise ValueError(
            f"no class folders in {root}; expected one folder of images per class, such as {root}/Interphase; "
            "unlabeled images go into one folder"
        )
    return choose_classes(classes, found, root), loose


def choose_classes(
    classes: Sequence[str] | None, found: Sequence[str], place: str | os.PathLike[str]
) -> tuple[str, ...]:
    """The classes to take, in the order of their labels: those asked for, or all that were found in a place.

    Raises:
        ValueError: an unknown class, one that is named twice, or none.
    """
    if classes is None:
        return tuple(found)
    for name in classes:
        if name not in found:
            raise ValueError(f"unknown class {name!r} in {place}; {nearest(name, found)}")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be different names, at least one; got {list(classes)}")
    return tuple(classes)


def _image_entries(
    root: Path, class_name: str, suffixes: Sequence[str]
) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """What is in the folder of a class, by name: the images to read, and the rest."""
    entries, rest, ends = [], [], tuple(suffixes)
    for entry in sorted(os.scandir(root / class_name), key=lambda entry: entry.name):
        if not entry.name.startswith("."):
            (entries if entry.name.lower().endswith(ends) else rest).append(entry)
    if not entries:
        below = images_below(root / class_name)
        told = f", but images of other formats or in inner folders: {len(below):,}, such as {below[0]}" if below else ""
        raise ValueError(
            f"class folder {root / class_name} is empty: it holds no file ending in {', '.join(suffixes)}{told}; "
            "add images, remove the folder or leave it out of classes"
        )
    check_inside(root, [root / class_name, *(Path(entry.path) for entry in entries if entry.is_symlink())])
    return entries, rest


def check_inside(root: Path, paths: Iterable[Path]) -> None:
    """Raises a ValueError for a path that a link leads out of the folder."""
    inside = root.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path} is a link out of the folder {root}; expected images inside it; copy them there")


def nearest(name: str, choices: Sequence[str]) -> str:
    """The end of a message about an unknown name: the most similar choice, and all of them if they are few."""
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)
    listed = f" (there are {', '.join(choices)})" if len(choices) <= 20 else ""
    return f"did you mean {close[0]!r}?{listed}" if close else "there are none"


class NameMismatch(ValueError):
    """A file whose name tells no metadata, as ``metadata_regex`` does not match it."""


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
    return columns | named_groups(files, [file.partition("/")[2] for file in files], regex, ("File", "Class"))


def named_groups(
    files: Sequence[str], texts: Sequence[str], regex: str | None, taken: Sequence[str]
) -> dict[str, np.ndarray]:
    """Metadata that a regular expression finds.

    Args:
        files: N paths, for the errors.
        texts: N texts to search in, parts of the paths or all of them.
        regex: each named group becomes a column. None: no columns.
        taken: names that no group may have.

    Returns:
        ``Metadata_<Group>`` -> (N,) array of text.

    Raises:
        ValueError: not a regular expression, or without named groups; NameMismatch: it does not match a text.
    """
    if regex is None:
        return {}
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ValueError(f"metadata_regex {regex!r} is not a regular expression: {error}") from None
    if not pattern.groupindex or set(taken) & set(pattern.groupindex):
        names = f"{', '.join(taken[:-1])} and {taken[-1]}"
        raise ValueError(f"metadata_regex {regex!r} needs named groups other than {names}, such as (?P<Plate>[^_]+)")
    matches = [_match(pattern, file, text) for file, text in zip(files, texts, strict=True)]
    return {
        f"Metadata_{group}": np.array([match[group] or "" for match in matches], np.str_)
        for group in pattern.groupindex
    }


def _match(pattern: re.Pattern[str], file: str, text: str) -> re.Match[str]:
    match = pattern.search(text)
    if match is None:
        raise NameMismatch(
            f"metadata_regex does not match the name of {file}; got {pattern.pattern!r}; expected it to match "
            "every file; change the expression or remove the file"
        )
    return match
