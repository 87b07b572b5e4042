"""Whose a workdir is: that of the config it was started with, and of one process at a time."""

import contextlib
import fcntl
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from cellfx.checks import UserError
from cellfx.files.whole import read_mapping, write_whole
from cellfx.settings import Config, flat, to_dict


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other processes from training in the same workdir; the lock ends with the process, however it ends.

    Raises:
        ValueError: another process holds it.
    """
    if jax.process_index():
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{workdir} is in use: got a lock held by another process, expected none; wait for it, or choose "
                f"another --workdir"
            ) from None
        yield


def check_owner(workdir: Path, config: Config) -> None:
    """Makes sure that a workdir is new or was started with the same config.

    Raises:
        ValueError: the workdir belongs to another config; the message names what differs.
    """
    new = dict(flat(_trained_by(to_dict(config))))
    path = workdir / "config.json"
    old = dict(flat(_trained_by(read_mapping(path)))) if path.exists() else new
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    changed = [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in keys]
    if changed:
        moved = ""
        if set(keys) <= {"data.folder", "data.labels", "data.kept"}:
            moved = f"; if the same data was only moved, write its new place into {path}"
        raise UserError(
            f"{workdir} belongs to another config: got {'; '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}, "
            f"expected the config it was started with; choose another --workdir{moved}"
        )


def _trained_by(settings: Config) -> Config:
    """The settings without those that only say how a trained model is measured, or how others are looked for."""
    return {name: section for name, section in settings.items() if name not in ("probe", "tune")}


def claim(workdir: Path, config: Config) -> None:
    """Makes the workdir and writes its config.json; see ``check_owner``."""
    check_owner(workdir, config)
    if jax.process_index() == 0:
        write_whole(workdir / "config.json", json.dumps(to_dict(config), indent=2).encode())


def read_config(workdir: Path) -> dict[str, Any]:
    """The config of a workdir.

    Raises:
        FileNotFoundError: it is no workdir.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} is no workdir: it has no config.json; expected the folder of a bin/train run"
        )
    return read_mapping(path)


def notice(lines: Iterable[str]) -> None:
    """What is odd but no error, a line each on stderr."""
    for line in lines if jax.process_index() == 0 else ():
        print(f"notice: {line}", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """One line for the person who started the command."""
    if jax.process_index() == 0:
        print(line, flush=True)
