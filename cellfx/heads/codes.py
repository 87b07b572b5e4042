"""Cached latents of a data set in all views of every image: what heads and formulas are made from, in one file."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.data.source import SPLITS
from cellfx.files.whole import write_whole
from cellfx.settings import nearest


class Codes(NamedTuple):
    """Latents and what is known of the images.

    Attributes:
        views: (V, N, L) float32; the first view is the image as it is, see ``findings.classes.symmetric_views``.
        label: (N,) int32, an index into the class names.
        split: (N,) text, each of ``SPLITS``.
        class_names: K names.
        group: (N,) int32, for instance the plate; None where unknown.
        factors: (N, F) float32; None where unknown.
        factor_names: F names.
    """

    views: np.ndarray
    label: np.ndarray
    split: np.ndarray
    class_names: tuple[str, ...]
    group: np.ndarray | None = None
    factors: np.ndarray | None = None
    factor_names: tuple[str, ...] = ()


def save(path: Path, codes: Codes) -> None:
    """Writes codes to one .npz."""
    arrays = {
        "views": np.asarray(codes.views, np.float32),
        "label": np.asarray(codes.label, np.int32),
        "split": np.asarray(codes.split, np.str_),
        "class_names": np.asarray(codes.class_names, np.str_),
        "factor_names": np.asarray(codes.factor_names, np.str_),
    }
    known = {"group": codes.group, "factors": codes.factors}
    file = io.BytesIO()
    np.savez(file, **arrays, **{name: values for name, values in known.items() if values is not None})
    write_whole(Path(path), file.getvalue())


def load(path: Path) -> Codes:
    """Reads what ``save`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of codes, or its arrays do not fit each other.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no codes {path}; expected the .npz file of latents that a study's embed stage writes; run the study first"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        names = {name: tuple(arrays.pop(name).tolist()) for name in ("class_names", "factor_names")}
        codes = Codes(**arrays, **names)
    except Exception as error:  # zip, NumPy and missing names each fail in their own way
        raise ValueError(
            f"{path} holds no codes: got {type(error).__name__}: {error}, expected the .npz file that a study's embed "
            f"stage writes; write it again"
        ) from error
    check(codes)
    return codes


def check(codes: Codes) -> None:
    """Raises a ValueError for arrays that do not fit each other, an unknown split or a label without a name."""
    shapes = {"label": codes.label, "split": codes.split, "group": codes.group, "factors": codes.factors}
    lengths = {name: len(values) for name, values in shapes.items() if values is not None}
    if codes.views.ndim != 3 or set(lengths.values()) != {codes.views.shape[1]}:
        raise ValueError(
            f"codes that do not fit each other: got views {codes.views.shape} and {lengths}, expected (views, rows, "
            f"latents) and as many rows of each; encode the images again"
        )
    unknown = sorted(set(codes.split.tolist()) - set(SPLITS))
    if unknown:
        raise ValueError(f"unknown split in the codes: got {unknown[0]!r}, expected one of {SPLITS}; correct it")
    if len(codes.label) and not 0 <= codes.label.min() <= codes.label.max() < len(codes.class_names):
        raise ValueError(
            f"labels without a name: got labels from {codes.label.min()} to {codes.label.max()}, expected 0 to "
            f"{len(codes.class_names) - 1} for {', '.join(codes.class_names) or 'no class'}; correct them"
        )


def check_classes(codes: Codes, splits: Sequence[str] = ("train", "test")) -> None:
    """Raises a ValueError for a class that some split has no image of, as small folds may have."""
    for split in splits:
        seen = codes.label[codes.split == split]
        missing = [name for label, name in enumerate(codes.class_names) if label not in seen]
        if missing:
            raise ValueError(
                f"a class is missing from a split: got no image of {missing[0]!r} among the {len(seen)} of split "
                f"{split}, expected some of every class; choose another fold, fewer folds or other classes"
            )


def select(codes: Codes, rows: np.ndarray) -> Codes:
    """Some rows of codes.

    Args:
        codes: N rows.
        rows: (N,) bool or (M,) indices.
    """
    kept = {name: values[rows] for name, values in codes._asdict().items() if name in _BY_ROW and values is not None}
    return codes._replace(views=codes.views[:, rows], **kept)


def of_split(codes: Codes, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Views (V, M, L) and labels (M,) of one split, in the order of the codes."""
    rows = codes.split == split
    return codes.views[:, rows], codes.label[rows]


def grouped(codes: Codes, classes: Mapping[str, Sequence[str]] | None) -> Codes:
    """The rows of some classes, labeled by groups of them.

    Args:
        codes: with class names.
        classes: name of a group -> names of the classes it holds; None keeps the codes as they are.

    Raises:
        ValueError: no group, an unknown class, one in two groups, or a group that no row belongs to.
    """
    if classes is None:
        return codes
    if not classes:
        raise ValueError("no class is kept: got no group, expected two or more; name some, or None for all classes")
    label_of = np.full(len(codes.class_names), -1, np.int32)
    for label, (group, members) in enumerate(classes.items()):
        for member in members:
            if member not in codes.class_names:
                raise ValueError(f"unknown class {member!r} in group {group!r}; {nearest(member, codes.class_names)}")
            index = codes.class_names.index(member)
            if label_of[index] >= 0:
                raise ValueError(
                    f"class {member!r} is in two groups: got {list(classes)[label_of[index]]!r} and {group!r}, "
                    f"expected one; remove it from the other"
                )
            label_of[index] = label
    labels = label_of[codes.label]
    empty = [group for label, group in enumerate(classes) if label not in labels]
    if empty:
        raise ValueError(
            f"a group without rows: got none of the classes {list(classes[empty[0]])} of group {empty[0]!r} in the "
            f"codes, expected some; correct the groups"
        )
    kept = select(codes, labels >= 0)
    return kept._replace(label=labels[labels >= 0], class_names=tuple(classes))


_BY_ROW = ("label", "split", "group", "factors")
