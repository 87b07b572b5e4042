"""Trains the model of one config, once or by seed or fold as its section ``repeats`` says: ``bin/train`` as a stage."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellfx.runs import repeats as runs
from cellfx.runs.parts import paths_of
from cellfx.runs.rehearsal import Rehearsed

Section = Mapping[str, Any]
FOLDER = "folder"
"""Key of ``data`` whose files older versions digested alone: what they finished over nothing else is not done again."""


def train(
    folder: Path,
    inputs: Mapping[str, Path],
    data: Section,
    input: Section,
    model: Section,
    optim: Section,
    train: Section,
    probe: Section | None = None,
    repeats: Section | None = None,
) -> None:
    """Trains, measures and reports; the sections are those of ``bin/train``'s configs.

    Args:
        folder: a workdir, or that of several: see ``run_folders``.
        inputs: nothing is read from them.
        data: the data set.
        input: the input pipeline.
        model: the model.
        optim: the optimizer.
        train: epochs, seed, how often to save.
        probe: what is measured.
        repeats: how many runs, and what differs between them.
    """
    runs.run(_config(data, input, model, optim, train, probe, repeats), folder)


def check(
    data: Section,
    input: Section,
    model: Section,
    optim: Section,
    train: Section,
    probe: Section | None = None,
    repeats: Section | None = None,
    **others: Any,
) -> Rehearsed:
    """What the model will be like; a ValueError for what can be seen to be wrong without loading the data."""
    del others
    return runs.check(_config(data, input, model, optim, train, probe, repeats))


def outside(data: Section, **others: Any) -> str | None:
    """Digest of name, size and time of every file that the data is read from, as far as it is read from any.

    Raises:
        FileNotFoundError: a file or folder that is not there.
    """
    del others
    listed, paths = [], paths_of(data)
    for name, root in paths.items():
        if not root.exists():
            raise FileNotFoundError(
                f"no such file or folder: got data.{name} {root}, expected one; correct data.{name}"
            )
        files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
        stats = [(str(path.relative_to(root)), path.stat()) for path in files]
        key = () if name == FOLDER else (name,)
        listed += [(*key, file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest() if paths else None


def run_folders(folder: Path) -> dict[str, Path]:
    """``run0`` -> folder for every run of the stage; the one run of a stage without repeats is ``run0`` too."""
    found = sorted((path for path in folder.glob("run*") if path.is_dir()), key=lambda path: int(path.name[3:]))
    return {path.name: path for path in found} or {"run0": folder}


def first_run(folder: Path) -> Path:
    """The folder of the stage's first run."""
    return run_folders(folder)["run0"]


def _config(
    data: Section,
    input: Section,
    model: Section,
    optim: Section,
    train: Section,
    probe: Section | None,
    repeats: Section | None,
) -> dict[str, Any]:
    config = {"data": data, "input": input, "model": model, "optim": optim, "train": train}
    optional = {"probe": probe, "repeats": repeats}
    return json.loads(json.dumps(config | {name: section for name, section in optional.items() if section}))
