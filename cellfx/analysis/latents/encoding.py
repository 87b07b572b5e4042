"""Codes of a whole data set, and how much each latent carries."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError

Encode = Callable[[Any], tuple[Any, Any]]
"""x (B, H, W, C) float32 in [0, 1] -> (mean (B, L), logvar (B, L)); already closed over its parameters."""

Decode = Callable[[Any], Any]
"""z (B, L) float32 -> x (B, H, W, C) in [0, 1]; already closed over its parameters."""

KEPT_KEYS = ("label", "factors", "group")


class Latents(NamedTuple):
    """Posterior of every example, padding removed, in the order of the data.

    Attributes:
        mean: (N, L).
        logvar: (N, L), log of the posterior variance.
        label: (N,) int32, None where the data has no labels.
        factors: (N, F), None where the generating factors are unknown.
        group: (N,) int32, for instance the plate; None where the data has no groups.
    """

    mean: np.ndarray
    logvar: np.ndarray
    label: np.ndarray | None = None
    factors: np.ndarray | None = None
    group: np.ndarray | None = None


def encode_batches(encode: Encode, batches: Iterable[Mapping[str, np.ndarray]]) -> Latents:
    """Encodes every batch and keeps the real examples.

    Args:
        encode: x -> (mean, logvar).
        batches: batches with ``image`` (B, H, W, C) float32 in [0, 1] and, where present, ``mask`` (B,), ``label``
            (B,), ``factors`` (B, F) and ``group`` (B,). Batches of one size need one compilation.

    Raises:
        ValueError: there is no example, or images are still integers.
    """
    columns: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        image = batch["x"]
        if np.issubdtype(image.dtype, np.integer):
            raise UserError(
                f"images to encode hold stored pixels: got {image.dtype}, expected float32 in [0, 1]; "
                "convert them with cellfx.data.source.to_float"
            )
        mean, logvar = encode(image)
        kept = {name: batch[name] for name in KEPT_KEYS if name in batch}
        real = np.asarray(batch.get("mask", np.ones(len(image)))) > 0
        for name, values in {"mean": mean, "logvar": logvar, **kept}.items():
            columns.setdefault(name, []).append(np.asarray(values)[real])
    if sum(len(part) for part in columns.get("mean", [])) == 0:
        raise UserError("nothing to encode: got no example, expected at least one; check the split that was chosen")
    return Latents(**{name: np.concatenate(parts) for name, parts in columns.items()})


def sample_codes(latents: Latents, rng: np.random.Generator) -> np.ndarray:
    """One draw from the posterior of every example, (N, L)."""
    noise = rng.standard_normal(latents.mean.shape).astype(latents.mean.dtype)
    return latents.mean + np.exp(latents.logvar / 2) * noise


def kl_per_latent(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Divergence of the posterior from the standard normal prior, averaged over examples.

    Kingma and Welling 2013, arXiv:1312.6114, appendix B.

    Args:
        mean: (N, L).
        logvar: (N, L).

    Returns:
        (L,) float64, nats per example.
    """
    mean, logvar = np.asarray(mean, np.float64), np.asarray(logvar, np.float64)
    return np.mean((np.square(mean) + np.exp(logvar) - 1.0 - logvar) / 2.0, axis=0)


def order_by_kl(kl: np.ndarray) -> np.ndarray:
    """Indices of the latents, the most informative first; ties keep their order. (L,) nats -> (L,) int."""
    return np.argsort(-np.asarray(kl), kind="stable")


def active_latents(kl: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Indices of the latents that carry something, the most informative first.

    Args:
        kl: (L,) nats per example.
        threshold: nats per example that an active latent exceeds. The default is that of Duan et al. 2020,
            arXiv:1905.12614.

    Returns:
        (number of active latents,) int; empty where the posterior has collapsed altogether.
    """
    order = order_by_kl(kl)
    return order[np.asarray(kl)[order] > threshold]
