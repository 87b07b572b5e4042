"""Searches formulas with PySR in exactly the published setting; needs Julia, which no wheel brings."""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.distill.backends import julia
from cellfx.distill.problem import Budget, Problem

BINARY_OPERATORS = ("+", "-", "*", "/")
UNARY_OPERATORS = ("square", "exp", "log", "sin", "sqrt", "abs")
LOSSES = {"hinge": "L1HingeLoss()", "squared": "L2DistLoss()"}
PARSIMONY = 1e-3
RUN = "run"
SCRATCH = ".pysr-"
"""How the names of folders start that hold PySR's files while it searches."""


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


def search(
    problem: Problem,
    budget: Budget,
    seed: int,
    scratch: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Runs PySR.

    Args:
        problem: rows, target and loss.
        budget: its iterations and size count.
        seed: of the search.
        scratch: folder in which PySR's own files lie during the search; None takes the system's temporary folder.
        tell: is given a line before what takes long.

    Returns:
        The formulas of its hall of fame, simplest first, as text for ``parse``.

    Raises:
        OSError: PySR cannot run here, or Julia stopped with an error.
        KeyboardInterrupt: the search was interrupted. PySR keeps that to itself and returns what it has so far, which
            no other run would repeat.
    """
    julia.check()
    if not julia.is_started():
        tell("starting Julia, compiling: a minute or more")
    regressor = _import_pysr().PySRRegressor
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=scratch) as folder:
        tell(f"PySR searches with seed {seed}, {problem.loss} loss, {budget.iterations} iterations")
        weights = None if np.ptp(problem.weights) == 0 else problem.weights
        model = regressor(**settings(problem, budget, seed, Path(folder)))
        try:
            model.fit(problem.x, problem.y, weights=weights, variable_names=list(problem.names))
        except Exception as error:
            if type(error).__name__ != "JuliaError":  # its class exists only where Julia was started
                raise
            raise OSError(
                f"Julia stopped a search: got {julia.first_line(error)}, expected formulas; run it again, or take "
                "distill.backend=operon"
            ) from error
        if getattr(model, "interrupted_", False):  # since PySR 2.7
            raise KeyboardInterrupt
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
    try:
        import pysr
    except Exception as error:  # URLError, a bare Exception or an ImportError: it depends on what is missing
        raise OSError(
            f"PySR does not start: got {julia.first_line(error)}, expected its Julia; {julia.ADVICE}"
        ) from error
    return pysr
