"""How packages are laid out, counted from their source: a table in Markdown with one row for each package.

    .venv/bin/python tests/peers/structure.py cellfx --before ../before/cellfx .venv/lib/python3.11/site-packages/optax

A package is its folder. Nothing is imported from it. Tests that lie inside it (``*_test.py``, ``test_*.py``,
``conftest.py``, folders ``tests``) are left out, because others keep theirs elsewhere. The columns are:

- names at the top: modules and subpackages, without files such as ``__init__.py``; then with them;
- floors: the depth of the graph of imports between those names. A name that imports no other is on floor 1, any other
  is one floor above the highest that it imports. Imports inside functions count, those under ``if TYPE_CHECKING`` do
  not. What a name imports from the package itself leads to where ``__init__.py`` imports it from. Neither imports by
  a text (``importlib``) are followed nor attributes (``import package``, then ``package.name``);
- circles: groups of names that import each other, in one step or in several, and how many names are in them. A circle
  is one floor, so a package with a large circle has few;
- files and lines: all of them, with ``__init__.py``, comments and empty lines;
- functions: methods and functions inside functions too, from ``def`` to their end without their docstring;
- most files flat: the .py files that lie directly in the folder that has most of them, with ``__init__.py``.

The version of an installed package is read from the name of the ``.dist-info`` folder beside it.
"""

import argparse
import ast
from pathlib import Path
from statistics import median

HEADS = (
    "package",
    "names at the top",
    "with `__init__` ...",
    "floors",
    "circles",
    "files",
    "lines",
    "median file",
    "longest file",
    "median function",
    "longest function",
    "most files flat",
)


def is_test(path):
    name = path.name
    return name == "conftest.py" or name.startswith("test_") or name.endswith("_test.py") or "tests" in path.parts


def is_dunder(name):
    return name.startswith("__") and name.endswith("__")


def read_source(folder):
    """Path in the package -> (syntax tree, number of lines)."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if not is_test(inside):
            content = path.read_bytes()
            sources[inside] = ast.parse(content, str(path)), len(content.splitlines())
    return sources


def find_top_name(path):
    """The name at the top of the package that a file of it belongs to."""
    return path.with_suffix("").parts[0]


def needs_type_checker(test):
    """Whether a condition holds for type checkers only: TYPE_CHECKING, alone or beside others that must hold too."""
    together = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    return any(ast.unparse(part).rpartition(".")[2] == "TYPE_CHECKING" for part in together)


def iterate_running(node):
    """All nodes below this one but those that only type checkers read."""
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If):
        negated = isinstance(node.test, ast.UnaryOp) and needs_type_checker(node.test.operand)
        children = node.body * (not needs_type_checker(node.test)) + node.orelse * (not negated)
    for child in children:
        yield child
        yield from iterate_running(child)


def iterate_imports(path, tree, package):
    """(module inside the package as parts, name imported from it or None, name it gets here) of each import."""
    for node in iterate_running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root, *module = alias.name.split(".")
                if root == package:
                    yield module, None, alias.asname
        if isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                parents = [package, *path.parent.parts]
                module = parents[: len(parents) - node.level + 1] + module
            if module[:1] == [package]:
                for alias in node.names:
                    yield module[1:], alias.name, alias.asname or alias.name


def map_imports(sources, package):
    """Name at the top -> the other names at the top that it imports."""
    names = {find_top_name(path) for path in sources if not is_dunder(find_top_name(path))}
    origins = {name: name for name in names}  # of what can be imported from the package itself
    init = Path("__init__.py")
    for module, name, here in iterate_imports(init, sources[init][0], package) if init in sources else ():
        origin = (module or [name])[0]
        if here and origin in names:
            origins.setdefault(here, origin)
    graph = {name: set() for name in names}
    for path, (tree, _) in sources.items():
        if find_top_name(path) in names:
            for module, name, _ in iterate_imports(path, tree, package):
                graph[find_top_name(path)].add(origins.get((module or [name])[0]))
    return {name: imported - {name, None} for name, imported in graph.items()}


def follow_imports(graph, start):
    """The names that this one imports, in any number of steps."""
    seen, waiting = set(), list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def find_floors(graph):
    """Name -> floor, and the circles as sets of names."""
    below = {name: follow_imports(graph, name) for name in graph}
    circles = {name: frozenset({other for other in below[name] if name in below[other]} | {name}) for name in graph}
    floors = {}
    for name in sorted(graph, key=lambda name: len(below[name] - circles[name])):  # after all that is below it
        floors[name] = 1 + max((floors[other] for other in below[name] - circles[name]), default=0)
    return floors, {circle for circle in circles.values() if len(circle) > 1}


def iterate_function_lines(tree):
    """The number of lines of each function without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            docstring = text.end_lineno - text.lineno + 1 if text else 0
            yield node.end_lineno - node.lineno + 1 - docstring


def count_structure(folder):
    """What the columns after the first show: numbers, and a text where there are circles."""
    sources = read_source(folder)
    names = {find_top_name(path) for path in sources}
    floors, circles = find_floors(map_imports(sources, folder.name))
    files = [count for _, count in sources.values()]
    functions = [count for tree, _ in sources.values() for count in iterate_function_lines(tree)] or [0]
    folders = [path.parent for path in sources]
    return [
        len(floors),
        len(names),
        max(floors.values(), default=0),
        f"{len(circles)} ({sum(map(len, circles))} names)" if circles else 0,
        len(files),
        sum(files),
        median(files),
        max(files),
        median(functions),
        max(functions),
        max(map(folders.count, folders)),
    ]


def write_label(folder):
    """Name of the package, and its version where it is installed or unpacked."""
    versions = [path.name.split("-")[1] for path in folder.parent.glob(f"{folder.name}-*.dist-info")]
    return " ".join([folder.name, *(version.removesuffix(".dist") for version in versions)])


def to_markdown(rows):
    lines = [HEADS, ["---", *["---:"] * (len(HEADS) - 1)]]
    lines += [
        [name, *(count if isinstance(count, str) else f"{count:,.9g}" for count in counts)] for name, counts in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="PACKAGE_FOLDER")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="the first package as it was: the first row")
    options = parser.parse_intermixed_args(arguments)
    rows = [(f"{options.before.resolve().name} before", options.before)] if options.before else []
    rows += [(write_label(folder.resolve()), folder) for folder in options.folders]
    for _, folder in rows:
        if not any(folder.glob("*.py")):
            parser.error(f"not a package: got {folder}; expected a folder with .py files; name the package itself")
    print(to_markdown([(name, count_structure(folder.resolve())) for name, folder in rows]), end="")


if __name__ == "__main__":
    main()
