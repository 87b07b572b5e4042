"""Formulas as tables of instructions, so that one compiled program evaluates and differentiates any of them.

Compiling a function for every tree of a front costs a second each; reading the tree from an array costs it once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.distill.expressions.evaluate import OPERATORS, columns_of
from cellfx.distill.expressions.expression import BINARY, Expression, num_nodes

SMALLEST_CAPACITY = 24
_NAMES = tuple(OPERATORS)


class Program(NamedTuple):
    """Leaves and instructions of a tree; T and M are fixed by the capacity, padding is never read.

    Register i < M holds leaf i, register M + t the result of instruction t. Instructions come after their arguments.

    Attributes:
        ops: (T,) int32, place in ``evaluate.OPERATORS``.
        left: (T,) int32, register of the first argument.
        right: (T,) int32, register of the second one; that of the first where there is none.
        num_steps: () int32, instructions that are in use.
        result: () int32, register of the formula's value.
        column: (M,) int32, column of a leaf that is a variable, -1 of one that is a constant.
        constants: (M,) float32 of the leaves that are constants, 0 elsewhere.
        fitted: (M,) float32, 1 where a leaf is a constant of the tree.
    """

    ops: np.ndarray
    left: np.ndarray
    right: np.ndarray
    num_steps: np.ndarray
    result: np.ndarray
    column: np.ndarray
    constants: np.ndarray
    fitted: np.ndarray


def assemble(expression: Expression, names: Sequence[str]) -> Program:
    """Writes a tree as a program of the smallest capacity that holds it: 24 nodes, or 48, 96 and so on.

    Args:
        expression: the tree.
        names: d names of the columns.

    Raises:
        ValueError: the formula has a variable that is no column.
    """
    columns = columns_of(expression, names)
    capacity = SMALLEST_CAPACITY
    while num_nodes(expression) > capacity:
        capacity *= 2
    num_leaves, num_steps = capacity // 2, capacity - 1
    leaves: list[Expression] = []
    steps: list[tuple[int, int, int]] = []

    def write(node: Expression) -> int:
        if not node.args:
            leaves.append(node)
            return len(leaves) - 1
        places = [write(arg) for arg in node.args]
        steps.append((_NAMES.index(node.op), places[0], places[-1]))
        return num_leaves + len(steps) - 1

    result = write(expression)
    table = np.zeros((num_steps, 3), np.int32)
    table[: len(steps)] = np.reshape(np.array(steps, np.int32), (-1, 3))
    column = np.full(num_leaves, -1, np.int32)
    constants, fitted = np.zeros((2, num_leaves), np.float32)
    for place, leaf in enumerate(leaves):
        if leaf.op == "var":
            column[place] = columns[leaf.value]
        else:
            constants[place], fitted[place] = leaf.value, 1.0
    return Program(*table.T, np.int32(len(steps)), np.int32(result), column, constants, fitted)


def run(program: Program, constants: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The values of a formula and how they change with each of its constants.

    The rows do not depend on each other, so one backward sweep gives the derivatives of all rows.

    Args:
        program: from ``assemble``.
        constants: (M,) float32 in place of the program's own.
        x: (d, N) float32, one row per column of the data.

    Returns:
        values (N,), and derivatives (M, N) by the leaves; those of leaves that are no constants have no meaning.
    """
    program = Program(*map(jnp.asarray, program))
    num_leaves, num_rows = constants.shape[0], x.shape[1]
    constant = jnp.broadcast_to(constants[:, None], (num_leaves, num_rows))
    leaves = jnp.where((program.column < 0)[:, None], constant, x[jnp.maximum(program.column, 0)])
    registers = jnp.concatenate([leaves, jnp.zeros((program.ops.shape[0], num_rows), x.dtype)])

    def forward(step: jax.Array, registers: jax.Array) -> jax.Array:
        left, right = registers[program.left[step]], registers[program.right[step]]
        return registers.at[num_leaves + step].set(jax.lax.switch(program.ops[step], _VALUES, left, right))

    registers = jax.lax.fori_loop(0, program.num_steps, forward, registers)

    def backward(done: jax.Array, slopes: jax.Array) -> jax.Array:
        step = program.num_steps - 1 - done
        left, right = program.left[step], program.right[step]
        slope = slopes[num_leaves + step]
        by_left, by_right = jax.lax.switch(program.ops[step], _SLOPES, registers[left], registers[right], slope)
        return slopes.at[left].add(by_left).at[right].add(by_right)

    slopes = jnp.zeros_like(registers).at[program.result].set(jnp.ones(num_rows, x.dtype))
    slopes = jax.lax.fori_loop(0, program.num_steps, backward, slopes)
    return registers[program.result], slopes[:num_leaves]


def _value_of(name: str):
    function = OPERATORS[name]
    return function if name in BINARY else lambda left, right: function(left)


def _slope_of(name: str):
    """(left, right, slope of the result) -> (slope by left, slope by right)."""

    def slope_of(left: jax.Array, right: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(_value_of(name), left, right)[1](slope)

    return slope_of


_VALUES = [_value_of(name) for name in _NAMES]
_SLOPES = [_slope_of(name) for name in _NAMES]
