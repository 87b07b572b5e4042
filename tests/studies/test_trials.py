"""A trial's value is what the same training gives by itself."""

import json
import re
import subprocess

import numpy as np
import pytest

from cellfx.heads import codes, heads
from cellfx.heads.setting import Setting
from cellfx.sparsity.summary import sparsity
from cellfx.studies import trials

SECTION = {"method": "rigl", "widths": [6, 4], "num_epochs": 4, "batch_size": 16, "warm_up_rate": 0.25}


def encoded(num_rows=160):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(num_rows, 5)).astype(np.float32)
    label = (z[:, 1] + z[:, 3] > 0).astype(np.int32)
    split = np.array(["train", "valid"])[(np.arange(num_rows) % 4 == 3).astype(int)]
    return codes.Codes(np.stack([z, z + 0.1]), label, split, ("no", "yes"))


def asked(*params):
    return [trials.Trial(each, f"trial{i}") for i, each in enumerate(params)]


def test_heads_are_worth_their_accuracy_and_sparsity():
    source = encoded()
    params = [
        {"head.sparsity": 0.6, "head.update_every": 3},
        {"head.sparsity": 0.8, "head.update_every": 5},
        {"head.sparsity": 0.6, "head.widths": (5, 4)},
    ]
    outcomes = trials.of_heads(SECTION, source, 2)(asked(*params))
    (views, labels), (valid, valid_labels) = (codes.of_split(source, name) for name in ("train", "valid"))
    for given, outcome in zip(params, outcomes, strict=True):
        fields = {**SECTION, **{key.removeprefix("head."): value for key, value in given.items()}}
        alone = heads.pruned(
            heads.train(views, labels, 2, Setting(**{**fields, "widths": tuple(fields["widths"])}), (0, 1))
        )
        accuracy = [(heads.logits(alone, view).argmax(-1) == valid_labels).mean(axis=1) for view in valid]
        np.testing.assert_allclose(outcome.about["accuracy"], np.mean(accuracy, axis=0), atol=0.02)
        np.testing.assert_allclose(outcome.about["sparsity"], sparsity(alone.params), atol=0.02)
        np.testing.assert_allclose(
            outcome.value, np.mean(outcome.about["accuracy"]) + np.mean(outcome.about["sparsity"]), rtol=1e-6
        )


def test_heads_that_diverge_are_a_failed_trial_and_leave_the_others_alone():
    params = [{"head.learning_rate": 1e38}, {"head.learning_rate": 1e-3}]
    bad, good = trials.of_heads(SECTION, encoded(), 1)(asked(*params))
    assert bad == trials.Outcome(None, {"error": "a head diverged"})
    assert 0 < good.value < 2


@pytest.mark.parametrize(
    ("section", "params", "part"),
    [
        ({"methud": "rigl"}, {}, "unknown config key head.methud; did you mean method?"),
        ({"sparsity": 2.0}, {}, "sparsity is out of range"),
        ({}, {"head.sparsty": 0.9}, "a head has nothing called 'head.sparsty' to tune; did you mean head.sparsity?"),
        ({}, {"model.beta": 2.0}, "a head has nothing called 'model.beta' to tune"),
    ],
)
def test_heads_that_make_no_sense_are_refused(section, params, part):
    with pytest.raises(ValueError, match=re.escape(part)):
        trials.of_heads(section, encoded(), 1)(asked(params))


def test_heads_need_rows_to_be_judged_on():
    source = encoded()
    with pytest.raises(ValueError, match="nothing to judge heads on"):
        trials.of_heads(SECTION, codes.select(source, source.split == "train"), 1)


@pytest.fixture
def process(monkeypatch):
    """Commands that would have been run; (exit status, stderr, scores) says with what result."""
    commands, result = [], {"status": 0, "stderr": "", "scores": {"probe": {"accuracy": 0.75}}}

    def run(command, **kwargs):
        commands.append(command)
        folder = trials.Path(command[-1].removeprefix("--workdir="))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scores.json").write_text(json.dumps(result["scores"]))
        return subprocess.CompletedProcess(command, result["status"], stderr=result["stderr"])

    monkeypatch.setattr(subprocess, "run", run)
    return commands, result


def of_processes(tmp_path, objective="probe.accuracy"):
    evaluate = trials.of_processes("configs/tcvae.py:tiny", [("model.gamma", "2")], tmp_path, objective)
    return evaluate(asked({"model.beta": 3.5, "train.seed": 4}))[0]


def test_a_process_is_a_training_with_the_trials_fields(tmp_path, process):
    assert of_processes(tmp_path) == trials.Outcome(0.75, {})
    assert process[0][0][1:] == [
        *("-m", "cellfx", "train", "--config=configs/tcvae.py:tiny"),
        *("--config.model.gamma=2", "--config.model.beta=3.5", "--config.train.seed=4", "--config.probe.split=valid"),
        f"--workdir={tmp_path / 'trial0'}",
    ]


def test_a_process_that_fails_is_a_failed_trial_with_its_message(tmp_path, process):
    process[1].update(status=2, stderr="warning\ntrain: the run diverged\n")
    assert of_processes(tmp_path) == trials.Outcome(None, {"error": "train: the run diverged"})


def test_heads_without_weights_are_failed_trials_and_leave_the_others_alone():
    params = [{"head.sparsity": 1 - 1e-9}, {"head.sparsity": 0.5}, {"head.warm_up_rate": 0.999}]
    bad, good, late = trials.of_heads(SECTION, encoded(), 1)(asked(*params))
    assert "no way through the head: sparsity 0.999999999 leaves 0 of" in bad.about["error"]
    assert "sparsity that never comes: got warm_up_rate=0.999" in late.about["error"]
    assert bad.value is late.value is None
    assert 0 < good.value < 2


def test_a_process_that_is_killed_goes_on_once_more_and_then_counts_as_failed(tmp_path, process, capsys):
    process[1].update(status=-9)
    assert of_processes(tmp_path) == trials.Outcome(
        None, {"error": "a training was killed by SIGKILL, twice; it may need more memory than there is"}
    )
    assert len(process[0]) == 2
    assert process[0][0] == process[0][1]
    assert "trial0: a training was killed by SIGKILL; it goes on once more" in capsys.readouterr().out


def test_a_process_that_is_killed_once_counts_as_if_it_had_not_been(tmp_path, process, monkeypatch):
    statuses = [-9, 0]
    run = subprocess.run

    def killed_first(command, **kwargs):
        process[1].update(status=statuses.pop(0))
        return run(command, **kwargs)

    monkeypatch.setattr(subprocess, "run", killed_first)
    assert of_processes(tmp_path) == trials.Outcome(0.75, {})
    assert statuses == []


@pytest.mark.parametrize(("status", "expected"), [(143, 143), (130, 130), (-2, 130), (-15, 143)])
def test_a_process_that_is_stopped_stops_the_search(tmp_path, process, status, expected):
    process[1].update(status=status)
    with pytest.raises(trials.Stopped) as error:
        of_processes(tmp_path)
    assert error.value.exit_status == expected


def test_an_objective_that_is_not_there_is_named(tmp_path, process):
    with pytest.raises(ValueError, match=re.escape("no number 'probe.acuracy'")) as error:
        of_processes(tmp_path, "probe.acuracy")
    assert "did you mean probe.accuracy?" in str(error.value)
