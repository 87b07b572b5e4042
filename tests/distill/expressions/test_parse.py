import csv
import math
from pathlib import Path

import numpy as np
import pytest

from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import complexity, num_nodes, variables
from cellfx.distill.expressions.parse import MAX_CHARACTERS, parse

NAMES = ("x0", "x1", "x2", "x3")


def at(text, *row):
    """The value at one row of x0, x1, ..."""
    return float(numpy_evaluate(parse(text, NAMES), np.array([row + (0.0,) * (4 - len(row))]), NAMES)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x0 + x1 * x2", 2 + 3 * 5),
        ("(x0 + x1) * x2", (2 + 3) * 5),
        ("x0 - x1 - x2", 2 - 3 - 5),
        ("x0 / x1 / x2", 2 / 3 / 5),
        ("x0 - x1 * x2 / x0", 2 - 3 * 5 / 2),
        ("-x0^2", -4),
        ("(-x0)^2", 4),
        ("-3^2", -9),
        ("x0**3", 8),
        ("x0^4 + x0^5 + x0^6 + x0^7 + x0^8", 16 + 32 + 64 + 128 + 256),
        ("x0^1", 2),
        ("x0^-2", 1 / 4),
        ("x0^(-1)", 1 / 2),
        ("x1^0.5", math.sqrt(3)),
        ("pow(x1, 2) + cube(x0)", 17),
        ("x0 + -1.3", 0.7),
        ("x0 - 1*2.5", -0.5),
        ("+x0", 2),
        ("1.5e-3*x0 + 2E+1", 20.003),
        (".5*x0", 1),
        ("square(x0) + exp(x0) + log(x1) + sin(x2)", 4 + math.exp(2) + math.log(3) + math.sin(5)),
        ("sqrt(x1)*abs(0 - x2)*neg(x0)", -math.sqrt(3) * 10),
        ("sqrtabs(0 - x1) + logabs(0 - x2)", math.sqrt(3) + math.log(5)),
        ("\n  ((x0 + 1))\n", 3),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(at(text, 2.0, 3.0, 5.0), expected, rtol=1e-12)


def test_a_minus_belongs_to_its_number():
    assert num_nodes(parse("x0 + -1.3", NAMES)) == 3
    assert num_nodes(parse("-1.3", NAMES)) == 1
    assert num_nodes(parse("-x0", NAMES)) == 2
    assert num_nodes(parse("-3^2", NAMES)) == 3


def test_a_power_of_two_is_one_node():
    assert parse("x0^2", NAMES) == parse("square(x0)", NAMES) == parse("x0**2.0", NAMES)
    assert num_nodes(parse("x0^2", NAMES)) == 2


def test_names_are_translated():
    expression = parse("X1 + 2*X2", {"X1": "z29", "X2": "z3"})
    assert variables(expression) == ("z29", "z3")


def test_what_pysr_writes(data_folder):
    """Its own complexities, and its own losses on the rows that its runs were made of."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4))
    y = (x[:, 0] ** 2 + x[:, 1] ** 2) * (x[:, 2] - 0.44 * x[:, 3]) - 2.56
    checked = 0
    for path in sorted(Path(data_folder, "pysr").glob("*/hall_of_fame.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                expression = parse(row["Equation"], NAMES)
                assert complexity(expression) == int(row["Complexity"]), row["Equation"]
                if path.parent.name in ("l2", "l2_100", "l2_p64") and float(row["Loss"]) > 1e-6:
                    loss = np.mean((numpy_evaluate(expression, x, NAMES) - y) ** 2)
                    np.testing.assert_allclose(loss, float(row["Loss"]), rtol=1e-4)
                    checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tan(x0)", "unknown operator in 'tan\\(x0\\)': got tan, expected one of"),
        ("__import__('os').system('true')", "formula that cannot be read"),
        ("__import__('os')", "unknown operator"),
        ("x0.real", "got x0.real, expected numbers, variables"),
        ("x0[0]", "got x0\\[0\\]"),
        ("[x0 for x0 in x1]", "formula that cannot be read"),
        ("x0 if x1 else x2", "formula that cannot be read"),
        ("x0 < x1", "formula that cannot be read"),
        ("lambda: x0", "formula that cannot be read"),
        ("(lambda: x0)()", "formula that cannot be read"),
        ("'x0'", "formula that cannot be read"),
        ("True", "formula that cannot be read"),
        ("2j", "formula that cannot be read"),
        ("x0 % x1", "formula that cannot be read"),
        ("not x0", "formula that cannot be read"),
        ("y + 1", "unknown variable in 'y \\+ 1': got y, expected one of x0, x1, x2, x3"),
        ("nan", "got nan, expected a finite number"),
        ("x0 + inf", "got inf, expected a finite number"),
        ("1e999*x0", "got inf, expected a finite number"),
        ("x0 +", "got text that is no infix"),
        ("", "got text that is no infix"),
        ("x0 x1", "got text that is no infix"),
        ("x0^x1", "got the power x1, expected 1/2 or a whole number"),
        ("x0^0", "got the power 0"),
        ("x0^9", "got the power 9"),
        ("x0^1.5", "got the power 1.5"),
        ("x0^'a'", "got the power 'a'"),
        ("square(x0, x1)", "got 2 arguments of square, expected 1"),
        ("square()", "got 0 arguments of square, expected 1"),
        ("pow(x0)", "got 1 arguments of pow, expected 2"),
        ("square(x=x0)", "formula that cannot be read"),
        ("square(*x0)", "formula that cannot be read"),
        ("(" * 500 + "x0" + ")" * 500, "got text that is no infix"),
        ("-" * 5000 + "x0", "got text that is no infix"),
        ("x0" + "+x0" * 3000, "got text that is no infix"),
        ("x0 + 1" + " " * MAX_CHARACTERS, "got 10006 characters, expected at most 10000"),
    ],
)
def test_what_cannot_be_read(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, NAMES)
