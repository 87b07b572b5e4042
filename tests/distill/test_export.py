import importlib.util
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_score

from cellfx.distill.export import FormulaClassifier, to_jax, to_sympy
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import BINARY, UNARY, apply, from_json, to_json, variable
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.program import assemble, run

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[1] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = tuple(f"z{column}" for column in range(32))
LAW = parse("(z17^2 + z21^2)*(z29 - 0.44*z3) - 2.56", NAMES)


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).normal(size=(60, 32))


def test_all_exports_agree_inside_and_outside_their_domains(codes):
    names = ("z1", "z2")
    x = np.array([[1.0, 0.0], [-2.0, 0.5], [3.0, -1e-9], [0.0, 0.0], [40.0, -4.0], [-1e-8, 2.0]], np.float32)
    for text in ("z1/z2", "log(z1)*z2", "sqrt(z1) - z2", "exp(z1)", "1/(z1 - z2*0.5)", "log(sqrt(z1) - 3) + exp(-z2)"):
        expression = parse(text, names)
        expected = numpy_evaluate(expression, x, names)
        as_sympy = sympy.lambdify(sympy.symbols("z1 z2", real=True), to_sympy(expression), "numpy")
        with np.errstate(divide="ignore"):  # numpy.select works out every branch
            by_sympy = np.broadcast_to(as_sympy(*x.T.astype(np.float64)), (len(x),))
        read = from_json(json.loads(json.dumps(to_json(expression))))
        estimator = FormulaClassifier(expression, names)
        got = {
            "jax": to_jax(expression, names)(jnp.asarray(x)),
            "sympy": by_sympy,
            "json": numpy_evaluate(read, x, names),
            "estimator": estimator.decision_function(x),
        }
        for name, values in got.items():
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7, err_msg=f"{name} of {text}")


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 1e30, -1e30, 1e-30, -1e-30, 35.0, 1e-6, -1e-6, 0.5]


def exported(expression, x, names):
    """Values (N,) of float64 columns x (N, d) by every export; that of JAX in float32."""
    as_sympy = sympy.lambdify(sympy.symbols(names, real=True), to_sympy(expression), "numpy")
    with np.errstate(all="ignore"):
        by_sympy = np.broadcast_to(as_sympy(*x.T), (len(x),))
    return {
        "numpy": numpy_evaluate(expression, x, names),
        "jax": to_jax(expression, names)(jnp.asarray(x, jnp.float32)),
        "compiled": jax.jit(to_jax(expression, names))(jnp.asarray(x, jnp.float32)),
        "program": run(assemble(expression, names), assemble(expression, names).constants, jnp.asarray(x.T, "f4"))[0],
        "sympy": by_sympy,
        "json": numpy_evaluate(from_json(json.loads(json.dumps(to_json(expression)))), x, names),
        "text": numpy_evaluate(parse(str(expression), names), x, names),
        "estimator": FormulaClassifier(expression, names).decision_function(x),
    }


def plain(op, x, y):
    """The documented meaning, in plain Python and NumPy's float64 arithmetic."""
    x, y = np.float64(x), np.float64(y)
    if np.isnan(x) or (op in BINARY and np.isnan(y)):
        return np.nan
    with np.errstate(all="ignore"):
        match op:
            case "/":
                return x / (y if abs(y) >= 1e-6 else -1e-6 if y < 0 else 1e-6)
            case "log":
                return np.log(max(x, 1e-6))
            case "sqrt":
                return np.sqrt(max(x, 0.0))
            case "exp":
                return np.exp(min(x, 30.0))
            case "+" | "-" | "*":
                return {"+": x + y, "-": x - y, "*": x * y}[op]
            case "square" | "neg":
                return x * x if op == "square" else -x
        return {"sin": np.sin, "abs": np.abs}[op](x)


@pytest.mark.parametrize("op", BINARY + UNARY)
def test_every_operator_means_one_thing_in_every_export(op):
    """Before, NaN was 13.8 below zero to JAX's logarithm, and 1e13 to its exponential."""
    names = ("z1", "z2")
    x = np.array(list(itertools.product(SPECIAL, repeat=2))) if op in BINARY else np.array([SPECIAL, SPECIAL]).T
    expression = apply(op, *map(variable, names[: 2 if op in BINARY else 1]))
    expected = np.array([plain(op, *row) for row in x])
    for name, values in exported(expression, x, names).items():
        wanted = expected
        if name in ("jax", "compiled", "program"):
            with np.errstate(over="ignore"):
                wanted = expected.astype(np.float32)
        # XLA flushes denormal float32 numbers to zero, and takes no sine of what has no place in a circle.
        rows = np.abs(x[:, 0]) < 1e6 if op == "sin" and wanted is not expected else np.ones(len(x), bool)
        rows |= ~np.isfinite(x[:, 0])
        np.testing.assert_allclose(
            np.asarray(values)[rows], wanted[rows], rtol=2e-6, atol=1e-30, equal_nan=True, err_msg=f"{name} of {op}"
        )


@pytest.mark.parametrize(
    "text", ["z1 - z1", "0*z1", "z1/z1", "z1*z2 - z2*z1", "exp(z1) - exp(z1) + z2", "sqrt(z1)^2", "log(exp(z1))"]
)
def test_nothing_is_cancelled_that_may_be_undefined(text):
    x = np.array(list(itertools.product(SPECIAL, repeat=2)))
    names = ("z1", "z2")
    found = exported(parse(text, names), x, names)
    undefined = np.isnan(found["numpy"])
    assert undefined[np.isnan(x[:, 0])].all()
    small = np.abs(x).max(axis=1) < 1e3
    for name, values in found.items():
        if name == "sympy":
            np.testing.assert_array_equal(np.isnan(values), undefined, err_msg=text)
        assert np.isnan(np.asarray(values)[np.isnan(x[:, 0])]).all(), name
        np.testing.assert_allclose(np.asarray(values)[small], found["numpy"][small], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_get_no_label(codes, bad):
    x = codes.copy()
    x[3, 17] = bad
    model = FormulaClassifier(LAW)
    with pytest.raises(
        ValueError, match=f"values that are not finite: got {bad} in row 3, column 17, expected"
    ) as error:
        model.predict(x)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="values that are not finite"):
        model.fit(x, np.arange(60) % 2)
    assert np.isnan(model.decision_function(x)[3]) == np.isnan(bad)
    with pytest.raises(ValueError, match="got NaN for 1 of 2 rows, the first is row 1, expected numbers; leave"):
        FormulaClassifier(parse("z0^2 - z0^2", NAMES)).predict(np.array([[1.0], [1e200]]))


@settings(max_examples=100, deadline=None)
@given(reference.trees(max_leaves=5), reference.rows(num_rows=1))
def test_sympy_substitution_gives_the_same_value(tree, rows):
    row = dict(zip(("z1", "z2", "z3"), rows[0], strict=True))
    assume(not reference.is_delicate(tree, row))
    expression = to_sympy(from_json(tree))
    got = expression.subs({sympy.Symbol(name, real=True): value for name, value in row.items()})
    expected = reference.value(tree, row)
    np.testing.assert_allclose(float(got), expected, rtol=1e-6, atol=1e-6)


def test_the_plain_formula_in_sympy():
    z1, z2 = sympy.symbols("z1 z2", real=True)
    got = to_sympy(parse("log(z1)/sqrt(z2) + exp(z1)^2", NAMES), safe=False)
    assert sympy.simplify(got - (sympy.log(z1) / sympy.sqrt(z2) + sympy.exp(2 * z1))) == 0
    assert sympy.diff(to_sympy(LAW, safe=False), sympy.Symbol("z3", real=True)).free_symbols == set(
        sympy.symbols("z17 z21", real=True)
    )


def test_a_jax_callable_of_all_latents(codes):
    z = jnp.asarray(codes, jnp.float32)
    function = to_jax(LAW)
    expected = (codes[:, 17] ** 2 + codes[:, 21] ** 2) * (codes[:, 29] - 0.44 * codes[:, 3]) - 2.56
    np.testing.assert_allclose(jax.jit(function)(z), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(function)(z), expected, rtol=1e-4, atol=1e-4)
    slopes = jax.vmap(jax.grad(function))(z)
    assert slopes.shape == z.shape
    assert set(np.flatnonzero(np.any(slopes != 0, axis=0))) == {3, 17, 21, 29}
    np.testing.assert_allclose(slopes[:, 29], codes[:, 17] ** 2 + codes[:, 21] ** 2, rtol=1e-4)


def test_a_variable_that_is_no_latent():
    with pytest.raises(ValueError, match="got area, expected z and a number"):
        to_jax(parse("area - 1", ["area"]))
    assert to_jax(parse("area - 1", ["area"]), ["area"])(jnp.array([3.0])) == 2.0


def test_two_classes(codes):
    labels = np.where(numpy_evaluate(LAW, codes, NAMES) > 0, "metaphase", "interphase")
    model = FormulaClassifier(LAW, classes=("interphase", "metaphase"))
    np.testing.assert_array_equal(model.predict(codes), labels)
    assert model.score(codes, labels) == 1.0
    np.testing.assert_array_equal(model.decision_function(codes), numpy_evaluate(LAW, codes, NAMES))
    assert list(FormulaClassifier(LAW).classes_) == [0, 1]
    assert set(FormulaClassifier(LAW).predict(codes)) == {0, 1}


def test_one_formula_against_the_rest_for_each_of_three_classes(codes):
    formulas = [parse(text, NAMES) for text in ("z0", "z1 + 0.1", "2*z2")]
    model = FormulaClassifier(formulas, classes=("a", "b", "c"))
    scores = np.stack([codes[:, 0], codes[:, 1] + 0.1, 2 * codes[:, 2]], axis=1)
    np.testing.assert_allclose(model.decision_function(codes), scores)
    np.testing.assert_array_equal(model.predict(codes), np.array(["a", "b", "c"])[np.argmax(scores, axis=1)])


def test_fit_changes_the_constants_alone():
    x = np.random.default_rng(0).normal(size=(300, 2))
    y = np.where(x[:, 0] > 0.7, "in", "out")
    start = parse("1*z0 + 0.1", ["z0"])
    model = FormulaClassifier(start, classes=("out", "in")).fit(x, y)
    assert model.score(x, y) > 0.98 > FormulaClassifier(start, classes=("out", "in")).score(x, y)
    assert model.expressions == start != model.expressions_[0]
    np.testing.assert_array_equal(model.fit(x, y).predict(x), model.predict(x))
    # Without names of classes the second in the alphabet is the positive one.
    assert FormulaClassifier(start).fit(x, y).score(x, y) > 0.98


def test_scikit_learn_takes_it_for_a_classifier():
    x = np.random.default_rng(0).normal(size=(90, 3))
    y = np.argmax(x, axis=1)
    formulas = [parse(f"1.0*z{place} - 0.3", NAMES) for place in range(3)]
    model = FormulaClassifier(formulas)
    assert is_classifier(model)
    copy = clone(model.fit(x, y))
    assert copy.get_params() == model.get_params()
    assert copy.expressions_ == tuple(formulas)
    assert copy.set_params(loss="squared").loss == "squared"
    assert np.min(cross_val_score(model, x, y, cv=3)) > 0.8


def test_errors(codes):
    model = FormulaClassifier(LAW)
    with pytest.raises(ValueError, match="got labels of 3 classes, expected 2"):
        model.fit(codes, np.arange(60) % 3)
    with pytest.raises(ValueError, match="got labels 0, 1, expected among a, b"):
        FormulaClassifier(LAW, classes=("a", "b")).fit(codes, np.arange(60) % 2)
    with pytest.raises(ValueError, match="unknown parameter: got color, expected one of expressions"):
        model.set_params(color="red")
    with pytest.raises(ValueError, match="the formula has a variable that the data lacks: got z17"):
        model.predict(codes[:, :5])
