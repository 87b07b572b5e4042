import json

import numpy as np
import pytest

from cellfx.analysis.disentanglement import ranking
from cellfx.analysis.latents import encoding
from cellfx.files.workdir import read_config
from cellfx.runs import experiment, repeats
from cellfx.training.writer import Writer, read_metrics


@pytest.fixture(scope="module")
def settings(tiny):
    """Two short runs with so few test images that no score of disentanglement is taken."""
    changed = tiny(
        data={"num_test": 60},
        input={"pipeline": "device"},
        train={"seed": 5, "num_epochs": 1},
        probe={"head": "logistic", "symmetries": False},
    )
    changed["repeats"] = {"over": "seed", "num_runs": 2}
    return changed


@pytest.fixture(scope="module")
def workdir(settings, compiled_once, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "two"
    repeats.run(settings, workdir)
    return workdir


@pytest.fixture
def recorded(monkeypatch):
    """Settings and workdirs of the runs that would have been trained."""
    seen = []
    monkeypatch.setattr(experiment, "run", lambda config, workdir: seen.append((config, workdir)) or {"kl": 1.0})
    monkeypatch.setattr(repeats, "_report", lambda settings, section, workdir: {"runs": section.num_runs})
    return seen


def test_every_run_has_a_workdir_and_a_seed_of_its_own(settings, workdir):
    assert read_config(workdir) == settings
    for k in range(2):
        single = read_config(workdir / f"run{k}")
        assert single["train"]["seed"] == 5 + k
        assert single["repeats"] == {"over": "seed", "num_runs": 1}
        assert {**single, "train": 0, "repeats": 0} == {**settings, "train": 0, "repeats": 0}
        assert (workdir / f"run{k}" / "report.html").exists()


def test_means_and_spreads_are_those_of_the_runs(workdir):
    runs = [json.loads((workdir / f"run{k}" / "scores.json").read_text()) for k in range(2)]
    whole = json.loads((workdir / "scores.json").read_text())
    assert (whole["runs"], whole["over"]) == (2, "seed")
    expected = {
        "reconstruction error per pixel": [scores["reconstruction_mse"] for scores in runs],
        "KL, nats": [scores["kl"] for scores in runs],
        "active latents": [scores["active_latents"] for scores in runs],
        "balanced accuracy": [scores["probe"]["balanced_accuracy"] for scores in runs],
    }
    assert set(whole["spread"]) == set(expected)
    for name, (first, second) in expected.items():
        part = whole["spread"][name]
        assert part["values"] == [first, second]
        assert part["mean"] == pytest.approx((first + second) / 2)
        assert part["sd"] == pytest.approx(abs(first - second) / 2**0.5)
    assert expected["KL, nats"][0] != expected["KL, nats"][1]


def test_udr_compares_the_models_on_the_same_images(workdir):
    found = json.loads((workdir / "scores.json").read_text())["udr"]
    codes, kls = [], []
    for k in range(2):
        trained = experiment.restore(workdir / f"run{k}")
        images = trained.source.splits["test"].arrays["x"].astype(np.float32) / 255
        mean, logvar = (np.asarray(part) for part in experiment.coder(trained)[0](images))
        codes.append(mean)
        kls.append(encoding.kl_per_latent(mean, logvar))
    assert found["images"] == 60
    for variant in ranking.VARIANTS:
        expected = ranking.udr(codes, kls, variant)
        np.testing.assert_allclose(found["scores"][variant], expected.scores, rtol=1e-3, atol=1e-6)
        assert found["protocol"][variant] == expected.protocol
    assert found["num_informative"] == [int(np.sum(kl > 0.01)) for kl in kls]


def test_the_report_of_the_whole_names_every_run(workdir):
    page = (workdir / "report.html").read_text()
    for text in ("run0", "run1", "2 runs", "UDR", "balanced accuracy", "data:image/png;base64,"):
        assert text in page
    assert "://" not in page


def test_finished_runs_are_not_trained_again(settings, workdir, capsys):
    before = [(workdir / f"run{k}" / "metrics.jsonl").read_bytes() for k in range(2)]
    scores = repeats.run(settings, workdir)
    assert [(workdir / f"run{k}" / "metrics.jsonl").read_bytes() for k in range(2)] == before
    assert scores["spread"] == json.loads((workdir / "scores.json").read_text())["spread"]
    said = capsys.readouterr().out
    assert "run 1 of 2" in said
    assert "going on from step 6 of 6" in said


def test_evaluation_measures_every_run_again(workdir, capsys):
    before = json.loads((workdir / "scores.json").read_text())
    (workdir / "scores.json").unlink()
    scores = repeats.evaluate(workdir)
    assert scores["spread"] == before["spread"]
    assert json.loads((workdir / "scores.json").read_text()) == before
    said = capsys.readouterr().out
    part = before["spread"]["balanced accuracy"]
    assert f"balanced accuracy: {part['mean']:.4f} +- {part['sd']:.4f} (mean and standard deviation of " in said


def test_another_config_is_refused(settings, workdir):
    other = {**settings, "model": {**settings["model"], "beta": 1.0}}
    with pytest.raises(ValueError, match=r"belongs to another config: got model\.beta: 4\.0 -> 1\.0"):
        repeats.run(other, workdir)


def test_the_first_seed_gives_what_a_single_run_gives(settings, workdir, tmp_path):
    single = {**settings, "repeats": {"over": "seed", "num_runs": 1}}
    experiment.run(single, tmp_path / "run")

    def lines(path):
        return [{k: v for k, v in row.items() if k not in Writer.TIME_FIELDS} for row in read_metrics(path)]

    assert lines(tmp_path / "run" / "metrics.jsonl") == lines(workdir / "run0" / "metrics.jsonl")
    assert lines(tmp_path / "run" / "metrics.jsonl") != lines(workdir / "run1" / "metrics.jsonl")


def test_one_run_has_the_workdir_to_itself(tiny, recorded, tmp_path):
    settings = tiny()
    assert repeats.run(settings, tmp_path) == {"kl": 1.0}
    assert recorded == [(settings, tmp_path)]
    del settings["repeats"]
    repeats.run(settings, tmp_path)
    assert recorded[1] == (settings, tmp_path)


def test_folds_are_all_tested_once(tiny, recorded, tmp_path):
    settings = tiny(data={"num_folds": 3, "fold": 0}, train={"seed": 7}, repeats={"over": "fold", "num_runs": 3})
    assert repeats.run(settings, tmp_path) == {"runs": 3}
    assert [config["data"]["fold"] for config, _ in recorded] == [0, 1, 2]
    assert [config["train"]["seed"] for config, _ in recorded] == [7, 8, 9]
    assert [workdir for _, workdir in recorded] == [tmp_path / f"run{k}" for k in range(3)]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"over": "sed"}, r"unknown repeats\.over: got 'sed', expected one of \('seed', 'fold'\); correct it"),
        ({"num_runs": 0}, r"repeats\.num_runs is too small: got 0, expected 1 or more; raise it"),
        ({"num_rums": 2}, r"unknown config key repeats\.num_rums; did you mean num_runs\?"),
        (
            {"over": "fold", "num_runs": 4},
            r"more runs than folds: got repeats\.num_runs=4, expected at most data\.num_folds=3; change one of them",
        ),
    ],
)
def test_a_wrong_section_is_refused_before_anything_runs(tiny, recorded, tmp_path, section, message):
    settings = tiny(data={"num_folds": 3}, repeats=section)
    with pytest.raises(ValueError, match=f"^{message}$"):
        repeats.run(settings, tmp_path / "run")
    assert recorded == []
    assert not (tmp_path / "run").exists()
