"""Which images a run was trained on: remembered in its workdir, and compared when it is gone on with or asked."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cellfx.data.source import Source, Split
from cellfx.files.whole import read_mapping, write_whole

DATA, FILES = "data.json", "data_files.npz"
_NAME = "Metadata_File"
_SHOWN = 3


class _File(NamedTuple):
    """What is remembered of a file."""

    label: str
    split: str
    checksum: int


def check_data(workdir: Path, source: Source) -> tuple[str, ...]:
    """Remembers which example a run has in which split, and refuses other data later.

    A folder that has changed since would move plates between training and test. ``data.json`` holds a digest of names,
    labels and metadata by split; ``data_files.npz`` what is needed to tell what has changed: the name of every file,
    its class, its split and the checksum of its content.

    Returns:
        A line if files have changed their content and nothing else.

    Raises:
        ValueError: the data is not that which the workdir was trained on; the message names the files that differ.
    """
    found = _digests(source)
    path = workdir / DATA
    if not path.exists():
        if jax.process_index() == 0:
            if (files := _files_of(source)) is not None:
                write_whole(workdir / FILES, _packed(files))
            write_whole(path, json.dumps(found, indent=2).encode())
        return ()
    expected = read_mapping(path)
    now, before = _files_of(source), _read(workdir / FILES)
    if found != expected:
        told = _told(found, expected, now, before)
        since = f"the data of {source.name} has changed since {workdir} was trained"
        raise ValueError(f"{since}: {told}; expected the same as then; restore the data, or train in another --workdir")
    changed = [] if not now or not before else [name for name in now if now[name].checksum != before[name].checksum]
    if not changed:
        return ()
    told = f"have another content than when {workdir} was trained, such as {changed[0]}"
    now_on = "whatever is computed now is of the files as they are now"
    return (f"{len(changed):,} of {len(now):,} files of {source.name} {told}; {now_on}",)


def is_kept(workdir: Path, source: Source) -> bool:
    """Whether ``check_data`` has remembered data in a workdir, and would take that of a source for the same."""
    path = workdir / DATA
    return path.exists() and read_mapping(path) == _digests(source)


def _digests(source: Source) -> dict[str, dict[str, Any]]:
    return {name: _digest(split) for name, split in sorted(source.splits.items())}


def _digest(split: Split) -> dict[str, Any]:
    """Number of examples and a digest of their labels and metadata, which name the files."""
    digest = hashlib.sha256()
    for name, values in sorted(split.metadata.items()):
        digest.update(name.encode() + np.ascontiguousarray(values).astype(str).tobytes())
    if split.arrays is not None and "label" in split.arrays:
        digest.update(np.ascontiguousarray(split.arrays["label"]).tobytes())
    return {"num_examples": split.num_examples, "sha256": digest.hexdigest()}


def _files_of(source: Source) -> dict[str, _File] | None:
    """File by name; None where examples come from no files."""
    files = {}
    for name, split in source.splits.items():
        if split.checksums is None or _NAME not in split.metadata:
            return None
        labels = split.metadata["Metadata_Class"].tolist()
        if split.arrays is not None and "label" in split.arrays:
            labels = [source.class_names[label] for label in split.arrays["label"].tolist()]
        known = zip(split.metadata[_NAME].tolist(), labels, split.checksums.tolist(), strict=True)
        files |= {file: _File(label, name, checksum) for file, label, checksum in known}
    return files


def _packed(files: Mapping[str, _File]) -> bytes:
    rows = list(files.values())
    texts = {"name": list(files), "label": [row.label for row in rows], "split": [row.split for row in rows]}
    buffer = io.BytesIO()
    arrays = {name: np.array(values, np.str_) for name, values in texts.items()}
    np.savez_compressed(buffer, **arrays, checksum=np.array([row.checksum for row in rows], np.uint32))
    return buffer.getvalue()


def _read(path: Path) -> dict[str, _File] | None:
    """What ``_packed`` wrote; None for a run that is older than that."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = [file[name].tolist() for name in ("name", "label", "split", "checksum")]
    except Exception as error:  # zip, NumPy and missing names each fail in their own way
        raise ValueError(f"{path} is damaged: got {error}, expected the files of a run; restore it") from error
    return {file: _File(*rest) for file, *rest in zip(*columns, strict=True)}


def _told(
    found: Mapping[str, Any],
    expected: Mapping[str, Any],
    now: Mapping[str, _File] | None,
    before: Mapping[str, _File] | None,
) -> str:
    """What has changed."""
    if now is not None and before is not None:
        both = [name for name in now if name in before]
        kinds = {
            "gone": [name for name in before if name not in now],
            "new": [name for name in now if name not in before],
            "of another class": [name for name in both if now[name].label != before[name].label],
            "in another split": [name for name in both if now[name].split != before[name].split],
            "of another content": [name for name in both if now[name].checksum != before[name].checksum],
        }
        told = [_counted(names, what) for what, names in kinds.items() if names]
        return ", ".join(told) or "the same files with other metadata"
    counts = {name: part["num_examples"] for name, part in found.items()}
    then = {name: part["num_examples"] for name, part in expected.items()}
    return f"{counts} examples, {then} then, and no list of the files of then to tell which differ"


def _counted(names: Iterable[str], what: str) -> str:
    names = sorted(names)
    shown = ", ".join([*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])])
    return f"{len(names):,} {'file is' if len(names) == 1 else 'files are'} {what} ({shown})"
