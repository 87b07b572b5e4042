"""Metrics on disk: ``metrics.jsonl``, one line for each time something is logged, and TensorBoard events."""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import jax

Report = Callable[[str], None]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a ``metrics.jsonl``; a last line that a kill cut short is left out.

    Raises:
        ValueError: a line that is damaged although others follow it.
    """
    lines = Path(path).read_bytes().split(b"\n")
    rows = []
    for i, line in enumerate(lines[:-1]):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"a damaged line in {path}: got {line[:60]!r} in line {i + 1}, expected a JSON object; remove the line"
            ) from error
    return rows


class Writer:
    """Appends metrics to the files of a workdir; of several processes only the first writes.

    A line of ``metrics.jsonl`` is written whole by one call: ``step``, the metrics, and what differs between two runs
    of the same experiment, the ``TIME_FIELDS``.
    """

    TIME_FIELDS = ("unix_seconds", "images_per_second")

    def __init__(self, workdir: Path, step: int, report: Report) -> None:
        """Opens the files and forgets what was logged after ``step``.

        Args:
            workdir: folder of the run, made if missing.
            step: that the run starts from, 0 or that of the restored state.
            report: told once where TensorBoard is not installed, so that only the JSON lines are written.
        """
        self._file, self._events = None, None
        if jax.process_index():
            return
        self._path = Path(workdir) / "metrics.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _forget(self._path, step)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._events = _open_events(self._path.parent, step, report)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs metrics, () each, under the number of steps done.

        Raises:
            OSError: the line could not be written, for instance on a full disk.
        """
        if self._file is None:
            return
        now = time.time()
        line = json.dumps({"step": step, **metrics, "unix_seconds": round(now, 3)}).encode() + b"\n"
        if (written := _write(self._file, line, self._path)) != len(line):
            raise OSError(
                f"a line was cut short in {self._path}: got {written} bytes written, expected {len(line)}; make room "
                f"on the disk and start again, the run resumes"
            )
        if self._events is not None:
            self._events(step, metrics, now)

    def close(self) -> None:
        """Closes the files; nothing can be written afterwards."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._events = None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(file: int, line: bytes, path: Path) -> int:
    try:
        return os.write(file, line)
    except OSError as error:
        raise OSError(error.errno, f"metrics could not be written ({error.strerror}); make room", str(path)) from error


def _forget(path: Path, step: int) -> None:
    """Keeps the lines up to ``step``; in a new file that replaces the old one, so that a kill leaves one of the two."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    replacement = path.with_suffix(".jsonl.new")
    replacement.write_text("".join(json.dumps(row) + "\n" for row in kept))
    replacement.replace(path)


def _open_events(workdir: Path, step: int, report: Report) -> Callable[[int, Mapping[str, float], float], None] | None:
    """Function (step, metrics, unix seconds) that appends TensorBoard events; None without TensorBoard.

    The file is written by TensorBoard's record writer alone: its event file writer would load TensorFlow.
    """
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        report("TensorBoard is not installed: metrics go to metrics.jsonl only")
        return None
    name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
    records = RecordWriter((workdir / name).open("ab", buffering=0))
    records.write(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
    # Makes TensorBoard drop what older files of the run say of later steps.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    records.write(event_pb2.Event(wall_time=time.time(), step=step + 1, session_log=start).SerializeToString())

    def write(step: int, metrics: Mapping[str, float], now: float) -> None:
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        event = event_pb2.Event(wall_time=now, step=step, summary=summary_pb2.Summary(value=values))
        records.write(event.SerializeToString())

    return write
