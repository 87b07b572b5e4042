"""Writes a formula shorter without changing its value, under the meaning that ``evaluate`` gives every operator."""

from collections.abc import Callable

import numpy as np

from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import Expression, apply, complexity, constant, num_nodes

_MAX_PASSES = 10
_NEVER_NEGATIVE = ("square", "abs", "exp", "sqrt")
_ONE = constant(1.0)


def simplify(expression: Expression) -> Expression:
    """Folds constants, collects like terms and factors, and drops what changes nothing.

    Rules that hold for numbers but not at the edge of a domain are left out: x / x is 0 at 0, exp(log(x)) is no x below
    zero. Values are equal up to rounding.

    Args:
        expression: any tree.

    Returns:
        A tree with at most as many nodes and at most the complexity.
    """
    for _ in range(_MAX_PASSES):
        shorter = _simplify_below(expression)
        if shorter == expression:
            break
        expression = shorter
    return expression


def _simplify_below(expression: Expression) -> Expression:
    if not expression.args:
        return expression
    expression = expression._replace(args=tuple(_simplify_below(arg) for arg in expression.args))
    for rewrite in _REWRITES:
        try:
            candidate = rewrite(expression)
        except (ValueError, OverflowError):  # a constant left the range of numbers
            continue
        if num_nodes(candidate) <= num_nodes(expression) and complexity(candidate) <= complexity(expression):
            expression = candidate
    return expression


def _fold(expression: Expression) -> Expression:
    if expression.args and all(arg.op == "const" for arg in expression.args):
        return constant(float(numpy_evaluate(expression, np.zeros((1, 0)), ())[0]))
    return expression


def _drop(expression: Expression) -> Expression:
    """abs of what is never negative; the square root of a square."""
    if expression.op == "abs" and expression.args[0].op in _NEVER_NEGATIVE:
        return expression.args[0]
    if expression.op == "sqrt" and expression.args[0].op == "square":
        return apply("abs", expression.args[0].args[0])
    return expression


def _collect_factors(expression: Expression) -> Expression:
    coefficient, factors = _factors(expression)
    return _product(coefficient, factors)


def _collect_terms(expression: Expression, expand: bool) -> Expression:
    if expression.op not in ("+", "-", "neg", "*"):
        return expression
    return _sum(*_terms(expression, expand))


def _factors(expression: Expression) -> tuple[float, dict[Expression, int]]:
    """An expression as a number times whole powers of other expressions; 1 / y is one of these."""
    op, args = expression.op, expression.args
    if op == "const":
        return expression.value, {}
    if op == "*":
        (left, powers), (right, others) = (_factors(arg) for arg in args)
        return left * right, _merged(powers, others)
    if op == "/":
        coefficient, powers = _factors(args[0])
        if args[1].op == "const":
            return coefficient * _fold(apply("/", _ONE, args[1])).value, powers
        return coefficient, _merged(powers, {apply("/", _ONE, args[1]): 1})
    if op in ("+", "-"):
        scale = _common_scale(expression)
        if scale != 1:
            terms, rest = _terms(expression, expand=False)
            shared = {term: value / scale for term, value in terms.items()}
            return scale, {_sum(shared, rest / scale): 1}
    if op in ("neg", "square", "abs", "sqrt", "sin"):
        return _factors_of_unary(expression)
    return 1.0, {expression: 1}


def _factors_of_unary(expression: Expression) -> tuple[float, dict[Expression, int]]:
    op = expression.op
    coefficient, powers = _factors(expression.args[0])
    if op == "neg":
        return -coefficient, powers
    if op == "square":
        return coefficient**2, {factor: 2 * power for factor, power in powers.items()}
    if op == "abs":
        return abs(coefficient), {apply("abs", _product(1.0, powers)): 1}
    if op == "sqrt" and coefficient > 0:
        return float(np.sqrt(coefficient)), {apply("sqrt", _product(1.0, powers)): 1}
    if op == "sin" and coefficient < 0:
        return -1.0, {apply("sin", _product(-coefficient, powers)): 1}
    return 1.0, {expression: 1}


def _common_scale(expression: Expression) -> float:
    """What to take out of a sum so that most of its terms have no coefficient; 1 where nothing is gained."""
    terms, _ = _terms(expression, expand=False)
    values = list(terms.values())
    if not values or 1.0 in values:
        return 1.0
    if -1.0 in values:
        return -1.0
    return max(values, key=lambda value: sum(value == other for other in values))


def _terms(expression: Expression, expand: bool) -> tuple[dict[Expression, float], float]:
    """An expression as a sum of numbers times other expressions, and a number.

    Args:
        expression: the tree.
        expand: whether a number times a sum becomes a sum.
    """
    op, args = expression.op, expression.args
    if op == "const":
        return {}, expression.value
    if op in ("+", "-"):
        (terms, rest), (others, more) = (_terms(arg, expand) for arg in args)
        sign = 1.0 if op == "+" else -1.0
        terms = _merged(terms, {term: sign * value for term, value in others.items()})
        return {term: value for term, value in terms.items() if value != 0}, rest + sign * more
    if op == "neg":
        terms, rest = _terms(args[0], expand)
        return {term: -value for term, value in terms.items()}, -rest
    coefficient, powers = _factors(expression)
    inner = _product(1.0, powers)
    if inner.op == "const":
        return {}, coefficient * inner.value
    if expand and inner.op in ("+", "-"):
        terms, rest = _terms(inner, expand)
        return {term: coefficient * value for term, value in terms.items()}, coefficient * rest
    return ({inner: coefficient} if coefficient != 0 else {}), 0.0


def _merged(first: dict, second: dict) -> dict:
    return {**first, **{key: first.get(key, 0) + value for key, value in second.items()}}


def _sum(terms: dict[Expression, float], rest: float) -> Expression:
    """Terms with a plus first, so that few signs are needed; the number last, or first where all else has a minus."""
    parts = [(value, term) for term, value in terms.items()]
    parts.sort(key=lambda part: part[0] < 0)
    if not parts:
        return constant(rest)
    if rest > 0 and parts[0][0] < 0:
        total = constant(rest)
        rest = 0.0
    else:
        value, term = parts.pop(0)
        total = _scaled(value, term)
    for value, term in parts:
        total = apply("+" if value > 0 else "-", total, _scaled(abs(value), term))
    if rest == 0:
        return total
    return apply("+" if rest > 0 else "-", total, constant(abs(rest)))


def _product(coefficient: float, powers: dict[Expression, int]) -> Expression:
    """Powers as squares, absolute values under one sign."""
    if coefficient == 0:
        return constant(0.0)
    powers = dict(powers)
    for factor in [factor for factor, power in powers.items() if factor.op == "abs" and power > 1]:
        power = powers.pop(factor)
        powers = _merged(powers, {factor.args[0]: power - power % 2})
        powers = _merged(powers, {factor: 1} if power % 2 else {})
    if all(power % 2 == 0 for power in powers.values()) and powers:
        root = _product(1.0, {factor: power // 2 for factor, power in powers.items()})
        return _scaled(coefficient, apply("square", root))
    squared = {factor: power // 2 for factor, power in powers.items() if power > 1}
    single = [factor for factor, power in powers.items() if power % 2]
    factors = [apply("square", _product(1.0, squared))] if squared else []
    factors += [factor for factor in single if factor.op != "abs"]
    sizes = [factor.args[0] for factor in single if factor.op == "abs"]
    if sizes:
        factors.append(apply("abs", _chained(sizes)))
    return _scaled(coefficient, _chained(factors)) if factors else constant(coefficient)


def _chained(factors: list[Expression]) -> Expression:
    """A product from left to right, reciprocals as divisions at its end."""
    over = [factor for factor in factors if _is_reciprocal(factor)]
    factors = [factor for factor in factors if not _is_reciprocal(factor)] or [over.pop(0)]
    total = factors[0]
    for factor in factors[1:]:
        total = apply("*", total, factor)
    for factor in over:
        total = apply("/", total, factor.args[1])
    return total


def _scaled(coefficient: float, expression: Expression) -> Expression:
    if coefficient == 1:
        return expression
    if expression.op == "const":
        return constant(coefficient * expression.value)
    if _is_reciprocal(expression):
        return apply("/", constant(coefficient), expression.args[1])
    if coefficient == -1:
        return apply("neg", expression)
    return apply("*", constant(coefficient), expression)


def _is_reciprocal(expression: Expression) -> bool:
    return expression.op == "/" and expression.args[0] == _ONE


_REWRITES: tuple[Callable[[Expression], Expression], ...] = (
    _fold,
    _drop,
    _collect_factors,
    lambda expression: _collect_terms(expression, expand=True),
    lambda expression: _collect_terms(expression, expand=False),
)
