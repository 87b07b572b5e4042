import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from cellfx import cli, runs

ROOT = Path(__file__).resolve().parents[2]
BINS = sorted(file.name for file in (ROOT / "bin").iterdir() if file.suffix == "" and file.is_file())


@pytest.fixture
def calls(monkeypatch):
    """Stands in for the modules that the commands call, and records each call."""
    record = []

    def recording(name):
        return lambda *args, **kwargs: record.append((name, args, kwargs))

    for module, names in {
        "repeats": ("run", "evaluate"),
        "results": ("embed", "traverse"),
        "experiment": ("prepare",),
        "benchmark": ("benchmark",),
    }.items():
        fake = types.SimpleNamespace(**{name: recording(name) for name in names})
        monkeypatch.setitem(sys.modules, f"cellfx.runs.{module}", fake)
        monkeypatch.setattr(runs, module, fake, raising=False)
    return record


def test_every_command_has_a_bin():
    assert sorted([*cli.COMMANDS, "test"]) == BINS


@pytest.mark.parametrize("name", BINS)
def test_the_help_of_every_bin_is_short_quick_and_has_an_example(name):
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, str(ROOT / "bin" / name), "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"Example:\n  bin/{name}" in result.stdout
    assert len(result.stdout.splitlines()) <= 20
    assert max(map(len, result.stdout.splitlines())) <= 120
    assert time.monotonic() - start < 1.5


def test_help_of_the_whole_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"\n  {name} " not in out] == []


def test_an_unknown_command_names_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert capsys.readouterr().err == "cellfx: unknown command trian; did you mean train?\n"
    assert cli.main(["q"]) == 2
    assert capsys.readouterr().err.startswith("cellfx: unknown command q; expected one of train, study, ")


def test_train_runs_the_config_in_a_folder_named_after_it(calls):
    assert cli.main(["train", "--config", "configs/tcvae.py:tiny"]) == 0
    ((name, (values, workdir), _),) = calls
    assert (name, workdir, values.model.name) == ("run", Path("runs/tcvae_tiny"), "tcvae")


def test_train_takes_fields_and_a_folder(calls):
    argv = ["train", "--config=configs/tcvae.py", "--config.model.beta=2", "--workdir", "~/cells"]
    assert cli.main(argv) == 0
    ((_, (values, workdir), _),) = calls
    assert (values.model.beta, workdir) == (2.0, Path.home() / "cells")


def test_an_unknown_field_is_refused_before_anything_runs(calls, capsys):
    assert cli.main(["train", "--config=configs/tcvae.py", "--config.model.bta=2"]) == 2
    assert capsys.readouterr().err == "train: unknown config key model.bta; did you mean model.beta?\n"
    assert calls == []


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["evaluate", "--workdir=w"],
            ("evaluate", (Path("w"), None, None), {"described": {}, "probe": {}, "place": {}}),
        ),
        (
            ["evaluate", "--workdir=w", "--folder=f", "--output=o", "--config.data.channel_names=('BF','PI')"],
            (
                "evaluate",
                (Path("w"), Path("f"), Path("o")),
                {"described": {"channel_names": ("BF", "PI")}, "probe": {}, "place": {}},
            ),
        ),
        (["embed", "--workdir=w"], ("embed", (Path("w"), Path("w/latents.parquet")), {"split": None, "place": {}})),
        (
            ["embed", "--workdir=w", "--output=o.h5ad", "--split=test"],
            ("embed", (Path("w"), Path("o.h5ad")), {"split": "test", "place": {}}),
        ),
        (["traverse", "--workdir=w"], ("traverse", (Path("w"),), {"place": {}})),
        (
            ["traverse", "--workdir=w", "--config.data.folder=f"],
            ("traverse", (Path("w"),), {"place": {"folder": "f"}}),
        ),
        (
            ["evaluate", "--workdir=w", "--config.data.folder=f"],
            ("evaluate", (Path("w"), None, None), {"described": {}, "probe": {}, "place": {"folder": "f"}}),
        ),
    ],
)
def test_a_command_on_a_run_makes_its_one_call(calls, argv, expected, tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "config.json").write_text(json.dumps({"data": {"channel_names": None}, "probe": {"head": "mlp"}}))
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 0
    assert calls == [expected]


@pytest.mark.parametrize("name", ["evaluate", "embed", "traverse"])
def test_a_command_on_a_run_needs_the_run(calls, capsys, name):
    assert cli.main([name]) == 2
    assert capsys.readouterr().err.startswith(f"{name}: --workdir is missing; expected the folder of a run")
    assert calls == []


def test_prepare_and_benchmark_take_a_config(calls):
    assert cli.main(["prepare", "--config=configs/tcvae.py:tiny"]) == 0
    argv = ["benchmark", "--config=configs/tcvae.py:tiny", "--output=b.json", "--peer=p.py", "--rounds=3"]
    assert cli.main(argv) == 0
    (prepare, (values,), _), (benchmark, (_, *rest), _) = calls
    assert (prepare, values.model.name) == ("prepare", "tcvae")
    assert (benchmark, rest) == ("benchmark", [Path("b.json"), Path("p.py"), 3])


def test_the_package_runs_as_a_module():
    result = subprocess.run([sys.executable, "-m", "cellfx", "train"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("train: --config is missing; expected one of configs/")
    assert result.stderr.count("\n") == 1
