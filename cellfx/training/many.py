"""Many small trainings side by side in one program: every setting of the hyperparameters with every seed.

A run is a pair of a setting and a seed. Its numbers depend on its own setting and seed alone, not on the company it is
trained in. Runs of one seed see the same batches and the same noise whatever their setting: settings are compared on
equal terms, and a batch is read once for all of them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cellfx.training.parallel import place
from cellfx.training.progress import Progress, silent
from cellfx.types import Batch, Key, PyTree

Init = Callable[[Key], PyTree]
"""key -> parameters of one run."""

Loss = Callable[[PyTree, Batch, Key], jax.Array]
"""(parameters of one run, batch, key) -> () loss."""

MakeOptimizer = Callable[[PyTree, Key], optax.GradientTransformation]
"""(one setting, key) -> optimizer; the leaves of the setting are () and may be traced, and so may the key."""

Sample = Callable[[PyTree, Key, jax.Array], Batch]
"""(data, key of the seed, () int32 step) -> batch; traced."""

_AXIS_NAME = "runs"
_INIT, _OPTIMIZER, _STEPS = range(3)


class Runs(NamedTuple):
    """Trained runs: M settings with S seeds each.

    Attributes:
        params: NumPy leaves (M, S, ...).
        loss: (M, S) float32, of the last step.
    """

    params: PyTree
    loss: np.ndarray


Train = Callable[..., Runs]
"""(data, settings, keys, progress=None) -> Runs.

``data`` is a tree of arrays, ``settings`` one with leaves (M, ...), ``keys`` (S,) typed keys."""


def trainer(
    init: Init,
    loss: Loss,
    make_optimizer: MakeOptimizer,
    sample: Sample,
    num_steps: int,
    steps_per_call: int = 100,
    devices: Sequence[jax.Device] | None = None,
) -> Train:
    """A function that trains all pairs of some settings and some seeds at once.

    The runs are split over the devices, which need nothing of each other. A second call with as many settings and
    seeds compiles nothing.

    Args:
        init: makes the parameters of a run.
        loss: what a run minimises.
        make_optimizer: makes a run's optimizer.
        sample: reads the batch of a step; called once for all settings of a seed.
        num_steps: steps of every run.
        steps_per_call: steps per dispatch; progress is shown after each.
        devices: of this host; None for all.

    Returns:
        The function, see ``Train``.

    Raises:
        ValueError: no step to do; when called, no setting or no seed.
    """
    if num_steps < 1 or steps_per_call < 1:
        raise ValueError(
            f"nothing to train: got {num_steps} steps in dispatches of {steps_per_call}, expected 1 or more of both; "
            f"raise them"
        )
    devices = tuple(jax.local_devices() if devices is None else devices)
    advance = _advance(loss, make_optimizer, sample)

    @functools.cache
    def start(num_devices: int) -> Callable[[PyTree, Key], PyTree]:
        return jax.pmap(_start(init, make_optimizer), _AXIS_NAME, devices=devices[:num_devices])

    @functools.cache
    def steps(num_devices: int, count: int) -> Callable[..., tuple[PyTree, jax.Array]]:
        program, axes = functools.partial(_steps, advance, count), (0, 0, 0, None, None)
        return jax.pmap(program, _AXIS_NAME, in_axes=axes, devices=devices[:num_devices], donate_argnums=(0,))

    def train(data: PyTree, settings: PyTree, keys: Key, progress: Progress | None = None) -> Runs:
        progress = progress or silent()
        share = _Share.of(settings, keys, len(devices))
        settings, keys = share.settings(settings), share.keys(keys)
        data = place(data, devices[: share.num_devices])
        state, losses = start(share.num_devices)(settings, keys), None
        for step in range(0, num_steps, steps_per_call):
            before, program = losses, steps(share.num_devices, min(steps_per_call, num_steps - step))
            state, losses = program(state, settings, keys, data, jnp.int32(step))
            if before is not None:  # the numbers of the last dispatch are read while this one runs
                progress.update(step, float(np.mean(before)), None)
        params, losses = jax.device_get((state[0], losses))
        progress.update(num_steps, float(np.mean(losses)), None)
        return Runs(*jax.tree.map(share.join, (params, losses)))

    return train


class _Share(NamedTuple):
    """How the runs lie on the devices: (D, seeds, settings), where one of the two is split and the other is whole."""

    num_devices: int
    num_settings: int
    num_seeds: int
    by_setting: bool

    @classmethod
    def of(cls, settings: PyTree, keys: Key, num_devices: int) -> "_Share":
        """Splits what leaves the fewer runs to be trained twice."""
        sizes = {len(leaf) for leaf in jax.tree.leaves(settings)}
        if len(sizes) != 1 or not min(sizes) or not len(keys):
            raise ValueError(
                f"no runs to train: got settings of lengths {sorted(sizes)} and {len(keys)} seeds, expected the same "
                f"length of 1 or more in all settings and 1 seed or more; correct them"
            )
        num_settings, num_seeds = sizes.pop(), len(keys)
        num_devices = min(num_devices, max(num_settings, num_seeds))
        surplus_settings = -num_settings % num_devices * num_seeds
        surplus_seeds = -num_seeds % num_devices * num_settings
        return cls(num_devices, num_settings, num_seeds, surplus_settings <= surplus_seeds)

    def settings(self, tree: PyTree) -> PyTree:
        """Leaves (M, ...) -> (D, m, ...)."""
        return jax.tree.map(lambda leaf: self._lay(jnp.asarray(leaf), self.by_setting), tree)

    def keys(self, keys: Key) -> Key:
        """(S,) -> (D, s)."""
        return self._lay(keys, not self.by_setting)

    def join(self, leaf: np.ndarray) -> np.ndarray:
        """(D, s, m, ...) -> (M, S, ...)."""
        if self.by_setting:
            leaf = np.swapaxes(leaf, 1, 2)
        leaf = leaf.reshape(-1, *leaf.shape[2:])
        return leaf[: self.num_settings] if self.by_setting else np.swapaxes(leaf[: self.num_seeds], 0, 1)

    def _lay(self, leaf: jax.Array, is_split: bool) -> jax.Array:
        if not is_split:
            return jnp.broadcast_to(leaf[None], (self.num_devices, *leaf.shape))
        size = -(-len(leaf) // self.num_devices)
        # Where they do not come out even the first runs are trained again, and dropped.
        rows = np.arange(size * self.num_devices) % len(leaf)
        return leaf[rows].reshape(self.num_devices, size, *leaf.shape[1:])


def _start(init: Init, make_optimizer: MakeOptimizer) -> Callable[[PyTree, Key], PyTree]:
    """(settings (m,), keys (s,)) -> parameters and optimizer states, leaves (s, m, ...)."""

    def of_run(setting: PyTree, key: Key) -> PyTree:
        params = init(jax.random.fold_in(key, _INIT))
        return params, make_optimizer(setting, jax.random.fold_in(key, _OPTIMIZER)).init(params)

    return jax.vmap(jax.vmap(of_run, (0, None)), (None, 0))


def _advance(loss: Loss, make_optimizer: MakeOptimizer, sample: Sample) -> Callable[..., tuple[PyTree, jax.Array]]:
    """(state, settings (m,), keys (s,), data, step) -> (state, losses (s, m)); one step of all runs of a device."""

    def of_run(state: PyTree, setting: PyTree, key: Key, batch: Batch, noise: Key) -> tuple[PyTree, jax.Array]:
        params, opt_state = state
        value, grads = jax.value_and_grad(loss)(params, batch, noise)
        optimizer = make_optimizer(setting, jax.random.fold_in(key, _OPTIMIZER))
        # optax raises floats to integer powers: a caller's strict promotion must end where its code begins.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    def of_seed(state: PyTree, settings: PyTree, key: Key, data: PyTree, step: jax.Array) -> tuple[PyTree, jax.Array]:
        stream = jax.random.fold_in(key, _STEPS)
        batch, noise = sample(data, stream, step), jax.random.fold_in(stream, step)
        return jax.vmap(of_run, (0, 0, None, None, None))(state, settings, key, batch, noise)

    # Seeds are the outer axis everywhere: with settings outside, every product of a layer would be transposed twice.
    return jax.vmap(of_seed, (0, None, 0, None, None))


def _steps(
    advance: Callable[..., tuple[PyTree, jax.Array]],
    count: int,
    state: PyTree,
    settings: PyTree,
    keys: Key,
    data: PyTree,
    first: jax.Array,
) -> tuple[PyTree, jax.Array]:
    def one(state: PyTree, step: jax.Array) -> tuple[PyTree, jax.Array]:
        return advance(state, settings, keys, data, step)

    state, losses = jax.lax.scan(one, state, first + jnp.arange(count))
    return state, losses[-1]
