"""Formulas as nested dictionaries, evaluated one row at a time in plain Python; random ones for property tests."""

import math

from hypothesis import strategies as st

UNARY = ("square", "exp", "log", "sin", "sqrt", "abs", "neg")
BINARY = ("+", "-", "*", "/")


def value(tree, row):
    """One number of a tree {"op", "args"}, {"const"} or {"var"}, with the safe operators as their table has them."""
    if "const" in tree:
        return tree["const"]
    if "var" in tree:
        return row[tree["var"]]
    args = [value(arg, row) for arg in tree["args"]]
    x, y = args[0], args[-1]
    if tree["op"] == "/":
        if abs(y) < 1e-6:
            y = -1e-6 if y < 0 else 1e-6
        return x / y
    return {
        "+": lambda: x + y,
        "-": lambda: x - y,
        "*": lambda: x * y,
        "square": lambda: x * x,
        "exp": lambda: math.exp(30.0 if x > 30 else x),
        "log": lambda: math.log(1e-6 if x < 1e-6 else x),
        "sin": lambda: math.sin(x) if math.isfinite(x) else math.nan,
        "sqrt": lambda: 0.0 if x < 0 else math.sqrt(x),
        "abs": lambda: x if x >= 0 else -x,
        "neg": lambda: -x,
    }[tree["op"]]()


def nodes_with_values(tree, row):
    """Every (node, values of its arguments), to see how near a formula comes to the edges of its operators."""
    out = []
    for arg in tree.get("args", ()):
        out += nodes_with_values(arg, row)
    return [*out, (tree, [value(arg, row) for arg in tree.get("args", ())])]


def is_delicate(tree, row):
    """Whether rounding can change a value by more than rounding: an edge is near, or a number is huge."""
    for node, args in nodes_with_values(tree, row):
        if any(not math.isfinite(arg) or abs(arg) > 1e4 for arg in args):
            return True
        if node.get("op") in ("/", "log", "sqrt") and abs(args[-1]) < 1e-2:
            return True
        if node.get("op") == "exp" and args[0] > 9:
            return True
    return False


def size(tree, weights=None):
    """Nodes, each counted by the weight of its operator."""
    own = (weights or {}).get(tree.get("op"), 1)
    return own + sum(size(arg, weights) for arg in tree.get("args", ()))


def trees(names=("z1", "z2", "z3"), max_leaves=8):
    """Random trees, rich in constants and in repeated variables so that there is much to simplify."""
    numbers = st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, -3.0]) | st.floats(-5, 5).map(lambda v: round(v, 3))
    leaves = st.builds(lambda v: {"const": v}, numbers) | st.builds(lambda n: {"var": n}, st.sampled_from(names))

    def grow(children):
        unary = st.builds(lambda op, x: {"op": op, "args": [x]}, st.sampled_from(UNARY), children)
        binary = st.builds(lambda op, x, y: {"op": op, "args": [x, y]}, st.sampled_from(BINARY), children, children)
        return unary | binary | binary

    return st.recursive(leaves, grow, max_leaves=max_leaves)


def rows(names=("z1", "z2", "z3"), num_rows=6):
    """(num_rows, d) values in [-3, 3] as lists."""
    row = st.lists(st.floats(-3, 3).map(lambda v: round(v, 2)), min_size=len(names), max_size=len(names))
    return st.lists(row, min_size=num_rows, max_size=num_rows)
