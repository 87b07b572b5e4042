import ast
import base64
import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "latent_space.ipynb"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(notebook, finished):
    """The notebook's code cells after it ran on a finished run."""
    copy = nbformat.from_dict(notebook)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "CELLFX_WORKDIR": str(finished), "PYTHONPATH": os.pathsep.join(paths)}
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    nbclient.NotebookClient(copy, timeout=120, kernel_name="python3").execute(env=env)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    return [cell for cell in copy.cells if cell.cell_type == "code"]


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_valid_and_holds_no_output(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_it_defines_nothing_and_imports_what_everyone_has(notebook):
    nodes = [node for source in code(notebook) for node in ast.walk(ast.parse(source))]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [node.lineno for node in nodes if isinstance(node, defined)] == []
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in imported} == {"json", "os", "pathlib", "numpy", "IPython", "cellfx"}


def test_every_part_is_introduced(notebook):
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert sum(cell.source.startswith("## ") for cell in notebook.cells if cell.cell_type == "markdown") >= 8


def test_it_runs_from_the_first_cell_to_the_last(executed):
    assert [cell.execution_count for cell in executed] == list(range(1, len(executed) + 1))
    assert [cell.source for cell in executed for output in cell.outputs if output.output_type == "error"] == []
    warnings = [
        output.text for cell in executed for output in cell.outputs if output.get("name") == "stderr" and output.text
    ]
    assert warnings == []


def test_it_shows_the_run(executed, finished):
    texts = "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in executed
        for output in cell.outputs
    )
    for part in ("'checkpoints'", "tcvae on synthetic", "trained for 12 steps", "balanced accuracy", "KL"):
        assert part in texts


def test_every_picture_is_drawn(executed):
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in executed
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 8
    assert [len(picture) for picture in pictures if not picture.startswith(PNG)] == []
