"""Formulas as immutable trees, their published sizes, and their two written forms that can be read back."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

BINARY = ("+", "-", "*", "/")
UNARY = ("square", "exp", "log", "sin", "sqrt", "abs", "neg")
COMPLEXITIES = {"sin": 3, "exp": 2, "log": 2}
"""Soelistyo & Lowe 2024, supplement 2.4: every other operator, constant and variable weighs 1."""

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "square": 4}
_ATOM = 5


class Expression(NamedTuple):
    """A node with everything below it; equal trees are equal values and can be keys of a dictionary.

    Make one with ``constant``, ``variable`` and ``apply``, which refuse what is no tree.

    Attributes:
        op: "const", "var", one of BINARY (two arguments) or one of UNARY (one).
        args: the trees that the operator takes.
        value: of "const" a float, of "var" the name, for instance "z17"; else None.
    """

    op: str
    args: tuple["Expression", ...] = ()
    value: float | str | None = None

    def __str__(self) -> str:
        return to_infix(self, digits=4)


def constant(value: float) -> Expression:
    """A leaf that holds a number.

    Raises:
        ValueError: the number is infinite or none.
    """
    if not math.isfinite(value):
        raise ValueError(
            f"constant of no size in an expression: got {value}, expected a finite number; drop this expression"
        )
    return Expression("const", value=float(value))


def variable(name: str) -> Expression:
    """A leaf that stands for a column of the data."""
    return Expression("var", value=name)


def apply(op: str, *args: Expression) -> Expression:
    """An operator on one or two trees.

    Raises:
        ValueError: no such operator, or it takes another number of arguments.
    """
    if op not in BINARY + UNARY:
        raise ValueError(
            f"unknown operator: got {op!r}, expected one of {' '.join(BINARY + UNARY)}; leave it out of the search"
        )
    expected = 2 if op in BINARY else 1
    if len(args) != expected:
        raise ValueError(
            f"wrong number of arguments of {op}: got {len(args)}, expected {expected}; correct the expression"
        )
    return Expression(op, tuple(args))


def complexity(expression: Expression) -> int:
    """The size that the search was penalised by: nodes, with sine counted 3, exponential and logarithm 2."""
    return COMPLEXITIES.get(expression.op, 1) + sum(complexity(arg) for arg in expression.args)


def num_nodes(expression: Expression) -> int:
    """The published "expression size": operators, constants and variables of the tree; a square is one operator.

    Soelistyo & Lowe 2024, supplement, tables 1 and 2. Where they print a squared sum as c (a z + 1)^2 they counted
    (z + 1/a)^2 of the tree before it was printed, which is why a few of their sizes are smaller than their formulas.
    """
    return 1 + sum(num_nodes(arg) for arg in expression.args)


def variables(expression: Expression) -> tuple[str, ...]:
    """Every variable once, in the order in which the formula names them."""
    return tuple(dict.fromkeys(leaf.value for leaf in _leaves(expression) if leaf.op == "var"))


def constants(expression: Expression) -> tuple[float, ...]:
    """All constants from left to right."""
    return tuple(leaf.value for leaf in _leaves(expression) if leaf.op == "const")


def with_constants(expression: Expression, values: Iterable[float]) -> Expression:
    """The same tree with other constants, given from left to right.

    Raises:
        ValueError: another number of constants than the tree has, or one that is not finite.
    """
    values = list(values)
    expected = len(constants(expression))
    if len(values) != expected:
        raise ValueError(
            f"constants and expression do not belong together: got {len(values)} values, expected {expected}; pass one "
            "for every constant of the tree"
        )
    return _replace_constants(expression, iter(values))


def rename(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The same tree with other names of variables; a name that is not among the keys stays."""
    if expression.op == "var":
        return variable(names.get(expression.value, expression.value))
    return expression._replace(args=tuple(rename(arg, names) for arg in expression.args))


def to_infix(expression: Expression, digits: int | None = None) -> str:
    """A line of text that ``parse`` reads back to the same tree.

    Args:
        expression: the tree.
        digits: significant digits of every constant; None keeps all of them.
    """
    if expression.op == "const":
        return repr(expression.value) if digits is None else f"{expression.value:.{digits}g}"
    if expression.op == "var":
        return str(expression.value)
    if expression.op in BINARY:
        left, right = expression.args
        space = " " if _LEVELS[expression.op] == 1 else ""
        own = _LEVELS[expression.op]
        text = f"{_enclosed(left, own, digits)}{space}{expression.op}{space}"
        return text + _enclosed(right, own + 1, digits, after=True)
    if expression.op == "square":
        return f"{_enclosed(expression.args[0], _ATOM, digits, after=True)}^2"
    if expression.op == "neg" and expression.args[0].op != "const":
        return f"-{_enclosed(expression.args[0], _LEVELS['neg'], digits)}"
    return f"{expression.op}({to_infix(expression.args[0], digits)})"


def to_json(expression: Expression) -> dict[str, Any]:
    """What ``json.dump`` writes: {"const": value}, {"var": name} or {"op": operator, "args": [trees]}."""
    if expression.op in ("const", "var"):
        return {expression.op: expression.value}
    return {"op": expression.op, "args": [to_json(arg) for arg in expression.args]}


def from_json(tree: Mapping[str, Any]) -> Expression:
    """The tree that ``to_json`` wrote.

    Raises:
        ValueError: it is no such tree.
    """
    if isinstance(tree, Mapping):
        if isinstance(tree.get("const"), (int, float)):
            return constant(tree["const"])
        if isinstance(tree.get("var"), str):
            return variable(tree["var"])
        if isinstance(tree.get("op"), str) and isinstance(tree.get("args"), (list, tuple)):
            return apply(tree["op"], *(from_json(arg) for arg in tree["args"]))
    raise ValueError(
        f"no expression: got {str(tree)[:80]}, expected an object with const, var, or op and args; write it again with "
        "to_json"
    )


def _leaves(expression: Expression) -> list[Expression]:
    if not expression.args:
        return [expression]
    return [leaf for arg in expression.args for leaf in _leaves(arg)]


def _replace_constants(expression: Expression, values: Iterable[float]) -> Expression:
    if expression.op == "const":
        return constant(next(values))
    return expression._replace(args=tuple(_replace_constants(arg, values) for arg in expression.args))


def _enclosed(expression: Expression, level: int, digits: int | None, after: bool = False) -> str:
    """The text of an argument, in brackets where it binds weaker than ``level`` or puts a minus in the middle."""
    text = to_infix(expression, digits)
    weaker = _LEVELS.get(expression.op, _ATOM) < level
    return f"({text})" if weaker or (after and text.startswith("-")) else text
