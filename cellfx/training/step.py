"""One training step for any model: every player in turn takes a gradient step against the newest other players."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from cellfx.trees import cast_floating
from cellfx.types import Batch, Key, LossFn, Metrics, Model, PyTree, StepFn, TrainState

COMPUTE_DTYPES = ("float32", "bfloat16")


def train_step(
    model: Model,
    optimizers: Mapping[str, optax.GradientTransformation],
    axis_name: str | None = None,
    compute_dtype: str | None = None,
) -> StepFn:
    """Pure function (state, batch) -> (state, metrics).

    Losses are means over the global batch (see ``LossFn``), so under a mapped program the mean over devices of their
    gradients is the gradient of the one-device program: the transpose of a sum over devices is a sum over devices,
    which counts each device's part once for every device.

    Args:
        model: what to train.
        optimizers: optimizer by player.
        axis_name: device axis of the mapped program that the step runs in, None outside one.
        compute_dtype: one of ``COMPUTE_DTYPES``; None is float32. Parameters and optimizer state stay float32.

    Returns:
        The step. Its metrics, () float32 each, are those of the losses and, for every player, ``<player>/loss``,
        ``<player>/grad_norm`` (before clipping) and, where its optimizer tells it, ``<player>/learning_rate``.

    Raises:
        ValueError: an unknown compute dtype; when traced, two players that report a metric of the same name.
    """
    if compute_dtype is not None and compute_dtype not in COMPUTE_DTYPES:
        raise ValueError(
            f"unknown compute dtype: got {compute_dtype!r}, expected one of {COMPUTE_DTYPES}; set one of these"
        )
    low_precision = compute_dtype == "bfloat16"
    losses = {player: cast_loss(loss, jnp.bfloat16) if low_precision else loss for player, loss in model.losses.items()}

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        step_key = jax.random.fold_in(state.key, state.step)
        metrics: Metrics = {}
        for i, player in enumerate(losses):
            key = jax.random.fold_in(step_key, i)
            state, new = _update(losses[player], optimizers[player], player, state, batch, key, axis_name)
            metrics = _merge(metrics, new, player)
        return state._replace(step=state.step + 1), metrics

    return step


def cast_loss(loss: LossFn, dtype: jnp.dtype) -> LossFn:
    """The loss computed in ``dtype``: parameters and images are cast on the way in, the results back on the way out.

    ``extra`` goes in as it is, so that running averages keep their precision, and comes out in its own dtypes.
    """

    def wrapped(
        params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool
    ) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        batch = {**batch, "x": cast_floating(batch["x"], dtype)}
        value, (metrics, new_extra) = loss(cast_floating(params, dtype), extra, batch, key, step, training)
        new_extra = jax.tree.map(lambda new, old: new.astype(old.dtype), new_extra, extra)
        return value.astype(jnp.float32), (metrics, new_extra)

    return wrapped


def _update(
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    player: str,
    state: TrainState,
    batch: Batch,
    key: Key,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    def objective(own: PyTree) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        return loss({**state.params, player: own}, state.extra, batch, key, state.step, True)

    own = state.params[player]
    (value, (metrics, extra)), grads = jax.value_and_grad(objective, has_aux=True)(own)
    if axis_name is not None:
        grads = jax.lax.pmean(grads, axis_name)
    # optax raises floats to integer powers: a caller's strict promotion must end where its code begins.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(grads, state.opt_state[player], own)
    metrics = {**metrics, f"{player}/loss": value, f"{player}/grad_norm": optax.tree.norm(grads)}
    rates = optax.tree.get_all_with_path(opt_state, "learning_rate", lambda _, value: isinstance(value, jax.Array))
    metrics |= {f"{player}/learning_rate": rate for _, rate in rates[:1]}
    state = state._replace(
        params={**state.params, player: optax.apply_updates(own, updates)},
        extra=extra,
        opt_state={**state.opt_state, player: opt_state},
    )
    return state, {name: jnp.asarray(metric, jnp.float32) for name, metric in metrics.items()}


def _merge(metrics: Metrics, new: Metrics, player: str) -> Metrics:
    twice = sorted(set(metrics) & set(new))
    if twice:
        raise ValueError(
            f"two players report metrics of the same name: got {twice} again from player {player!r}, expected every "
            f"name once; prefix them with the player's name"
        )
    return {**metrics, **new}
