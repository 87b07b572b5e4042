"""Reads formulas as the search backends print them; nothing that is read is ever run."""

import ast
from collections.abc import Callable, Mapping, Sequence

from cellfx.distill.expressions.expression import UNARY, Expression, apply, constant, variable

MAX_CHARACTERS = 10_000
MAX_POWER = 8

_BINARY_NODES = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_FUNCTIONS: dict[str, Callable[[Expression], Expression]] = {
    **{name: lambda x, name=name: apply(name, x) for name in UNARY},
    "cube": lambda x: apply("*", x, apply("square", x)),
    "sqrtabs": lambda x: apply("sqrt", apply("abs", x)),
    "logabs": lambda x: apply("log", apply("abs", x)),
}


def parse(text: str, names: Sequence[str] | Mapping[str, str]) -> Expression:
    """Reads infix such as ``(square(x1) * x2) - 1.58`` or ``(z17^2 + z21^2)*(z29 - 0.44*z3) - 2.56``.

    A power of 2 is ``square``; other whole powers up to 8 become products and squares, 1/2 the square root, negative
    ones a quotient. A minus before a number belongs to the number.

    Args:
        text: the formula.
        names: the variables that may occur, or a mapping from the names in the text to the names in the tree.

    Raises:
        ValueError: the text is no formula, or one of unknown variables, functions or operators.
    """
    names = names if isinstance(names, Mapping) else {name: name for name in names}
    if len(text) > MAX_CHARACTERS:
        raise _unreadable(text, f"{len(text)} characters", f"at most {MAX_CHARACTERS}")
    try:
        return _read(ast.parse(text.strip().replace("^", "**"), mode="eval").body, names, text)
    except (SyntaxError, RecursionError, MemoryError):
        raise _unreadable(text, "text that is no infix", "for instance 0.5*square(z3) - 1.2") from None


def _read(node: ast.expr, names: Mapping[str, str], text: str) -> Expression:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return constant(node.value)
    if isinstance(node, ast.Name):
        return _read_name(node.id, names, text)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return _read_sign(node, names, text)
    if isinstance(node, ast.BinOp):
        left = _read(node.left, names, text)
        if isinstance(node.op, ast.Pow):
            return _power(left, node.right, text)
        if type(node.op) in _BINARY_NODES:
            return apply(_BINARY_NODES[type(node.op)], left, _read(node.right, names, text))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _read_call(node, names, text)
    raise _unreadable(text, ast.unparse(node)[:60], "numbers, variables, + - * / ^ and functions")


def _read_name(name: str, names: Mapping[str, str], text: str) -> Expression:
    if name in names:
        return variable(names[name])
    if name.lower() in ("nan", "inf", "infinity"):
        return constant(float(name))
    known = ", ".join(names) or "none"
    raise ValueError(f"unknown variable in {text[:80]!r}: got {name}, expected one of {known}; correct the name")


def _read_sign(node: ast.UnaryOp, names: Mapping[str, str], text: str) -> Expression:
    operand = _read(node.operand, names, text)
    if isinstance(node.op, ast.UAdd):
        return operand
    if operand.op == "const" and not isinstance(node.operand, (ast.BinOp, ast.Call)):
        return constant(-operand.value)
    return apply("neg", operand)


def _read_call(node: ast.Call, names: Mapping[str, str], text: str) -> Expression:
    name, num_arguments = node.func.id, len(node.args)
    expected = 2 if name == "pow" else 1
    if name != "pow" and name not in _FUNCTIONS:
        raise ValueError(
            f"unknown operator in {text[:80]!r}: got {name}, expected one of + - * / ^ {' '.join(_FUNCTIONS)}; leave "
            "it out of the search"
        )
    if num_arguments != expected:
        raise _unreadable(text, f"{num_arguments} arguments of {name}", str(expected))
    argument = _read(node.args[0], names, text)
    return _power(argument, node.args[1], text) if name == "pow" else _FUNCTIONS[name](argument)


def _power(base: Expression, exponent: ast.expr, text: str) -> Expression:
    try:
        power = float(ast.literal_eval(exponent))
    except (ValueError, TypeError):
        power = 0.0
    if power == 0.5:
        return apply("sqrt", base)
    if power != round(power) or not 1 <= abs(power) <= MAX_POWER:
        expected = f"1/2 or a whole number from 1 to {MAX_POWER}, or its negative"
        raise _unreadable(text, f"the power {ast.unparse(exponent)[:40]}", expected)
    raised = _whole_power(base, int(abs(power)))
    return raised if power > 0 else apply("/", constant(1.0), raised)


def _whole_power(base: Expression, power: int) -> Expression:
    if power == 1:
        return base
    half = _whole_power(base, power // 2)
    return apply("square", half) if power % 2 == 0 else apply("*", base, apply("square", half))


def _unreadable(text: str, got: str, expected: str) -> ValueError:
    return ValueError(
        f"formula that cannot be read, {text[:80]!r}: got {got}, expected {expected}; correct it or leave it out"
    )
