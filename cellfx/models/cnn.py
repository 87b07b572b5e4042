"""An end-to-end classifier of images: scheme 1 of Soelistyo and Lowe 2024, arXiv:2402.03115, supplement 2.2."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.checks import checked
from cellfx.losses.classification import class_weights, cross_entropy
from cellfx.nn.activation import mish
from cellfx.nn.batch_norm import BatchNorm
from cellfx.nn.convolution import Conv
from cellfx.nn.dropout import drop
from cellfx.types import Batch, Key, Model, PyTree, Spec

PLAYER = "classifier"


class Cnn(nn.Module):
    """Strided 3x3 convolutions, then fully connected layers; batch norm and Mish behind each, dropout in the latter.

    What batch norm follows has no bias, which it would take off again.

    Attributes:
        filters: of the convolutions, from the image inwards.
        widths: units of the hidden fully connected layers.
        num_classes: K.
        dropout: probability of a hidden unit to be dropped in training.
        momentum: see ``BatchNorm``.
        axis_name: see ``BatchNorm``.
    """

    filters: Sequence[int]
    widths: Sequence[int]
    num_classes: int
    dropout: float
    momentum: float
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, key: Key | None = None) -> jax.Array:
        """(B, H, W, C) -> logits (B, K); with ``mask`` (B,) and ``key`` as in training, without as when it is used."""
        for i, features in enumerate(self.filters):
            x = Conv(features, stride=2, use_bias=False, name=f"conv{i}")(x)
            x = mish(self._norm(f"conv{i}_norm")(x, mask))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, use_bias=False, name=f"dense{i}", dtype=x.dtype)(x)
            x = mish(self._norm(f"dense{i}_norm")(x, mask))
            if key is not None:
                x = drop(x, jax.random.fold_in(key, i), self.dropout, self.axis_name)
        return nn.Dense(self.num_classes, name=f"dense{len(self.widths)}", dtype=x.dtype)(x)

    def _norm(self, name: str) -> BatchNorm:
        return BatchNorm(self.axis_name, self.momentum, name=name)


@checked("model")
def cnn(
    spec: Spec,
    filters: Sequence[int] = (8, 16, 32, 64),
    widths: Sequence[int] = (32, 16, 16, 16),
    dropout: float = 0.3,
    momentum: float = 0.9,
    balanced: bool = False,
) -> Model:
    """Convolutional classifier with one player, ``classifier``; ``extra`` holds its batch statistics.

    Differs from the paper: the convolutions are strided, so that a 64 x 64 x 1 image and two classes make 58,490
    parameters. The paper gives about 380,000 and does not say how the images are made smaller.

    Args:
        spec: what the data look like; its classes are those that are told apart.
        filters: of the convolutions, from the image inwards.
        widths: units of the hidden fully connected layers.
        dropout: probability of a hidden unit to be dropped in training.
        momentum: how much of the running batch statistics a step keeps.
        balanced: every class weighs the same in the loss, however many examples it has.

    Raises:
        ValueError: fewer than two classes, an empty layer, a dropout or momentum outside [0, 1), or ``balanced`` where
            the classes cannot be counted.
    """
    _check(spec, filters, widths, dropout=dropout, momentum=momentum)
    module = Cnn(tuple(filters), tuple(widths), spec.num_classes, dropout, momentum, spec.axis_name)
    weights = class_weights(spec.class_counts, spec.num_classes) if balanced else (1.0,) * spec.num_classes

    def init(key: Key) -> tuple[dict[str, PyTree], PyTree]:
        variables = module.init(key, jnp.zeros((1, *spec.shape)))
        return {PLAYER: variables["params"]}, variables["batch_stats"]

    def predict(params: PyTree, extra: PyTree, x: jax.Array) -> jax.Array:
        return module.apply({"params": params[PLAYER], "batch_stats": extra}, x).astype(jnp.float32)

    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        if training:
            variables = {"params": params[PLAYER], "batch_stats": extra}
            logits, new = module.apply(variables, batch["x"], batch["mask"], key, mutable=["batch_stats"])
            extra = new["batch_stats"]
        else:
            logits = predict(params, extra, batch["x"])
        value, metrics = cross_entropy(logits, batch, weights, spec.axis_name)
        return value, (metrics, extra)

    return Model(init, {PLAYER: loss}, predict=predict)


def _check(spec: Spec, filters: Sequence[int], widths: Sequence[int], **rates: float) -> None:
    if spec.num_classes < 2:
        raise ValueError(
            f"nothing to tell apart: got data of {spec.num_classes} classes, expected 2 or more; change section data"
        )
    if not filters or min([*filters, *widths]) < 1:
        raise ValueError(
            f"an empty layer: got filters {tuple(filters)} and widths {tuple(widths)}, expected one convolution or "
            f"more and 1 or more of each; correct the config section model"
        )
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(
                f"model.{name} is out of range: got {rate}, expected 0 <= {name} < 1; set it in this range"
            )
