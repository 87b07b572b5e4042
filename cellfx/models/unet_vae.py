"""A U-Net that predicts some channels from the others, with latents for what these leave open.

Kohl et al. 2018, "A Probabilistic U-Net for Segmentation of Ambiguous Images", arXiv:1806.05034, section 2.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cellfx.checks import Number, Weight, checked
from cellfx.collectives import batch_mean, standard_normal
from cellfx.losses.divergence import kl_between_normals, warm_up
from cellfx.losses.reconstruction import logit, reconstruction_loss
from cellfx.nn.unet import ConditionalUNet
from cellfx.types import Batch, Key, Metrics, Model, PyTree, Spec

PLAYER = "vae"


@checked("model")
def unet_vae(
    spec: Spec,
    inputs: int = 1,
    latents: int = 8,
    filters: Sequence[int] = (16, 32, 64, 64),
    hidden: int = 128,
    activation: str = "relu",
    beta: Weight = 1.0,
    warm_up_steps: Number = 0,
    likelihood: str = "normal",
    scale: float = 0.1,
    window_px: float | None = None,
    background: float = 0.5,
) -> Model:
    """Conditional variational autoencoder with one player, ``vae``; the last channels are predicted from the first.

    In training the latents come from the posterior, which also sees what is to be predicted; the KL term (equation 4)
    keeps it near the prior, which does not. ``translate`` draws from the prior's mean.

    Differs from the paper: pixels are intensities and not classes, and the latents join at the bottom of the U-Net and
    not behind its last layer, so that they may say where something is.

    Args:
        spec: what the data look like.
        inputs: number of channels, from the first, that the others are predicted from.
        latents: L.
        filters: of the 3x3 convolutions at every scale, from the image inwards.
        hidden: units of the fully connected layer of prior and posterior.
        activation: name of a function in ``flax.linen``.
        beta: weight of the KL term; 1 is the evidence lower bound. The larger, the less is left to the latents, and the
            nearer the prediction comes to a U-Net's without any.
        warm_up_steps: the KL term's weight grows linearly from 0 during these steps.
        likelihood: ``normal`` (squared error) or ``bernoulli`` (cross-entropy).
        scale: standard deviation of a pixel under the normal likelihood, in units of the full intensity range.
        window_px: weigh the reconstruction by a centered Gaussian of this standard deviation; None weighs all alike.
        background: intensity, in (0, 1), of every pixel that the untrained model draws.

    Raises:
        ValueError: no channel that is seen or none that is predicted, or an unknown likelihood.
    """
    height, width, channels = spec.shape
    if not 1 <= inputs < channels:
        raise ValueError(
            f"no channel to predict, or none to predict it from: got model.inputs={inputs} of {channels} channels, "
            f"expected 1 or more and fewer than there are; change model.inputs, or the channels in the section data"
        )
    module = ConditionalUNet(spec.shape, inputs, tuple(filters), hidden, latents, activation, logit(background))
    reconstruct = reconstruction_loss((height, width, channels - inputs), likelihood, scale, window_px)

    def apply(params: PyTree, method: str, *arguments: jax.Array) -> PyTree:
        found = module.apply({"params": params[PLAYER]}, *arguments, method=method)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), found)

    def init(key: Key) -> tuple[dict[str, PyTree], PyTree]:
        return {PLAYER: module.init(key, jnp.zeros((1, *spec.shape)))["params"]}, {}

    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        x, mask = batch["x"], batch["mask"]
        mean, logvar = apply(params, "infer", x)
        z = mean + jnp.exp(0.5 * logvar) * standard_normal(key, mean.shape, spec.axis_name)
        logits = apply(params, "draw", x, z.astype(x.dtype))
        divergence = kl_between_normals(mean, logvar, *apply(params, "expect", x))
        terms: Metrics = {
            "reconstruction": batch_mean(reconstruct(x[..., inputs:], logits), mask, spec.axis_name),
            "kl": batch_mean(divergence, mask, spec.axis_name),
        }
        total = terms["reconstruction"] + beta * warm_up(step, warm_up_steps) * terms["kl"]
        return total, ({**terms}, extra)

    def translate(params: PyTree, extra: PyTree, x: jax.Array) -> jax.Array:
        mean, _ = apply(params, "expect", x)
        return jax.nn.sigmoid(apply(params, "draw", x, mean.astype(x.dtype)))

    return Model(init, {PLAYER: loss}, translate=translate)
