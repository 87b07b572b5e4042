"""What a formula could do without: every version of it that lacks one operator or one constant."""

from collections.abc import Iterator

from cellfx.distill.expression import BINARY, Expression, complexity, constant, constants, with_constants
from cellfx.distill.simplify import simplify


def shorten(expression: Expression) -> list[Expression]:
    """Simplified formulas that are smaller than ``expression`` by a removal in one place, each once.

    A binary operator gives way to either of its arguments, a unary one to what it is applied to.
    """
    found = {}
    for candidate in _removals(expression):
        shorter = simplify(candidate)
        if complexity(shorter) < complexity(expression):
            found.setdefault(shape(shorter), shorter)
    return list(found.values())


def shape(expression: Expression) -> Expression:
    """The formula with every constant set to 1: equal for formulas that a fit of the constants makes equal."""
    return with_constants(expression, [1.0] * len(constants(expression)))


def _removals(expression: Expression) -> Iterator[Expression]:
    yield from expression.args
    if expression.op in BINARY and expression.args[1].op != "const" and expression.args[0].op == "const":
        yield expression._replace(args=(constant(1.0 if expression.op in "*/" else 0.0), expression.args[1]))
    for place, arg in enumerate(expression.args):
        for changed in _removals(arg):
            args = list(expression.args)
            args[place] = changed
            yield expression._replace(args=tuple(args))
