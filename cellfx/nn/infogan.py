"""The two networks of an InfoGAN: a generator, and one body with two heads that judges its images and reads them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.collectives import standard_normal, uniform
from cellfx.nn.dcgan import Inwards, Outwards
from cellfx.nn.dropout import drop
from cellfx.types import Key, PyTree

HALF_WIDTH = 3.0**0.5
"""Uniform codes run from minus this to this: variance 1, like a VAE's latents, so that both read alike."""

MIN_LOGVAR = -6.0
"""Of Q: a standard deviation of .05 in codes of deviation 1 is as exact as anybody reads them."""


class Reading(NamedTuple):
    """What the discriminator makes of images.

    Attributes:
        logits: (B,), above zero for real.
        mean: (B, L) of the continuous codes.
        logvar: (B, L).
        categories: logits (B, K) of every categorical code.
    """

    logits: jax.Array
    mean: jax.Array
    logvar: jax.Array
    categories: tuple[jax.Array, ...]


class Discriminator(nn.Module):
    """Chen et al. 2016, arXiv:1606.03657, section 5: the parameters of Q are those of D but for one layer.

    Attributes:
        filters: see ``Inwards``.
        codes: L, continuous codes.
        categories: K of every categorical code.
        dropout: probability of a value to be dropped before Q's layer in training.
        momentum: see ``BatchNorm``.
        axis_name: see ``BatchNorm``.
    """

    filters: Sequence[int]
    codes: int
    categories: Sequence[int]
    dropout: float
    momentum: float
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, key: Key | None = None) -> Reading:
        """Reads (B, H, W, C); with ``mask`` (B,) and ``key`` as in training, without as when it is used."""
        y = Inwards(self.filters, self.momentum, self.axis_name, name="body")(x, mask)
        logits = nn.Dense(1, name="critic", dtype=y.dtype)(y)[:, 0]
        if key is not None:
            y = drop(y, key, self.dropout, self.axis_name)
        mean = nn.Dense(self.codes, name="mean", dtype=y.dtype)(y)
        raw = nn.Dense(self.codes, name="logvar", dtype=y.dtype)(y)
        logvar = MIN_LOGVAR + nn.softplus(raw - MIN_LOGVAR)  # a code that is read exactly would be worth no end
        named = enumerate(self.categories)
        return Reading(
            logits, mean, logvar, tuple(nn.Dense(count, name=f"category{i}", dtype=y.dtype)(y) for i, count in named)
        )


class Drawn(NamedTuple):
    """What the generator draws images from.

    Attributes:
        codes: (B, L), uniform with variance 1.
        categories: one-hot, (B, K) of every categorical code.
        noise: (B, noise), normal.
        grain: (B, H, W, C), normal; None where the generator draws none.
    """

    codes: jax.Array
    categories: tuple[jax.Array, ...]
    noise: jax.Array
    grain: jax.Array | None

    def joined(self) -> jax.Array:
        """(B, L + sum of K + noise), as the generator takes it."""
        return jnp.concatenate([self.codes, *self.categories, self.noise], axis=1)


class Networks(NamedTuple):
    """Generator and discriminator as pure functions of ``params`` by player and of ``extra``, their batch statistics.

    Attributes:
        outwards: the generator.
        reader: the discriminator.
        noise: number of the generator's inputs that are not read back.
        grain: deviation of a camera's noise in darkness, and what full light adds to it; None for no camera.
        one_length: whether the generator is given all its inputs scaled to one length.
    """

    outwards: Outwards
    reader: Discriminator
    noise: int
    grain: tuple[float, float] | None
    one_length: bool

    def init(self, key: Key) -> tuple[dict[str, PyTree], PyTree]:
        """Parameters and statistics of both."""
        keys = jax.random.split(key)
        width = self.num_latents() + self.noise
        made = {
            "discriminator": self.reader.init(keys[0], jnp.zeros((1, *self.image_shape()))),
            "generator": self.outwards.init(keys[1], jnp.zeros((1, width))),
        }
        params, extra = ({player: part[kind] for player, part in made.items()} for kind in ("params", "batch_stats"))
        return params, extra

    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.outwards.image_shape

    def num_latents(self) -> int:
        """Continuous codes and the values of the categorical ones."""
        return self.reader.codes + sum(self.reader.categories)

    def draw(self, key: Key, count: int, axis_name: str | None) -> Drawn:
        """This device's part of the codes and the noise of ``count`` images on every device."""
        keys = jax.random.split(key, 3 + len(self.reader.categories))
        codes = HALF_WIDTH * (2.0 * uniform(keys[0], (count, self.reader.codes), axis_name) - 1.0)
        categories = []
        for each, values in zip(keys[3:], self.reader.categories, strict=True):
            chosen = jnp.floor(values * uniform(each, (count,), axis_name)).astype(jnp.int32)
            categories.append(jax.nn.one_hot(chosen, values))
        noise = standard_normal(keys[1], (count, self.noise), axis_name)
        grain = standard_normal(keys[2], (count, *self.image_shape()), axis_name) if self.grain else None
        return Drawn(codes, tuple(categories), noise, grain)

    def generate(
        self,
        params: PyTree,
        extra: PyTree,
        z: jax.Array,
        mask: jax.Array | None = None,
        grain: jax.Array | None = None,
    ) -> tuple[jax.Array, PyTree]:
        """Draws images.

        Args:
            params: by player.
            extra: batch statistics by player.
            z: (B, L + sum of K + noise).
            mask: (B,) as in training; None when the generator is used.
            grain: (B, H, W, C), normal; None draws what would be seen without noise.

        Returns:
            Images (B, H, W, C) in [0, 1], and ``extra``.
        """
        if self.one_length:
            z = z * jax.lax.rsqrt(jnp.mean(jnp.square(z), axis=1, keepdims=True) + 1e-4)
        variables = {"params": params["generator"], "batch_stats": extra["generator"]}
        y, new = self.outwards.apply(variables, z, mask, mutable=["batch_stats"])
        x, extra = jax.nn.sigmoid(y), {**extra, "generator": new["batch_stats"]}
        if grain is not None:
            dark, light = self.grain
            x = jnp.clip(x + (dark + light * x) * grain.astype(x.dtype), 0.0, 1.0)
        return x, extra

    def read(
        self, params: PyTree, extra: PyTree, x: jax.Array, mask: jax.Array | None = None, key: Key | None = None
    ) -> tuple[Reading, PyTree]:
        """What the discriminator makes of images, float32, and ``extra``; ``mask`` and ``key`` as in training."""
        variables = {"params": params["discriminator"], "batch_stats": extra["discriminator"]}
        reading, new = self.reader.apply(variables, x, mask, key, mutable=["batch_stats"])
        reading = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), reading)
        return reading, {**extra, "discriminator": new["batch_stats"]}
