import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellfx.distill.expressions.evaluate import evaluate
from cellfx.distill.expressions.expression import constants, from_json, num_nodes
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.program import SMALLEST_CAPACITY, assemble, run

_SPEC = importlib.util.spec_from_file_location("expressions", Path(__file__).parents[2] / "reference/expressions.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

NAMES = ("z1", "z2", "z3")
X = jnp.asarray(np.random.default_rng(0).normal(size=(50, 3)), jnp.float32)
RUN = jax.jit(run)


@settings(max_examples=60, deadline=None)
@given(reference.trees(max_leaves=10).filter(lambda tree: reference.size(tree) <= SMALLEST_CAPACITY))
def test_values_equal_the_function_of_the_tree(tree):
    expression = from_json(tree)
    program = assemble(expression, NAMES)
    values, _ = RUN(program, jnp.asarray(program.constants), X.T)
    expected = np.asarray(evaluate(expression, NAMES)(X))
    scale = np.max(np.abs(expected), initial=1e-30, where=np.isfinite(expected))
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "text",
    [
        "2*z1 + 3",
        "(1.5*z1 + 0.5)^2/(z2^2 + 0.7) - sin(0.3*z3)",
        "exp(0.4*z1)*log(abs(z2) + 1.2) - sqrt(abs(z3 - 0.1))",
        "0.5*abs(z1 - 0.2) + -(0.7*z2)",
        "3.5",
        "z1",
        "log(z1*0.5)/(z2*0.3)",
    ],
)
def test_derivatives_by_the_constants_equal_autodiff_of_every_row(text):
    expression = parse(text, NAMES)
    program = assemble(expression, NAMES)
    _, slopes = RUN(program, jnp.asarray(program.constants), X.T)
    fitted = np.flatnonzero(program.fitted)
    assert tuple(program.constants[fitted]) == tuple(np.float32(constants(expression)))

    def value(found, row):
        return run(program, jnp.zeros(len(program.fitted)).at[fitted].set(found), row[:, None])[0][0]

    # Autodiff cannot go back through a loop of unknown length; forwards it can.
    expected = jax.jit(jax.vmap(jax.jacfwd(value), (None, 0)))(jnp.asarray(program.constants[fitted]), X)
    np.testing.assert_allclose(slopes[fitted].T, expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 90))
@settings(max_examples=20, deadline=None)
def test_capacity(count):
    expression = parse("+".join(["z1"] * count), NAMES)
    program = assemble(expression, NAMES)
    capacity = 2 * len(program.column)
    assert num_nodes(expression) <= capacity
    assert capacity == SMALLEST_CAPACITY or num_nodes(expression) > capacity / 2


def test_the_deepest_trees_of_a_capacity_fit():
    chain = "abs(" * (SMALLEST_CAPACITY - 1) + "z2" + ")" * (SMALLEST_CAPACITY - 1)
    bush = "z1*2.0" + "+z1*2.0" * 4 + "+z1+3.5"
    for text, expected in ((chain, jnp.abs(X[:, 1])), (bush, 11 * X[:, 0] + 3.5)):
        program = assemble(parse(text, NAMES), NAMES)
        assert len(program.ops) == SMALLEST_CAPACITY - 1
        values, _ = RUN(program, jnp.asarray(program.constants), X.T)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_one_compilation_serves_every_formula():
    jitted = jax.jit(lambda program, found, x: run(program, found, x))
    for text in ("z1", "2.0", "z1*z2 - 3", "exp(sin(z3) + 0.5)/z1"):
        program = assemble(parse(text, NAMES), NAMES)
        jitted(program, jnp.asarray(program.constants), X.T)
    assert jitted._cache_size() == 1
