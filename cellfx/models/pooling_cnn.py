"""Classifiers of cells in flow: Isaksson 2018, section 4.1 (is this one cell?) and section 5.1 (which type is it?)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.checks import checked
from cellfx.losses.classification import class_weights, cross_entropy
from cellfx.nn.batch_norm import BatchNorm
from cellfx.nn.convolution import Conv
from cellfx.nn.dropout import drop
from cellfx.nn.pooling import max_pool
from cellfx.types import Batch, Key, Model, PyTree, Spec

PLAYER = "classifier"
MOMENTUM = 0.9


class PoolingCnn(nn.Module):
    """3x3 convolutions with 2x2 max pooling, one fully connected layer with dropout, then the logits; ReLU throughout.

    Attributes:
        filters: of the convolutions, from the image inwards.
        hidden: units of the fully connected layer.
        num_classes: K.
        dropout: probability of one of these units to be dropped in training.
        normalise: batch norm behind every layer but the last; what it follows has no bias.
        axis_name: see ``BatchNorm``.
    """

    filters: Sequence[int]
    hidden: int
    num_classes: int
    dropout: float
    normalise: bool
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, key: Key | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, C) -> logits (B, K), hidden units (B, D); with ``mask`` (B,) and ``key`` as in training."""
        bias = not self.normalise
        for i, features in enumerate(self.filters):
            x = Conv(features, use_bias=bias, name=f"conv{i}")(x)
            # ReLU and the maximum may change places; behind the pooling there is a fourth to do.
            x = nn.relu(self._norm(f"conv{i}_norm", max_pool(x), mask))
        x = nn.Dense(self.hidden, use_bias=bias, name="hidden", dtype=x.dtype)(x.reshape(x.shape[0], -1))
        hidden = nn.relu(self._norm("hidden_norm", x, mask))
        x = hidden if key is None else drop(hidden, key, self.dropout, self.axis_name)
        return nn.Dense(self.num_classes, name="logits", dtype=x.dtype)(x), hidden

    def _norm(self, name: str, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        return BatchNorm(self.axis_name, MOMENTUM, name=name)(x, mask) if self.normalise else x


@checked("model")
def pooling_cnn(
    spec: Spec,
    filters: Sequence[int] = (16, 32, 64),
    hidden: int = 512,
    dropout: float = 0.2,
    normalise: bool = True,
    balanced: float = 0.0,
) -> Model:
    """Convolutional classifier with one player, ``classifier``.

    The defaults are the thesis' classifier of cell types; its cell filter is filters (20, 50), hidden 500 and no batch
    norm. Differs from the thesis: batch norm follows the pooling, not the convolution, and so sees a fourth of the
    values.

    Args:
        spec: what the data look like; its classes are those that are told apart.
        filters: of the convolutions, from the image inwards.
        hidden: units of the fully connected layer.
        dropout: probability of one of them to be dropped in training.
        normalise: whether batch norm follows every layer but the last.
        balanced: examples of a class of n weigh n^-balanced in the loss: at 0 every example weighs the same, at 1
            every class, and .5 lies between what serves accuracy and what serves balanced accuracy.

    Raises:
        ValueError: fewer than two classes, an empty layer or more poolings than the image has room for, a dropout
            outside [0, 1), or ``balanced`` outside [0, 1] or where the classes cannot be counted.
    """
    _check(spec, filters, hidden, dropout)
    if not 0 <= balanced <= 1:
        raise ValueError(f"model.balanced is out of range: got {balanced}, expected 0 to 1; set it in this range")
    module = PoolingCnn(tuple(filters), hidden, spec.num_classes, dropout, normalise, spec.axis_name)
    weights = class_weights(spec.class_counts, spec.num_classes, balanced) if balanced else (1.0,) * spec.num_classes

    def init(key: Key) -> tuple[dict[str, PyTree], PyTree]:
        variables = module.init(key, jnp.zeros((1, *spec.shape)))
        return {PLAYER: variables.pop("params")}, variables

    def applied(params: PyTree, extra: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, hidden = module.apply({"params": params[PLAYER], **extra}, x)
        return logits.astype(jnp.float32), hidden.astype(jnp.float32)

    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        if training:
            variables = {"params": params[PLAYER], **extra}
            (logits, _), new = module.apply(variables, batch["x"], batch["mask"], key, mutable=list(extra))
            extra = {**extra, **new}
        else:
            logits, _ = applied(params, extra, batch["x"])
        value, metrics = cross_entropy(logits, batch, weights, spec.axis_name)
        return value, (metrics, extra)

    return Model(
        init,
        {PLAYER: loss},
        predict=lambda params, extra, x: applied(params, extra, x)[0],
        features=lambda params, extra, x: applied(params, extra, x)[1],
    )


def _check(spec: Spec, filters: Sequence[int], hidden: int, dropout: float) -> None:
    if spec.num_classes < 2:
        raise ValueError(
            f"nothing to tell apart: got data of {spec.num_classes} classes, expected 2 or more; change section data"
        )
    smallest = min(spec.shape[:2])
    if not filters or min([*filters, hidden]) < 1 or smallest < 2 ** len(filters):
        raise ValueError(
            f"layers do not suit the images: got filters {tuple(filters)} and {hidden} hidden units for images of "
            f"{spec.shape[0]} x {spec.shape[1]}, expected 1 to {smallest.bit_length() - 1} convolutions, "
            f"each of which halves the image, and 1 unit or more of each; correct the config section model"
        )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"model.dropout is out of range: got {dropout}, expected 0 <= dropout < 1; set it in this range"
        )
