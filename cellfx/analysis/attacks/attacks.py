"""Adversarial attacks: the smallest-looking changes of images or latents that make a classifier change its mind.

A classifier is a function x (B, ...) -> logits (B, K) that JAX can differentiate; x is images or latents. Every attack
climbs the margin, the largest logit of another class less that of the true one. Where there are two classes that is the
direction of the cross-entropy, but it does not vanish where a classifier is very sure, as formulas are.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from cellfx.analysis.attacks import norms
from cellfx.checks import UserError
from cellfx.types import Key

Score = Callable[[jax.Array], jax.Array]
"""x (B, ...) -> logits (B, K)."""

Bounds = tuple[float, float]

ATTACKS = ("fgsm", "pgd")
EPSILON_IMAGES, EPSILON_LATENTS = 0.5, 1.0
"""Sizes published by Soelistyo and Lowe 2024, arXiv:2402.03115, supplement 7."""

BATCH_SIZE = 256


def two_classes(decision: Callable[[jax.Array], jax.Array]) -> Score:
    """A classifier of two classes from a function x (B, ...) -> (B,) that is positive for class 1: logits -f/2, f/2."""

    def score(x: jax.Array) -> jax.Array:
        value = decision(x) / 2
        return jnp.stack([-value, value], axis=1)

    return score


def margin(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Largest logit of another class less that of the true one, (B,): positive where the answer is wrong.

    Args:
        logits: (B, K).
        label: (B,) int in [0, K).
    """
    is_true = jnp.arange(logits.shape[1])[None] == label[:, None]
    others = jnp.max(jnp.where(is_true, -jnp.inf, logits), axis=1)
    return others - jnp.sum(jnp.where(is_true, logits, 0), axis=1)


def fgsm(
    score: Score, x: jax.Array, label: jax.Array, epsilon: float, norm: str = "linf", bounds: Bounds | None = None
) -> jax.Array:
    """One step of full size along the gradient: Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572, eq. of section 4.

    Differs from the paper: it climbs the margin, and under ``l2`` the step is the gradient itself, not its sign.

    Args:
        score: the classifier; it is compiled once for every function and shape, so hand in the same one again. A
            ``jax.tree_util.Partial`` of parameters is compiled once for all parameters of one shape.
        x: (B, ...) float32.
        label: (B,) int, true classes.
        epsilon: size of the change in ``norm``, in units of x.
        norm: one of ``norms.NORMS``, see there.
        bounds: smallest and largest value that an attacked x may have; None sets no limit.

    Returns:
        Attacked x, same shape.

    Raises:
        ValueError: an unknown norm, a negative epsilon or bounds in the wrong order.
    """
    _check(epsilon, norm, 1, bounds)
    return _step(_as_tree(score), norm, bounds, jnp.asarray(x, jnp.float32), jnp.asarray(label), jnp.float32(epsilon))


def pgd(
    score: Score,
    x: jax.Array,
    label: jax.Array,
    epsilon: float,
    norm: str = "linf",
    num_steps: int = 40,
    step_size: float | None = None,
    key: Key | None = None,
    bounds: Bounds | None = None,
) -> jax.Array:
    """Projected gradient ascent: Madry et al. 2018, arXiv:1706.06083, eq. of section 2.1.

    Differs from the paper: it climbs the margin, and the best of all points on the way is given, x among them.

    Args:
        score: see ``fgsm``.
        x: (B, ...) float32.
        label: (B,) int.
        epsilon: largest size of the change in ``norm``.
        norm: see ``fgsm``.
        num_steps: steps, each followed by a projection.
        step_size: of a step in ``norm``; None takes 2.5 epsilon / num_steps.
        key: starts from a random point within epsilon; None starts from x.
        bounds: see ``fgsm``.

    Returns:
        Attacked x, same shape, its margin at least that of x.

    Raises:
        ValueError: see ``fgsm``; or fewer than one step.
    """
    _check(epsilon, norm, num_steps, bounds)
    size = 2.5 * epsilon / num_steps if step_size is None else step_size
    x, label = jnp.asarray(x, jnp.float32), jnp.asarray(label)
    return _climb(_as_tree(score), norm, bounds, num_steps, x, label, jnp.float32(epsilon), jnp.float32(size), key)


def accuracy_under_attack(
    score: Score,
    x: np.ndarray,
    label: np.ndarray,
    epsilons: Sequence[float],
    attack: str = "pgd",
    norm: str = "linf",
    num_steps: int = 40,
    key: Key | None = None,
    bounds: Bounds | None = None,
) -> np.ndarray:
    """Fraction of examples that are still classified rightly when attacked, for several sizes of the attack.

    An example that a small change makes wrong counts as wrong for every larger size too, so no curve rises.

    Args:
        score: see ``fgsm``.
        x: (N, ...) float32.
        label: (N,) int.
        epsilons: (E,) sizes, in any order; 0 is the accuracy without an attack.
        attack: one of ``ATTACKS``.
        norm: see ``fgsm``.
        num_steps: of ``pgd``.
        key: of ``pgd``'s random starts; None starts from x.
        bounds: see ``fgsm``.

    Returns:
        (E,) float64 in [0, 1].

    Raises:
        ValueError: see ``pgd``; an unknown attack; no example, or as many labels as there are not examples; values of
            x that are not finite or not within bounds.
    """
    if attack not in ATTACKS:
        raise UserError(f"unknown attack: got {attack!r}, expected one of {ATTACKS}; choose one of them")
    _check_examples(x, label, bounds)
    sizes = np.asarray(epsilons, np.float64)
    broken, right = np.zeros(len(label), bool), np.zeros(len(sizes))
    for place in np.argsort(sizes, kind="stable"):
        for start in range(0, len(label), BATCH_SIZE):
            rows = np.arange(start, min(start + BATCH_SIZE, len(label)))
            # The last batch is filled up so that all have one shape, for one compilation.
            filled = np.resize(rows, min(BATCH_SIZE, len(label)))
            part, part_label, size = jnp.asarray(x[filled]), jnp.asarray(label[filled]), float(sizes[place])
            if attack == "fgsm":
                attacked = fgsm(score, part, part_label, size, norm, bounds)
            else:
                own_key = None if key is None else jax.random.fold_in(key, start)
                attacked = pgd(score, part, part_label, size, norm, num_steps, None, own_key, bounds)
            answer = np.argmax(np.asarray(_evaluate(_as_tree(score), attacked)), axis=1)
            broken[rows] |= answer[: len(rows)] != label[rows]
        right[place] = 1 - broken.mean()
    return right


def _as_tree(score: Score) -> Partial:
    return score if isinstance(score, Partial) else Partial(score)


@jax.jit
def _evaluate(score: Score, x: jax.Array) -> jax.Array:
    return score(x)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _step(
    score: Score, norm: str, bounds: Bounds | None, x: jax.Array, label: jax.Array, epsilon: jax.Array
) -> jax.Array:
    return _within(x + epsilon * norms.steepest(_slope(score, x, label)[1], norm), x, epsilon, norm, bounds)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _climb(
    score: Score,
    norm: str,
    bounds: Bounds | None,
    num_steps: int,
    x: jax.Array,
    label: jax.Array,
    epsilon: jax.Array,
    step_size: jax.Array,
    key: Key | None,
) -> jax.Array:
    def better(best: tuple[jax.Array, jax.Array], height: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array]:
        higher = height > best[0]
        return jnp.where(higher, height, best[0]), jnp.where(higher.reshape(-1, *[1] * (x.ndim - 1)), point, best[1])

    def one(_: jax.Array, carry: tuple) -> tuple:
        point, best = carry
        height, gradient = _slope(score, point, label)
        step = step_size * norms.steepest(gradient, norm)
        return _within(point + step, x, epsilon, norm, bounds), better(best, height, point)

    start = x if key is None else _within(x + epsilon * norms.draw(key, x, norm), x, epsilon, norm, bounds)
    best = (margin(score(x), label), x)
    point, best = jax.lax.fori_loop(0, num_steps, one, (start, best))
    return better(best, margin(score(point), label), point)[1]


def _slope(score: Score, x: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Margin (B,) and its gradient, the shape of x."""
    height, pullback = jax.vjp(lambda x: margin(score(x), label), x)
    return height, pullback(jnp.ones_like(height))[0]


def _within(point: jax.Array, x: jax.Array, epsilon: jax.Array, norm: str, bounds: Bounds | None) -> jax.Array:
    """The nearest point at most epsilon from x, then clipped to the bounds, which takes no point further from x."""
    near = norms.project(point, x, epsilon, norm)
    return near if bounds is None else jnp.clip(near, *bounds)


def _check(epsilon: float, norm: str, num_steps: int, bounds: Bounds | None) -> None:
    if norm not in norms.NORMS:
        raise UserError(f"unknown norm of an attack: got {norm!r}, expected one of {norms.NORMS}; choose one of them")
    if not (epsilon >= 0 and np.isfinite(epsilon)):
        raise UserError(f"no size of an attack: got epsilon={epsilon}, expected a number of 0 or more; correct it")
    if num_steps < 1:
        raise UserError(f"an attack without a step: got num_steps={num_steps}, expected 1 or more; raise it")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise UserError(f"bounds in the wrong order: got {bounds}, expected a smaller and a larger value; swap them")


def _check_examples(x: np.ndarray, label: np.ndarray, bounds: Bounds | None) -> None:
    if not len(label) or len(x) != len(label):
        raise UserError(
            f"examples to attack and labels do not belong together: got {len(x)} and {len(label)}, expected as many of "
            f"both and at least one; hand in the labels of the examples"
        )
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if not np.isfinite(x).all() or np.min(x) < low or np.max(x) > high:
        raise UserError(
            f"values that no attack can start from: got {np.min(x)} to {np.max(x)}, expected finite numbers"
            f"{'' if bounds is None else f' of {low} to {high}'}; correct the images or latents"
        )
