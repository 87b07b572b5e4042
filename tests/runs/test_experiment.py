import html.parser
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from cellfx.files.workdir import claim
from cellfx.runs import experiment
from cellfx.training import checkpoint, loop
from cellfx.training.writer import Writer, read_metrics
from cellfx.trees import named_leaves

PIPELINES = ("device", "pipeline")


class Killed(Exception):
    pass


def trained(settings, workdir):
    claim(workdir, settings)
    return experiment.train(experiment.build(settings), workdir)


def leaves(state):
    state = state._replace(key=jax.random.key_data(state.key))
    return {name: np.asarray(leaf).tobytes() for name, leaf in named_leaves(state).items()}


def rows(workdir):
    found = read_metrics(workdir / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in Writer.TIME_FIELDS} for row in found]


def column(workdir, name):
    found = np.array([row[name] for row in rows(workdir) if name in row])
    assert len(found), f"no {name} in {workdir}"
    return found


@pytest.fixture(scope="module")
def calm(tiny, finished, tmp_path_factory):
    """Undisturbed runs on one device: pipeline -> (settings, workdir), and the state after ``device``."""
    settings = tiny(input={"pipeline": "device"})
    workdir = tmp_path_factory.mktemp("runs") / "device"
    state = trained(settings, workdir)
    return {"device": (settings, workdir, state), "pipeline": (tiny(), finished)}


def test_a_finished_run_holds_what_was_promised(finished, tiny):
    names = {path.name for path in finished.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    written = {"config.json", "data.json", "checkpoints", "metrics.jsonl", "scores.json", "figures", "report.html"}
    assert names - events - {".lock"} == written
    assert json.loads((finished / "config.json").read_text()) == tiny()
    assert sorted(int(path.name) for path in (finished / "checkpoints").iterdir()) == [8, 12]
    assert [row["step"] for row in rows(finished) if "train/vae/loss" in row] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows(finished) if "valid/vae/loss" in row] == [6, 12]


def test_training_improves_the_model(finished):
    assert column(finished, "valid/vae/loss")[1] < column(finished, "valid/vae/loss")[0]


def test_the_scores_are_those_of_the_model(finished, tiny):
    scores = json.loads((finished / "scores.json").read_text())
    built = experiment.restore(finished)
    encode, decode = experiment.coder(built)
    images = built.source.splits["test"].arrays["x"].astype(np.float32) / 255
    mean, logvar = (np.asarray(part, np.float64) for part in encode(images))
    error = np.mean((np.asarray(decode(mean.astype(np.float32)), np.float64) - images) ** 2)
    assert scores["judged_images"] == len(images) == 128
    assert scores["reconstruction_mse"] == pytest.approx(error, rel=1e-5)
    assert scores["kl_per_latent"] == pytest.approx((mean**2 + np.exp(logvar) - 1 - logvar).mean(0) / 2, rel=1e-4)
    assert set(scores["disentanglement"]) == {"MIG", "DCI", "SAP", "FactorVAE"}
    assert 0 <= scores["probe"]["balanced_accuracy"] <= 1
    assert np.sum(scores["probe"]["confusion"]) == 128


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.links, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src":
                self.images.append(value)
            if name in ("href", "srcset", "data", "action"):
                self.links.append(value)


def test_the_report_needs_no_other_file(finished):
    page = (finished / "report.html").read_text()
    found = _Links()
    found.feed(page)
    figures = list((finished / "figures").glob("*.png"))
    assert len(found.images) == len(figures) > 5
    assert [source[:40] for source in found.images if not source.startswith("data:image/png;base64,")] == []
    assert [link for link in found.links if not link.startswith("#")] == []
    assert {"script", "link", "iframe"} & set(found.tags) == set()
    assert "url(" not in page.replace("url(data:", "")
    assert "@import" not in page
    for text in ("learning_rate", "jaxlib", "images/s", "balanced", "MIG"):
        assert text in page


def test_a_finished_run_is_not_trained_again(finished, tiny, tmp_path, capsys):
    workdir = shutil.copytree(finished, tmp_path / "again")
    before = {path: path.stat().st_mtime_ns for path in (workdir / "checkpoints").rglob("*")}
    scores = experiment.run(tiny(), workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in (workdir / "checkpoints").rglob("*")} == before
    assert json.loads(json.dumps(scores)) == json.loads((finished / "scores.json").read_text())
    assert "going on from step 12 of 12" in capsys.readouterr().out


def test_the_workdir_of_another_config_is_refused(finished, tiny):
    with pytest.raises(ValueError, match=r"another config: got model\.beta: 4\.0 -> 2\.0, expected"):
        experiment.run(tiny(model={"beta": 2.0}), finished)


def test_nothing_is_left_behind_by_a_config_that_cannot_be_built(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"unknown config key model\.bta; did you mean beta\?"):
        experiment.run(tiny(model={"bta": 2.0}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_disturbed_run_ends_bit_equal_to_a_calm_one(calm, pipeline, tmp_path, monkeypatch):
    settings, undisturbed, *_ = calm[pipeline]
    save = checkpoint.save

    def killed(folder, state, keep):
        if int(state.step) == 8:
            raise Killed
        return save(folder, state, keep)

    def terminated(folder, state, keep):
        os.kill(os.getpid(), signal.SIGTERM) if int(state.step) == 8 else None
        return save(folder, state, keep)

    workdir = tmp_path / "run"
    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(Killed):
        trained(settings, workdir)
    assert rows(workdir)[-1]["step"] == 8
    assert checkpoint.latest_step(workdir / "checkpoints") == 4
    monkeypatch.setattr(checkpoint, "save", terminated)
    with pytest.raises(loop.Interrupted) as stopped:
        trained(settings, workdir)
    assert (stopped.value.step, stopped.value.exit_status) == (10, 143)
    assert checkpoint.latest_step(workdir / "checkpoints") == 10
    monkeypatch.setattr(checkpoint, "save", save)
    state = trained(settings, workdir)
    assert rows(workdir) == rows(undisturbed)
    shapes = jax.eval_shape(lambda: state)
    assert leaves(state) == leaves(checkpoint.restore(undisturbed / "checkpoints", shapes, print))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_four_devices_train_like_one(calm, pipeline, tmp_path):
    settings, one, *_ = calm[pipeline]
    four = tmp_path / "run"
    trained({**settings, "train": {**settings["train"], "num_devices": 4}}, four)
    for kind in ("train", "valid"):
        for name in ("vae/loss", "reconstruction"):
            np.testing.assert_allclose(column(four, f"{kind}/{name}"), column(one, f"{kind}/{name}"), rtol=1e-5)
        # Differences of log densities of some ten nats each, in float32.
        for name in ("total_correlation", "index_code_mi", "dimension_wise_kl", "kl"):
            np.testing.assert_allclose(
                column(four, f"{kind}/{name}"), column(one, f"{kind}/{name}"), rtol=1e-5, atol=1e-5
            )
    np.testing.assert_allclose(column(four, "train/vae/grad_norm"), column(one, "train/vae/grad_norm"), rtol=1e-5)


def test_bfloat16_computes_in_half_the_bytes_and_keeps_the_parameters(calm, tmp_path):
    settings, full, _ = calm["device"]
    workdir = tmp_path / "run"
    state = trained({**settings, "train": {**settings["train"], "compute_dtype": "bfloat16"}}, workdir)
    floating = [leaf.dtype for leaf in jax.tree.leaves(state.params) + jax.tree.leaves(state.opt_state)]
    assert {str(dtype) for dtype in floating if np.issubdtype(dtype, np.floating)} == {"float32"}
    half, whole = column(workdir, "train/vae/loss"), column(full, "train/vae/loss")
    np.testing.assert_allclose(half, whole, rtol=0.02)
    assert not np.array_equal(half, whole)


def test_a_run_is_restored_from_its_workdir_alone(calm):
    settings, workdir, state = calm["device"]
    found = experiment.restore(workdir)
    assert found.settings == settings
    assert int(found.state.step) == 12
    assert found.source.class_names == ("interphase", "metaphase")
    encode, _ = experiment.coder(found)
    other, _ = experiment.coder(found._replace(state=state))
    images = found.source.splits["test"].arrays["x"].astype(np.float32) / 255
    np.testing.assert_array_equal(encode(images)[0], other(images)[0])
    assert leaves(found.state) == leaves(state)


def test_a_workdir_without_a_checkpoint_is_named(tiny, tmp_path):
    claim(tmp_path / "run", tiny())
    with pytest.raises(FileNotFoundError, match=r"run holds no checkpoint yet; expected .*; run bin/train first"):
        experiment.restore(tmp_path / "run")


def test_prepare_says_what_there_is(tiny, capsys):
    experiment.prepare(tiny())
    said = capsys.readouterr().out
    assert "16x16x1 images, train 96, valid 32, test 128, classes interphase, metaphase" in said


def test_a_run_without_validation_trains_and_reports(tiny, compiled_once, tmp_path):
    settings = tiny(data={"num_valid": 0, "num_test": 40}, train={"num_epochs": 1})
    scores = experiment.run(settings, tmp_path / "run")
    assert [row for row in rows(tmp_path / "run") if "valid/vae/loss" in row] == []
    assert scores["judged_images"] == 40
    assert (tmp_path / "run" / "report.html").exists()
