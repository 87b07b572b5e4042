"""Optimizer recipes, each an optax chain made from one section of a config."""

import jax
import jax.numpy as jnp
import optax

from cellfx.trees import match_rules
from cellfx.types import PyTree

NAMES = ("adam",)
DECAYS = ("constant", "cosine")


def adam(
    total_steps: int,
    learning_rate: float = 1e-3,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    weight_decay_exclude: str = r"(bias|scale)$",
    warm_up_rate: float = 0.0,
    decay: str = "constant",
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    every: int = 1,
) -> optax.GradientTransformation:
    """Adam behind clipping by the global norm, with decoupled weight decay and a learning-rate schedule.

    Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; the decay is that of Loshchilov and Hutter 2019,
    arXiv:1711.05101, algorithm 2, without its separate schedule multiplier: the learning rate scales it.

    Its state holds the learning rate of the last update, which a step reports as a metric.

    Args:
        total_steps: number of updates of the whole run, which the schedule is laid over.
        learning_rate: largest learning rate.
        clip_norm: the gradient of all parameters together is shortened to this norm; None leaves it.
        weight_decay: this times the parameter is added to the update before the learning rate; 0 switches it off.
        weight_decay_exclude: regular expression, searched in the path of each parameter; a hit is not decayed.
        warm_up_rate: fraction of ``total_steps`` over which the learning rate grows linearly.
        decay: one of ``DECAYS``, what follows the warm-up; ``cosine`` ends at 0.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        every: the parameters move at every n-th step only, and the schedule counts those; for a player that shall wait
            for another.

    Raises:
        ValueError: a value outside its range, all named; when the parameters are seen, a
            ``weight_decay_exclude`` that matches none of them.
    """
    _check_positive(total_steps=total_steps, learning_rate=learning_rate, eps=eps)
    if clip_norm is not None:
        _check_positive(clip_norm=clip_norm)
    for name, value in {"b1": b1, "b2": b2}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is out of range: got {value}, expected 0 <= {name} < 1; set it in this range")
    if not 1 <= every <= total_steps:
        raise ValueError(
            f"every is out of range: got {every}, expected 1 to {total_steps} (the run's steps); set it in this range"
        )
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay is negative: got {weight_decay}, expected 0 or more; set 0 to switch it off")

    def decayed(params: PyTree) -> PyTree:
        return match_rules(params, [(weight_decay_exclude, False), ("", True)])

    rate = learning_rate_schedule(total_steps // every, learning_rate, warm_up_rate, decay)
    recipe = optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, decayed) if weight_decay else optax.identity(),
        optax.inject_hyperparams(optax.scale_by_learning_rate)(learning_rate=rate),
    )
    return recipe if every == 1 else optax.conditionally_mask(recipe, lambda step: step % every == every - 1)


def learning_rate_schedule(
    total_steps: int, learning_rate: float, warm_up_rate: float = 0.0, decay: str = "constant"
) -> optax.Schedule:
    """Linear warm-up, then constant or half a cosine down to 0.

    Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5 with a single period. Differs from the paper: the warm-up,
    whose first update already moves (1/n of the rate for n warm-up steps).

    Returns:
        Function of the number of updates done, () int32, to the learning rate, () float32.

    Raises:
        ValueError: a ``warm_up_rate`` outside [0, 1), or an unknown ``decay``.
    """
    if not 0 <= warm_up_rate < 1:
        raise ValueError(
            f"warm_up_rate is out of range: got {warm_up_rate}, expected 0 <= warm_up_rate < 1, a fraction of all "
            f"steps; set it in this range"
        )
    if decay not in DECAYS:
        raise ValueError(f"unknown decay: got {decay!r}, expected one of {DECAYS}; set one of these")
    warm_up = round(warm_up_rate * total_steps)

    def schedule(count: jax.Array) -> jax.Array:
        done = jnp.asarray(count, jnp.float32)
        ramp = jnp.minimum(1.0, (done + 1) / max(warm_up, 1))
        rest = jnp.clip((done - warm_up) / max(total_steps - warm_up, 1), 0.0, 1.0)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * rest)) if decay == "cosine" else 1.0
        return learning_rate * ramp * fall

    return schedule


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is not positive: got {value}, expected a number > 0; set a larger one")
