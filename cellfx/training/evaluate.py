"""Metrics of a model over a whole split, every real example counted once."""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.training.parallel import over_devices
from cellfx.types import Batch, Key, Metrics, Model, PyTree

Evaluate = Callable[[PyTree, PyTree, Iterable[Batch], Key, jax.Array], dict[str, float]]
"""(params by player, extra, batches, key, step) -> mean of every metric."""


def evaluator(
    model: Model, prepare: Callable[[Batch], Batch], devices: Sequence[jax.Device], axis_name: str | None
) -> Evaluate:
    """Function that evaluates the model's losses without changing anything; it compiles once.

    Args:
        model: what to evaluate, by its losses outside training; made with the same axis name.
        prepare: stored batch -> batch with images in [0, 1]; traced.
        devices: devices to run on.
        axis_name: of the device axis, None for one device.

    Returns:
        (params, extra, batches, key, step) -> ``<player>/loss`` and all metrics of the losses. Batches are NumPy
        (B, ...), all of one size, the last one padded where ``mask`` is 0; a batch counts as often as it has real
        examples. Batch i uses ``fold_in(key, i)``, so the same key gives the same numbers again. On several hosts
        each hands in its own batches, the same number of them. It raises a ValueError where no example is real.
    """

    def measure(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array) -> tuple[Metrics, jax.Array]:
        batch = prepare(batch)
        metrics: Metrics = {}
        for i, (player, loss) in enumerate(model.losses.items()):
            value, (new, _) = loss(params, extra, batch, jax.random.fold_in(key, i), step, False)
            metrics |= {**new, f"{player}/loss": value}
        count = jnp.sum(batch["mask"])
        return metrics, count if axis_name is None else jax.lax.psum(count, axis_name)

    program = over_devices(measure, (None, None, 0, None, None), devices, axis_name)

    def evaluate(
        params: PyTree, extra: PyTree, batches: Iterable[Batch], key: Key, step: jax.Array
    ) -> dict[str, float]:
        totals: dict[str, float] = {}
        weight, pending = 0.0, None
        for i, batch in enumerate(batches):
            running = program(params, extra, dict(batch), jax.random.fold_in(key, i), step)
            # Reading the batch before while this one runs keeps the device busy and at most two batches on it.
            weight += _add(totals, pending)
            pending = running
        weight += _add(totals, pending)
        if not weight:
            raise ValueError(
                "nothing to evaluate on: got no batch with a real example (mask 1), expected at least one; "
                "check the split's size"
            )
        return {name: total / weight for name, total in totals.items()}

    return evaluate


def _add(totals: dict[str, float], measured: tuple[Metrics, jax.Array] | None) -> float:
    if measured is None:
        return 0.0
    metrics, count = jax.device_get(measured)
    for name, value in metrics.items():
        totals[name] = totals.get(name, 0.0) + float(np.float64(value) * np.float64(count))
    return float(count)
