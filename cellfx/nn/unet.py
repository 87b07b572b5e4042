"""A U-Net with latents at its bottom, and the two networks that say how these are distributed."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.nn.autoencoder import Encoder, check_layers
from cellfx.nn.convolution import Conv, UpsampleConv


class UNet(nn.Module):
    """Ronneberger et al. 2015, arXiv:1505.04597: a path inwards, one back outwards, and a bridge at every scale.

    Differs from the paper: images keep their size, strided convolutions take the place of pooling, one convolution is
    made at every scale inwards, and latents join at the bottom.

    Attributes:
        image_size: H and W; any, the path outwards crops to what the path inwards saw at every scale.
        filters: of the scales, from the image inwards; each halves the one before.
        outputs: C', channels that are drawn.
        activation: name of a function in ``flax.linen``.
        output_bias: logit of every pixel that the untrained network draws.
    """

    image_size: tuple[int, int]
    filters: Sequence[int]
    outputs: int
    activation: str
    output_bias: float

    @nn.compact
    def __call__(self, x: jax.Array, z: jax.Array) -> jax.Array:
        """(B, H, W, C) and (B, L) -> logits (B, H, W, C')."""
        activate = getattr(nn, self.activation)
        seen = []
        for i, features in enumerate(self.filters):
            x = activate(Conv(features, stride=2 if i else 1, name=f"inwards{i}")(x))
            seen.append(x)
        rows, columns, features = seen[-1].shape[1:]
        grid = activate(nn.Dense(rows * columns * features, name="grid", dtype=z.dtype)(z))
        x = jnp.concatenate([x, grid.reshape(-1, rows, columns, features)], axis=-1)
        x = activate(Conv(features, name="bottom")(x))
        for i in reversed(range(len(self.filters) - 1)):
            height, width, features = seen[i].shape[1:]
            x = activate(UpsampleConv(features, name=f"outwards{i}")(x))[:, :height, :width]
            x = activate(Conv(features, name=f"bridge{i}")(jnp.concatenate([x, seen[i]], axis=-1)))
        bias = nn.initializers.constant(self.output_bias)
        return nn.Dense(self.outputs, bias_init=bias, name="pixels", dtype=x.dtype)(x)


class ConditionalUNet(nn.Module):
    """U-Net, prior and posterior of its latents under one tree of parameters.

    Attributes:
        image_shape: (H, W, C) of images with all channels.
        inputs: the first channels, which the U-Net and the prior see; the posterior sees all.
        filters: of the U-Net's scales, and of the convolutions of prior and posterior.
        hidden: units of the fully connected layer of prior and posterior.
        latents: L.
        activation: name of a function in ``flax.linen``.
        output_bias: see ``UNet``.
    """

    image_shape: tuple[int, int, int]
    inputs: int
    filters: Sequence[int]
    hidden: int
    latents: int
    activation: str
    output_bias: float = 0.0

    def setup(self) -> None:
        """Make the three networks.

        Raises:
            ValueError: an activation that Flax does not have, no convolution or an empty layer.
        """
        height, width, channels = self.image_shape
        check_layers(self.filters, self.hidden, self.latents, self.activation)
        outputs = channels - self.inputs
        self.unet = UNet((height, width), self.filters, outputs, self.activation, self.output_bias)
        self.prior = Encoder(self.filters, self.hidden, self.latents, self.activation)
        self.posterior = Encoder(self.filters, self.hidden, self.latents, self.activation)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of the predicted channels from the posterior's mean; touches every parameter, for initialization."""
        (mean, logvar), _ = self.infer(x), self.expect(x)
        return self.draw(x, mean + 0.0 * logvar)

    def expect(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The prior: (B, H, W, C), of which the first channels count -> mean (B, L), logvar (B, L)."""
        return self.prior(x[..., : self.inputs])

    def infer(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The posterior: (B, H, W, C) -> mean (B, L), logvar (B, L)."""
        return self.posterior(x)

    def draw(self, x: jax.Array, z: jax.Array) -> jax.Array:
        """(B, H, W, C), of which the first channels count, and (B, L) -> logits (B, H, W, C')."""
        return self.unet(x[..., : self.inputs], z)
