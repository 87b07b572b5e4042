"""The loop: dispatches the program, watches its numbers, saves, evaluates, and stops when told to."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import jax
import numpy as np

from cellfx.training.parallel import Program
from cellfx.training.progress import Progress, Throughput, silent
from cellfx.trees import named_leaves
from cellfx.types import Metrics, PyTree, TrainState

Save = Callable[[TrainState], object]
Write = Callable[[int, Mapping[str, float]], None]
Evaluate = Callable[[TrainState], Mapping[str, float]]


class Feed(Protocol):
    """What the loop needs of a source of training batches.

    Attributes:
        resident: arrays handed to every dispatch.
        stacked: start step -> endless iterator of what the K steps of a dispatch need.
    """

    resident: PyTree
    stacked: Callable[[int], Iterator[PyTree]]


class NonFiniteError(ValueError):
    """A number of the run is infinite or not a number; the last saved state is from before.

    Attributes:
        metric: its name; that of a parameter if it is the state that is broken.
        step: number of the step, counted from 1, after which it appeared.
    """

    def __init__(self, metric: str, step: int, value: float) -> None:
        """Makes the message."""
        super().__init__(
            f"the run diverged: got {value} for {metric!r} at step {step}, expected a finite number; the last good "
            f"checkpoint is kept, try a smaller optim.learning_rate or set optim.clip_norm"
        )
        self.metric, self.step = metric, step


class Interrupted(Exception):
    """A signal ended the run early, after its state was saved.

    Attributes:
        step: number of steps done.
        exit_status: for the process, 128 + the signal's number as shells have it: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, number: int, step: int) -> None:
        """Makes the message."""
        super().__init__(
            f"stopped by {signal.Signals(number).name} at step {step}; the same command goes on from there"
        )
        self.step, self.exit_status = step, 128 + number


def fit(
    program: Program,
    state: TrainState,
    feed: Feed,
    *,
    num_steps: int,
    steps_per_call: int,
    batch_size: int,
    log_every: int,
    save_every: int,
    eval_every: int,
    save: Save | None = None,
    write: Write | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> TrainState:
    """Trains from ``state.step`` to ``num_steps``.

    A dispatch runs ``steps_per_call`` steps, the last one the rest. What is due after some step is done after the
    dispatch which contains it, so the same steps end in the same dispatches however often the run was resumed, and
    the program compiles at most twice. A line of the log holds the means over the dispatch that it ends; it depends
    on no earlier one, which makes the log of a resumed run equal to that of an undisturbed one.

    While a dispatch runs the numbers of the one before are read. Before a state is saved its own numbers are read too,
    and its parameters checked.

    Args:
        program: from ``parallel.mapped``.
        state: placed by ``parallel.place``; used up.
        feed: with ``resident`` placed too.
        num_steps: of the whole run.
        steps_per_call: K, as in the program and the feed.
        batch_size: global, for the throughput.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; the end of the run is one as well.
        eval_every: steps between evaluations; the end of the run is one as well.
        save: writes a state.
        write: (steps done, metrics) -> None. Training metrics come as ``train/<name>`` with ``images_per_second``,
            those of the evaluation as ``valid/<name>``.
        evaluate: state -> metrics.
        progress: display; None shows nothing.

    Returns:
        The state after ``num_steps``; the one handed in where it is as far already.

    Raises:
        NonFiniteError: a metric or parameter stopped being finite; the state was not saved.
        Interrupted: SIGTERM or SIGINT came; the dispatch was finished and the state saved. A second signal kills.
        ValueError: a number of steps below 1.
    """
    _check_positive(num_steps=num_steps, log_every=log_every, save_every=save_every, eval_every=eval_every)
    write, progress, throughput = write or _discard, progress or silent(), Throughput(batch_size)
    step, inputs = int(state.step), feed.stacked(int(state.step))

    read = _reader(write, progress, throughput, log_every, num_steps)
    pending: tuple[int, int, Metrics] | None = None
    with contextlib.closing(progress), _signals() as received:
        while step < num_steps:
            length = min(steps_per_call, num_steps - step)
            state, metrics = program(state, feed.resident, next(inputs), length)
            if pending is not None:
                read(*pending)
            step += length
            pending, last = (step, length, metrics), step == num_steps
            stop = _agreed(received, last or _crosses(log_every, step, length))
            evaluating = evaluate is not None and (last or _crosses(eval_every, step, length))
            saving = save is not None and (last or stop is not None or _crosses(save_every, step, length))
            if evaluating or saving or last or stop is not None:
                read(*pending)
                pending = None
                with throughput.paused():
                    if evaluating:
                        _write_evaluation(evaluate(state), step, write, progress)
                    if saving:
                        _check_state(state, step)
                        save(state)
            if stop is not None:
                raise Interrupted(stop, step)
    return state


def _reader(
    write: Write, progress: Progress, throughput: Throughput, log_every: int, num_steps: int
) -> Callable[[int, int, Metrics], None]:
    """Function (steps done after a dispatch, its length, its metrics) that waits for it, checks, shows and logs."""

    def read(end: int, length: int, metrics: Metrics) -> None:
        values = jax.device_get(metrics)
        _check_metrics(values, end - length)
        throughput.add(length)
        rate, loss = throughput.rate(), next(name for name in values if name.endswith("/loss"))
        progress.update(end, float(values[loss].mean()), rate)
        if end == num_steps or _crosses(log_every, end, length):
            means = {f"train/{name}": float(np.mean(value, dtype=np.float64)) for name, value in values.items()}
            write(end, means if rate is None else {**means, "images_per_second": round(rate, 1)})
            throughput.restart()

    return read


def _discard(step: int, metrics: Mapping[str, float]) -> None:
    del step, metrics


def _crosses(every: int, end: int, length: int) -> bool:
    """Whether one of the ``length`` steps up to ``end`` is a multiple of ``every``."""
    return end // every > (end - length) // every


def _check_metrics(values: Mapping[str, np.ndarray], start: int) -> None:
    broken = [(int(np.argmin(np.isfinite(v))), name) for name, v in values.items() if not np.isfinite(v).all()]
    if broken:
        # Of several in one step the loss comes before the gradient that follows from it.
        i, _, name = min((i, name.endswith("/grad_norm"), name) for i, name in broken)
        raise NonFiniteError(name, start + i + 1, float(values[name][i]))


def _check_state(state: TrainState, step: int) -> None:
    for name, leaf in named_leaves({"params": state.params, "extra": state.extra}).items():
        if jax.dtypes.issubdtype(leaf.dtype, np.floating):
            values = np.asarray(leaf, np.float32)
            if not np.isfinite(values).all():
                raise NonFiniteError(name, step, float(values[~np.isfinite(values)][0]))


def _write_evaluation(metrics: Mapping[str, float], step: int, write: Write, progress: Progress) -> None:
    for name, value in metrics.items():
        if not np.isfinite(value):
            raise NonFiniteError(f"valid/{name}", step, value)
    write(step, {f"valid/{name}": value for name, value in metrics.items()})
    loss = next((f"  loss {value:.4f}" for name, value in metrics.items() if name.endswith("/loss")), "")
    progress.message(f"step {step}  validation{loss}")


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """List that the number of a SIGTERM or SIGINT is put into; the second one has its default effect."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

    def handle(number: int, _: object) -> None:
        received.append(number)
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _agreed(received: list[int], asking: bool) -> int | None:
    """Signal that one of the hosts got; hosts must stop at the same step, so they ask each other at some of them."""
    if jax.process_count() == 1:
        return received[0] if received else None
    if not asking:
        return None
    from jax.experimental import multihost_utils

    number = int(np.max(multihost_utils.process_allgather(np.int32(received[0] if received else 0))))
    return number or None


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is too small: got {value}, expected 1 or more; set a larger number")
