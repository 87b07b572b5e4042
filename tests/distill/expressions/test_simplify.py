import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings

from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import complexity, from_json, num_nodes, variables
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.simplify import simplify

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[2] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = ("z1", "z2", "z3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z1 - -1.5", "z1 + 1.5"),
        ("z1 + -1.5", "z1 - 1.5"),
        ("z1 - 1*2.5", "z1 - 2.5"),
        ("1*z1", "z1"),
        ("z1/1", "z1"),
        ("z1 + 0", "z1"),
        ("0 - z1", "-z1"),
        ("z1*0 + z2", "z2"),
        ("0/z1", "0"),
        ("-(-z1)", "z1"),
        ("2 + 3*4", "14"),
        ("log(exp(0)) + sqrt(4)", "2"),
        ("square(abs(z1))", "z1^2"),
        ("square(-z1)", "z1^2"),
        ("abs(abs(z1)*-2)", "2*abs(z1)"),
        ("abs(exp(z1))", "exp(z1)"),
        ("abs(z1)*abs(z2)", "abs(z1*z2)"),
        ("abs(z1)*abs(z1)", "z1^2"),
        ("sqrt(square(z1))", "abs(z1)"),
        ("z1*z1*z2", "z1^2*z2"),
        ("z1^2*z2^2", "(z1*z2)^2"),
        ("z1 + z1 + z1", "3*z1"),
        ("z1 - z1", "0"),
        ("z1 + z2 - z1", "z2"),
        ("3*(z1/6)*2", "z1"),
        ("z1*(1/z2)", "z1/z2"),
        ("2*(3*z1 + 4)", "6*z1 + 8"),
        ("2*(z1 + 1) + 3", "2*z1 + 5"),
        ("(z1 + 1) + (z2 + 2)", "z1 + z2 + 3"),
        ("4*square(0.5*z1 + 1)", "(z1 + 2)^2"),
        ("2*(2*z1 + 4)*z2", "4*((z1 + 2)*z2)"),
        ("z1 - sin(-z2)", "z1 + sin(z2)"),
        ("-2.5 - (0.5*z3 - z2)*(square(z1) + 1)", "(z2 - 0.5*z3)*(square(z1) + 1) - 2.5"),
    ],
)
def test_rules(text, expected):
    assert simplify(parse(text, NAMES)) == parse(expected, NAMES)


@pytest.mark.parametrize("text", ["z1/z1", "exp(log(z1))", "log(exp(z1))", "square(sqrt(z1))", "z1/z2*z2"])
def test_what_holds_for_numbers_but_not_at_an_edge_stays(text):
    expression = parse(text, NAMES)
    x = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0], [50.0, 1.0], [1e-9, 1e-9]])
    before, after = (numpy_evaluate(tree, x, ("z1", "z2")) for tree in (expression, simplify(expression)))
    np.testing.assert_allclose(after, before, rtol=1e-12)
    assert num_nodes(simplify(expression)) == num_nodes(expression)


@settings(max_examples=300, deadline=None)
@given(reference.trees(max_leaves=12), reference.rows())
def test_same_values_and_never_larger(tree, rows):
    expression = from_json(tree)
    shorter = simplify(expression)
    assert num_nodes(shorter) <= num_nodes(expression)
    assert complexity(shorter) <= complexity(expression)
    assert set(variables(shorter)) <= set(variables(expression))
    delicate = [reference.is_delicate(tree, dict(zip(NAMES, row, strict=True))) for row in rows]
    assume(not all(delicate))
    rows = np.array(rows)[~np.array(delicate)]
    before, after = (numpy_evaluate(tree, rows, NAMES) for tree in (expression, shorter))
    # Cancelling terms of up to 1e8 leaves an absolute error.
    np.testing.assert_allclose(after, before, rtol=1e-8, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(reference.trees(max_leaves=12))
def test_there_is_nothing_left_to_do(tree):
    once = simplify(from_json(tree))
    assert num_nodes(simplify(once)) == num_nodes(once)


def test_a_constant_that_would_leave_the_numbers_stays_unfolded():
    expression = parse("square(1e200)*z1", NAMES)
    assert simplify(expression) == expression
