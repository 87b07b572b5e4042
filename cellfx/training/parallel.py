"""From a pure function to a program on one device, on all devices of a host, or on several hosts."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from cellfx.types import Batch, Key, Metrics, PyTree, StepFn, TrainState

AXIS_NAME = "devices"

# A step hands fold_in(step key, i) to its i-th player; what reads its batch needs a number that no player has.
_READ_STREAM = 2**31 - 1

Read = Callable[[PyTree, PyTree, Key, jax.Array], Batch]
"""(resident, one step's slice of stacked, key, step) -> this device's batch; traced."""

Program = Callable[..., tuple[TrainState, Metrics]]
"""(state, resident, stacked, num_steps=steps_per_call) -> (state, metrics (num_steps,)).

The state handed in is used up: its memory becomes that of the new one."""


def axis_of(devices: Sequence[jax.Device]) -> str | None:
    """Axis name of a program on these devices: None for one device, which needs none."""
    return None if len(devices) == 1 else AXIS_NAME


def mapped(
    step: StepFn, read: Read, steps_per_call: int, devices: Sequence[jax.Device], axis_name: str | None
) -> Program:
    """Program that runs several steps per dispatch by a scan, under pmap where there is an axis.

    It compiles once for every number of steps it is called with; a run has at most two, ``steps_per_call`` and the
    rest that the last dispatch does. Hand it a state and resident arrays that went through ``place``: unplaced ones
    cost a second compilation.

    Args:
        step: the training step, made with the same axis name.
        read: makes a device's batch; its key differs from every key that the step hands to a loss.
        steps_per_call: K, number of steps per dispatch.
        devices: all devices of all hosts that take part.
        axis_name: of the device axis; None for one device.

    Returns:
        (state, resident, stacked, num_steps=K) -> (state, metrics). ``stacked`` has leaves (K, B, ...) with this
        host's part B of the global batch; only the first ``num_steps`` are used. Metrics are (num_steps,).

    Raises:
        ValueError: no step per call, no axis name for several devices; when called, a batch that this host's
            devices do not divide.
    """
    if steps_per_call < 1:
        raise ValueError(f"too few steps per call: got {steps_per_call}, expected 1 or more; set train.steps_per_call")

    def steps(num_steps: int, state: TrainState, resident: PyTree, stacked: PyTree) -> tuple[TrainState, Metrics]:
        def one(state: TrainState, inputs: PyTree) -> tuple[TrainState, Metrics]:
            key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), _READ_STREAM)
            return step(state, read(resident, inputs, key, state.step))

        return jax.lax.scan(one, state, stacked, length=num_steps)

    @functools.cache
    def compiled(num_steps: int) -> Callable[..., tuple[TrainState, Metrics]]:
        function = functools.partial(steps, num_steps)
        return over_devices(function, (None, None, 1), devices, axis_name, donate=(0,))

    def program(
        state: TrainState, resident: PyTree, stacked: PyTree, num_steps: int = steps_per_call
    ) -> tuple[TrainState, Metrics]:
        first = jax.tree.map(lambda leaf: leaf[:num_steps], stacked)
        return compiled(num_steps)(state, resident, first)

    return program


def over_devices(
    function: Callable[..., PyTree],
    batch_axes: tuple[int | None, ...],
    devices: Sequence[jax.Device],
    axis_name: str | None,
    donate: tuple[int, ...] = (),
) -> Callable[..., PyTree]:
    """Compiled function whose batched arguments are split over the devices and whose results are the same on all.

    Args:
        function: pure; its result must not depend on the device it is computed on.
        batch_axes: for every argument the axis that holds the batch, None for those that every device gets whole.
        devices: all devices of all hosts.
        axis_name: name of the device axis in ``function``; None compiles it for one device.
        donate: arguments whose memory the result may reuse.

    Raises:
        ValueError: several devices without an axis name; when called, a batch that the devices do not divide.
    """
    if axis_name is None:
        if len(devices) != 1:
            raise ValueError(
                f"no axis name for a program on several devices: got {len(devices)} devices and None, expected a "
                f"name; pass axis_of(devices)"
            )
        return jax.jit(function, donate_argnums=donate)
    num_local = len(_local(devices))
    # pmap needs one mapped argument, and the data may all be resident: so the devices' ranks go along.
    ranks = jax.device_put(np.arange(num_local), jax.NamedSharding(_local_mesh(devices), jax.P(AXIS_NAME)))

    def with_ranks(rank: jax.Array, *arguments: PyTree) -> PyTree:
        del rank
        return function(*arguments)

    pmapped = jax.pmap(
        with_ranks,
        axis_name,
        in_axes=(0, *batch_axes),
        out_axes=None,
        devices=tuple(devices),
        donate_argnums=tuple(i + 1 for i in donate),
    )

    def call(*arguments: PyTree) -> PyTree:
        split = [
            argument if axis is None else _split(argument, axis, num_local)
            for argument, axis in zip(arguments, batch_axes, strict=True)
        ]
        return pmapped(ranks, *split)

    # XLA's collectives between CPU devices wait for each other for ever when many runs are queued.
    return call if devices[0].platform != "cpu" else lambda *arguments: jax.block_until_ready(call(*arguments))


def place(tree: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """The tree whole on every local device, laid out as programs on ``devices`` expect and return it.

    Where a leaf already lies there no copy is made, so a program that uses up its state uses up that leaf too.
    """
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    return jax.device_put(tree, jax.NamedSharding(_local_mesh(devices), jax.P()))


def chosen_devices(num_devices: int | None) -> tuple[jax.Device, ...]:
    """All devices of all hosts, or the first ``num_devices`` where there is one host.

    Raises:
        ValueError: there are not as many, or hosts would be left without their share.
    """
    devices = jax.devices()
    if num_devices is None:
        return tuple(devices)
    if not 1 <= num_devices <= len(devices):
        raise ValueError(
            f"train.num_devices is out of range: got {num_devices}, expected 1 to {len(devices)}; lower it"
        )
    if jax.process_count() > 1 and num_devices != len(devices):
        raise ValueError(
            f"train.num_devices leaves hosts without their share: got {num_devices}, expected None or all "
            f"{len(devices)} devices of {jax.process_count()} hosts; leave it out"
        )
    return tuple(devices[:num_devices])


def host_part(batches: Iterable[Batch]) -> Iterator[Batch]:
    """This host's part of every global batch, so that padding stays at the end of the batch as a whole.

    Args:
        batches: NumPy (B, ...), the same on every host.
    """
    host, hosts = jax.process_index(), jax.process_count()
    for batch in batches:
        yield {name: np.array_split(array, hosts)[host] for name, array in batch.items()}


def local_batch_size(batch_size: int, num_devices: int) -> int:
    """Examples of a global batch that one device gets.

    Raises:
        ValueError: the devices do not divide the batch.
    """
    if batch_size < 1 or batch_size % num_devices:
        fitting = max(batch_size // num_devices, 1) * num_devices
        raise ValueError(
            f"the devices do not divide the batch: got a batch size of {batch_size} on {num_devices} devices, expected "
            f"a positive multiple of {num_devices}; set for instance {fitting}, or use fewer devices"
        )
    return batch_size // num_devices


def initialize_hosts() -> int:
    """Joins the processes of a cluster, if the environment says that this one was started on several hosts.

    Slurm (``srun``), Open MPI, TPU pods and Kubernetes indexed jobs are recognized; JAX finds the rest by itself.
    Must run before anything touches a device. A lone process is left alone.

    Returns:
        Number of processes.
    """
    env = os.environ
    counts = [env.get("SLURM_STEP_NUM_TASKS", "1"), env.get("OMPI_COMM_WORLD_SIZE", "1")]
    several = any(count.isdecimal() and int(count) > 1 for count in counts)
    several = several or "," in env.get("TPU_WORKER_HOSTNAMES", "")
    several = several or ("KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env)
    if several and not jax.distributed.is_initialized():
        jax.distributed.initialize()
    return jax.process_count() if jax.distributed.is_initialized() else 1


def _split(tree: PyTree, axis: int, num_local: int) -> PyTree:
    def split(leaf: np.ndarray) -> np.ndarray:
        size = local_batch_size(leaf.shape[axis], num_local)
        return leaf.reshape(*leaf.shape[:axis], num_local, size, *leaf.shape[axis + 1 :])

    return jax.tree.map(split, tree)


def _local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return [device for device in devices if device.process_index == jax.process_index()]


def _local_mesh(devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(_local(devices)), (AXIS_NAME,))
