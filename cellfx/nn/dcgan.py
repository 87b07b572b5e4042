"""The two halves of a DCGAN: Radford, Metz and Chintala 2015, arXiv:1511.06434, section 3.

Strided convolutions one way and transposed ones the other, batch norm behind each but the one at the image, leaky ReLU
on the way in and ReLU on the way out.
"""

from collections.abc import Sequence

import jax
from flax import linen as nn

from cellfx.nn.batch_norm import BatchNorm
from cellfx.nn.convolution import Conv, TransposedConv

SLOPE = 0.2
"""Of the leaky ReLU below zero, as published."""


class Inwards(nn.Module):
    """From an image to a vector: the body of a discriminator, or an encoder's.

    Attributes:
        filters: of the 4x4 convolutions of stride 2, from the image inwards.
        momentum: see ``BatchNorm``.
        axis_name: see ``BatchNorm``.
    """

    filters: Sequence[int]
    momentum: float
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(B, H, W, C) -> (B, D); with ``mask`` (B,) normalized by this batch, without by the averages."""
        for i, features in enumerate(self.filters):
            x = Conv(features, stride=2, size=4, use_bias=i == 0, name=f"conv{i}")(x)
            if i:
                x = BatchNorm(self.axis_name, self.momentum, name=f"conv{i}_norm")(x, mask)
            x = nn.leaky_relu(x, SLOPE)
        return x.reshape(x.shape[0], -1)


class Outwards(nn.Module):
    """From a vector to an image: a generator, or a decoder.

    Attributes:
        filters: as of ``Inwards``, from the image inwards.
        image_shape: (H, W, C).
        momentum: see ``BatchNorm``.
        axis_name: see ``BatchNorm``.
        output_bias: logit of every pixel that the untrained network draws.
    """

    filters: Sequence[int]
    image_shape: tuple[int, int, int]
    momentum: float
    axis_name: str | None
    output_bias: float = 0.0

    @nn.compact
    def __call__(self, z: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(B, L) -> logits of the image (B, H, W, C); ``mask`` as for ``Inwards``."""
        height, width, channels = self.image_shape
        sizes = [(height // 2**i, width // 2**i) for i in range(len(self.filters) + 1)]
        rows, columns = sizes[-1]
        x = nn.Dense(rows * columns * self.filters[-1], use_bias=False, name="grid", dtype=z.dtype)(z)
        x = self._activate("grid_norm", x.reshape(-1, rows, columns, self.filters[-1]), mask)
        for i in reversed(range(1, len(self.filters))):
            x = TransposedConv(self.filters[i - 1], sizes[i], use_bias=False, name=f"conv{i}")(x)
            x = self._activate(f"conv{i}_norm", x, mask)
        return TransposedConv(channels, sizes[0], initial_bias=self.output_bias, name="conv0")(x)

    def _activate(self, name: str, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        return nn.relu(BatchNorm(self.axis_name, self.momentum, name=name)(x, mask))


def check_filters(filters: Sequence[int], image_shape: tuple[int, int, int]) -> None:
    """Raises a ValueError for an empty layer, or for more halvings than the image has."""
    smallest = min(image_shape[:2])
    if not filters or min(filters) < 1 or smallest < 2 ** len(filters):
        most = smallest.bit_length() - 1
        raise ValueError(
            f"filters do not suit the images: got {tuple(filters)} for images of {image_shape[0]} x {image_shape[1]}, "
            f"expected 1 to {most} numbers above 0, for every one halves the image; correct model.filters"
        )
