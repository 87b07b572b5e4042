"""Fits the constants of formulas: Levenberg-Marquardt from several starts at once, in one program for all formulas."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.distill.criteria import check_targets, mean_loss
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import Expression, constants, with_constants
from cellfx.distill.expressions.program import Program, assemble, run

HINGE_WIDTHS = (1.0, 0.05, 0.002)
"""Half the width of the parabola that rounds the hinge off, widest first."""
MAX_CONSTANT = 1e6
"""A hinge that is met by every row falls with the scale of the formula for ever."""
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-7, 1e7
_LEAST_GAIN, _PATIENCE = 1e-5, 5


def refit(
    expressions: Sequence[Expression],
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    loss: str = "hinge",
    num_starts: int = 8,
    max_steps: int = 40,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> list[Expression]:
    """The same formulas with the constants that fit best; none fits worse than it came.

    Constants start where they are, near there and at random. Every start runs Levenberg-Marquardt; the hinge is rounded
    off by a parabola for that. The numbers are float32; what comes back is compared with what was given in float64.

    Args:
        expressions: any number of trees.
        x: (N, d).
        y: (N,): -1 or +1 for "hinge", any for "squared".
        names: d names of the columns of ``x``.
        loss: "hinge" or "squared".
        num_starts: starting points of each formula, the given constants among them.
        max_steps: steps of each start, for "hinge" for each of its three widths.
        weights: (N,) non-negative; None weighs all rows alike.
        seed: of the starting points; a formula gets the same ones alone and in company.

    Raises:
        ValueError: an unknown loss, unfit targets, or rows and targets that do not belong together.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != (len(y), len(names)) or not len(y):
        raise ValueError(
            f"rows and targets do not belong together: got x of shape {x.shape}, {len(y)} targets and {len(names)} "
            "names; expected (N, d), N > 0 and d; pass them as the problem holds them"
        )
    check_targets(loss, y)
    rows = _padded(x, y, np.ones(len(y)) if weights is None else np.asarray(weights, np.float64))
    pending = [_start(expression, rows, names, loss, num_starts, max_steps, seed) for expression in expressions]
    return [
        _better(expression, fitted, x, y, names, loss, weights)
        for expression, fitted in zip(expressions, pending, strict=True)
    ]


class _Rows(NamedTuple):
    """x (d, N), y (N,) and weights (N,) of sum 1, padded to few different sizes so that little is compiled."""

    x: jax.Array
    y: jax.Array
    weights: jax.Array


class _State(NamedTuple):
    """Where one start is, what is known there, and the best that it has seen.

    ``stage`` is the place in the widths; ``steps`` counts within it, and 0 says that the objective, its gradient (M,)
    and curvature (M, M) at ``constants`` (M,) are still those of the width before.
    """

    constants: jax.Array
    objective: jax.Array
    gradient: jax.Array
    curvature: jax.Array
    damping: jax.Array
    failures: jax.Array
    steps: jax.Array
    stage: jax.Array
    best: jax.Array
    best_loss: jax.Array


def _padded(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> _Rows:
    size = 256
    while size < len(y):
        size = size * 5 // 4
    # Copies of the first row stay finite wherever the data does; their weight is zero.
    rows = np.concatenate([np.arange(len(y)), np.zeros(size - len(y), int)])
    weights = np.concatenate([weights / weights.sum(), np.zeros(size - len(y))])
    columns = np.zeros((-(-max(x.shape[1], 1) // 8) * 8, size))
    columns[: x.shape[1]] = x[rows].T
    return _Rows(*(jnp.asarray(array, jnp.float32) for array in (columns, y[rows], weights)))


def _start(
    expression: Expression, rows: _Rows, names: Sequence[str], loss: str, num_starts: int, max_steps: int, seed: int
) -> jax.Array | None:
    """Hands one formula to the device; the constants of its leaves (M,), or None where it has none."""
    if not constants(expression):
        return None
    program = assemble(expression, names)
    rng = np.random.default_rng(seed)
    own, shape = program.constants, (num_starts, len(program.constants))
    near = own * (1 + 0.3 * rng.normal(size=shape)) + 0.1 * rng.normal(size=shape)
    starts = np.where(np.arange(num_starts)[:, None] < (num_starts + 1) // 2, near, 2 * rng.normal(size=shape))
    starts[0] = own
    return _fit(program, jnp.asarray(starts * program.fitted, jnp.float32), rows, loss, jnp.int32(max_steps))


def _better(
    expression: Expression,
    fitted: jax.Array | None,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    loss: str,
    weights: np.ndarray | None,
) -> Expression:
    if fitted is None:
        return expression
    values = np.asarray(fitted, np.float64)
    if not np.isfinite(values).all():
        return expression
    # Leaves are numbered from left to right, as constants are.
    changed = with_constants(expression, values[assemble(expression, names).fitted > 0])
    before, after = (mean_loss(loss, numpy_evaluate(tree, x, names), y, weights) for tree in (expression, changed))
    return changed if after < before else expression


@partial(jax.jit, static_argnames="loss")
def _fit(program: Program, starts: jax.Array, rows: _Rows, loss: str, max_steps: jax.Array) -> jax.Array:
    """The best constants (M,) of all starts (S, M)."""
    found, losses = jax.vmap(lambda start: _fit_one(program, start, rows, loss, max_steps))(starts)
    return found[jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))]


def _fit_one(
    program: Program, start: jax.Array, rows: _Rows, loss: str, max_steps: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The best constants (M,) of one start, and their loss."""
    widths = jnp.asarray(HINGE_WIDTHS if loss == "hinge" else (1.0,), jnp.float32)
    num_constants, zero, none = start.shape[0], jnp.float32(0), jnp.int32(0)
    curvature = jnp.eye(num_constants, dtype=jnp.float32)
    damping = jnp.float32(_FIRST_DAMPING)
    state = _State(
        start, zero, jnp.zeros_like(start), curvature, damping, none, none, none, start, jnp.float32(jnp.inf)
    )

    def step(state: _State) -> _State:
        state = _step(program, state, rows, loss, widths[state.stage])
        done = (state.steps >= max_steps) | (state.failures >= _PATIENCE) | (state.damping > _MOST_DAMPING)
        return state._replace(
            stage=state.stage + done.astype(jnp.int32),
            steps=jnp.where(done, 0, state.steps),
            failures=jnp.where(done, 0, state.failures),
            damping=jnp.where(done, damping, state.damping),
        )

    state = jax.lax.while_loop(lambda state: state.stage < len(widths), step, state)
    return state.best, state.best_loss


def _step(program: Program, state: _State, rows: _Rows, loss: str, width: jax.Array) -> _State:
    """Tries one damped step and keeps it if the objective falls (Marquardt 1963, doi:10.1137/0111030)."""
    fresh = state.steps == 0
    diagonal = jnp.diagonal(state.curvature)
    floor = 1e-6 * jnp.max(diagonal) + 1e-12
    damped = state.curvature + jnp.diag(state.damping * jnp.maximum(diagonal, floor) + floor)
    change = jnp.where(fresh, 0.0, jnp.linalg.solve(damped, state.gradient))
    tried = jnp.clip(state.constants - change, -MAX_CONSTANT, MAX_CONSTANT)

    values, slopes = run(program, tried, rows.x)
    slopes = slopes * program.fitted[:, None]
    true, rounded, force, stiffness = _criterion(loss, values, rows.y, width)
    true, objective = jnp.sum(rows.weights * true), jnp.sum(rows.weights * rounded)
    gradient = slopes @ (rows.weights * force)
    curvature = (slopes * (rows.weights * stiffness)[None]) @ slopes.T

    lower = (objective < state.objective) | fresh
    gained = (state.objective - objective > _LEAST_GAIN * state.objective) | fresh
    better = true < state.best_loss
    return _State(
        constants=jnp.where(lower, tried, state.constants),
        objective=jnp.where(lower, objective, state.objective),
        gradient=jnp.where(lower, gradient, state.gradient),
        curvature=jnp.where(lower, curvature, state.curvature),
        damping=jnp.where(lower, jnp.maximum(state.damping / 5.0, _LEAST_DAMPING), state.damping * 4.0),
        failures=jnp.where(gained, 0, state.failures + 1),
        steps=state.steps + 1,
        stage=state.stage,
        best=jnp.where(better, tried, state.best),
        best_loss=jnp.where(better, true, state.best_loss),
    )


def _criterion(loss: str, values: jax.Array, y: jax.Array, width: jax.Array) -> tuple[jax.Array, ...]:
    """(N,) each: the loss, the loss rounded off, its slope by the value and its curvature for a step."""
    if loss == "squared":
        error = values - y
        return jnp.square(error), jnp.square(error), 2.0 * error, jnp.full_like(error, 2.0)
    short = 1.0 - y * values
    inside = jnp.clip((short + width) / (2.0 * width), 0.0, 1.0)
    rounded = jnp.where(inside < 1.0, width * jnp.square(inside), short)
    # A parabola that touches the hinge here and lies above it elsewhere: slow and sure. The curvature of the rounded
    # hinge itself goes far along directions in which the loss is straight, such as the scale of the formula.
    above = 0.5 / jnp.maximum(jnp.abs(short), width)
    own = jnp.where(jnp.abs(short) < width, 0.5 / width, 0.0)
    stiffness = jnp.where(width > HINGE_WIDTHS[-1], above, own + 0.1 * above)
    return jnp.maximum(short, 0.0), rounded, -y * inside, stiffness
