"""Size and sha256 of every file of a checkpoint, because damaged ones can be read without an error."""

import hashlib
import json
from pathlib import Path

MANIFEST = "manifest.json"


def write_manifest(folder: Path, step: int) -> None:
    """Writes ``manifest.json`` with all other files of the folder, to any depth."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": _sha256(path)} for path in paths}
    with (folder / MANIFEST).open("w") as file:
        json.dump({"step": step, "files": files}, file, indent=1)


def find_damage(folder: Path) -> str | None:
    """What is wrong with the files of a step, for a message; None if every byte agrees with the manifest.

    Args:
        folder: of the step, named by its number.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["step"] != int(folder.name):
            return f"{MANIFEST} is that of step {manifest['step']}"
        expected = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing" if any(folder.iterdir()) else "its folder is empty"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is not readable"
    if not expected:
        return f"{MANIFEST} names no file"
    for name, (size, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if _sha256(path) != digest:
            return f"the sha256 of {name} is not the one in {MANIFEST}"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
