"""Lines that survive a kill, logs that forget what a resumed run will say again, TensorBoard without TensorFlow."""

import errno
import os
import subprocess
import sys

import pytest

from cellfx.training.writer import Writer, read_metrics


def steps(path):
    return [row["step"] for row in read_metrics(path / "metrics.jsonl")]


def write(path, start, numbers):
    with Writer(path, start, pytest.fail) as writer:
        for step in numbers:
            writer.write(step, {"train/loss": 1 / 3, "valid/loss": float(step)})


def test_lines(tmp_path):
    write(tmp_path / "run", 0, [2, 4])
    first, second = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert first.pop("unix_seconds") > 1.7e9
    assert first == {"step": 2, "train/loss": 1 / 3, "valid/loss": 2.0}
    assert second["step"] == 4


def test_a_resumed_run_forgets_later_lines_and_half_a_line(tmp_path):
    write(tmp_path, 0, [2, 4, 6])
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 8, "train/lo')
    assert steps(tmp_path) == [2, 4, 6]
    write(tmp_path, 4, [6])
    assert steps(tmp_path) == [2, 4, 6]
    kept = before.split(b"\n")[:2]
    assert (tmp_path / "metrics.jsonl").read_bytes().split(b"\n")[:2] == kept
    write(tmp_path, 0, [1])
    assert steps(tmp_path) == [1]


def test_a_damaged_line_in_the_middle(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"got b'\{\"st' in line 2, expected a JSON object"):
        Writer(tmp_path, 3, pytest.fail)


def test_a_full_disk(tmp_path, monkeypatch):
    writer = Writer(tmp_path, 0, pytest.fail)
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, line: real(file, line[:5]))
    with pytest.raises(OSError, match=r"cut short in .*metrics.jsonl: got 5 bytes written, expected \d\d"):
        writer.write(1, {"loss": 1.0})

    def full(file, line):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"metrics could not be written \(No space left") as caught:
        writer.write(1, {"loss": 1.0})
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")
    monkeypatch.undo()
    writer.close()
    assert steps(tmp_path) == []


def test_tensorboard_reads_it_and_drops_what_was_resumed_over(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, 0, [2, 4, 6])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("valid/loss")] == [(2, 2.0), (4, 4.0), (6, 6.0)]
    (old,) = tmp_path.glob("events.*")
    old.rename(tmp_path / "events.out.tfevents.0.old")
    write(tmp_path, 4, [5])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("valid/loss")] == [2, 4, 5]


def test_without_tensorboard_it_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    messages = []
    with Writer(tmp_path, 0, messages.append) as writer:
        writer.write(1, {"loss": 1.0})
        writer.write(2, {"loss": 1.0})
    assert messages == ["TensorBoard is not installed: metrics go to metrics.jsonl only"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with Writer(tmp_path / "run", 0, pytest.fail) as writer:
        writer.write(1, {"loss": 1.0})
    assert not (tmp_path / "run").exists()


def test_tensorflow_is_not_loaded(tmp_path):
    code = (
        "import sys; from cellfx.training.writer import Writer\n"
        f"with Writer({str(tmp_path)!r}, 0, print) as writer: writer.write(1, {{'a': 1.0}})\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path.cwd())
    assert len(list(tmp_path.glob("events.*"))) == 1
