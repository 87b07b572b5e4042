"""Checkpoints that are either whole and verified or not there.

A step lies in ``<folder>/<step>/``: ``state/``, written by orbax, and ``manifest.json`` with the size and sha256 of
every file of it. Both are made in ``<step>.saving``, which is renamed when complete; so a step folder without its
manifest was damaged later, and a ``.saving`` folder is a save that never ended.

State leaves are stored as a flat mapping from path to NumPy array. Without a target orbax restores what is there,
where with one it would cast silently, and the arrays do not depend on the devices that the run had.
"""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from cellfx.training.manifest import find_damage, write_manifest
from cellfx.trees import named_leaves
from cellfx.types import PyTree, TrainState

Report = Callable[[str], None]

_SAVING = ".saving"


class CheckpointError(OSError):
    """Checkpoints are there, but none of them is whole."""


def save(folder: Path, state: TrainState, keep: int = 3) -> Path:
    """Writes the state as step ``state.step`` and removes all but the newest ``keep`` steps.

    Steps newer than this one are removed too: a run is at an older step only if ``restore`` found them damaged. Every
    process of a run on several hosts must call this; the folder must be one that all of them see.

    Args:
        folder: of the checkpoints, made if missing.
        state: of a run, on any device.
        keep: how many steps stay, 1 or more.

    Returns:
        Folder of the step.

    Raises:
        OSError: the step could not be written, for instance on a full disk; nothing of it is left and the older steps
            are untouched.
        ValueError: ``keep`` below 1.
    """
    if keep < 1:
        raise ValueError(f"too few checkpoints to keep: got {keep}, expected 1 or more; set train.keep")
    folder, step = Path(folder).absolute(), int(state.step)
    final, staging = folder / str(step), folder / f"{step}{_SAVING}"
    primary = jax.process_index() == 0
    arrays = {name: _to_numpy(leaf) for name, leaf in named_leaves(state).items()}
    try:
        if primary:
            _remove(staging)
            staging.mkdir(parents=True)
        _barrier(f"cellfx save {step}")
        _write_arrays(staging / "state", arrays)
        if primary:
            write_manifest(staging, step)
            _remove(final)
            staging.rename(final)
            _remove_others(folder, step, keep)
        _barrier(f"cellfx saved {step}")
    except Exception as error:
        if (number := _disk_error(error)) is None:
            raise
        raise OSError(number, _write_failure(step, folder, arrays, number), str(final)) from error
    finally:
        if primary:
            _remove(staging)
    return final


def restore(folder: Path, target: TrainState, report: Report) -> TrainState | None:
    """Newest step that is whole, after every byte of it was compared with its manifest.

    Args:
        folder: of the checkpoints.
        target: state with the expected leaves, from ``jax.eval_shape`` of ``create_state`` or a real one.
        report: told, one line each, of damaged steps that were passed over and of saves that never ended.

    Returns:
        The state with NumPy leaves and a typed key; None where no step was ever saved.

    Raises:
        CheckpointError: there are steps, but every one is damaged.
        ValueError: the newest whole step is that of another model: leaves, shapes or dtypes differ.
    """
    folder = Path(folder).absolute()
    for name in _unfinished(folder):
        report(f"passing over {folder / name}: a save that never ended")
    steps = _steps(folder)
    for step in steps:
        problem = find_damage(folder / str(step))
        if problem is None:
            try:
                arrays = _read_arrays(folder / str(step) / "state")
            except Exception as error:
                # What orbax raises depends on what it stumbles over, a bare Exception included.
                problem = f"orbax cannot read it, {type(error).__name__}: {str(error).splitlines()[:1]}"
            else:
                return _rebuild(arrays, target, folder / str(step))
        report(f"passing over the checkpoint of step {step}: {problem}")
    if steps:
        raise CheckpointError(
            errno.EIO,
            f"no checkpoint is whole: got {len(steps)} damaged steps {sorted(steps)}, expected at least one that "
            f"agrees with its manifest; restore the folder from a backup, or remove it to start from nothing",
            str(folder),
        )
    return None


def latest_step(folder: Path) -> int | None:
    """Newest step that is whole; None where there is none."""
    folder = Path(folder).absolute()
    return next((step for step in _steps(folder) if find_damage(folder / str(step)) is None), None)


def _steps(folder: Path) -> list[int]:
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _unfinished(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if name.endswith(_SAVING) or ".orbax-checkpoint-tmp" in name]


def _to_numpy(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: jax.Array | jax.ShapeDtypeStruct) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp

    with _quiet(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(path, args=ocp.args.StandardSave(arrays))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    with _quiet(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        return checkpointer.restore(path, args=ocp.args.StandardRestore())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps orbax from printing the traceback of an error that it raises as well, from a thread and from the caller."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _rebuild(arrays: dict[str, np.ndarray], target: TrainState, path: Path) -> TrainState:
    expected = named_leaves(target)
    stored = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    wanted = {}
    for name, leaf in expected.items():
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        wanted[name] = (tuple(data.shape), str(data.dtype))
    differing = [name for name in sorted(stored | wanted) if stored.get(name) != wanted.get(name)]
    if differing:
        name = differing[0]
        raise ValueError(
            f"the checkpoint is that of another model or optimizer: got {stored.get(name, 'nothing')} for {name!r} in "
            f"{path}, expected {wanted.get(name, 'nothing')} ({len(differing)} leaves differ); use the config that the "
            f"checkpoint was written with, or another workdir"
        )
    return jax.tree.unflatten(
        jax.tree.structure(target), [_from_numpy(arrays[name], expected[name]) for name in expected]
    )


def _from_numpy(array: np.ndarray, leaf: jax.Array | jax.ShapeDtypeStruct) -> PyTree:
    if not _is_key(leaf):
        return array
    impl = []
    # Only a traced key tells its kind where there is nothing but a shape.
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), leaf)
    return jax.random.wrap_key_data(array, impl=impl[0])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)


def _remove_others(folder: Path, step: int, keep: int) -> None:
    steps = _steps(folder)
    older = [other for other in steps if other < step]
    for other in [*(other for other in steps if other > step), *older[keep - 1 :]]:
        _remove(folder / str(other))
    for name in _unfinished(folder):
        _remove(folder / name)


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def _disk_error(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    # tensorstore, which writes for orbax, puts the system's message into exceptions of its own.
    texts = {
        number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
    }
    return next((number for number, text in texts.items() if text in str(error)), None)


def _write_failure(step: int, folder: Path, arrays: dict[str, np.ndarray], number: int) -> str:
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    needed = sum(array.nbytes for array in arrays.values())
    return (
        f"the checkpoint of step {step} could not be written ({os.strerror(number)}): got {free:,} bytes free, "
        f"expected room for about {needed:,}; make room or use another workdir, older steps are untouched"
    )
