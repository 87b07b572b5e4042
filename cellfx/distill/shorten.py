"""What a formula could do without: every version of it that lacks one operator or one constant."""

from collections.abc import Iterator

from cellfx.distill.expression import Expression, apply, complexity, constants, with_constants
from cellfx.distill.simplify import simplify


def shorten(expression: Expression) -> list[Expression]:
    """Simplified formulas that are smaller than ``expression`` by a removal in one place, each once.

    A binary operator gives way to either of its arguments, a difference also to minus the second one, and a unary
    operator to what it is applied to.
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
    if expression.op == "-":
        yield apply("neg", expression.args[1])
    for place, arg in enumerate(expression.args):
        for changed in _removals(arg):
            args = list(expression.args)
            args[place] = changed
            yield expression._replace(args=tuple(args))
