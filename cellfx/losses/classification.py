"""How wrong a classifier is."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cellfx.collectives import batch_mean
from cellfx.types import Batch, Metrics


def cross_entropy(
    logits: jax.Array, batch: Batch, weights: Sequence[float], axis_name: str | None
) -> tuple[jax.Array, Metrics]:
    """Weighted cross-entropy, and the fraction of right answers.

    Args:
        logits: (B, K).
        batch: with label (B,) and mask (B,).
        weights: (K,) of the classes.
        axis_name: device axis of the mapped program, None outside one.

    Returns:
        Nats per example, the mean over the global batch, (); metric ``accuracy``, ().
    """
    logits, label, mask = logits.astype(jnp.float32), batch["label"], batch["mask"]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), label.reshape(-1, 1), axis=1)[:, 0]
    right = (jnp.argmax(logits, axis=1) == label).astype(jnp.float32)
    value = batch_mean(-jnp.asarray(weights, jnp.float32)[label] * chosen, mask, axis_name)
    return value, {"accuracy": batch_mean(right, mask, axis_name)}


def class_weights(counts: Sequence[int], num_classes: int, power: float = 1.0) -> tuple[float, ...]:
    """Proportional to n^-power for a class of n training examples; their mean over the training examples is 1.

    Args:
        counts: (K,) training examples of each class; empty where they are not known.
        num_classes: K.
        power: at 1 every class weighs the same, at 0 every example.

    Raises:
        ValueError: a class without examples, or classes that cannot be counted.
    """
    if len(counts) != num_classes or min(counts) < 1:
        raise ValueError(
            f"the classes cannot be weighed: got {tuple(counts) or 'no'} training examples by class, expected 1 or "
            f"more of each of {num_classes} classes, in memory; leave model.balanced out or change section data"
        )
    raw = [count**-power for count in counts]
    mean = sum(weight * count for weight, count in zip(raw, counts, strict=True)) / sum(counts)
    return tuple(weight / mean for weight in raw)
