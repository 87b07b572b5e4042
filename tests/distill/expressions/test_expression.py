import importlib.util
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings

from cellfx.distill.expressions.expression import (
    apply,
    complexity,
    constant,
    constants,
    from_json,
    num_nodes,
    rename,
    to_infix,
    to_json,
    variable,
    variables,
    with_constants,
)
from cellfx.distill.expressions.parse import parse

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[2] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = ("z1", "z2", "z3", "z17", "z21", "z29")

# Soelistyo & Lowe 2024, supplement, tables 1 (H) and 2 (M), all whose printed form is the tree that was counted.
PUBLISHED = {
    "H1": ("z29*(z17^2 + z21^2) - exp(exp(z3))", 11),
    "H4": ("0.74*(z29 - 0.62*z3)*(z17^2 + z21^2) - 2.11", 15),
    "H5": ("(z17^2 + z21^2)*(z29 - sin(z3)) - 2.86", 12),
    "H6": ("0.74*(z17^2 + z21^2)*(z29 - sin(z3 + 0.18)) - 1.99", 16),
    "H7": ("0.71*(z17^2 + z21^2)*(z29 - z3/(1.4*sqrt(abs(z3)))) - 2.11", 19),
    "H8": ("(z17^2 + z21^2)*(z29 - exp(z3) + 0.71) - 2.03", 14),
    "H10": ("(z29 - 0.44*z3)*(z17^2 + z21^2) - 2.56", 13),
    "M2": ("z21^2 + 4.22*(sqrt(abs(z17)) + sin(z29) - sin(z3)) - 10.54", 16),
    "M3": ("z17^2 + z21^2 + z29 - 6.00*exp(sin(z3))", 13),
    "M7": ("z17^2 + z21^2 + (z3 + 3.99)*(z29 - z3) - 6.85", 15),
    "M10": ("(z17 - 0.25)^2 + z21^2 + 3.76*z29 - 3.16*exp(z3) - 3.53", 18),
    # Printed as 8.20 (0.35 z3 + 1)^2; 8.20 0.35^2 is 1, so the tree had (z3 + 2.86)^2.
    "M4": ("z17^2 + z21^2 + z29 - z3^2 - (z3 + 2.86)^2 + 2.13", 17),
    "M5": ("2*abs(z17) + z21^2 + 3.72*z29 - (z3 + 1.92)^2 - 4.94", 18),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    text, nodes = PUBLISHED[name]
    assert num_nodes(parse(text, NAMES)) == nodes


def test_complexity_weighs_sine_exponential_and_logarithm():
    # H6 has 16 nodes, of which one sine; M3 has 13 with an exponential of a sine.
    assert complexity(parse(PUBLISHED["H6"][0], NAMES)) == 18
    assert complexity(parse(PUBLISHED["M3"][0], NAMES)) == 16
    assert complexity(parse("log(sqrt(abs(z1)))/square(z2)", NAMES)) == 8


@settings(max_examples=200, deadline=None)
@given(reference.trees())
def test_sizes_equal_a_count_of_the_dictionary(tree):
    expression = from_json(tree)
    assert num_nodes(expression) == reference.size(tree)
    assert complexity(expression) == reference.size(tree, {"sin": 3, "exp": 2, "log": 2})


@settings(max_examples=300, deadline=None)
@given(reference.trees())
def test_both_written_forms_come_back_the_same(tree):
    expression = from_json(tree)
    assert from_json(json.loads(json.dumps(to_json(expression)))) == expression
    assert parse(to_infix(expression), NAMES) == expression


def test_text():
    z1, z2 = variable("z1"), variable("z2")
    assert to_infix(apply("-", z1, apply("-", z2, constant(1)))) == "z1 - (z2 - 1.0)"
    assert to_infix(apply("-", apply("-", z1, z2), constant(-1.5)), digits=2) == "z1 - z2 - (-1.5)"
    assert to_infix(apply("/", z1, apply("*", constant(2 / 3), z2)), digits=3) == "z1/(0.667*z2)"
    assert to_infix(apply("square", apply("neg", z1))) == "(-z1)^2"
    assert to_infix(apply("neg", apply("square", z1))) == "-z1^2"
    assert str(apply("sin", apply("+", z1, constant(math.pi)))) == "sin(z1 + 3.142)"


def test_variables_and_constants_from_left_to_right():
    expression = parse("(z29 - 0.44*z3)*(z17^2 + z29^2) - 2.56", NAMES)
    assert variables(expression) == ("z29", "z3", "z17")
    assert constants(expression) == (0.44, 2.56)
    changed = with_constants(expression, [1, 2])
    assert changed == parse("(z29 - 1*z3)*(z17^2 + z29^2) - 2", NAMES)
    assert rename(changed, {"z29": "size"}) == parse("(size - 1*z3)*(z17^2 + size^2) - 2", (*NAMES, "size"))


def test_equal_trees_are_one_key():
    texts = ("z1 + 2*z2", "z1+2.0*z2", "(z1 + (2*z2))", "2*z2 + z1")
    assert len({parse(text, NAMES) for text in texts}) == 2


def test_errors():
    with pytest.raises(ValueError, match="unknown operator: got 'tan', expected one of"):
        apply("tan", variable("z1"))
    with pytest.raises(ValueError, match=r"arguments of \+: got 1, expected 2"):
        apply("+", variable("z1"))
    with pytest.raises(ValueError, match="arguments of sin: got 2, expected 1"):
        apply("sin", variable("z1"), variable("z2"))
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="expected a finite number"):
            constant(value)
    with pytest.raises(ValueError, match="got 1 values, expected 2"):
        with_constants(parse("2*z1 + 3", NAMES), [1])
    for tree in (
        {},
        [],
        "z1",
        {"op": "+"},
        {"op": "+", "args": "ab"},
        {"const": "1"},
        {"var": 3},
        {"op": 3, "args": []},
    ):
        with pytest.raises(ValueError, match="no expression: got"):
            from_json(tree)
