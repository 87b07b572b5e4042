"""The classifiers of one encoder as functions of images and of latents, which an attack can follow the gradient of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from cellfx.analysis.attacks import attacks
from cellfx.distill.export import to_jax
from cellfx.runs.experiment import Trained
from cellfx.studies.stages.distill import expressions_of, read_run
from cellfx.studies.stages.heads import head_function

SCHEMES = ("1 CNN", "2 dense head", "3 sparse head", "4 formula")


class Schemes(NamedTuple):
    """The classifiers of one encoder, as functions that can be differentiated, one for each seed.

    Attributes:
        on_images: scheme -> (x (B, H, W, C) -> logits (B, K)) by seed.
        on_latents: scheme -> (z (B, L) -> logits (B, K)) by seed; scheme 1 sees the decoded latents.
        encode: x -> z, the means.
        decode: z -> x, of the size that scheme 1 sees.
    """

    on_images: dict[str, list[attacks.Score]]
    on_latents: dict[str, list[attacks.Score]]
    encode: Any
    decode: Any


def schemes_of(
    encoder: Trained, classifiers: Sequence[Trained], heads: Path, distill: Path, seeds: Sequence[int]
) -> Schemes:
    """All that is attacked of one encoder.

    Args:
        encoder: with latents.
        classifiers: of scheme 1.
        heads: folder of the encoder's heads.
        distill: folder of its formulas.
        seeds: of heads and formulas.
    """
    formulas = {content["seed"]: expressions_of(content) for content in read_run(distill)}
    on_latents = {
        SCHEMES[1]: [head_function(heads / "dense.npz", seed) for seed in seeds],
        SCHEMES[2]: [head_function(heads / "sparse.npz", seed) for seed in seeds],
        SCHEMES[3]: [_formula([to_jax(expression) for expression in formulas[seed]]) for seed in seeds],
    }
    params, extra = jax.device_put((encoder.state.params, encoder.state.extra), jax.local_devices()[0])
    seen, whole = encoder.source.shape, classifiers[0].source.shape

    def encode(x: jax.Array) -> jax.Array:
        return encoder.model.encode(params, extra, centred(x, seen))[0]

    def decode(z: jax.Array) -> jax.Array:
        return centred(encoder.model.decode(params, extra, z), whole)

    networks = [_network(classifier) for classifier in classifiers]
    behind_encoder, behind_decoder = _after(encode), _after(decode)
    on_images = {name: [Partial(behind_encoder, score) for score in scores] for name, scores in on_latents.items()}
    of_decoded = [Partial(behind_decoder, network) for network in networks]
    return Schemes(
        {SCHEMES[0]: networks, **on_images},
        {SCHEMES[0]: of_decoded, **on_latents},
        jax.jit(encode),
        jax.jit(decode),
    )


def _network(classifier: Trained) -> Partial:
    params, extra = jax.device_put((classifier.state.params, classifier.state.extra), jax.local_devices()[0])
    return Partial(classifier.model.predict, params, extra)


def centred(x: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Images (B, H, W, C) cropped about their center to a shape, or padded with black: two models may see more or less.

    Data sources crop in the same way, so an image cropped twice is the image that the smaller model was trained on.
    """
    for axis, size in ((1, shape[0]), (2, shape[1])):
        more = size - x.shape[axis]
        before = abs(more) // 2
        if more < 0:
            x = jax.lax.slice_in_dim(x, before, before + size, axis=axis)
        elif more > 0:
            pads = [(0, 0)] * x.ndim
            pads[axis] = (before, more - before)
            x = jnp.pad(x, pads)
    return x


def _formula(functions: Sequence[Any]) -> Partial:
    """One formula for two classes, or one for each class against the rest."""
    if len(functions) == 1:
        return Partial(attacks.two_classes(functions[0]))
    return Partial(lambda z: jnp.stack([function(z) for function in functions], axis=1))


def _after(first: Any) -> Any:
    return lambda score, x: score(first(x))
