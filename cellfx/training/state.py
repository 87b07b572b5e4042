"""The state a run starts from."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from cellfx.types import Key, Model, TrainState


def create_state(model: Model, optimizers: Mapping[str, optax.GradientTransformation], key: Key) -> TrainState:
    """Fresh parameters, optimizer states and step 0, made in one compiled program.

    Under ``jax.eval_shape`` it gives the shapes and dtypes that ``checkpoint.restore`` expects.

    Args:
        model: what to train.
        optimizers: optimizer by player, one for every player of the model.
        key: () typed key; one half initializes the parameters, the other becomes the key of the run.

    Raises:
        ValueError: the players of the model and of the optimizers differ.
    """
    if set(model.losses) != set(optimizers):
        raise ValueError(
            f"the optimizers do not fit the model: got optimizers for {sorted(optimizers)}, expected one for each "
            f"player of {sorted(model.losses)}; add or remove optimizers"
        )

    def build(key: Key) -> TrainState:
        init_key, run_key = jax.random.split(key)
        params, extra = model.init(init_key)
        opt_state = {player: optimizers[player].init(params[player]) for player in model.losses}
        return TrainState(jnp.zeros((), jnp.int32), run_key, params, extra, opt_state)

    return jax.jit(build)(key)
