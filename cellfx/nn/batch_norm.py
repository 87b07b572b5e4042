"""Batch normalization over the real examples of the global batch."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from cellfx.collectives import axis_size


class BatchNorm(nn.Module):
    """Zero mean and unit variance for every channel over the batch, then a scale and an offset that are learnt.

    Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2. Differs from the paper: padding counts for nothing,
    and the averages for inference are moving ones. They are ``mean`` and ``var`` of the collection ``batch_stats``.

    Attributes:
        axis_name: device axis of the mapped program, None outside one; the batch is that of all devices.
        momentum: of the moving averages, how much of them a step keeps.
        epsilon: added to the variance.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Normalizes.

        Args:
            x: (B, ..., C).
            mask: (B,), 1 real and 0 padding: normalizes by the statistics of this batch, and moves the averages where
                ``batch_stats`` is mutable. None normalizes by the averages.

        Returns:
            Same shape and dtype.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        if mask is None:
            return self._normalise(x, mean.value, var.value, scale, bias)
        batch_mean, batch_var, count = self._statistics(x.astype(jnp.float32), mask)
        if self.is_mutable_collection("batch_stats"):
            # A batch without a real example says nothing; one of a single value has no variance.
            kept = jnp.where(count > 0, self.momentum, 1.0)
            unbiased = batch_var * count / jnp.maximum(count - 1, 1.0)
            mean.value = kept * mean.value + (1 - kept) * batch_mean
            var.value = kept * var.value + (1 - kept) * unbiased
        return self._normalise(x, batch_mean, batch_var, scale, bias)

    def _statistics(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Mean (C,), variance (C,) (divided by the count) and count () over real examples and all places."""
        weight = mask.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        axes = tuple(range(x.ndim - 1))
        places = x.size // (x.shape[0] * x.shape[-1])
        count = self._total(jnp.sum(mask.astype(x.dtype))) * places
        divisor = jnp.maximum(count, 1.0)
        mean = self._total(jnp.sum(weight * x, axis=axes)) / divisor
        var = self._total(jnp.sum(weight * jnp.square(x - _shaped(mean, x)), axis=axes)) / divisor
        return mean, var, count

    def _total(self, value: jax.Array) -> jax.Array:
        return value if axis_size(self.axis_name) == 1 else jax.lax.psum(value, self.axis_name)

    def _normalise(self, x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        factor = scale.astype(jnp.float32) * jax.lax.rsqrt(var + self.epsilon)
        offset = bias.astype(jnp.float32) - mean * factor
        return (x.astype(jnp.float32) * _shaped(factor, x) + _shaped(offset, x)).astype(x.dtype)


def _shaped(values: jax.Array, x: jax.Array) -> jax.Array:
    return values.reshape(*[1] * (x.ndim - 1), -1)
