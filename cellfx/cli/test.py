"""Lint, import contracts and all tests, in this order; it stops at the first that fails.

Example:
  bin/test
  bin/test --slow
  bin/test tests/models -k tcvae

--slow adds the tests that take minutes. Anything else goes to pytest, and then only the tests run.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_TOOLS = ("ruff", "importlinter", "pytest", "xdist", "hypothesis", "nbclient")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``test`` and returns the exit status of the first tool that failed, or 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(__doc__.strip())
        return 0
    if problem := _problem():
        print(f"test: {problem}", file=sys.stderr)
        return 2
    checks = [] if set(arguments) - {"--slow"} else _checks()
    for title, command in [*checks, ("tests", _pytest(arguments))]:
        print(f"== {title}", flush=True)
        if status := subprocess.run(command, cwd=_ROOT).returncode:
            return status
    return 0


def _problem() -> str:
    if not (_ROOT / "tests").is_dir():
        return f"no tests beside {_ROOT / 'cellfx'}; the tests belong to a clone, not to an installed cellfx"
    missing = [tool for tool in _TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        return f"missing in this environment: {', '.join(missing)}; pip install -e '.[dev]', or leave the environment"
    return ""


def _checks() -> list[tuple[str, list[str]]]:
    ruff = [sys.executable, "-m", "ruff"]
    contracts = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return [
        ("lint", [*ruff, "check", "--quiet"]),
        ("format", [*ruff, "format", "--check", "--quiet"]),
        ("import contracts", [sys.executable, "-c", contracts]),
    ]


def _pytest(arguments: Sequence[str]) -> list[str]:
    spread = [] if any(item.startswith("-n") for item in arguments) else ["-n", str(min(os.cpu_count() or 1, 8))]
    return [sys.executable, "-m", "pytest", "-q", *spread, "--dist", "loadscope", *arguments]
