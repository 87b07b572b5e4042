"""Files that a command writes: each is there whole or not at all, and one that is damaged is named in one line."""

import json
import os
from pathlib import Path
from typing import Any

from cellfx.checks import UserError


def read_mapping(path: Path) -> dict[str, Any]:
    """A file of a workdir that ``write_whole`` wrote: a JSON object.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, str(error), "JSON") from error
    if not isinstance(found, dict):
        raise _damaged(path, f"{type(found).__name__}", "a JSON object")
    return found


def _damaged(path: Path, got: str, expected: str) -> UserError:
    return UserError(f"{path} is damaged: got {got}, expected {expected}; restore it or use a new workdir")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
