import logging
import os
import re
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile

from cellfx.data.images.folder import scan
from cellfx.data.images.image_files import fit, read_image
from cellfx.data.images.intensity import rescale
from cellfx.data.images.pose import adjust
from cellfx.data.nuclei import nuclei, prepare, unsplit
from cellfx.data.source import SPLITS, iterate

REGEX = r"(?P<Plate>p\d)_(?P<Cell>\d+)"
MITOCHECK = r"(?P<Plate>.+?)___P(?P<Well>\d+)_\d+___T(?P<Frame>\d+)___X(?P<X>\d+)___Y(?P<Y>\d+)"
NUM_PLATES, PER_PLATE = 6, 3


def _write(folder, classes=("Interphase", "Metaphase"), seed=0):
    """Images of 9 x 7 pixels: of each class ``PER_PLATE`` cells on each of ``NUM_PLATES`` plates."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for cell in range(NUM_PLATES * PER_PLATE):
            image = rng.integers(0, 256, (9, 7), np.uint8)
            (folder / name / f"p{cell % NUM_PLATES}_{cell}.png").write_bytes(imagecodecs.png_encode(image))
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("data") / "cells")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def own(tmp_path):
    """A folder to spoil."""
    return _write(tmp_path / "cells")


def _by_file(split):
    order = np.argsort(split.metadata["Metadata_File"])
    return {name: array[order] for name, array in {**(split.arrays or {}), **split.metadata}.items()}


def test_every_image_is_in_one_split_as_its_file_says(cells, data_dir):
    source = nuclei(cells, 8, REGEX, data_dir=data_dir)
    assert (source.name, source.shape, source.class_names) == ("cells", (8, 8, 1), ("Interphase", "Metaphase"))
    files = np.concatenate([source.splits[name].metadata["Metadata_File"] for name in SPLITS])
    assert sorted(files) == sorted(scan(cells).files)
    for split in source.splits.values():
        assert split.num_examples == len(split.arrays["x"]) == len(split.arrays["label"])
        for row, file in enumerate(split.metadata["Metadata_File"]):
            np.testing.assert_array_equal(split.arrays["x"][row], fit(read_image(cells / file), 8))
            plate, cell = re.search(REGEX, file).groups()
            assert split.metadata["Metadata_Plate"][row] == plate
            assert split.metadata["Metadata_Cell"][row] == cell
            class_name = source.class_names[split.arrays["label"][row]]
            assert split.metadata["Metadata_Class"][row] == class_name == file.split("/")[0]


def test_no_plate_is_in_two_splits_and_every_plate_tests_once(cells, data_dir):
    tested = []
    for fold in range(3):
        splits = nuclei(cells, 8, REGEX, "Metadata_Plate", num_folds=3, fold=fold, data_dir=data_dir).splits
        plates = {name: set(split.metadata["Metadata_Plate"]) for name, split in splits.items()}
        assert all(plates.values())
        assert not plates["train"] & plates["valid"]
        assert not (plates["train"] | plates["valid"]) & plates["test"]
        assert {int(group) for group in splits["test"].arrays["group"]} == {int(name[1]) for name in plates["test"]}
        tested += sorted(plates["test"])
    assert sorted(tested) == [f"p{plate}" for plate in range(NUM_PLATES)]


def test_chosen_classes_are_labeled_in_their_order(cells, data_dir):
    source = nuclei(cells, 8, classes=["Metaphase", "Interphase"], data_dir=data_dir)
    train = source.splits["train"]
    assert source.class_names == ("Metaphase", "Interphase")
    np.testing.assert_array_equal(train.arrays["label"], train.metadata["Metadata_Class"] == "Interphase")


def test_cells_are_turned_before_they_are_cropped(cells, data_dir):
    train = nuclei(cells, 8, pose="upright", data_dir=data_dir).splits["train"]
    expected = fit(adjust(read_image(cells / train.metadata["Metadata_File"][0]), "upright"), 8)
    np.testing.assert_array_equal(train.arrays["x"][0], expected)


@pytest.mark.parametrize("intensity", ["sqrt", "percentile"])
def test_intensities_are_stretched(cells, data_dir, intensity):
    train = nuclei(cells, 8, intensity=intensity, data_dir=data_dir).splits["train"]
    expected = rescale(fit(read_image(cells / train.metadata["Metadata_File"][0]), 8), intensity)
    np.testing.assert_array_equal(train.arrays["x"][0], expected)


def test_streamed_splits_hold_the_same_examples_mixed(cells, data_dir):
    arguments = {"metadata_regex": REGEX, "group": "Metadata_Plate", "data_dir": data_dir}
    kept, streamed = (nuclei(cells, 8, in_memory_gib=gib, **arguments).splits for gib in (1.0, 0.0))
    for name in SPLITS:
        assert streamed[name].arrays is None
        count = kept[name].num_examples
        batches = list(iterate(streamed[name], 5))
        assert sum(batch["mask"].sum() for batch in batches) == count
        rows = {key: np.concatenate([batch[key] for batch in batches])[:count] for key in ("x", "label", "group")}
        found = _by_file(streamed[name]._replace(arrays=rows))
        for key, array in _by_file(kept[name]).items():
            np.testing.assert_array_equal(found[key], array)
    labels = [int(example["label"]) for example in streamed["train"].examples().as_numpy_iterator()]
    assert labels != sorted(labels)
    assert labels == [int(example["label"]) for example in streamed["train"].examples().as_numpy_iterator()]


def test_streamed_splits_are_evaluated_in_one_pass(cells, data_dir):
    train = nuclei(cells, 8, in_memory_gib=0.0, data_dir=data_dir).splits["train"]
    passes = []

    def examples():
        passes.append(None)
        return train.examples()

    assert len(list(iterate(train._replace(examples=examples), 4))) > 1
    assert len(passes) == 1


def test_summary_tells_what_was_prepared(own, data_dir):
    tifffile.imwrite(own / "Metaphase" / "p0_99.tif", np.zeros((20, 20), np.uint8))
    summary = prepare(own, 8, REGEX, "Metadata_Plate", data_dir=data_dir, fold=2)
    assert summary.num_examples == {"Interphase": 18, "Metaphase": 19}
    assert summary.sizes == {"9x7": 36, "20x20": 1}
    assert (summary.image_shape, summary.dtype, summary.skipped) == ((8, 8, 1), "uint8", ())
    assert summary.path.is_dir()
    assert prepare(own, 8, REGEX, data_dir=data_dir) == summary
    with pytest.raises(TypeError, match="nuclei has no argument 'folds'"):
        prepare(own, 8, data_dir=data_dir, folds=2)


def test_a_changed_folder_or_option_is_prepared_anew(own, data_dir):
    paths = {prepare(own, 8, data_dir=data_dir).path}
    paths.add(prepare(own, 7, data_dir=data_dir).path)
    paths.add(prepare(own, 8, REGEX, data_dir=data_dir).path)
    paths.add(prepare(own, 8, intensity="sqrt", data_dir=data_dir).path)
    paths.add(prepare(own, 8, pose="upright", data_dir=data_dir).path)
    white = np.full((9, 7), 255, np.uint8)
    (own / "Interphase" / "p0_0.png").write_bytes(imagecodecs.png_encode(white))
    paths.add(prepare(own, 8, data_dir=data_dir).path)
    assert len(paths) == 6
    train = nuclei(own, 8, data_dir=data_dir, fold=3).splits
    images = {
        file: image
        for split in train.values()
        for file, image in zip(split.metadata["Metadata_File"], split.arrays["x"], strict=True)
    }
    np.testing.assert_array_equal(images["Interphase/p0_0.png"], 255)


def test_prepared_data_is_reused_and_tensorflow_not_needed(cells, data_dir, monkeypatch):
    path = prepare(cells, 8, data_dir=data_dir).path
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    nuclei(cells, 8, data_dir=data_dir)
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_data_folder_follows_the_environment(own, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path / "cache"))
    assert prepare(own, 8).path.is_relative_to(tmp_path / "cache" / "datasets")


@pytest.mark.parametrize("broken", ["Interphase/p0_0.png", "Metaphase/p4_4.png"])
def test_truncated_image_is_named_or_skipped_and_counted(own, tmp_path, broken, caplog):
    path = own / broken
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=re.escape(f"cannot read the image {path}: ")):
        nuclei(own, 8, data_dir=tmp_path / "prepared")
    assert not list((tmp_path / "prepared").rglob("*.array_record*"))
    with caplog.at_level(logging.WARNING):
        summary = prepare(own, 8, on_error="skip", data_dir=tmp_path / "prepared")
    assert summary.skipped == (broken,)
    assert sum(summary.num_examples.values()) == 35
    assert str(path) in caplog.text
    source = nuclei(own, 8, on_error="skip", data_dir=tmp_path / "prepared")
    for split in source.splits.values():
        for file, image in zip(split.metadata["Metadata_File"], split.arrays["x"], strict=True):
            np.testing.assert_array_equal(image, fit(read_image(own / file), 8))


def _spoil_all(folder):
    for path in (folder / "Metaphase").iterdir():
        path.write_bytes(b"")


def _leave_one(folder):
    for path in sorted(folder.rglob("*.png"))[1:]:
        path.unlink()
    (folder / "Metaphase").rmdir()


def _write_last(folder, image):
    (folder / "Metaphase" / "p5_5.png").write_bytes(imagecodecs.png_encode(image))


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda f: _write_last(f, np.zeros((9, 7, 3), np.uint8)), {}, r"p5_5\.png has 3 channels; expected 1"),
        (lambda f: _write_last(f, np.zeros((9, 7), np.uint16)), {}, r"p5_5\.png has uint16 pixels; expected uint8"),
        (_spoil_all, {"on_error": "skip"}, "class 'Metaphase' in .*cells is empty: none of its images can be read"),
        (_leave_one, {}, "cannot split .*cells: too few examples of class Interphase: got 1; expected 2 or more"),
        (None, {"metadata_regex": "(?P<Plate>q)"}, r"metadata_regex does not match the name of Interphase/p0_0\.png"),
        (None, {"group": "Metadata_Plat", "metadata_regex": REGEX}, "'Metadata_Plat'; did you mean 'Metadata_Plate'?"),
        (
            None,
            {"group": "Metadata_Plate", "metadata_regex": REGEX, "num_folds": 7},
            "cannot split .*cells: fewer groups than folds: 6 groups and num_folds=7",
        ),
        (
            None,
            {"group": "Metadata_Class", "num_folds": 2, "valid_rate": 0.0},
            "no example of class (Interphase|Metaphase) of .*cells is left to train on",
        ),
        (None, {"classes": ["Metafase"]}, "unknown class 'Metafase' in .*; did you mean 'Metaphase'"),
        (None, {"on_error": "ignore"}, "unknown on_error 'ignore'; expected 'raise' or 'skip'"),
        (None, {"intensity": "log"}, "unknown intensity 'log'"),
        (None, {"pose": "upside"}, "unknown pose 'upside'"),
        (None, {"image_size": 0}, r"number out of range: got data\.image_size=0, expected 1 or more"),
    ],
)
def test_bad_input_is_named(own, tmp_path, spoil, arguments, message):
    if spoil is not None:
        spoil(own)
    with pytest.raises(ValueError, match=message) as caught:
        nuclei(own, **{"image_size": 8, "data_dir": tmp_path / "prepared", **arguments})
    assert "\n" not in str(caught.value)


def test_a_size_of_nothing_is_refused_where_nothing_is_split(own, tmp_path):
    for read in (prepare, unsplit):
        with pytest.raises(ValueError, match="image_size must be positive; got 0"):
            read(own, 0, data_dir=tmp_path / "prepared")


def test_classes_missing_from_a_held_out_split_are_logged(cells, data_dir, caplog):
    nuclei(cells, 8, valid_rate=0.001, by_class=False, data_dir=data_dir)
    assert re.search(r"no example of class (Interphase|Metaphase) of .* in the valid split", caplog.text)


@pytest.mark.parametrize("part", ["array_record", "metadata.json", "dataset_info.json"])
def test_damaged_prepared_data_is_noticed(own, tmp_path, part):
    path = prepare(own, 8, data_dir=tmp_path / "prepared").path
    (file,) = (file for file in path.iterdir() if part in file.name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(OSError, match=re.escape(str(path.parent)) + ".*delete that folder"):
        nuclei(own, 8, data_dir=tmp_path / "prepared")


def test_unwritable_place_is_named_and_nothing_is_kept(own, tmp_path):
    (tmp_path / "occupied").write_bytes(b"")
    with pytest.raises(OSError, match=f"cannot write the prepared data to {tmp_path / 'occupied'}"):
        prepare(own, 8, data_dir=tmp_path / "occupied")


def test_killed_preparation_leaves_nothing_that_is_used_and_nothing_in_the_end(own, tmp_path):
    """The child dies without cleaning up, as under kill -9, with all records written but the folder not renamed."""
    script = (
        "import os; from cellfx.data.prepared import nuclei_builder; from cellfx.data.nuclei import prepare; "
        "nuclei_builder.Nuclei._check_classes = lambda self, counts: os._exit(9); "
        f"prepare({str(own)!r}, 8, data_dir={str(tmp_path / 'prepared')!r})"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    (left,) = (tmp_path / "prepared" / "nuclei").glob("*/*")
    summary = prepare(own, 8, data_dir=tmp_path / "prepared")
    assert sum(summary.num_examples.values()) == 36
    assert not left.exists()
    assert list((tmp_path / "prepared" / "nuclei").glob("*/*")) == [summary.path]


def test_another_process_may_prepare_the_same_data(own, tmp_path, monkeypatch):
    """Both write to folders of their own; the one that comes second to rename its own takes the other's."""
    import cellfx.data.prepared.nuclei_builder as nuclei_builder

    original = nuclei_builder.Nuclei._check_classes

    def overtaken(self, counts):
        monkeypatch.setattr(nuclei_builder.Nuclei, "_check_classes", original)
        prepare(own, 8, data_dir=tmp_path / "prepared")
        original(self, counts)

    monkeypatch.setattr(nuclei_builder.Nuclei, "_check_classes", overtaken)
    assert nuclei(own, 8, data_dir=tmp_path / "prepared").splits["train"].num_examples > 0
    assert len(list((tmp_path / "prepared" / "nuclei").glob("*/*"))) == 1


def test_mitocheck(data_folder, data_dir):
    source = nuclei(data_folder / "mitocheck", 64, MITOCHECK, "Metadata_Plate", data_dir=data_dir)
    assert source.shape == (64, 64, 1)
    assert len(source.class_names) == 16
    plates = [set(source.splits[name].metadata["Metadata_Plate"]) for name in SPLITS]
    assert sum(len(found) for found in plates) == len(set.union(*plates))
    assert sum(split.num_examples for split in source.splits.values()) == 3277
    every_class = np.concatenate([split.metadata["Metadata_Class"] for split in source.splits.values()])
    assert np.sum(every_class == "Interphase") == 420
    assert np.sum(every_class == "MetaphaseAlignment") == 176


def test_jurkat(data_folder, data_dir):
    source = nuclei(data_folder / "jurkat", 32, intensity="range", data_dir=data_dir)
    assert source.shape == (32, 32, 3)
    assert sum(split.num_examples for split in source.splits.values()) == 1709
    train = source.splits["train"]
    assert train.arrays["x"].dtype == np.uint16
    assert np.all(train.arrays["x"].reshape(-1, 3).max(0) == 65535)
    file = train.metadata["Metadata_File"][0]
    limits = np.array(prepare(data_folder / "jurkat", 32, intensity="range", data_dir=data_dir).limits)
    raw = fit(read_image(os.path.join(data_folder, "jurkat", file)), 32)
    np.testing.assert_array_equal(train.arrays["x"][0], rescale(raw, "range", limits))
