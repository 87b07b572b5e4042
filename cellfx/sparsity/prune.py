"""Removal of weights that do no work, after training; the function stays what it was."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from cellfx.types import PyTree

Layer = tuple[np.ndarray, np.ndarray]
"""Kernel (..., in, out) and bias (..., out)."""


def mish(x: np.ndarray) -> np.ndarray:
    """x tanh(log(1 + exp(x))) in the precision of x, any shape; Misra 2020, arXiv:1908.08681, eq. 1."""
    return x * np.tanh(np.logaddexp(0.0, x))


def prune(params: Mapping[str, PyTree], activation: Callable[[np.ndarray], np.ndarray] = mish) -> dict[str, PyTree]:
    """Fully connected networks without leaf weights and bias weights.

    Soelistyo and Lowe 2024, supplement 2.3. A leaf weight feeds a hidden unit that feeds nothing. A bias weight leaves
    a hidden unit that nothing feeds: what it adds, activation(bias) times the weight, moves into the bias of its
    target. Both are removed until there is none left. Differs from the paper: the bias of a unit that is left without
    any weight becomes 0 too, so that such a unit is recognized by its zeros.

    Args:
        params: ``{"dense0": {"kernel": (..., in, out), "bias": (..., out)}, ...}``, see ``layers_of``; axes in front
            are networks, all of which are pruned at once.
        activation: of the hidden units, elementwise in float64.

    Returns:
        The same tree in float64, the function unchanged up to rounding.

    Raises:
        ValueError: parameters of another form, or that are not finite.
    """
    layers = layers_of(params)
    _check_finite(layers)
    while True:
        before = sum(np.count_nonzero(kernel) for kernel, _ in layers)
        _remove_leaves(layers)
        _remove_bias_weights(layers, activation)
        if sum(np.count_nonzero(kernel) for kernel, _ in layers) == before:
            break
    return {f"dense{i}": {"kernel": kernel, "bias": bias} for i, (kernel, bias) in enumerate(layers)}


def layers_of(params: Mapping[str, PyTree]) -> list[Layer]:
    """Kernels and biases from the inputs onwards, as float64 copies.

    Args:
        params: parameters of ``cellfx.nn.head.Head``, as a mapping or inside ``{"params": ...}``.

    Raises:
        ValueError: other names, or shapes that do not follow each other.
    """
    params = params.get("params", params)
    names = [f"dense{i}" for i in range(len(params))]
    if not names or set(names) != set(params) or any({*params[name]} != {"kernel", "bias"} for name in names):
        found = {name: sorted(layer) if isinstance(layer, Mapping) else "no layer" for name, layer in params.items()}
        raise ValueError(
            f"not a fully connected network: got the layers {found}, expected dense0, dense1, ... with a kernel and a "
            f"bias each; hand over the parameters of one Head"
        )
    layers = [tuple(np.array(params[name][part], np.float64) for part in ("kernel", "bias")) for name in names]
    inputs = layers[0][0].shape[-2]
    for name, (kernel, bias) in zip(names, layers, strict=True):
        if kernel.shape != (*bias.shape[:-1], inputs, bias.shape[-1]):
            raise ValueError(
                f"layers that do not fit together: got a kernel {kernel.shape} and a bias {bias.shape} in {name}, "
                f"expected a kernel of {inputs} inputs and as many outputs as the bias has; hand over the parameters "
                f"of one Head"
            )
        inputs = bias.shape[-1]
    return layers


def _remove_leaves(layers: list[Layer]) -> None:
    """From the outputs backwards, so that units which lose their last target are met afterwards."""
    for (kernel, bias), (following, _) in reversed(list(pairwise(layers))):
        idle = ~np.any(following != 0, axis=-1)
        kernel[np.broadcast_to(idle[..., None, :], kernel.shape)] = 0
        bias[idle] = 0


def _remove_bias_weights(layers: list[Layer], activation: Callable[[np.ndarray], np.ndarray]) -> None:
    """From the inputs onwards, so that units which lose their last source are met afterwards."""
    for (kernel, bias), (following, target) in pairwise(layers):
        unfed = ~np.any(kernel != 0, axis=-2)
        constant = np.where(unfed, np.asarray(activation(bias), np.float64), 0.0)
        target += np.einsum("...i,...io->...o", constant, following)
        following[np.broadcast_to(unfed[..., None], following.shape)] = 0
        bias[unfed] = 0


def _check_finite(layers: list[Layer]) -> None:
    bad = [f"dense{i}" for i, layer in enumerate(layers) if not all(np.all(np.isfinite(part)) for part in layer)]
    if bad:
        raise ValueError(
            f"parameters that are not finite: got NaN or infinity in {', '.join(bad)}, expected numbers; the training "
            f"has diverged: lower its learning rate"
        )
