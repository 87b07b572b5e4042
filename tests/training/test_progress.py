"""What is shown in a terminal and in a log file, and the arithmetic of images per second."""

import io

import pytest

from cellfx.training import progress as module
from cellfx.training.progress import Throughput, format_seconds, progress, silent


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_throughput_leaves_out_compilation_and_pauses():
    clock = Clock()
    throughput = Throughput(8, clock)
    clock.now += 60
    throughput.add(10)
    assert throughput.rate() is None
    clock.now += 2
    throughput.add(10)
    assert throughput.rate() == pytest.approx(40.0)
    with throughput.paused():
        clock.now += 30
    clock.now += 2
    throughput.add(30)
    assert throughput.rate() == pytest.approx(80.0)
    throughput.restart()
    assert throughput.rate() is None
    clock.now += 1
    throughput.add(5)
    assert throughput.rate() == pytest.approx(40.0)


def test_lines_about_every_ten_seconds_and_at_the_end(monkeypatch):
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr(module.time, "monotonic", clock)
    display = progress(100, stream)
    for step in range(10, 101, 10):
        display.update(step, 2.5, None if step == 10 else 1234.5)
        clock.now += 4
    display.message("saved")
    display.close()
    assert stream.getvalue().splitlines() == [
        "step 10/100  loss 2.5000",
        "step 40/100  loss 2.5000  1,234 images/s  0:24 left",
        "step 70/100  loss 2.5000  1,234 images/s  0:12 left",
        "step 100/100  loss 2.5000  1,234 images/s  0:00 left",
        "saved",
    ]


def test_a_bar_in_a_terminal():
    stream = io.StringIO()
    stream.isatty = lambda: True
    display = progress(100, stream)
    display.update(50, 2.5, 1234.5)
    display.message("a [message] in brackets")
    display.close()
    shown = stream.getvalue()
    for text in ("loss 2.5000", "50/100", "1,234 images/s", "a [message] in brackets"):
        assert text in shown


def test_silence(capsys):
    display = silent()
    display.update(1, 1.0, None)
    display.message("text")
    display.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text
