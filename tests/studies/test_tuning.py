"""A search asks for as many trials as it should, goes on after a kill, and shares its study with others."""

import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from cellfx.studies import trials, tuning

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"model": {"name": "toy"}, "tune": {"num_trials": 7, "objective": "score"}}
KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {root!r}]
import test_tuning
from cellfx.studies import trials
def evaluate(asked):
    if asked[0].folder == "trial003":
        os.kill(os.getpid(), signal.SIGKILL)
    return test_tuning.parabola(asked)
trials.of_processes = lambda *_: evaluate
test_tuning.search({workdir!r})
"""


def space(trial):
    return {"model.x": trial.suggest_float("model.x", -1, 1), "model.n": trial.suggest_int("model.n", 1, 9)}


def parabola(asked):
    return [trials.Outcome(-((trial.params["model.x"] - 0.3) ** 2), {"n": trial.params["model.n"]}) for trial in asked]


def search(workdir, config=CONFIG, storage=None):
    return tuning.tune(config, space, "configs/toy.py", [("model.y", "2")], Path(workdir), storage, "toy")


def changed(**options):
    return {**CONFIG, "tune": {**CONFIG["tune"], **options}}


@pytest.fixture
def evaluated(monkeypatch):
    """The trials that were run, in order; their value is a parabola."""
    seen = []

    def evaluate(asked):
        seen.extend(asked)
        return parabola(asked)

    monkeypatch.setattr(trials, "of_processes", lambda *_: evaluate)
    return seen


def opened(workdir):
    return optuna.load_study(study_name="toy", storage=f"sqlite:///{workdir / 'study.db'}")


def test_as_many_trials_as_wanted_are_run_and_written(tmp_path, evaluated):
    found = search(tmp_path)
    assert [trial.folder for trial in evaluated] == [f"trial{i:03d}" for i in range(7)]
    assert found == json.loads((tmp_path / "tune.json").read_text())
    assert [row["number"] for row in found["trials"]] == list(range(7))
    for row, trial in zip(found["trials"], evaluated, strict=True):
        assert row["params"] == trial.params
        assert row["n"] == trial.params["model.n"]
        assert row["value"] == -((trial.params["model.x"] - 0.3) ** 2)
    assert found["best"]["value"] == max(row["value"] for row in found["trials"])
    assert {found["judged_on"], *(row["judged_on"] for row in found["trials"])} == {"valid"}


def test_a_study_that_test_images_judged_is_refused_in_one_line(tmp_path, evaluated):
    search(tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as database:  # as studies of older versions are
        database.execute("delete from study_user_attributes where key = 'judged_on'")
    with pytest.raises(
        ValueError, match="the study toy was judged on the test split: got 7 trials of an older"
    ) as error:
        search(tmp_path, changed(num_trials=9))
    assert "\n" not in str(error.value)
    assert len(evaluated) == 7


def test_test_images_are_no_judges_of_a_search(tmp_path, evaluated):
    with pytest.raises(
        ValueError, match=r"a search judges on validation images: got probe\.split=test, expected valid"
    ):
        search(tmp_path / "run", {**CONFIG, "probe": {"split": "test"}})
    assert not (tmp_path / "run").exists()


def test_a_finished_search_runs_nothing_and_a_longer_one_goes_on(tmp_path, evaluated):
    search(tmp_path)
    assert search(tmp_path) == json.loads((tmp_path / "tune.json").read_text())
    assert len(evaluated) == 7
    assert len(search(tmp_path, changed(num_trials=9))["trials"]) == 9
    assert len({trial.params["model.x"] for trial in evaluated}) == 9


def test_the_same_search_asks_for_the_same_trials(tmp_path, evaluated):
    search(tmp_path / "one")
    search(tmp_path / "two")
    assert [trial.params for trial in evaluated[:7]] == [trial.params for trial in evaluated[7:]]
    search(tmp_path / "three", changed(seed=1))
    assert evaluated[14].params != evaluated[0].params


def test_the_smallest_value_is_best_where_the_config_says_so(tmp_path, evaluated):
    found = search(tmp_path, changed(direction="minimize"))
    assert found["best"]["value"] == min(row["value"] for row in found["trials"])


def test_a_grid_tries_every_choice_once(tmp_path, evaluated):
    choices, counts = ("a", "b", "c"), (1, 2)

    def grid(trial):
        return {"model.x": trial.suggest_int("model.x", *counts), "model.n": trial.suggest_categorical("n", choices)}

    def run():
        return tuning.tune(
            changed(sampler="grid", num_trials=6), grid, "configs/toy.py", [], tmp_path / "grid", None, "toy"
        )

    found = run()
    assert len(found["trials"]) == 6
    tried = [(trial.params["model.x"], trial.params["model.n"]) for trial in evaluated]
    assert sorted(tried) == sorted(itertools.product(counts, choices))
    assert found["best"]["params"]["model.x"] == 1
    assert run() == found
    assert len(evaluated) == 6


def test_a_killed_search_asks_for_the_lost_trial_again(tmp_path, evaluated):
    script = KILLED.format(tests=str(ROOT / "tests/studies"), root=str(ROOT), workdir=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lost = opened(tmp_path).get_trials(states=(optuna.trial.TrialState.RUNNING,))
    assert [trial.number for trial in lost] == [3]
    found = search(tmp_path)
    assert len(found["trials"]) == 7
    assert evaluated[0].folder == "trial003"
    assert evaluated[0].params == lost[0].params
    states = [trial.state.name for trial in opened(tmp_path).trials]
    assert states == ["COMPLETE"] * 3 + ["FAIL"] + ["COMPLETE"] * 4


def test_trials_of_another_machine_are_left_to_it(tmp_path, evaluated):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    search(tmp_path / "one", changed(num_trials=2), storage)
    other = optuna.load_study(study_name="toy", storage=storage)
    elsewhere = other.ask()
    elsewhere.set_user_attr("owner", "elsewhere:/runs/toy")
    found = search(tmp_path / "two", changed(num_trials=5), storage)
    assert len(found["trials"]) == len(evaluated) == 4
    assert other.trials[elsewhere.number].state.name == "RUNNING"


def test_machines_that_start_together_do_not_ask_for_the_same(tmp_path, evaluated):
    for name in ("one", "two"):
        search(tmp_path / name, changed(num_trials=1), f"sqlite:///{tmp_path / name}.db")
    assert evaluated[0].params != evaluated[1].params


def test_a_failed_trial_counts_and_the_search_goes_on(tmp_path, monkeypatch):
    def evaluate(asked):
        bad = asked[0].folder in ("trial002", "trial004")
        return [trials.Outcome(None, {"error": "it diverged"})] if bad else parabola(asked)

    monkeypatch.setattr(trials, "of_processes", lambda *_: evaluate)
    found = search(tmp_path)
    assert [row["value"] is None for row in found["trials"]] == [i in (2, 4) for i in range(7)]
    assert found["trials"][2]["error"] == "it diverged"


def test_a_search_whose_first_trial_fails_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "of_processes", lambda *_: lambda _: [trials.Outcome(None, {"error": "no such key"})])
    with pytest.raises(ValueError, match="no trial succeeds: got 'no such key' from the first"):
        search(tmp_path)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (changed(num_trials=0), "tune.num_trials is too small: got 0"),
        (changed(sampler="random"), "unknown tune.sampler: got 'random', expected one of ('tpe', 'grid'); correct it"),
        (changed(direction="up"), "unknown tune.direction: got 'up'"),
        (changed(num_trails=3), "unknown config key tune.num_trails; did you mean num_trials?"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(tmp_path, evaluated, config, part):
    with pytest.raises(ValueError, match=re.escape(part)):
        search(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_the_study_of_another_config_is_refused(tmp_path, evaluated):
    search(tmp_path)
    with pytest.raises(ValueError, match="the study toy belongs to another config: got model"):
        search(tmp_path, {**CONFIG, "model": {"name": "other"}})


@pytest.mark.parametrize("storage", ["nosuchdialect://host/study", "sqlite:////nosuchfolder/study.db"])
def test_a_storage_that_cannot_be_opened_is_named(tmp_path, evaluated, storage):
    with pytest.raises(ValueError, match="the study's storage cannot be opened") as error:
        search(tmp_path, storage=storage)
    assert storage in str(error.value)


def test_a_workdir_in_use_is_refused(tmp_path, evaluated):
    from cellfx.files.workdir import locked

    with locked(tmp_path), pytest.raises(ValueError, match="is in use"):
        search(tmp_path)
    assert os.listdir(tmp_path) == [".lock"]


def test_what_the_trials_set_cannot_be_set_besides(tmp_path, evaluated):
    with pytest.raises(
        ValueError, match=r"config key model\.x cannot be set: got 2, but get_space tries values; leave it out"
    ):
        tuning.tune(CONFIG, space, "configs/toy.py", [("model.x", "2")], tmp_path, None, "toy")
    assert evaluated == []


def test_a_batch_goes_on_where_some_of_its_trials_fail(tmp_path, monkeypatch, capsys):
    def of_heads(*_):
        return lambda asked: [trials.Outcome(None, {"error": "no weights"}), *parabola(asked)[1:]]

    monkeypatch.setattr(trials, "of_heads", of_heads)
    monkeypatch.setattr(tuning, "_codes", lambda: None)
    found = search(tmp_path, {"head": {}, "tune": {"num_trials": 6, "batch_size": 3}})
    assert [row["value"] is None for row in found["trials"]] == [True, False, False] * 2
    assert capsys.readouterr().out.count("1 of 3 trials failed, the first: no weights") == 2
