import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings

from cellfx.distill.expressions import evaluate as safe
from cellfx.distill.expressions.evaluate import MAX_EXPONENT, OPERATORS, SMALL, evaluate, numpy_evaluate
from cellfx.distill.expressions.expression import BINARY, from_json
from cellfx.distill.expressions.parse import parse

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[2] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = ("z1", "z2", "z3")
EDGES = np.array(
    [0.0, -0.0, 2e-38, -2e-38, 1e-30, 1e-12, 1e-7, -1e-7, 0.5, -0.5, 1.0, -2.0, 29.0, 31.0, -90.0, 1e3, -1e3],
    np.float32,
)


def _rows(row):
    return [dict(zip(NAMES, values, strict=True)) for values in row]


@settings(max_examples=300, deadline=None)
@given(reference.trees(), reference.rows())
def test_numpy_equals_plain_python(tree, rows):
    got = numpy_evaluate(from_json(tree), np.array(rows), NAMES)
    try:
        expected = [reference.value(tree, row) for row in _rows(rows)]
    except (OverflowError, ValueError):
        assume(False)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(reference.trees(max_leaves=5), reference.rows())
def test_jax_equals_plain_python(tree, rows):
    assume(not any(reference.is_delicate(tree, row) for row in _rows(rows)))
    got = evaluate(from_json(tree), NAMES)(jnp.asarray(rows, jnp.float32))
    assert got.shape == (len(rows),)
    expected = [reference.value(tree, row) for row in _rows(rows)]
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-2 * (1e-6 + np.max(np.abs(expected))))


def test_inside_their_domain_they_are_the_ordinary_functions():
    x = jnp.asarray([1e-5, 0.3, 1.0, 7.0, 29.0], jnp.float32)
    y = jnp.asarray([-1e-5, 1e-5, -0.3, 2.0, 1e3], jnp.float32)
    np.testing.assert_array_equal(safe.divide(x, y), x / y)
    for ours, theirs in ((safe.log, jnp.log), (safe.sqrt, jnp.sqrt), (safe.exp, jnp.exp)):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-6)
        slope = jax.vmap(jax.grad(lambda v, ours=ours: ours(v)))(x)
        np.testing.assert_allclose(slope, jax.vmap(jax.grad(lambda v, theirs=theirs: theirs(v)))(x), rtol=1e-6)


def test_outside_they_take_the_nearest_argument_inside():
    x = np.array([[1.0, 0.0], [1.0, -1e-9], [-2.0, 1e-9], [0.0, 0.0]])
    np.testing.assert_allclose(numpy_evaluate(parse("z1/z2", NAMES), x, ("z1", "z2")), [1e6, -1e6, -2e6, 0])
    x = np.array([[-5.0], [0.0], [1e-9]])
    np.testing.assert_allclose(numpy_evaluate(parse("log(z1)", NAMES), x, ("z1",)), np.log(SMALL))
    np.testing.assert_array_equal(numpy_evaluate(parse("sqrt(z1)", NAMES), x, ("z1",))[:2], 0)
    x = np.array([[MAX_EXPONENT], [1e3], [-1e3]])
    expected = [np.exp(30), np.exp(30), 0]
    np.testing.assert_allclose(numpy_evaluate(parse("exp(z1)", NAMES), x, ("z1",)), expected)


@pytest.mark.parametrize("op", OPERATORS)
def test_values_and_gradients_are_finite_everywhere(op):
    x, y = (jnp.asarray(grid.ravel()) for grid in np.meshgrid(EDGES, EDGES))
    args = (x, y) if op in BINARY else (x,)
    values, pull = jax.vjp(OPERATORS[op], *args)
    assert np.isfinite(values).all()
    for slopes in pull(jnp.ones_like(values)):
        assert np.isfinite(slopes).all()


def test_both_implementations_agree_at_the_edges():
    x = np.stack([grid.ravel() for grid in np.meshgrid(EDGES, EDGES)], axis=1)
    for op in OPERATORS:
        text = f"z1 {op} z2" if op in BINARY else f"{op}(z1)"
        expression = parse(text, NAMES)
        got = evaluate(expression, ("z1", "z2"))(jnp.asarray(x))
        # XLA flushes denormal float32 numbers to zero.
        np.testing.assert_allclose(got, numpy_evaluate(expression, x, ("z1", "z2")), rtol=3e-5, atol=2e-19, err_msg=op)


def test_jit_grad_and_vmap():
    function = evaluate(parse("(z1^2 + z2^2)*(z3 - 0.44*z1) - 2.56", NAMES), NAMES)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)), jnp.float32)
    values = function(x)
    assert values.shape == (5, 4)
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(x), values, rtol=1e-6, atol=1e-6)
    z1, z2, z3 = np.moveaxis(np.asarray(x, np.float64), -1, 0)
    expected = 2 * z1 * (z3 - 0.44 * z1) - 0.44 * (z1**2 + z2**2)
    slopes = jax.vmap(jax.vmap(jax.grad(function)))(x)
    np.testing.assert_allclose(slopes[..., 0], expected, rtol=1e-4, atol=1e-4)


def test_a_formula_without_variables():
    expression = parse("2.5", NAMES)
    np.testing.assert_array_equal(numpy_evaluate(expression, np.zeros((3, 2)), ("z1", "z2")), 2.5)
    np.testing.assert_array_equal(evaluate(expression, ("z1",))(jnp.zeros((3, 1))), 2.5)


def test_a_variable_that_is_no_column():
    for function in (evaluate, lambda e, names: numpy_evaluate(e, np.zeros((2, 1)), names)):
        with pytest.raises(ValueError, match="got z2, expected one of z1; pass"):
            function(parse("z1 + z2", NAMES), ("z1",))
