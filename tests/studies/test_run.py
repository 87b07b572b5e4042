"""Stages are run once, in order, and again exactly where something changed."""

import importlib.machinery
import json
import sys
import types
from pathlib import Path

import pytest

from cellfx.studies import run


@pytest.fixture
def runs(monkeypatch):
    """A kind of stage, ``toy``, that notes its runs: it writes the sum of its inputs and its own number."""
    done = []

    def toy(folder: Path, inputs, number: int = 1, fail: bool = False):
        done.append(folder.name)
        if fail:
            (folder / "half").write_text("unfinished")
            raise KeyboardInterrupt
        total = number + sum(json.loads((path / "sum.json").read_text()) for path in inputs.values())
        (folder / "sum.json").write_text(json.dumps(total))

    module = types.ModuleType("cellfx.studies.stages.toy")
    module.__spec__ = importlib.machinery.ModuleSpec("cellfx.studies.stages.toy", None)
    module.toy = toy
    monkeypatch.setitem(sys.modules, "cellfx.studies.stages.toy", module)
    return done


def config(**numbers):
    sections = {
        name: {"stage": "toy", "after": after}
        for name, after in (("b", ("a",)), ("a", ()), ("c", ("b", "d")), ("d", ()))
    }
    for name, number in numbers.items():
        sections[name]["number"] = number
    return sections


def result(workdir, name):
    return json.loads((workdir / name / "sum.json").read_text())


def test_stages_run_in_the_order_of_their_needs(runs, tmp_path):
    run.run(config(), tmp_path)
    assert runs.index("a") < runs.index("b") < runs.index("c")
    assert runs.index("d") < runs.index("c")
    assert result(tmp_path, "c") == 4


def test_a_finished_study_runs_nothing(runs, tmp_path):
    run.run(config(), tmp_path)
    runs.clear()
    run.run(config(), tmp_path)
    assert runs == []


def test_a_changed_setting_reruns_what_hangs_on_it_only(runs, tmp_path):
    run.run(config(), tmp_path)
    runs.clear()
    run.run(config(b=10), tmp_path)
    assert runs == ["b", "c"]
    assert result(tmp_path, "c") == 13


def test_an_earlier_setting_comes_back_without_a_run(runs, tmp_path):
    run.run(config(), tmp_path)
    run.run(config(b=10), tmp_path)
    runs.clear()
    run.run(config(), tmp_path)
    assert runs == []
    assert result(tmp_path, "c") == 4


def test_a_lost_file_reruns_its_stage(runs, tmp_path):
    run.run(config(), tmp_path)
    (tmp_path / "d" / "sum.json").unlink()
    runs.clear()
    run.run(config(), tmp_path)
    assert runs == ["d"]


def test_a_killed_stage_goes_on_in_its_folder_and_the_others_are_kept(runs, tmp_path):
    sections = config()
    sections["b"]["fail"] = True
    with pytest.raises(KeyboardInterrupt):
        run.run(sections, tmp_path)
    assert (tmp_path / "b" / "half").exists()
    runs.clear()
    with pytest.raises(KeyboardInterrupt):
        run.run(sections, tmp_path)
    assert runs == ["b"]
    assert (tmp_path / "b" / "half").read_text() == "unfinished"


def test_what_a_stage_reads_from_outside_counts(runs, tmp_path):
    sys.modules["cellfx.studies.stages.toy"].outside = lambda **settings: outside
    outside = "one"
    run.run(config(), tmp_path)
    runs.clear()
    outside = "two"
    run.run(config(), tmp_path)
    assert sorted(runs) == ["a", "b", "c", "d"]


def test_only_what_is_needed_until_a_stage(runs, tmp_path):
    run.run(config(), tmp_path, until="b")
    assert runs == ["a", "b"]


def test_every_stage_is_checked_before_one_is_run(runs, tmp_path):
    sections = config()
    sections["c"]["numbr"] = 3
    with pytest.raises(ValueError, match=r"unknown config key c\.numbr; did you mean number\?"):
        run.run(sections, tmp_path)
    assert runs == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": {"stage": "toy", "after": ("c",)}}, "got a circle among"),
        ({"a": {"stage": "toy", "after": ("e",)}}, "stage a comes after an unknown stage 'e'"),
        ({"a": {"stage": "trian"}}, "unknown kind of stage 'trian' in section a; did you mean train?"),
        ({"seed": 3}, "this config is no study: got 'seed'"),
    ],
)
def test_a_config_that_is_no_study_is_refused(runs, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        run.run({**config(), **changed}, tmp_path)
    assert runs == []


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no study: it has no study\.json"):
        run.read_study(tmp_path)


def test_a_stage_with_other_settings_is_not_the_studys_and_says_so(runs, tmp_path, capsys):
    run.run(config(), tmp_path)
    before = run.read_study(tmp_path)
    capsys.readouterr()
    run.run_stage(tmp_path, "d", {"number": 7})
    assert result(tmp_path, "d") == 7
    said = capsys.readouterr().out
    assert "it goes to earlier/, the study's own comes back" in said
    assert "bin/study --config.d.number=7 makes this one the study's" in said
    assert run.read_study(tmp_path) == before
    runs.clear()
    run.run(config(), tmp_path)
    assert runs == []
    assert result(tmp_path, "d") == 1
    run.run_stage(tmp_path, "d", {})
    assert "until bin/study runs" not in capsys.readouterr().out
