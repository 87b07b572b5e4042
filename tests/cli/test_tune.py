"""bin/tune, as a user calls it: heads on a file of codes, any other config, and what is refused in one line."""

import json

import numpy as np
import pytest

from cellfx import cli
from cellfx.cli import tune
from cellfx.heads import codes

OTHER = """
import runpy
from ml_collections import ConfigDict

def get_config():
    config = runpy.run_path("configs/tcvae.py")["get_config"]("tiny")
    config.train.num_epochs = 1
    return config

def get_space(trial):
    return {"model.beta": trial.suggest_float("model.beta", 2.0, 3.0)}
"""


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(120, 6)).astype(np.float32)
    split = np.array(["train", "train", "valid"])[np.arange(120) % 3]
    codes.save(tmp_path / "codes.npz", codes.Codes(z[None], (z[:, 1] > 0).astype(np.int32), split, ("no", "yes")))
    return tmp_path / "codes.npz"


def run(tmp_path, *argv, config="configs/sparse_head.py:tiny"):
    return tune.main([f"--config={config}", f"--workdir={tmp_path / 'run'}", *argv])


def refused(capsys, tmp_path, *argv, **kwargs):
    status = run(tmp_path, *argv, **kwargs)
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (2, 1), err
    assert not (tmp_path / "run").exists()
    return err


def test_heads_are_tuned_and_the_best_is_said(capsys, tmp_path, file):
    assert run(tmp_path, f"--config.codes.file={file}") == 0
    said = capsys.readouterr().out
    assert "4 of 4 trials, best" in said
    found = json.loads((tmp_path / "run" / "tune.json").read_text())
    assert len(found["trials"]) == 4
    for row in found["trials"]:
        assert 0.95 <= row["params"]["head.sparsity"] <= 0.97
        assert 100 <= row["params"]["head.update_every"] <= 200
        assert 0.7 <= row["params"]["head.update_rate"] <= 0.9
        assert len(row["accuracy"]) == 2


@pytest.mark.slow
def test_any_other_config_is_tuned_in_processes_of_its_own(capsys, tmp_path):
    (tmp_path / "own.py").write_text(OTHER + "")
    argv = ["--config.tune.num_trials=1", "--config.tune.objective=reconstruction_mse"]
    assert run(tmp_path, *argv, config=tmp_path / "own.py") == 0
    found = json.loads((tmp_path / "run" / "tune.json").read_text())
    scores = json.loads((tmp_path / "run" / "trial000" / "scores.json").read_text())
    config = json.loads((tmp_path / "run" / "trial000" / "config.json").read_text())
    assert found["best"]["value"] == scores["reconstruction_mse"]
    assert scores["judged_on"] == found["judged_on"] == config["probe"]["split"] == "valid"
    assert found["best"]["params"]["model.beta"] == config["model"]["beta"]


def test_codes_that_are_not_there_are_named(capsys, tmp_path):
    assert f"no codes {tmp_path / 'none.npz'}" in refused(
        capsys, tmp_path, f"--config.codes.file={tmp_path / 'none.npz'}"
    )


def test_a_config_without_a_space_is_told_what_to_write(capsys, tmp_path):
    line = refused(capsys, tmp_path, config="configs/tcvae.py:tiny")
    assert "has no get_space(trial)" in line
    assert "suggest_float" in line


def test_a_wrong_field_of_the_head_is_named(capsys, tmp_path, file):
    line = refused(capsys, tmp_path, f"--config.codes.file={file}", "--config.head.sparsety=0.9")
    assert "unknown config key head.sparsety" in line


def test_the_command_is_listed(capsys):
    assert cli.main([]) == 0
    assert "  tune " in capsys.readouterr().out
