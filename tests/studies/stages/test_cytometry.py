"""A study of cells in flow, its smallest size on one set of channels: every stage's numbers against its runs'."""

import json

import numpy as np
import pytest

from cellfx.cli import config
from cellfx.runs import experiment, filtering
from cellfx.settings import to_dict
from cellfx.studies import run
from cellfx.studies.stages.baseline import statistics
from cellfx.studies.stages.cytometry import cytometry

KEPT = ("cell_filter", "screen_cell_filter", "cnn_all_channels", "infogan_all_channels", "vae_all_channels")
KEPT += ("unet", "baseline", "quality", "report")


@pytest.fixture(scope="module")
def workdir(flow, compiled_once, tmp_path_factory):
    whole = to_dict(config.load("configs/studies/cytometry.py:tiny").values)
    settings = {name: whole[name] for name in KEPT}
    for section in settings.values():
        section["after"] = [name for name in section.get("after", ()) if name in KEPT]
        if section.get("stage") == "train":
            section["train"]["num_devices"] = 1
        if section.get("data", {}).get("name") == "flowcytometry":
            section["data"]["folder"] = str(flow)
    shown = {"all channels": "cnn_all_channels"}
    latents = {"InfoGAN": "infogan_all_channels", "beta-VAE": "vae_all_channels"}
    settings["report"] |= {
        "classifiers": shown,
        "latents": {model: {"all channels": stage} for model, stage in latents.items()},
        "screens": {"drawn frames": "screen_cell_filter"},
        "translations": {"bright field": "unet"},
    }
    settings["quality"]["judges"] = dict.fromkeys(latents.values(), "cnn_all_channels")
    folder = tmp_path_factory.mktemp("study") / "cytometry"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLFX_CACHE", str(tmp_path_factory.getbasetemp() / "prepared"))
        run.run(settings, folder)
        yield folder


def read(path):
    return json.loads(path.read_text())


def test_usable_frames_are_the_single_cells(workdir):
    """The classes of a config come in any order; what is kept must not depend on it."""
    source = experiment.restore(workdir / "cell_filter").source
    kinds = source.splits["test"].metadata["Metadata_Kind"]
    np.testing.assert_array_equal(filtering.labels(source, source.splits["test"]), kinds == "single")
    scores = read(workdir / "screen_cell_filter" / "run0" / "scores.json")
    for kind in ("CNN", "logistic regression", "size gate"):
        confusion = np.array(scores[kind]["confusion"])
        assert confusion.sum(axis=1).tolist() == [np.sum(kinds != "single"), np.sum(kinds == "single")]
        assert scores[kind]["accuracy"] == pytest.approx(np.trace(confusion) / len(kinds))
        assert scores[kind]["false_positive_rate"] == pytest.approx(confusion[0, 1] / confusion[0].sum())


def test_the_baseline_sees_the_stored_intensities(workdir):
    images = np.random.default_rng(0).integers(0, 4000, (5, 6, 7, 2)).astype(np.uint16)
    found = statistics(images)
    assert found.shape == (5, 20)
    np.testing.assert_allclose(found[:, 0], images[..., 0].mean(axis=(1, 2)))
    np.testing.assert_allclose(found[:, -1], np.quantile(images[..., 1].reshape(5, -1), 0.99, axis=1))
    (row,) = read(workdir / "baseline" / "cnn_all_channels.json")
    # Brightness alone tells the three made-up phases apart.
    assert row["accuracy"] > 0.8


def test_the_tables_are_those_of_the_runs(workdir):
    tables = read(workdir / "report" / "tables.json")
    own = read(workdir / "cnn_all_channels" / "scores.json")["classifier"]
    assert tables["classifiers"]["all channels"]["accuracy"] == [own["accuracy"]]
    assert tables["classifiers"]["all channels"]["confusion"] == own["confusion"]
    for model, stage in (("InfoGAN", "infogan_all_channels"), ("beta-VAE", "vae_all_channels")):
        probed = read(workdir / stage / "scores.json")["probe"]
        assert probed["head"] == "mlp2"
        assert tables["latents"][model]["all channels"]["balanced_accuracy"] == probed["balanced_accuracy"]
        part = read(workdir / "quality" / f"{stage}.json")
        assert tables["quality"][f"{model}, all channels"] == part
        assert part["images"]["generated"] == 40
        assert np.isfinite([each["mean"] for each in part["kernel_distance"].values()]).all()


def test_the_page_shows_every_part(workdir):
    page = (workdir / "report.html").read_text()
    for text in ("Cell filter: drawn frames", "Preprocessing", "Classes from images", "Classes from codes"):
        assert text in page
    for text in ("What the models draw", "Codes by class", "How good the drawn cells are", "A stain from bright field"):
        assert text in page
    assert page.count("data:image/png;base64,") >= 12


@pytest.mark.parametrize(
    "trims",
    [
        ("screen_cell_filter",),
        ("baseline", "quality"),
        ("unet",),
        ("infogan_all_channels", "quality"),
        ("infogan_all_channels", "vae_all_channels", "quality"),
        ("cnn_all_channels", "baseline", "quality"),
        tuple(name for name in KEPT if name not in ("vae_all_channels", "report")),
        tuple(name for name in KEPT if name != "report"),
    ],
)
def test_the_page_of_a_trimmed_study_leaves_out_what_is_not_there(workdir, tmp_path, trims):
    for path in workdir.iterdir():
        if path.name not in (*trims, "report", "report.html"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "report").mkdir()
    given = {
        key: value for key, value in read(workdir / "study.json")["report"].items() if key not in ("stage", "after")
    }
    inputs = {name: tmp_path / name for name in KEPT if name not in (*trims, "report")}
    (path,) = cytometry(tmp_path / "report", inputs, **given)
    page = path.read_text()
    parts = {
        "Cell filter: drawn frames": "screen_cell_filter",
        "Classes from images": "cnn_all_channels",
        "How good the drawn cells are": "quality",
        "A stain from bright field": "unet",
    }
    for heading, stage in parts.items():
        assert (f"<h2>{heading}</h2>" in page) == (stage not in trims)
    left_out = page.partition("The study has no stage ")[2].partition(";")[0].split(", ")
    assert sorted(left_out) == sorted(set(trims) - {"cell_filter"})
