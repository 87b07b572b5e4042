"""The convolutional encoder and decoder that the variational autoencoders share."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.nn.convolution import Conv, UpsampleConv
from cellfx.nn.dcgan import Inwards, Outwards, check_filters
from cellfx.types import Key, PyTree

ARCHITECTURES = ("upsampling", "dcgan")
MOMENTUM = 0.9
"""Of the batch statistics of ``DcganAutoencoder``."""


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
        check_layers(self.filters, self.hidden, self.latents, self.activation)
        self.encoder = Encoder(self.filters, self.hidden, self.latents, self.activation)
        self.decoder = Decoder(self.filters, self.hidden, self.image_shape, self.activation, self.output_bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of the reconstruction from the mean code; touches every parameter, for initialization."""
        mean, logvar = self.encode(x)
        return self.decode(mean + 0.0 * logvar)

    def encode(self, x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, C) -> mean (B, L), logvar (B, L); no example depends on another, so the mask is not used."""
        del mask
        return self.encoder(x)

    def decode(self, z: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(B, L) -> logits (B, H, W, C)."""
        del mask
        return self.decoder(z)


class DcganAutoencoder(nn.Module):
    """Encoder and decoder with the layers of the InfoGAN's two networks, so that the two models compare.

    Attributes:
        image_shape: (H, W, C).
        filters: see ``Inwards``.
        latents: L.
        momentum: see ``BatchNorm``.
        axis_name: see ``BatchNorm``.
        output_bias: see ``Outwards``.
    """

    image_shape: tuple[int, int, int]
    filters: Sequence[int]
    latents: int
    momentum: float
    axis_name: str | None
    output_bias: float = 0.0

    def setup(self) -> None:
        """Make the two halves.

        Raises:
            ValueError: no latents, or see ``check_filters``.
        """
        check_filters(self.filters, self.image_shape)
        if self.latents < 1:
            raise ValueError(f"no latents: got model.latents={self.latents}, expected 1 or more; raise it")
        self.encoder = Inwards(self.filters, self.momentum, self.axis_name)
        self.mean, self.logvar = nn.Dense(self.latents), nn.Dense(self.latents)
        self.decoder = Outwards(self.filters, self.image_shape, self.momentum, self.axis_name, self.output_bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        """As ``Autoencoder``."""
        mean, logvar = self.encode(x)
        return self.decode(mean + 0.0 * logvar)

    def encode(self, x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, C) -> mean (B, L), logvar (B, L); normalized by this batch where it has a mask (B,)."""
        y = self.encoder(x, mask)
        return self.mean(y), self.logvar(y)

    def decode(self, z: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(B, L) -> logits (B, H, W, C); ``mask`` as for ``encode``."""
        return self.decoder(z, mask)


Network = Autoencoder | DcganAutoencoder


def autoencoder(
    architecture: str,
    image_shape: tuple[int, int, int],
    filters: Sequence[int],
    hidden: int,
    latents: int,
    activation: str,
    output_bias: float,
    axis_name: str | None,
) -> Network:
    """The network that a config asks for.

    Args:
        architecture: ``upsampling`` for ``Autoencoder``, ``dcgan`` for ``DcganAutoencoder``, which has no hidden layer
            and activations of its own.
        image_shape: (H, W, C).
        filters: of the convolutions, from the image inwards.
        hidden: see ``Autoencoder``.
        latents: L.
        activation: see ``Autoencoder``.
        output_bias: logit of every pixel that the untrained decoder draws.
        axis_name: device axis of the mapped program.

    Raises:
        ValueError: an unknown architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture: got {architecture!r}, expected one of {ARCHITECTURES}; correct model.architecture"
        )
    if architecture == "dcgan":
        return DcganAutoencoder(image_shape, tuple(filters), latents, MOMENTUM, axis_name, output_bias)
    return Autoencoder(image_shape, tuple(filters), hidden, latents, activation, output_bias)


def check_layers(filters: Sequence[int], hidden: int, latents: int, activation: str) -> None:
    """Raises a ValueError for no convolution, an empty layer, or an activation that Flax does not have."""
    if not filters or min(*filters, hidden, latents) < 1:
        raise ValueError(
            f"an empty layer: got filters {tuple(filters)}, {hidden} hidden units and {latents} latents, "
            f"expected one convolution or more and 1 or more of each; correct the config section model"
        )
    if not _is_activation(getattr(nn, activation, None)):
        raise ValueError(
            f"unknown activation: got {activation!r}, expected the name of a function in flax.linen that maps numbers, "
            f"such as 'relu' or 'silu'; correct model.activation"
        )


def _is_activation(function: Any) -> bool:
    """Whether it maps one number to another; flax.linen has layers, transformations and pools by such names too."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        found = jax.eval_shape(function, number)
    except Exception:  # each of the others fails in its own way
        return False
    return getattr(found, "shape", None) == () and found.dtype == number.dtype


def initializer_of(module: Network, player: str) -> Callable[[Key], tuple[dict[str, PyTree], PyTree]]:
    """``Model.init`` of a model whose only parameters are the module's, under the name of one player.

    ``extra`` holds the module's other collections: batch statistics, or nothing.
    """

    def init(key: Key) -> tuple[dict[str, PyTree], PyTree]:
        variables = module.init(key, jnp.zeros((1, *module.image_shape)))
        return {player: variables.pop("params")}, variables

    return init


def applied(
    module: Network, player: str
) -> Callable[[PyTree, PyTree, jax.Array, jax.Array | None, str], tuple[PyTree, PyTree]]:
    """The module in training: (params by player, extra, x, mask, name of a method) -> (its result, new extra)."""

    def apply(
        params: PyTree, extra: PyTree, x: jax.Array, mask: jax.Array | None, method: str
    ) -> tuple[PyTree, PyTree]:
        result, new = module.apply({"params": params[player], **extra}, x, mask, method=method, mutable=list(extra))
        return result, {**extra, **new}

    return apply


def encoder_of(module: Network, player: str) -> Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, jax.Array]]:
    """``Model.encode``; mean and logvar come back in float32 whatever the images are in."""

    def encode(params: PyTree, extra: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, logvar = module.apply({"params": params[player], **extra}, x, method="encode")
        return mean.astype(jnp.float32), logvar.astype(jnp.float32)

    return encode


def decoder_of(module: Network, player: str) -> Callable[[PyTree, PyTree, jax.Array], jax.Array]:
    """``Model.decode``; pixels are the sigmoid of the decoder's logits."""

    def decode(params: PyTree, extra: PyTree, z: jax.Array) -> jax.Array:
        logits = module.apply({"params": params[player], **extra}, z, method="decode")
        return jax.nn.sigmoid(logits.astype(jnp.float32))

    return decode


def sampler_of(module: Network, player: str) -> Callable[[PyTree, PyTree, Key, int], tuple[jax.Array, jax.Array]]:
    """``Model.sample``: images of codes that are drawn from the standard normal prior."""
    decode = decoder_of(module, player)

    def sample(params: PyTree, extra: PyTree, key: Key, count: int) -> tuple[jax.Array, jax.Array]:
        z = jax.random.normal(key, (count, module.latents))
        return decode(params, extra, z), z

    return sample
