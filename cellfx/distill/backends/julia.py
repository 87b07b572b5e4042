"""Whether PySR can start here: a Julia of a version that it takes, and its packages. Nothing is started or fetched."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("SymbolicRegression", "PythonCall")
EXECUTABLE, PROJECT = "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"
"""Variables by which juliacall takes a Julia and an environment of the user's, without asking juliapkg."""

ADVICE = (
    'run `.venv/bin/python -c "import pysr"` once with a network, which installs Julia and PySR\'s packages, or take '
    "distill.backend=operon, which needs no Julia"
)


def missing() -> str | None:
    """What PySR lacks on this machine, as "got ..., expected ..."; None where everything is there.

    Looks where PySR itself would: at the two variables of juliacall, then at what juliapkg installed and recorded for
    this environment (in it, in conda's or in the user's). Only where that is incomplete does it go through the places
    that juliapkg would take a Julia from (its variable, its own installation, juliaup, the search path), for a message
    that names what is there. Takes no longer than a few runs of ``julia --version``.
    """
    given = {name: os.environ[name] for name in (EXECUTABLE, PROJECT) if os.environ.get(name)}
    if len(given) == 1:
        return f"got {next(iter(given))} alone, expected {EXECUTABLE} and {PROJECT} together, or neither"
    try:
        return _missing_of_given(given[EXECUTABLE], Path(given[PROJECT])) if given else _missing_of_juliapkg()
    except Exception as error:  # juliapkg raises a bare Exception, and whatever a damaged file of its own leads to
        return f"got {first_line(error)}, expected a Julia that juliapkg can use"


def check() -> None:
    """Raises an OSError that says what to do, where PySR cannot start."""
    if reason := missing():
        raise OSError(f"PySR cannot run: {reason}; {ADVICE}")


def first_line(error: BaseException) -> str:
    """Kind and first line of an error: those of Julia go on with a page of places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _missing_of_given(executable: str, project: Path) -> str | None:
    required = _required()
    path = shutil.which(executable)
    if path is None:
        return f"got {EXECUTABLE}={executable}, expected a Julia that can be started"
    version = _version(path)
    if version is None or version not in required:
        return f"got Julia {version or 'of an unknown version'} as {EXECUTABLE}={executable}, expected {required}"
    recorded = "\n".join(path.read_text(encoding="utf-8") for path in sorted(project.glob("*Manifest*.toml")))
    lacking = [name for name in PACKAGES if not re.search(rf"^\[\[(deps\.)?{name}\]\]", recorded, re.MULTILINE)]
    if lacking:
        return f"got no {' and no '.join(lacking)} in {PROJECT}={project}, expected an environment that has them"
    return None


def _missing_of_juliapkg() -> str | None:
    from juliapkg.deps import can_skip_resolve

    with _quiet():
        if can_skip_resolve():
            return None
    return _what_is_there()


def _what_is_there() -> str:
    from juliapkg.find_julia import find_julia
    from juliapkg.state import STATE

    def found(required: Any) -> Any:
        try:
            with _quiet():
                return find_julia(required, prefix=STATE["install"], install=False)
        except Exception:  # a bare one where there is none
            return None

    required = _required()
    if suitable := found(required):
        return f"got Julia {suitable[1]} ({suitable[0]}) without PySR's packages, expected both"
    if other := found(None):
        return f"got Julia {other[1]} ({other[0]}), expected {required}"
    return f"got no Julia on this machine, expected {required}"


def _required() -> Any:
    """The versions that PySR and juliacall take; juliapkg leaves out 1.12 where Python's OpenSSL is before 3.5."""
    from juliapkg.deps import find_requirements

    with _quiet():
        return find_requirements()[0]


def _version(executable: str) -> Any:
    from juliapkg.find_julia import julia_version

    with contextlib.suppress(subprocess.SubprocessError):
        return julia_version(executable)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """juliapkg prints what it looks at to standard output, where commands of ours write results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def is_started() -> bool:
    """Whether this process has a Julia already."""
    return "juliacall" in sys.modules
