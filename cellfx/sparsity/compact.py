"""A pruned network as the units and weights that are left of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.sparsity.prune import Layer, layers_of, mish, prune
from cellfx.types import PyTree


class Compact(NamedTuple):
    """A fully connected network without the inputs and units that nothing depends on.

    Attributes:
        inputs: indices of the latents that survive, ascending.
        layers: (kernel (in, out), bias (out,)) float64 of each layer; the first has ``len(inputs)`` rows, hidden ones
            only the units that survive, in their order, and the last all K outputs.
    """

    inputs: tuple[int, ...]
    layers: tuple[Layer, ...]


def compact(params: Mapping[str, PyTree], activation: Callable[[np.ndarray], np.ndarray] = mish) -> Compact:
    """The network that ``params`` of one sparse head come to, pruned first.

    Where no path from an input to an output is left, no input survives and the outputs are the last bias.

    Args:
        params: as in ``prune``, of one network.
        activation: of the hidden units, elementwise in float64.

    Raises:
        ValueError: parameters of several networks, or as in ``prune``.
    """
    layers = layers_of(prune(params, activation))
    if layers[0][0].ndim != 2:
        raise ValueError(
            f"more than one network: got a first kernel of shape {layers[0][0].shape}, expected (inputs, outputs); "
            f"take the parameters of one"
        )
    rows = first = np.flatnonzero(np.any(layers[0][0] != 0, axis=1))
    left = []
    for i, (kernel, bias) in enumerate(layers):
        last = i == len(layers) - 1
        columns = np.arange(len(bias)) if last else np.flatnonzero(np.any(kernel != 0, axis=0))
        left.append((kernel[np.ix_(rows, columns)], bias[columns]))
        rows = columns
    return Compact(tuple(first.tolist()), tuple(left))


def apply(
    network: Compact, activation: Callable[[jax.Array], jax.Array] = jax.nn.mish
) -> Callable[[jax.Array], jax.Array]:
    """JAX function of all the latents, those that did not survive included: z (B, L) -> logits (B, K)."""
    inputs = np.asarray(network.inputs, np.int32)

    def logits(z: jax.Array) -> jax.Array:
        x = z[:, inputs]
        for i, (kernel, bias) in enumerate(network.layers):
            x = activation(x) if i else x
            x = x @ jnp.asarray(kernel, z.dtype) + jnp.asarray(bias, z.dtype)[None, :]
        return x

    return logits


def to_json(network: Compact) -> dict[str, Any]:
    """Numbers and lists for ``json.dump``; every float64 survives the way there and back."""
    layers = [{"kernel": kernel.tolist(), "bias": bias.tolist()} for kernel, bias in network.layers]
    return {"inputs": list(network.inputs), "layers": layers}


def from_json(fields: Mapping[str, Any]) -> Compact:
    """The network that ``to_json`` described.

    Raises:
        ValueError: fields that are missing, or layers that do not fit together.
    """
    if not {"inputs", "layers"} <= set(fields) or not fields["layers"]:
        raise ValueError(
            f"not a compact network: got the fields {sorted(fields)}, expected inputs and one layer or more; read a "
            f"file that to_json wrote"
        )
    rows, layers = len(fields["inputs"]), []
    for i, layer in enumerate(fields["layers"]):
        layers.append(_layer(i, rows, layer["kernel"], layer["bias"]))
        rows = len(layer["bias"])
    return Compact(tuple(int(index) for index in fields["inputs"]), tuple(layers))


def _layer(index: int, rows: int, kernel: Sequence, bias: Sequence) -> Layer:
    if len(kernel) != rows or any(len(row) != len(bias) for row in kernel):
        raise ValueError(
            f"layers that do not fit together: got {len(kernel)} rows of {sorted({len(row) for row in kernel})} "
            f"weights in layer {index}, expected {rows} rows of {len(bias)}; read a file that to_json wrote"
        )
    return np.asarray(kernel, np.float64).reshape(rows, len(bias)), np.asarray(bias, np.float64)
