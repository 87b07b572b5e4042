"""Counts of how a package is laid out, ``tests/peers/structure.py``, on a package whose counts are known."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parent / "peers" / "structure.py"
spec = importlib.util.spec_from_file_location("structure", PATH)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)

TOP = '''class A:
    async def f(self):
        """Two
        lines."""

        from .upper import x

        return x
'''
# Floors: ground 1; left, middle and right, a circle in three steps, 2; upper 3; top 4; alone 1.
FILES = {
    "__init__.py": "import house.top\nfrom house.ground import brick as stone\n",
    "__main__.py": "from house import top, alone\n",
    "ground.py": "raise RuntimeError('imported')\n\nbrick = 1\n",
    "left/__init__.py": "",
    "left/inner/deep.py": "from ... import ground\nfrom ...middle import x\nfrom .. import inner\n",
    "middle.py": "def f():\n    import house.right.wall\n",
    "right/__init__.py": "",
    "right/wall.py": "from house import left\n",
    "upper.py": "import os\nfrom .right import wall\n",
    "top.py": TOP,
    "alone.py": "import houses.upper\nfrom os import path\n",
    "alone_test.py": "from house import top\n" * 50,
    "tests/conftest.py": "from house import top\n" * 50,
}


def write_package(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def find_floors(folder):
    return peer.find_floors(peer.map_imports(peer.read_source(folder), folder.name))


def test_a_package_is_counted_as_by_hand(tmp_path):
    assert dict(zip(peer.HEADS[1:], peer.count_structure(write_package(tmp_path / "house", FILES)), strict=True)) == {
        "names at the top": 7,
        "with `__init__` ...": 9,
        "floors": 4,
        "circles": "1 (3 names)",
        "files": 11,
        "lines": 2 + 1 + 3 + 0 + 3 + 2 + 0 + 1 + 2 + 8 + 2,
        "median file": 2,
        "longest file": 8,
        "median function": 3.5,
        "longest function": 5,
        "most files flat": 6 + 1,
    }


def test_a_circle_is_one_floor(tmp_path):
    floors, circles = find_floors(write_package(tmp_path / "house", FILES))
    assert floors == {"ground": 1, "left": 2, "middle": 2, "right": 2, "upper": 3, "top": 4, "alone": 1}
    assert circles == {frozenset({"left", "middle", "right"})}


@pytest.mark.parametrize(
    ("text", "floor"),
    [
        ("from house import stone", 2),  # which __init__.py has from ground
        ("from . import stone as block", 2),
        ("from house import unknown", 1),
        ("import house", 1),
        ("from house import alone", 2),
        ("def f():\n    def g():\n        from .ground import brick", 2),
        ("try:\n    from .ground import brick\nexcept ImportError:\n    brick = 0", 2),
        ("if TYPE_CHECKING:\n    from .ground import brick", 1),
        ("if typing.TYPE_CHECKING:\n    if True:\n        from .ground import brick", 1),
        ("if TYPE_CHECKING and new:\n    from .ground import brick", 1),
        ("if TYPE_CHECKING:\n    brick = 1\nelse:\n    from .ground import brick", 2),
        ("if TYPE_CHECKING:\n    brick = 1\nelif new:\n    from .ground import brick", 2),
        ("if not TYPE_CHECKING:\n    from .ground import brick", 2),
        ("if not TYPE_CHECKING:\n    brick = 1\nelse:\n    from .ground import brick", 1),
        ("if new or TYPE_CHECKING:\n    from .ground import brick", 2),
        ("if new and not TYPE_CHECKING:\n    from .ground import brick", 2),
    ],
)
def test_imports_that_run_make_a_floor(tmp_path, text, floor):
    folder = write_package(tmp_path / "house", FILES | {"room.py": text})
    assert find_floors(folder)[0]["room"] == floor


def test_the_table_has_a_row_for_each_package(tmp_path):
    now = write_package(tmp_path / "now" / "house", {"a.py": "", "b.py": "from . import a\n"})
    before = write_package(tmp_path / "before" / "house", {"a.py": "\n" * 1200})
    other = write_package(tmp_path / "site" / "other", {"__init__.py": ""})
    (tmp_path / "site" / "other-1.2.3.dist-info").mkdir()
    command = [sys.executable, PATH, now, "--before", before, other]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    heads, line, *rows = [row.strip("| ").split(" | ") for row in result.stdout.splitlines()]
    assert heads == list(peer.HEADS)
    assert len(line) == len(heads)
    assert rows == [
        ["house before", "1", "1", "1", "0", "1", "1,200", "1,200", "1,200", "0", "0", "1"],
        ["house", "2", "2", "2", "0", "2", "1", "0.5", "1", "0", "0", "2"],
        ["other 1.2.3", "0", "1", "0", "0", "1", "0", "0", "0", "0", "0", "1"],
    ]


def test_a_folder_that_is_no_package_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        peer.main([str(tmp_path / "none")])
    assert f"not a package: got {tmp_path / 'none'}; expected a folder with .py files" in capsys.readouterr().err
