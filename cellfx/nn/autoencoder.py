"""The convolutional encoder and decoder that the variational autoencoders share."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.nn.convolution import Conv, UpsampleConv
from cellfx.types import Key, PyTree


class Encoder(nn.Module):
    """Strided 3x3 convolutions, one hidden layer, then mean and log-variance of the latents."""

    filters: Sequence[int]
    hidden: int
    latents: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, C) -> mean (B, L), logvar (B, L)."""
        activate = getattr(nn, self.activation)
        for i, features in enumerate(self.filters):
            x = activate(Conv(features, stride=2, name=f"conv{i}")(x))
        x = activate(nn.Dense(self.hidden, name="hidden", dtype=x.dtype)(x.reshape(x.shape[0], -1)))
        mean = nn.Dense(self.latents, name="mean", dtype=x.dtype)(x)
        return mean, nn.Dense(self.latents, name="logvar", dtype=x.dtype)(x)


class Decoder(nn.Module):
    """The encoder in reverse: two dense layers, then upsampling convolutions back to the image."""

    filters: Sequence[int]
    hidden: int
    image_shape: tuple[int, int, int]
    activation: str
    output_bias: float

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """(B, L) -> logits of the image (B, H, W, C)."""
        activate = getattr(nn, self.activation)
        height, width, channels = self.image_shape
        sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in range(len(self.filters) + 1)]
        z = activate(nn.Dense(self.hidden, name="hidden", dtype=z.dtype)(z))
        rows, columns = sizes[-1]
        x = activate(nn.Dense(rows * columns * self.filters[-1], name="grid", dtype=z.dtype)(z))
        x = x.reshape(-1, rows, columns, self.filters[-1])
        for i in reversed(range(len(self.filters))):
            features = self.filters[i - 1] if i else channels
            x = UpsampleConv(features, 0.0 if i else self.output_bias, name=f"conv{i}")(x)[
                :, : sizes[i][0], : sizes[i][1]
            ]
            x = activate(x) if i else x
        return x


class Autoencoder(nn.Module):
    """Encoder and decoder under one tree of parameters.

    Attributes:
        image_shape: (H, W, C); any size, the decoder crops to what the encoder saw at every scale.
        filters: of the convolutions, from the image inwards.
        hidden: units of the fully connected layer on either side of the latents.
        latents: L.
        activation: name of a function in ``flax.linen``, for instance ``relu``.
        output_bias: logit of every pixel that the untrained decoder draws.
    """

    image_shape: tuple[int, int, int]
    filters: Sequence[int]
    hidden: int
    latents: int
    activation: str
    output_bias: float = 0.0

    def setup(self) -> None:
        """Make the two halves.

        Raises:
            ValueError: an activation that Flax does not have, no convolution or an empty layer.
        """
        if not self.filters or min(*self.filters, self.hidden, self.latents) < 1:
            raise ValueError(
                f"an empty layer: got filters {tuple(self.filters)}, {self.hidden} hidden units and {self.latents} "
                f"latents, expected one convolution or more and 1 or more of each; correct the config section model"
            )
        if not callable(getattr(nn, self.activation, None)):
            raise ValueError(
                f"unknown activation: got {self.activation!r}, expected the name of a function in flax.linen, such as "
                f"'relu' or 'silu'; correct model.activation"
            )
        self.encoder = Encoder(self.filters, self.hidden, self.latents, self.activation)
        self.decoder = Decoder(self.filters, self.hidden, self.image_shape, self.activation, self.output_bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of the reconstruction from the mean code; touches every parameter, for initialisation."""
        mean, logvar = self.encode(x)
        return self.decode(mean + 0.0 * logvar)

    def encode(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, C) -> mean (B, L), logvar (B, L)."""
        return self.encoder(x)

    def decode(self, z: jax.Array) -> jax.Array:
        """(B, L) -> logits (B, H, W, C)."""
        return self.decoder(z)


def initialiser_of(module: Autoencoder, player: str) -> Callable[[Key], tuple[dict[str, PyTree], PyTree]]:
    """``Model.init`` of a model whose only parameters are the module's, under the name of one player."""

    def init(key: Key) -> tuple[dict[str, PyTree], PyTree]:
        return {player: module.init(key, jnp.zeros((1, *module.image_shape)))["params"]}, {}

    return init


def encoder_of(module: Autoencoder, player: str) -> Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, jax.Array]]:
    """``Model.encode``; mean and logvar come back in float32 whatever the images are in."""

    def encode(params: PyTree, extra: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, logvar = module.apply({"params": params[player]}, x, method="encode")
        return mean.astype(jnp.float32), logvar.astype(jnp.float32)

    return encode


def decoder_of(module: Autoencoder, player: str) -> Callable[[PyTree, PyTree, jax.Array], jax.Array]:
    """``Model.decode``; pixels are the sigmoid of the decoder's logits."""

    def decode(params: PyTree, extra: PyTree, z: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(module.apply({"params": params[player]}, z, method="decode").astype(jnp.float32))

    return decode
