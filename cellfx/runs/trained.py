"""A trained model and what it can do, compiled, as functions of images or latents alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from cellfx.data.source import Source
from cellfx.findings.subject import Decode, Encode, Sample
from cellfx.types import Model, PyTree, TrainState


class Trained(NamedTuple):
    """A model with its parameters, and where they come from.

    Attributes:
        settings: the config.
        source: the data.
        model: its pure functions.
        state: with the parameters.
    """

    settings: dict[str, Any]
    source: Source
    model: Model
    state: TrainState


def coder(trained: Trained) -> tuple[Encode, Decode]:
    """Encode and decode of a trained model, compiled, as functions of images and latents alone.

    Raises:
        ValueError: the model has no latents.
    """
    if trained.model.encode is None or trained.model.decode is None:
        raise ValueError(
            f"model {trained.settings['model']['name']} has no latents: got a model without encode and decode, "
            f"expected one with both; choose the workdir of an autoencoder"
        )
    return bound(trained, trained.model.encode), bound(trained, trained.model.decode)


def bound(trained: Trained, ability: Callable[[PyTree, PyTree, Any], Any]) -> Callable[[Any], Any]:
    """An ability of a trained model, such as ``predict``, compiled, as a function of images or latents alone."""
    compiled = jax.jit(ability)
    params, extra = jax.device_put((trained.state.params, trained.state.extra), jax.local_devices()[0])
    return lambda x: compiled(params, extra, x)


def sampler(trained: Trained) -> Sample:
    """What a trained model draws from nothing, compiled: (key, count) -> (x, z)."""
    compiled = jax.jit(trained.model.sample, static_argnums=3)
    params, extra = jax.device_put((trained.state.params, trained.state.extra), jax.local_devices()[0])
    return lambda key, count: compiled(params, extra, key, count)
