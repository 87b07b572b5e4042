"""The beta-VAE: Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Framework"."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cellfx.checks import Number, Weight, checked
from cellfx.collectives import batch_mean, standard_normal
from cellfx.losses.divergence import kl_to_standard_normal, warm_up
from cellfx.losses.reconstruction import logit, reconstruction_loss
from cellfx.nn.autoencoder import applied, autoencoder, decoder_of, encoder_of, initializer_of, sampler_of
from cellfx.types import Batch, Key, Metrics, Model, PyTree, Spec


@checked("model")
def vae(
    spec: Spec,
    latents: int = 32,
    filters: Sequence[int] = (8, 16, 32, 64),
    hidden: int = 256,
    activation: str = "relu",
    beta: Weight = 1.0,
    warm_up_steps: Number = 0,
    likelihood: str = "normal",
    scale: float = 0.1,
    window_px: float | None = None,
    background: float = 0.5,
    architecture: str = "upsampling",
) -> Model:
    """Variational autoencoder with convolutional encoder and decoder and one player, ``vae``.

    Args:
        spec: what the data look like.
        latents: L.
        filters: of the strided 3x3 convolutions, from the image inwards.
        hidden: units of the fully connected layers.
        activation: name of a function in ``flax.linen``.
        beta: weight of the KL term; 1 is the evidence lower bound.
        warm_up_steps: the KL term's weight grows linearly from 0 during these steps.
        likelihood: ``normal`` (squared error) or ``bernoulli`` (cross-entropy).
        scale: standard deviation of a pixel under the normal likelihood, in units of the full intensity range.
        window_px: weigh the reconstruction by a centered Gaussian of this standard deviation; None weighs all alike.
        background: intensity, in (0, 1), of every pixel that the untrained decoder draws; that of most pixels saves
            the first epochs.
        architecture: ``upsampling``, or ``dcgan`` for the layers of ``infogan``, which takes neither ``hidden`` nor
            ``activation`` (see ``nn.autoencoder``).
    """
    bias, axis_name = logit(background), spec.axis_name
    module = autoencoder(architecture, spec.shape, filters, hidden, latents, activation, bias, axis_name)
    reconstruct = reconstruction_loss(spec.shape, likelihood, scale, window_px)

    apply = applied(module, "vae")

    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        x, mask = batch["x"], batch["mask"]
        seen = mask if training else None
        (mean, logvar), new = apply(params, extra, x, seen, "encode")
        mean, logvar = mean.astype(jnp.float32), logvar.astype(jnp.float32)
        z = mean + jnp.exp(0.5 * logvar) * standard_normal(key, mean.shape, axis_name)
        logits, new = apply(params, new, z.astype(x.dtype), seen, "decode")
        terms: Metrics = {
            "reconstruction": batch_mean(reconstruct(x, logits), mask, axis_name),
            "kl": batch_mean(kl_to_standard_normal(mean, logvar), mask, axis_name),
        }
        total = terms["reconstruction"] + beta * warm_up(step, warm_up_steps) * terms["kl"]
        return total, (terms, new if training else extra)

    return Model(
        initializer_of(module, "vae"),
        {"vae": loss},
        encoder_of(module, "vae"),
        decoder_of(module, "vae"),
        sample=sampler_of(module, "vae"),
    )
