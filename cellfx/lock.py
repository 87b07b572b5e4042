"""Whose a workdir is: that of the config it was started with, and of one process at a time."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import jax

from cellfx.errors import UserError
from cellfx.settings import Config, flat, read_mapping, to_dict, write_whole


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
