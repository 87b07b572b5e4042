"""The network of ``nn.head`` with examples along the last axis: the same function, faster for many networks at once.

XLA multiplies many small matrices fastest where neither factor has to be transposed, or both have the summed axis last.
With activations as (units, examples) that holds for every product of a training step once each kernel, which is small,
is transposed for the way forward. The derivative of Mish comes from its gate without a second exponential. On two CPU
cores a step of 40 heads takes two thirds of the time that it takes with rows.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cellfx.nn.activation import SATURATION
from cellfx.types import PyTree

Saved = tuple[jax.Array, ...]


def logits(params: Mapping[str, PyTree], z: jax.Array) -> jax.Array:
    """What ``Head.apply({"params": params}, z)`` gives, without dropout.

    It can be differentiated once, by the parameters alone: the gradient by z is taken to be of no interest and is 0.

    Args:
        params: as ``nn.head.Head`` has them.
        z: (B, L).

    Returns:
        (B, K).
    """
    x = z.T
    for i in range(len(params) - 1):
        x = _hidden(i == 0, x, params[f"dense{i}"]["kernel"], params[f"dense{i}"]["bias"])
    last = params[f"dense{len(params) - 1}"]
    return _affine(x, last["kernel"], last["bias"]).T


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _hidden(is_first: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Mish of an affine map: x (in, B), kernel (in, out), bias (out,) -> (out, B)."""
    return _hidden_forward(is_first, x, kernel, bias)[0]


def _hidden_forward(is_first: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, Saved]:
    y = _product(x, kernel, bias)
    e = jnp.exp(jnp.minimum(y, SATURATION))
    n = e * (e + 2)
    # Without the barrier XLA would compute the exponential anew on the way back.
    y, gate = jax.lax.optimization_barrier((y, n / (n + 2)))
    return y * gate, (x, kernel, y, gate)


def _hidden_backward(is_first: bool, saved: Saved, slope: jax.Array) -> Saved:
    """With g = tanh(softplus(y)), mish' is g + y (1 - g^2) sigmoid(y), and the sigmoid 1 - sqrt((1 - g) / (1 + g))."""
    x, kernel, y, gate = saved
    rest = 1 - gate * gate
    slope = slope * (gate + y * (rest - (1 - gate) * jnp.sqrt(rest)))
    if is_first:  # x is the same for many networks: this order makes one large product of theirs
        return jnp.zeros_like(x), jnp.einsum("ob,ib->oi", slope, x).T, slope.sum(axis=1)
    return kernel @ slope, jnp.einsum("ib,ob->io", x, slope), slope.sum(axis=1)


_hidden.defvjp(_hidden_forward, _hidden_backward)


@jax.custom_vjp
def _affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return _product(x, kernel, bias)


def _affine_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, Saved]:
    return _product(x, kernel, bias), (x, kernel)


def _affine_backward(saved: Saved, slope: jax.Array) -> Saved:
    x, kernel = saved
    return kernel @ slope, jnp.einsum("ib,ob->io", x, slope), slope.sum(axis=1)


_affine.defvjp(_affine_forward, _affine_backward)


def _product(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    # The barrier keeps XLA from folding the transposition into the product, which is the slow way.
    return jax.lax.optimization_barrier(kernel.T) @ x + bias[:, None]
