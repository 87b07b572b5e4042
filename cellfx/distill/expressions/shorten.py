"""What a formula could do without: every version of it that lacks one operator or one constant."""

from collections.abc import Iterator

from cellfx.distill.expressions.expression import Expression, apply, complexity, constant, constants, with_constants
from cellfx.distill.expressions.simplify import simplify


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


def unscale(expression: Expression) -> Expression:
    """A formula with the same sign everywhere, and two nodes fewer where a number multiplies all but the offset.

    So 0.9 (z1^2 - z2) - 1.8 becomes z1^2 - z2 - 2.
    """
    scaled, offset = expression, 0.0
    sign = 1.0
    if expression.op in ("+", "-"):
        left, right = expression.args
        second = 1.0 if expression.op == "+" else -1.0
        if right.op == "const":
            scaled, offset = left, second * right.value
        elif left.op == "const":
            scaled, offset, sign = right, left.value, second
    if scaled.op != "*" or scaled.args[0].op != "const" or scaled.args[0].value == 0:
        return expression
    scale, inner = sign * scaled.args[0].value, scaled.args[1]
    moved = constant(offset / abs(scale))
    shorter = simplify(apply("+", inner, moved) if scale > 0 else apply("-", moved, inner))
    return shorter if complexity(shorter) < complexity(expression) else expression


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
