"""One process at a time in a workdir."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import jax

from cellfx.errors import UserError


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
