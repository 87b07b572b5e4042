"""Searches formulas with PySR in exactly the published setting; needs Julia, which no wheel brings."""

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.distill.problem import Budget, Problem

BINARY_OPERATORS = ("+", "-", "*", "/")
UNARY_OPERATORS = ("square", "exp", "log", "sin", "sqrt", "abs")
LOSSES = {"hinge": "L1HingeLoss()", "squared": "L2DistLoss()"}
PARSIMONY = 1e-3
JULIA_VERSIONS = ((1, 10, 3), (1, 12, 0))
"""From the first of these to below the second."""
RUN = "run"

_ADVICE = (
    "install Julia 1.10 or 1.11 (https://julialang.org/install), start Python once with a network so that `import "
    "pysr` fetches its packages, or take distill.backend=operon, which needs no Julia"
)


def find_julia() -> Path | None:
    """A Julia that PySR would start, without starting or fetching anything; None where there is none.

    Looked for where juliapkg looks: what PYTHON_JULIAPKG_EXE or PYTHON_JULIACALL_EXE names, the search path, and what
    it has itself installed.
    """
    project = Path(os.environ.get("PYTHON_JULIAPKG_PROJECT", Path(sys.prefix) / "julia_env"))
    candidates = [os.environ.get("PYTHON_JULIAPKG_EXE"), os.environ.get("PYTHON_JULIACALL_EXE"), shutil.which("julia")]
    candidates += [project / "pyjuliapkg" / "install" / "bin" / "julia"]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def check() -> None:
    """Raises an OSError that says what to install, where PySR cannot run; takes no longer than ``julia --version``."""
    julia = find_julia()
    if julia is None:
        raise OSError(f"PySR cannot run: got no Julia on this machine, expected version 1.10.3 to 1.11; {_ADVICE}")
    try:
        answer = subprocess.run([julia, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise OSError(f"Julia does not start: got {error} from {julia}, expected its version; {_ADVICE}") from None
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer)
    version = tuple(int(part) for part in found.groups()) if found else ()
    if not JULIA_VERSIONS[0] <= version < JULIA_VERSIONS[1]:
        raise OSError(f"Julia of another version: got {answer.strip()!r}, expected 1.10.3 to 1.11; {_ADVICE}")


def settings(problem: Problem, budget: Budget, seed: int, output_directory: Path) -> dict[str, Any]:
    """Keywords of ``PySRRegressor``: Soelistyo & Lowe 2024, supplement 2.4 and eqs. 9 and 10.

    What they do not state is PySR's default, except that a seed repeats its result (one thread, no batches).

    Args:
        problem: only its loss counts.
        budget: iterations, and the largest complexity, which they set to 20.
        seed: of the search.
        output_directory: where PySR writes a folder called RUN.
    """
    return {
        "binary_operators": list(BINARY_OPERATORS),
        "unary_operators": list(UNARY_OPERATORS),
        "complexity_of_operators": {"sin": 3, "exp": 2, "log": 2},
        "complexity_of_constants": 1,
        "complexity_of_variables": 1,
        "parsimony": PARSIMONY,
        "maxsize": budget.max_size,
        "elementwise_loss": LOSSES[problem.loss],
        "niterations": budget.iterations,
        "random_state": seed,
        "deterministic": True,
        "parallelism": "serial",
        "batching": False,
        "progress": False,
        "verbosity": 0,
        "input_stream": "devnull",
        "temp_equation_file": False,
        "output_directory": str(output_directory),
        "run_id": RUN,
    }


def search(problem: Problem, budget: Budget, seed: int) -> list[str]:
    """Runs PySR.

    Returns:
        The formulas of its hall of fame, simplest first, as text for ``parse``.

    Raises:
        OSError: PySR cannot run here.
    """
    check()
    regressor = _import_pysr().PySRRegressor
    with tempfile.TemporaryDirectory(prefix="cellfx-pysr-") as folder:
        weights = None if np.ptp(problem.weights) == 0 else problem.weights
        model = regressor(**settings(problem, budget, seed, Path(folder)))
        model.fit(problem.x, problem.y, weights=weights, variable_names=list(problem.names))
        return read_hall_of_fame(Path(folder) / RUN / "hall_of_fame.csv")


def read_hall_of_fame(path: Path) -> list[str]:
    """The equations of a ``hall_of_fame.csv``, simplest first.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(not row.get("Equation") for row in rows):
        raise ValueError(
            f"no hall of fame: got {len(rows)} rows without a column Equation in {path}, expected PySR's "
            "hall_of_fame.csv with Complexity, Loss and Equation; run the search again"
        )
    return [row["Equation"] for row in rows]


def _import_pysr() -> Any:
    """PySR, which starts Julia when it is imported and fails with whatever went wrong there."""
    project = Path(sys.prefix) / "julia_env"
    existed = project.exists()
    try:
        import pysr
    except Exception as error:  # URLError, a bare Exception or an ImportError: it depends on what is missing
        if not existed:
            shutil.rmtree(project, ignore_errors=True)
        raise OSError(
            f"PySR does not start: got {type(error).__name__}: {error}, expected its Julia; {_ADVICE}"
        ) from error
    return pysr
