"""The loop alone, around a program in NumPy: what is due when, what stops it, what it reads while a dispatch runs."""

import signal
import threading

import numpy as np
import pytest
import toy

from cellfx.training import checkpoint
from cellfx.training.loop import Interrupted, NonFiniteError, fit
from cellfx.training.progress import Progress
from cellfx.training.writer import read_metrics
from cellfx.types import TrainState

K = 4


class Journal:
    """Runs a fake program, whose loss is the step's number, and notes everything in order."""

    def __init__(self, broken=(), poisoned=None, at_step=None, action=None):
        self.events, self.broken, self.poisoned = [], broken, poisoned
        self.at_step, self.action = at_step, action

    def program(self, state, resident, stacked, num_steps):
        start, end = int(state.step), int(state.step) + num_steps
        assert stacked == start
        assert resident == "resident"
        self.events.append(("run", end))
        if self.at_step is not None and start < self.at_step <= end:
            self.action()
        metrics = {"vae/loss": np.arange(start + 1, end + 1, dtype=np.float32), "kl": np.ones(num_steps, np.float32)}
        for step, name, value in self.broken:
            if start < step <= end:
                metrics.setdefault(name, np.ones(num_steps, np.float32))[step - start - 1] = value
        weight = np.float32(np.nan if self.poisoned is not None and end >= self.poisoned else 1)
        return state._replace(step=np.int32(end), params={"vae": {"w": np.array([1, weight])}}), metrics

    def stacked(self, start):
        while True:
            yield start
            start += K

    def fit(self, num_steps, start=0, **kwargs):
        state = TrainState(np.int32(start), None, {"vae": {"w": np.ones(2, np.float32)}}, {}, {})
        show = Progress(
            lambda step, loss, rate: self.events.append(("show", step, loss)),
            lambda text: self.events.append(("message", text)),
            lambda: self.events.append(("close",)),
        )
        defaults = {
            "log_every": 8,
            "save_every": 100,
            "eval_every": 100,
            "save": lambda state: self.events.append(("save", int(state.step))),
            "write": lambda step, metrics: self.events.append(("write", step, metrics)),
            "evaluate": lambda state: {"vae/loss": 0.5},
            "progress": show,
        }
        feed = toy.ToyFeed("resident", self.stacked, None)
        kwargs = {**defaults, **kwargs}
        return fit(self.program, state, feed, num_steps=num_steps, steps_per_call=K, batch_size=2, **kwargs)

    def of(self, kind):
        return [event[1] for event in self.events if event[0] == kind]

    def written(self, prefix):
        rows = [(event[1], event[2]) for event in self.events if event[0] == "write"]
        return [step for step, metrics in rows if any(name.startswith(prefix) for name in metrics)]


def test_what_is_due_is_done_after_the_dispatch_that_contains_it():
    journal = Journal()
    state = journal.fit(22, log_every=6, save_every=10, eval_every=5)
    assert int(state.step) == 22
    assert journal.of("run") == [4, 8, 12, 16, 20, 22]
    assert journal.written("train/") == [8, 12, 20, 22]
    assert journal.written("valid/") == [8, 12, 16, 20, 22]
    assert journal.of("save") == [12, 20, 22]
    assert journal.events[-1] == ("close",)


def test_metrics_are_read_while_the_next_dispatch_runs():
    journal = Journal()
    journal.fit(16)
    order = [event[:2] for event in journal.events if event[0] in ("run", "show")]
    assert order == [
        ("run", 4),
        ("run", 8),
        ("show", 4),
        ("run", 12),
        ("show", 8),
        ("run", 16),
        ("show", 12),
        ("show", 16),
    ]
    assert [event[2] for event in journal.events if event[0] == "show"] == [2.5, 6.5, 10.5, 14.5]


def test_a_line_holds_the_means_of_its_dispatch():
    journal = Journal()
    journal.fit(10, log_every=4, eval_every=10)
    rows = [event for event in journal.events if event[0] == "write"]
    assert [row[1] for row in rows] == [4, 8, 10, 10]
    assert rows[0][2] == {"train/vae/loss": 2.5, "train/kl": 1.0}
    assert rows[2][2]["train/vae/loss"] == 9.5
    assert rows[2][2]["images_per_second"] > 0
    assert rows[3][2] == {"valid/vae/loss": 0.5}


def test_a_resumed_run_does_the_same_from_there():
    journal, resumed = Journal(), Journal()
    journal.fit(22, log_every=6, save_every=10, eval_every=5)
    resumed.fit(22, start=12, log_every=6, save_every=10, eval_every=5)
    for kind in ("run", "save"):
        assert resumed.of(kind) == [step for step in journal.of(kind) if step > 12]
    assert resumed.written("train/") == [20, 22]


def test_a_finished_run_is_left_as_it_is():
    journal = Journal()
    assert int(journal.fit(8, start=8).step) == 8
    assert journal.events == [("close",)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [1, 7, 8, 22])
def test_a_broken_metric_stops_the_run_before_the_next_save(step, value):
    journal = Journal([(step, "kl", value)])
    with pytest.raises(NonFiniteError, match=rf"got {value} for 'kl' at step {step}, expected a finite") as caught:
        journal.fit(22, save_every=4)
    assert (caught.value.metric, caught.value.step) == ("kl", step)
    assert journal.of("save") == [saved for saved in (4, 8, 12, 16, 20) if saved < step]
    assert journal.events[-1] == ("close",)


def test_the_first_broken_step_is_named_and_the_loss_before_its_gradient():
    journal = Journal([(7, "a", np.nan), (6, "kl", np.inf)])
    with pytest.raises(NonFiniteError, match="'kl' at step 6"):
        journal.fit(22)
    journal = Journal([(6, "a/grad_norm", np.nan), (6, "z/loss", np.nan)])
    with pytest.raises(NonFiniteError, match="'z/loss' at step 6"):
        journal.fit(22)


def test_a_broken_parameter_is_not_saved():
    journal = Journal(poisoned=12)
    with pytest.raises(NonFiniteError, match="got nan for 'params/vae/w' at step 12"):
        journal.fit(22, save_every=4)
    assert journal.of("save") == [4, 8]


def test_a_broken_evaluation_is_not_saved():
    journal = Journal()
    with pytest.raises(NonFiniteError, match="got inf for 'valid/vae/loss' at step 8"):
        journal.fit(22, save_every=8, eval_every=8, evaluate=lambda state: {"vae/loss": np.inf})
    assert journal.of("save") == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_after_its_dispatch(number, status):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    journal = Journal(at_step=6, action=lambda: signal.raise_signal(number))
    with pytest.raises(Interrupted, match=rf"stopped by {number.name} at step 8") as caught:
        journal.fit(22)
    assert (caught.value.step, caught.value.exit_status) == (8, status)
    assert journal.of("save") == [8]
    assert journal.events[-1] == ("close",)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_after_a_signal_the_next_has_its_default_effect():
    handlers = []

    def action():
        signal.raise_signal(signal.SIGTERM)
        handlers.extend(signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT))

    with pytest.raises(Interrupted):
        Journal(at_step=6, action=action).fit(22)
    assert handlers == [signal.SIG_DFL, signal.SIG_DFL]


def test_handlers_are_left_alone_outside_the_main_thread():
    journal = Journal()
    thread = threading.Thread(target=journal.fit, args=(8,))
    thread.start()
    thread.join(timeout=30)
    assert journal.of("save") == [8]


@pytest.mark.parametrize("name", ["log_every", "save_every", "eval_every"])
def test_numbers_of_steps_below_one(name):
    with pytest.raises(ValueError, match=f"{name} is too small: got 0, expected 1 or more"):
        Journal().fit(8, **{name: 0})


def test_a_real_run_learns_and_keeps_its_state_when_it_diverges(tmp_path):
    state, messages = toy.train(tmp_path, 14)
    assert messages == []
    assert int(state.step) == 14
    with pytest.raises(NonFiniteError, match=r"at step 1[5-9]"):
        toy.train(tmp_path, 40, scale=np.float32(1e38))
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 14
    losses = [row["train/vae/loss"] for row in read_metrics(tmp_path / "metrics.jsonl") if "train/vae/loss" in row]
    assert losses[-1] < losses[0]
