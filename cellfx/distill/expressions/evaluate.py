"""Values of a formula, defined for every argument and the same in every form that a formula is exported to.

Outside its domain a function takes the nearest argument inside it, and is constant there:

    x / y     y keeps its sign and is at least SMALL in size; zero counts as positive
    log(x)    log(max(x, SMALL))
    sqrt(x)   sqrt(max(x, 0))
    exp(x)    exp(min(x, MAX_EXPONENT))

An argument that is no number gives none: NaN in, NaN out, of every operator. Infinity is a number like any other,
inside the domain or outside.

Inside, at more than SMALL from its edge, each is the ordinary function. Gradients there are zero where the argument
was replaced, and that of a square root is zero from SMALL^2 down, where it would otherwise be infinite. So of finite
arguments neither a value nor a gradient of any operator is infinite or undefined; only a product of very large numbers
can still leave the range of float32.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.distill.expressions.expression import Expression, variables

SMALL = 1e-6
"""So that the derivative 1 / y^2 of a quotient stays far inside float32."""
MAX_EXPONENT = 30.0
"""exp(30) is 1e13: its square and its cube are still float32 numbers."""
GUARDS = {
    "/": f"a divisor smaller than {SMALL:g} counts as {SMALL:g}, with its sign",
    "log": f"log(x) is log(max(x, {SMALL:g}))",
    "sqrt": "sqrt(x) is sqrt(max(x, 0))",
    "exp": f"exp(x) is exp(min(x, {MAX_EXPONENT:g}))",
}
"""What the operators whose domain ends somewhere mean outside it, in words."""


def divide(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y of arrays of one shape; the safe quotient of the top of this file."""
    return x / jnp.where(jnp.abs(y) < SMALL, jnp.where(y < 0, -SMALL, SMALL).astype(y.dtype), y)


def log(x: jax.Array) -> jax.Array:
    """The safe logarithm."""
    return jnp.log(jnp.where(x <= SMALL, SMALL, x))


def sqrt(x: jax.Array) -> jax.Array:
    """The safe square root."""
    inside = x > SMALL**2
    root = jnp.sqrt(jnp.where(inside, x, 1.0))
    return jnp.where(inside, root, jnp.sqrt(jnp.maximum(jax.lax.stop_gradient(x), 0.0)))


def exp(x: jax.Array) -> jax.Array:
    """The safe exponential."""
    return jnp.exp(jnp.where(x >= MAX_EXPONENT, MAX_EXPONENT, x))


def guarded(expression: Expression) -> str:
    """What of ``GUARDS`` holds for the operators of a formula; empty where they are the ordinary functions."""
    nodes, used = [expression], set()
    while nodes:
        node = nodes.pop()
        used.add(node.op)
        nodes += node.args
    return "; ".join(text for op, text in GUARDS.items() if op in used)


OPERATORS = {
    "+": jnp.add,
    "-": jnp.subtract,
    "*": jnp.multiply,
    "/": divide,
    "square": jnp.square,
    "exp": exp,
    "log": log,
    "sin": jnp.sin,
    "sqrt": sqrt,
    "abs": jnp.abs,
    "neg": jnp.negative,
}
"""What each operator computes, in JAX, on arrays of one shape."""

_NUMPY = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": lambda x, y: x / np.where(np.abs(y) < SMALL, np.where(y < 0, -SMALL, SMALL), y),
    "square": np.square,
    "exp": lambda x: np.exp(np.minimum(x, MAX_EXPONENT)),
    "log": lambda x: np.log(np.maximum(x, SMALL)),
    "sin": np.sin,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "abs": np.abs,
    "neg": np.negative,
}


def evaluate(expression: Expression, names: Sequence[str]) -> Callable[[jax.Array], jax.Array]:
    """A JAX function of the formula, for ``jit``, ``grad`` and ``vmap``.

    Args:
        expression: the formula.
        names: d names of the columns that the function will be given.

    Returns:
        x (..., d) float32 -> (...) float32.

    Raises:
        ValueError: the formula has a variable that is no column.
    """
    columns = columns_of(expression, names)

    def value(node: Expression, x: jax.Array) -> jax.Array:
        if node.op == "const":
            return jnp.full(x.shape[:-1], node.value, x.dtype)
        if node.op == "var":
            return x[..., columns[node.value]]
        return OPERATORS[node.op](*(value(arg, x) for arg in node.args))

    return lambda x: value(expression, x)


def numpy_evaluate(expression: Expression, x: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The values of a formula in float64 and without compiling anything.

    Args:
        expression: the formula.
        x: (N, d).
        names: d names of the columns of ``x``.

    Returns:
        (N,) float64.

    Raises:
        ValueError: the formula has a variable that is no column.
    """
    columns = columns_of(expression, names)
    by_column = np.asarray(x, np.float64).T

    def value(node: Expression) -> np.ndarray | float:
        if node.op == "const":
            return np.float64(node.value)
        if node.op == "var":
            return by_column[columns[node.value]]
        return _NUMPY[node.op](*(value(arg) for arg in node.args))

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.array(np.broadcast_to(value(expression), (len(x),)))


def columns_of(expression: Expression, names: Sequence[str]) -> Mapping[str, int]:
    """The place of every name.

    Raises:
        ValueError: the formula has a variable that is not among them.
    """
    columns = {name: column for column, name in enumerate(names)}
    missing = [name for name in variables(expression) if name not in columns]
    if missing:
        raise ValueError(
            f"the formula has a variable that the data lacks: got {missing[0]}, expected one of {', '.join(names)}; "
            "pass the columns that the formula was found on"
        )
    return columns
