import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cellfx.distill.backends import julia, pysr
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import COMPLEXITIES, complexity
from cellfx.distill.expressions.parse import parse
from cellfx.distill.problem import Budget, problem

RUNS = Path(__file__).parents[1] / "pysr_runs"
NAMES = ("x0", "x1", "x2", "x3")


def posed(loss="hinge", balanced=False):
    rng = np.random.default_rng(0)
    return problem(
        rng.normal(size=(60, 4)),
        (0, 1, 2, 3),
        np.where(rng.random(60) < 0.4, 1, -1),
        loss,
        None,
        None,
        balanced=balanced,
    )


def settings(loss="hinge"):
    return pysr.settings(posed(loss), Budget(), 7, Path("out"))


def test_published_setting():
    found = settings()
    assert found["binary_operators"] == ["+", "-", "*", "/"]
    assert set(found["unary_operators"]) == {"square", "exp", "log", "sin", "sqrt", "abs"}
    assert found["complexity_of_operators"] == {"sin": 3, "exp": 2, "log": 2} == COMPLEXITIES
    assert found["complexity_of_constants"] == found["complexity_of_variables"] == 1
    assert (found["parsimony"], found["maxsize"]) == (0.001, 20)
    assert [settings(loss)["elementwise_loss"] for loss in ("hinge", "squared")] == ["L1HingeLoss()", "L2DistLoss()"]
    assert (found["random_state"], found["deterministic"], found["parallelism"]) == (7, True, "serial")


def test_settings_are_those_of_a_recorded_run():
    """``options_passed.json`` is what PySR handed to its engine for a run with the published setting."""
    passed, found = json.loads((RUNS / "options_passed.json").read_text()), settings()
    assert passed["maxsize"] == str(found["maxsize"])
    assert float(passed["parsimony"]) == found["parsimony"]
    assert passed["elementwise_loss"] + "()" == found["elementwise_loss"]
    assert (passed["deterministic"], passed["batching"]) == ("True", str(found["batching"]))
    for operator in found["unary_operators"] + found["binary_operators"]:
        assert operator in passed["operators"]
    for operator, weight in found["complexity_of_operators"].items():
        assert f"{operator} => {weight}" in passed["complexity_of_operators"]


STUB = """
import sys, types
class Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name)
    def __call__(self, *args, **kwargs):
        return Anything("called")
    def __mro_entries__(self, bases):
        return (object,)
class Value: pass
stub = Anything("juliacall")
for name in ("AnyValue", "VectorValue", "JuliaError"):
    setattr(stub, name, type(name, (Exception,), {}))
sys.modules["juliacall"] = stub
"""


def test_every_keyword_is_one_of_the_installed_regressor():
    """PySR cannot be imported without Julia, so a stand-in for the bridge to it is put in its place first."""
    given = json.dumps(settings())
    check = (
        "import inspect, json, warnings\nwarnings.simplefilter('ignore')\nfrom pysr import PySRRegressor\n"
        "known = inspect.signature(PySRRegressor.__init__).parameters\n"
        f"given = json.loads({given!r})\n"
        "print(json.dumps([name for name in given if name not in known]))\n"
        "model = PySRRegressor(**given)\n"
        "print(json.dumps([name for name, value in given.items() if getattr(model, name) != value]))\n"
        "print(json.dumps(sorted(set(['weights', 'variable_names']) - set(inspect.signature(model.fit).parameters))))\n"
    )
    environment = {**os.environ, "PYTHON_JULIAPKG_OFFLINE": "yes"}
    run = subprocess.run([sys.executable, "-c", STUB + check], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    assert [json.loads(line) for line in run.stdout.strip().splitlines()[-3:]] == [[], [], []]


@pytest.mark.parametrize("run", ["l2_100", "hinge_100", "l2_p64", "ops"])
def test_every_equation_of_a_recorded_run_is_read_with_its_complexity(run):
    path = RUNS / f"{run}.csv"
    recorded = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0)
    expressions = [parse(text, NAMES) for text in pysr.read_hall_of_fame(path)]
    # An equation such as x2 - (x3 * 0.45) is counted as it is written.
    assert [complexity(expression) for expression in expressions] == list(recorded)


def test_equations_of_a_recorded_run_have_the_loss_that_was_recorded():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4))
    y = (x[:, 0] ** 2 + x[:, 1] ** 2) * (x[:, 2] - 0.44 * x[:, 3]) - 2.56
    for run, losses in (
        ("l2_100", lambda values: (values - y) ** 2),
        ("hinge_100", lambda values: np.maximum(0, 1 - np.sign(y) * values)),
    ):
        recorded = np.loadtxt(RUNS / f"{run}.csv", delimiter=",", skiprows=1, usecols=1)
        texts = pysr.read_hall_of_fame(RUNS / f"{run}.csv")
        found = [losses(numpy_evaluate(parse(text, NAMES), x, NAMES)).mean() for text in texts]
        np.testing.assert_allclose(found, recorded, rtol=2e-3, atol=1e-5)


def test_a_file_that_is_no_hall_of_fame(tmp_path):
    path = tmp_path / "hall_of_fame.csv"
    path.write_text("Complexity,Loss\n1,2\n")
    with pytest.raises(ValueError, match="no hall of fame: got 1 rows without a column Equation"):
        pysr.read_hall_of_fame(path)
    with pytest.raises(FileNotFoundError):
        pysr.read_hall_of_fame(tmp_path / "none.csv")


class JuliaError(Exception):
    """Named as juliacall's, which cannot be imported without Julia."""


class Regressor:
    """Stands in for ``PySRRegressor``: writes what the test wants, where it was told to."""

    outcome = None

    def __init__(self, **given):
        self.given = given
        self.interrupted_ = False

    def fit(self, x, y, weights, variable_names):
        folder = Path(self.given["output_directory"]) / self.given["run_id"]
        folder.mkdir(parents=True)
        (folder / "hall_of_fame.csv").write_text('Complexity,Loss,Equation\n1,0.5,"z0"\n')
        type(self).seen = [path.relative_to(folder.parents[1]) for path in folder.parents[1].rglob("*.csv")]
        if self.outcome == "interrupted":
            self.interrupted_ = True
        elif self.outcome is not None:
            raise self.outcome


@pytest.fixture
def regressor(monkeypatch):
    monkeypatch.setattr(julia, "missing", lambda: None)
    monkeypatch.setattr(Regressor, "outcome", None)
    monkeypatch.setitem(sys.modules, "pysr", SimpleNamespace(PySRRegressor=Regressor))
    return Regressor


def test_files_of_a_search_lie_in_the_folder_of_the_caller_and_go(regressor, tmp_path):
    lines = []
    assert pysr.search(posed(), Budget(iterations=3), 5, tmp_path, lines.append) == ["z0"]
    (seen,) = regressor.seen
    assert seen.parts[0].startswith(pysr.SCRATCH)
    assert seen.parts[1:] == ("run", "hall_of_fame.csv")
    assert list(tmp_path.iterdir()) == []
    assert lines == [
        "starting Julia, compiling: a minute or more",
        "PySR searches with seed 5, hinge loss, 3 iterations",
    ]


def test_an_interrupted_search_is_no_result(regressor, tmp_path):
    """PySR 2.7 takes Ctrl-C for itself, sets ``interrupted_`` and returns normally."""
    regressor.outcome = "interrupted"
    with pytest.raises(KeyboardInterrupt):
        pysr.search(posed(), Budget(), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_julia_is_one_line(regressor, tmp_path):
    regressor.outcome = JuliaError("MethodError: no method\nStacktrace:\n [1] top-level scope")
    with pytest.raises(
        OSError, match=r"^Julia stopped a search: got JuliaError: MethodError: no method, expected [^\n]*$"
    ):
        pysr.search(posed(), Budget(), 0, tmp_path)
    regressor.outcome = TypeError("a mistake of ours")
    with pytest.raises(TypeError, match="a mistake of ours"):
        pysr.search(posed(), Budget(), 0, tmp_path)


def test_without_julia_nothing_is_started(monkeypatch):
    monkeypatch.setattr(julia, "missing", lambda: "got no Julia on this machine, expected 1.10.3 - 1.11")
    with pytest.raises(OSError, match=r"PySR cannot run: got no Julia on this machine, .* distill\.backend=operon"):
        pysr.search(posed(), Budget(), 0)
    assert "juliacall" not in sys.modules
    assert "pysr" not in sys.modules


def test_a_failed_start_is_one_line(monkeypatch):
    """Everything was recorded as installed, but Julia does not come up."""

    class Failing:
        def find_spec(self, name, path=None, target=None):
            if name == "pysr":
                raise Exception("could not load library\nand a page more")

    monkeypatch.setattr(julia, "missing", lambda: None)
    monkeypatch.delitem(sys.modules, "pysr", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with pytest.raises(OSError, match=r"^PySR does not start: got Exception: could not load library, expected [^\n]*$"):
        pysr.search(posed(), Budget(), 0)


@pytest.mark.julia
@pytest.mark.skipif(julia.missing() is not None, reason="no Julia: PySR itself is not run")
def test_pysr_finds_a_short_formula_and_the_seed_repeats_it():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(300, 3))
    wanted = problem(codes, (0, 2), codes[:, 0] ** 2 + 0.5 * codes[:, 2], "squared")
    found = pysr.search(wanted, Budget(iterations=5), 1)
    assert found == pysr.search(wanted, Budget(iterations=5), 1)
    best = parse(found[-1], wanted.names)
    assert np.mean((numpy_evaluate(best, wanted.valid_x, wanted.names) - wanted.valid_y) ** 2) < 0.05
