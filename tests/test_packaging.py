"""What holds of the source as a whole: who imports whom, what is imported when, names and sizes."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "cellfx").rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in SOURCES}
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"

# Heavy, or missing on images made for accelerators: imported by the functions that need them.
LAZY = {"tensorflow", "tensorboard", "matplotlib", "sklearn", "polars", "pyarrow", "h5py", "imagecodecs", "tifffile"}
LAZY |= {"orbax", "rich", "torch", "anndata", "ml_collections"}
FORBIDDEN = {"utils", "helpers", "common", "misc", "base", "core", "manager"}


def lint_imports(folder):
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True)


def test_import_contracts_are_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("training/step.py", "from cellfx.models import vae", "floors"),
        ("losses/divergence.py", "def f():\n    from cellfx.training import step", "floors"),
        ("models/vae.py", "from cellfx.models import tcvae", "models do not import each other"),
        ("analysis/latents/probe.py", "def f():\n    import tensorflow", "TensorFlow belongs to cellfx.data"),
        ("report/page.py", "import matplotlib", "matplotlib belongs to cellfx.report.charts.style"),
        ("helper.py", "", "floors"),
    ],
)
def test_a_broken_import_contract_is_noticed(tmp_path, path, line, contract):
    shutil.copytree(ROOT / "cellfx", tmp_path / "cellfx", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "cellfx" / path).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert contract in result.stdout


def is_source(path, tree):
    """A data set is a file of cellfx/data with a factory named like the file that returns a Source."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == Path(path).stem]
    return path.startswith("cellfx/data/") and any("Source" in ast.unparse(f.returns) for f in functions if f.returns)


def imported_by(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_data_sets_do_not_import_each_other():
    names = {path.removesuffix(".py").replace("/", "."): tree for path, tree in TREES.items() if is_source(path, tree)}
    assert {"cellfx.data.nuclei", "cellfx.data.sprites", "cellfx.data.synthetic"} <= set(names)
    assert [(name, other) for name, tree in names.items() for other in imported_by(tree) if other in names] == []


def loaded_by(statement):
    script = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in result.stdout.split()}


def test_importing_cellfx_loads_nothing_else():
    assert loaded_by("import cellfx") == {"cellfx"}


def test_the_command_line_starts_without_jax_and_numpy():
    loaded = loaded_by("import cellfx.cli.train, cellfx.cli.embed, cellfx.cli.benchmark")
    assert loaded & (LAZY | {"jax", "numpy", "flax"}) == set()


def test_an_experiment_is_imported_without_tensorflow():
    loaded = loaded_by("import cellfx.runs.repeats, cellfx.runs.results, cellfx.runs.benchmark")
    assert loaded & {"tensorflow", "torch", "polars"} == set()


def test_importing_a_heavy_package_is_left_to_the_function_that_needs_it():
    early = []
    for path, tree in TREES.items():
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            lazy = LAZY - ({"polars"} if _is_about_tables(path) else set())
            early += [f"{path}:{node.lineno} {name}" for name in names if name.partition(".")[0] in lazy]
    assert early == []


def _is_about_tables(path):
    """Profiles are tables of polars: nothing of them can be imported without it, and nothing else imports them."""
    return str(path).startswith(("cellfx/profiles/", "cellfx/screens/"))


def test_no_file_is_named_after_nothing_in_particular():
    assert [path for path in TREES if Path(path).stem in FORBIDDEN] == []


def test_no_file_and_no_function_has_outgrown_the_house():
    grown = [path for path in TREES if len((ROOT / path).read_text().splitlines()) > 400]
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                lines = node.end_lineno - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
                grown += [f"{path}:{node.lineno} {node.name}"] if lines > 60 else []
    assert grown == []


def test_every_command_and_every_config_stays_short():
    assert [path for path in TREES if path.startswith("cellfx/cli/") and count(path) > 200] == []
    commands = [f"cellfx/cli/{path.name}" for path in (ROOT / "bin").iterdir() if path.suffix == ""]
    commands = [f"{path}.py" for path in commands if (ROOT / f"{path}.py").exists()]
    assert len(commands) >= 7
    assert [path for path in commands if count(path) > 60] == []
    assert [path.name for path in (ROOT / "configs").rglob("*.py") if count(path) > 80] == []


def count(path):
    return len((ROOT / path).read_text().splitlines())


def test_every_signature_is_annotated_and_every_public_name_documented():
    bare = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                missing = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
                bare += [f"{path}:{node.lineno} {node.name}({a})" for a in missing]
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            bare += [f"{path}:{node.lineno} {node.name}"] if public and not ast.get_docstring(node) else []
            public = public and isinstance(node, ast.FunctionDef) and node.returns is None
            bare += [f"{path}:{node.lineno} {node.name} ->"] if public else []
    assert bare == []


def test_the_constraints_are_names_and_versions_and_cover_what_is_required():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.partition("==")[0] for line in lines}
    assert [line for line in lines if line.count("==") != 1 or set(" /;@:") & set(line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {name_of(line) for line in required if "platform_machine !=" not in line}
    assert names - pinned == set()


def name_of(requirement):
    name = requirement
    for mark in "[;<>=! ":
        name = name.partition(mark)[0]
    return name.lower().replace("_", "-")


def test_the_wheel_holds_package_configs_and_data(tmp_path):
    script = f"import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / result.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
    assert {"cellfx/configs/tcvae.py", "cellfx/data/heart_poly.npy", "cellfx/cli/train.py"} <= names
    assert set(TREES) <= names
    assert [name for name in names if name.startswith(("tests", "bin"))] == []
