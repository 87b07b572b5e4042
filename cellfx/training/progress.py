"""What a person sees of a running training, and how fast it goes."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

_LINE_SECONDS = 10.0


class Progress(NamedTuple):
    """A display of a run as functions.

    Attributes:
        update: (steps done, loss, images per second or None while unknown) -> None.
        message: shows one line of text.
        close: ends the display.
    """

    update: Callable[[int, float, float | None], None]
    message: Callable[[str], None]
    close: Callable[[], None]


def progress(num_steps: int, stream: TextIO | None = None) -> Progress:
    """A progress bar if the stream, stderr by default, is a terminal, else a line about every ten seconds."""
    stream = stream or sys.stderr
    return _bar(num_steps, stream) if stream.isatty() else _lines(num_steps, stream)


def silent() -> Progress:
    """A display that shows nothing, for processes other than the first and for tests."""
    return Progress(lambda *_: None, lambda _: None, lambda: None)


class Throughput:
    """Images per second between two readings, without the pauses and without the first dispatch, which compiles."""

    def __init__(self, batch_size: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """Starts unknown.

        Args:
            batch_size: images of a step, those of all devices.
            clock: seconds; only differences are used.
        """
        self._batch_size, self._clock = batch_size, clock
        self._since: float | None = None
        self._steps = 0

    def add(self, steps: int) -> None:
        """Counts steps that have just ended."""
        if self._since is None:
            self._since = self._clock()
        else:
            self._steps += steps

    def rate(self) -> float | None:
        """Images per second since the last restart, None while unknown."""
        if self._since is None or not self._steps:
            return None
        return self._steps * self._batch_size / max(self._clock() - self._since, 1e-9)

    def restart(self) -> None:
        """Begins a new reading, after steps that have just ended."""
        if self._since is not None:
            self._since, self._steps = self._clock(), 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not counted."""
        start = self._clock()
        try:
            yield
        finally:
            if self._since is not None:
                self._since += self._clock() - start


def format_seconds(seconds: float) -> str:
    """``1:02:03``, or ``2:03`` below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _lines(num_steps: int, stream: TextIO) -> Progress:
    start = time.monotonic()
    first: int | None = None
    due = 0.0

    def update(step: int, loss: float, rate: float | None) -> None:
        nonlocal due, first
        now = time.monotonic()
        first = step if first is None else first
        if now < due and step < num_steps:
            return
        due = now + _LINE_SECONDS
        speed = "" if rate is None else f"  {rate:,.0f} images/s"
        stream.write(f"step {step}/{num_steps}  loss {loss:.4f}{speed}{_left(step)}\n")
        stream.flush()

    def _left(step: int) -> str:
        nonlocal start
        if step == first:
            start = time.monotonic()
            return ""
        return f"  {format_seconds((time.monotonic() - start) * (num_steps - step) / (step - first))} left"

    def message(text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()

    return Progress(update, message, lambda: None)


def _bar(num_steps: int, stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    display = RichProgress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=Console(file=stream))
    task = display.add_task("compiling", total=num_steps, speed="")
    display.start()

    def update(step: int, loss: float, rate: float | None) -> None:
        speed = "" if rate is None else f"{rate:,.0f} images/s"
        display.update(task, completed=step, description=f"loss {loss:.4f}", speed=speed)

    return Progress(update, lambda text: display.console.print(text, markup=False, highlight=False), display.stop)
