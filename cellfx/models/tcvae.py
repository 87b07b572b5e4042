"""The beta-TCVAE: Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", arXiv:1802.04942."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cellfx.checks import Number, Weight, checked
from cellfx.collectives import batch_mean, standard_normal
from cellfx.losses.divergence import kl_to_standard_normal, warm_up
from cellfx.losses.information import ESTIMATORS, KLTerms, decompose_kl, weighted_bias
from cellfx.losses.reconstruction import logit, reconstruction_loss
from cellfx.nn.autoencoder import Autoencoder, decoder_of, encoder_of, initializer_of, sampler_of
from cellfx.types import Batch, Key, Model, PyTree, Spec


@checked("model")
def tcvae(
    spec: Spec,
    latents: int = 32,
    filters: Sequence[int] = (8, 16, 32, 64),
    hidden: int = 256,
    activation: str = "relu",
    alpha: Weight = 1.0,
    beta: Weight = 6.0,
    gamma: Weight = 1.0,
    estimator: str = "weighted",
    warm_up_steps: Number = 0,
    likelihood: str = "normal",
    scale: float = 0.1,
    window_px: float | None = None,
    background: float = 0.5,
) -> Model:
    """VAE whose KL term is split in three, each with a weight of its own (equation 4); one player, ``vae``.

    With alpha = beta = gamma it is the beta-VAE. Differs from the paper: the estimator's constants are subtracted
    (``weighted_bias``), which changes no gradient and lets independent codes read a total correlation of 0.

    Args:
        spec: what the data look like.
        latents: L.
        filters: of the strided 3x3 convolutions, from the image inwards.
        hidden: units of the fully connected layers.
        activation: name of a function in ``flax.linen``.
        alpha: weight of the index-code mutual information.
        beta: weight of the total correlation.
        gamma: weight of the dimension-wise KL.
        estimator: ``weighted`` or ``stratified``, see ``decompose_kl``.
        warm_up_steps: the three weights grow linearly from 0 during these steps.
        likelihood: ``normal`` (squared error) or ``bernoulli`` (cross-entropy).
        scale: standard deviation of a pixel under the normal likelihood, in units of the full intensity range.
        window_px: weigh the reconstruction by a centered Gaussian of this standard deviation; None weighs all alike.
        background: intensity, in (0, 1), of every pixel that the untrained decoder draws; that of most pixels saves
            the first epochs.

    Raises:
        ValueError: an unknown estimator or likelihood.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator: got {estimator!r}, expected one of {ESTIMATORS}; correct model.estimator")
    module = Autoencoder(spec.shape, tuple(filters), hidden, latents, activation, logit(background))
    reconstruct = reconstruction_loss(spec.shape, likelihood, scale, window_px)
    bias = weighted_bias(latents, spec.num_examples, estimator)
    encode = encoder_of(module, "vae")

    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        x, mask = batch["x"], batch["mask"]
        mean, logvar = encode(params, extra, x)
        z = mean + jnp.exp(0.5 * logvar) * standard_normal(key, mean.shape, spec.axis_name)
        logits = module.apply({"params": params["vae"]}, z.astype(x.dtype), method="decode")
        terms = decompose_kl(z, mean, logvar, mask, spec.num_examples, estimator, spec.axis_name)
        sampled = (batch_mean(term, mask, spec.axis_name) for term in terms)
        means = KLTerms(*(mean - constant for mean, constant in zip(sampled, bias, strict=True)))
        penalty = alpha * means.index_code_mi + beta * means.total_correlation + gamma * means.dimension_wise_kl
        reconstruction = batch_mean(reconstruct(x, logits), mask, spec.axis_name)
        total = reconstruction + warm_up(step, warm_up_steps) * penalty
        kl = batch_mean(kl_to_standard_normal(mean, logvar), mask, spec.axis_name)
        return total, ({"reconstruction": reconstruction, "kl": kl, **means._asdict()}, extra)

    decode, sample = decoder_of(module, "vae"), sampler_of(module, "vae")
    return Model(initializer_of(module, "vae"), {"vae": loss}, encode, decode, sample=sample)
