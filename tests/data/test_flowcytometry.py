"""Cells of an imaging cytometer: which files belong together, what is known of them, and how they become images."""

import json
import logging
import re
import sys

import numpy as np
import polars as pl
import pytest
import tensorflow_datasets as tfds
import tifffile

from cellfx.data.flowcytometry import flowcytometry, prepare, unsplit
from cellfx.data.images.image_files import read_image
from cellfx.data.source import SPLITS, iterate
from cellfx.findings import measure
from cellfx.preprocess import cytometry
from cellfx.preprocess.size import resize
from cellfx.runs import experiment, results, verdicts

NAMES = ("Bright Field", "PI", "side scatter")
KINDS = ("brightfield", "fluorescence", "fluorescence")
REGEX = r"(?P<Experiment>e\d)_(?P<Sample>s\d)_(?P<Object>\d+)"
SIZE = 10


def _cell(rng, height, width):
    """(3, H, W) uint16: noise, and a disc that is darker or brighter."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < rng.uniform(5, 9)
    bright = rng.normal(600, 20, (height, width)) + inside * rng.normal(0, 150, (height, width))
    glow = [rng.lognormal(3, 0.2, (height, width)) + inside * rng.lognormal(top, 0.3) for top in (6.5, 5.0)]
    return np.clip(np.stack([bright, *glow]), 0, 4095).astype(np.uint16)


def _save(path, planes, names=NAMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"axes": "CYX"} | ({"Channel": {"Name": list(names)}} if names else {})
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata=metadata)


def _write(folder, counts=(("G1", 12), ("Mitosis", 7)), seed=0):
    """Cells of 9 to 12 x 8 to 11 pixels in two experiments of two samples."""
    rng = np.random.default_rng(seed)
    for name, count in counts:
        for cell in range(count):
            planes = _cell(rng, 9 + cell % 4, 8 + cell % 3)
            _save(folder / name / f"e{cell % 2}_s{cell // 2 % 2}_{cell:03}.ome.tif", planes)
    return folder


def _write_channels(folder, channels=(1, 5), seed=0):
    """Objects of one file per channel; returns object -> (H, W, C)."""
    rng, images = np.random.default_rng(seed), {}
    for name, number in [("A", 2), ("A", 10), ("A", 11), ("B", 1), ("B", 3), ("B", 4)]:
        images[f"{name}/{number}"] = np.moveaxis(_cell(rng, 9, 9)[: len(channels)], 0, -1)
        for index, channel in enumerate(channels):
            path = folder / name / f"{number}_Ch{channel}.ome.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, images[f"{name}/{number}"][..., index], ome=True)
    return images


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


def _raw(folder, data_dir, **arguments):
    return flowcytometry(folder, SIZE, normalise=False, data_dir=data_dir, **arguments)


def _by_file(source):
    """File -> everything that is known of its image, over all splits."""
    rows = {}
    for name, split in source.splits.items():
        for row, file in enumerate(split.metadata["Metadata_File"].tolist()):
            known = {column: values[row] for column, values in split.metadata.items()}
            rows[file] = {"split": name, **known, **{key: array[row] for key, array in split.arrays.items()}}
    return rows


def test_every_image_is_in_one_split_as_its_file_says(cells, data_dir):
    source = _raw(cells, data_dir)
    assert (source.name, source.shape, source.class_names) == ("cells", (SIZE, SIZE, 3), ("G1", "Mitosis"))
    assert (source.channel_names, source.preprocessing) == (NAMES, None)
    files = sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.tif"))
    assert sum(split.num_examples for split in source.splits.values()) == len(files)
    rows = _by_file(source)
    assert sorted(rows) == files
    for file, row in rows.items():
        original = read_image(cells / file)
        assert row["x"].dtype == np.uint16
        assert row["Metadata_Class"] == source.class_names[row["label"]] == file.split("/")[0]
        assert row["Metadata_Object"] == int(file[-11:-8])
        assert (row["Metadata_Height_px"], row["Metadata_Width_px"]) == original.shape[:2]


def test_images_are_resized_by_the_kinds_of_their_channels(cells, data_dir):
    rows = _by_file(_raw(cells, data_dir, padding=33.0))
    for file, row in rows.items():
        expected = resize(read_image(cells / file), SIZE, KINDS, np.random.default_rng(0), 33.0)
        np.testing.assert_array_equal(row["x"][..., 1:], expected[..., 1:])
    padded = rows["G1/e0_s0_000.ome.tif"]["x"]  # of 9 x 8 pixels
    assert np.all(padded[-1, :, 1:] == 33)
    assert len(np.unique(padded[-1, :, 0])) > 3
    estimated = _by_file(_raw(cells, data_dir, padding="estimated"))["G1/e0_s0_000.ome.tif"]["x"]
    assert np.all(estimated[-1, :, 1:] == estimated[-1, 0, 1:])
    assert not np.any(estimated[-1, 0, 1:] == 33)


def test_padding_is_the_same_in_every_preparation(cells, data_dir, tmp_path):
    first, again = (_by_file(_raw(cells, place)) for place in (data_dir, tmp_path / "prepared"))
    for file, row in first.items():
        np.testing.assert_array_equal(row["x"], again[file]["x"])
    assert not np.array_equal(first["G1/e0_s0_000.ome.tif"]["x"][-1], first["G1/e0_s0_004.ome.tif"]["x"][-1])


@pytest.mark.parametrize(
    ("channels", "indices"),
    [(("brightfield",), [0]), (["PI", 0], [1, 0]), ((2,), [2]), (("SIDE_SCATTER", "bright-field", "pi"), [2, 0, 1])],
)
def test_channels_are_those_of_all_channels_and_prepared_once(cells, data_dir, channels, indices):
    everything, source = _raw(cells, data_dir), _raw(cells, data_dir, channels=channels)
    assert source.shape == (SIZE, SIZE, len(indices))
    assert source.channel_names == tuple(NAMES[index] for index in indices)
    for split in SPLITS:
        expected = everything.splits[split].arrays["x"][..., indices]
        np.testing.assert_array_equal(source.splits[split].arrays["x"], expected)
    paths = {prepare(cells, image_size=SIZE, channels=some, data_dir=data_dir).path for some in (None, channels)}
    assert len(paths) == 1


def test_normalisation_is_fitted_on_training_images_and_applied_to_all(cells, data_dir):
    raw, source = _raw(cells, data_dir), flowcytometry(cells, SIZE, data_dir=data_dir)
    train = raw.splits["train"]
    images = train.arrays["x"][np.argsort(train.metadata["Metadata_File"])]
    fitted = cytometry.fit(images, KINDS, seed=0)
    assert source.preprocessing == {"kinds": list(KINDS), "normalisation": cytometry.to_json(fitted)}
    assert json.loads(json.dumps(source.preprocessing)) == source.preprocessing
    for name in SPLITS:
        stored = source.splits[name].arrays["x"]
        expected = cytometry.apply(fitted, raw.splits[name].arrays["x"]).astype(np.float64) * 65535
        assert stored.dtype == np.uint16
        assert np.all(np.abs(stored - expected) <= 0.51)
    assert np.ptp(source.splits["train"].arrays["x"]) > 30_000


def test_images_that_do_not_train_have_no_say_in_the_normalisation(own, tmp_path):
    before = flowcytometry(own, SIZE, data_dir=tmp_path / "prepared")
    for name, is_seen in (("test", False), ("valid", False), ("train", True)):
        for file in before.splits[name].metadata["Metadata_File"]:
            _save(own / file, np.moveaxis(read_image(own / file) // 2, -1, 0))
        after = flowcytometry(own, SIZE, data_dir=tmp_path / "prepared")
        for split in SPLITS:
            files = (source.splits[split].metadata["Metadata_File"] for source in (before, after))
            np.testing.assert_array_equal(*files)
        assert (after.preprocessing != before.preprocessing) == is_seen


def test_a_random_part_of_many_training_images_is_fitted_on(cells, data_dir, monkeypatch):
    fitted, original = [], cytometry.fit

    def fit(images, *args, **kwargs):
        fitted.append(images)
        return original(images, *args, **kwargs)

    monkeypatch.setattr(cytometry, "fit", fit)
    monkeypatch.setattr("cellfx.data.flowcytometry.MAX_FITTED_IMAGES", 5)
    flowcytometry(cells, SIZE, data_dir=data_dir)
    assert len(fitted[0]) == 5


def test_streamed_splits_hold_the_same_examples(cells, data_dir):
    arguments = {"metadata_regex": REGEX, "group": "Metadata_Sample", "num_folds": 2, "valid_rate": 0.0}
    kept, streamed = (
        flowcytometry(cells, SIZE, in_memory_gib=gib, data_dir=data_dir, **arguments) for gib in (1.0, 0.0)
    )
    assert streamed.preprocessing == kept.preprocessing
    for name in ("train", "test"):
        split, expected = streamed.splits[name], kept.splits[name]
        assert split.arrays is None
        batches = list(iterate(split, 5))
        for key in ("x", "label", "group"):
            found = np.concatenate([batch[key] for batch in batches])[: split.num_examples]
            np.testing.assert_array_equal(found, expected.arrays[key])
        np.testing.assert_array_equal(split.metadata["Metadata_File"], expected.metadata["Metadata_File"])


def test_without_a_group_every_class_is_in_every_split(cells, data_dir):
    tested = []
    for fold in range(3):
        source = _raw(cells, data_dir, num_folds=3, fold=fold)
        counts = {name: np.bincount(split.arrays["label"], minlength=2) for name, split in source.splits.items()}
        np.testing.assert_array_equal(counts["test"][0], 4)
        assert counts["test"][1] in (2, 3)
        np.testing.assert_array_equal(counts["valid"], 1)
        tested += source.splits["test"].metadata["Metadata_File"].tolist()
    assert len(set(tested)) == len(tested) == 19


def test_experiment_sample_and_object_are_told_by_the_path(cells, data_dir):
    arguments = {"metadata_regex": REGEX, "group": "Metadata_Experiment", "num_folds": 2, "valid_rate": 0.0}
    source = _raw(cells, data_dir, **arguments)
    for file, row in _by_file(source).items():
        told = re.search(REGEX, file)
        assert (row["Metadata_Experiment"], row["Metadata_Sample"]) == (told["Experiment"], told["Sample"])
        assert row["Metadata_Object"] == int(told["Object"])
    experiments = [set(source.splits[name].metadata["Metadata_Experiment"]) for name in ("train", "test")]
    assert [len(found) for found in experiments] == [1, 1]
    assert experiments[0] != experiments[1]
    by_class = _raw(cells, data_dir, metadata_regex="^(?P<Folder>[^/]+)/")
    assert all(row["Metadata_Folder"] == row["Metadata_Class"] for row in _by_file(by_class).values())


@pytest.mark.parametrize("channels", [(1, 5), (2,), (1, 2, 10)])
def test_files_of_one_channel_each_belong_together_by_object(tmp_path, channels):
    images = _write_channels(tmp_path / "cells", channels)
    source = _raw(tmp_path / "cells", tmp_path / "prepared", num_folds=2, valid_rate=0.0)
    names = tuple(f"Ch{channel}" for channel in channels)
    assert source.channel_names == names
    rows = _by_file(source)
    assert set(rows) == {f"{name}_{names[0]}.ome.tif" for name in images}
    for name, image in images.items():
        row = rows[f"{name}_{names[0]}.ome.tif"]
        np.testing.assert_array_equal(row["x"][:9, :9], image)
        assert row["Metadata_Object"] == int(name.split("/")[1])
    named = [f"stain {channel}" for channel in channels]
    again = _raw(tmp_path / "cells", tmp_path / "prepared", channel_names=named, channels=named[-1:], num_folds=2)
    assert again.channel_names == (named[-1],)
    np.testing.assert_array_equal(_by_file(again)[f"A/2_{names[0]}.ome.tif"]["x"][:9, :9], images["A/2"][..., -1:])


def test_a_file_of_one_channel_may_describe_an_image_of_several_files(tmp_path):
    """Some exports repeat in every file the OME-XML of the whole, which names the other files."""
    images = _write_channels(tmp_path / "cells")
    path = tmp_path / "cells/A/2_Ch5.ome.tif"
    plane = images["A/2"][..., 1]
    whole = '<TiffData IFD="0" FirstC="0"><UUID FileName="elsewhere_Ch1.ome.tif">urn:uuid:1</UUID></TiffData>'
    xml = tifffile.TiffFile(path).ome_metadata.replace('SizeC="1"', 'SizeC="2"')
    xml = re.sub(r"<TiffData.*/>", whole, xml)
    tifffile.imwrite(path, plane, description=xml, metadata=None)
    rows = _by_file(_raw(tmp_path / "cells", tmp_path / "prepared", num_folds=2))
    np.testing.assert_array_equal(rows["A/2_Ch1.ome.tif"]["x"][:9, :9, 1], plane)


def test_channels_in_another_order_are_brought_into_that_of_the_first(own, tmp_path):
    file = "Mitosis/e0_s0_004.ome.tif"
    original = read_image(own / file)
    _save(own / file, np.moveaxis(original[..., [2, 0, 1]], -1, 0), ("SIDE_SCATTER", "bright-field", "pi"))
    image = _by_file(_raw(own, tmp_path / "prepared"))[file]["x"]
    index = sorted(path.relative_to(own).as_posix() for path in own.rglob("*.tif")).index(file)
    np.testing.assert_array_equal(image, resize(original, SIZE, KINDS, np.random.default_rng([20180101, index])))


@pytest.mark.parametrize(
    ("dtype", "stored", "expected"),
    [
        (np.uint8, [0, 7, 255], [0, 7, 255]),
        (np.uint16, [0, 4095, 4095], [0, 4095, 4095]),
        (np.float32, [0.0, 0.25, 1.0], [0, 16384, 65535]),
        (np.float64, [0.0, 1e-5, 1.0], [0, 1, 65535]),
    ],
)
def test_pixels_of_every_depth_keep_their_values(tmp_path, dtype, stored, expected):
    for index in range(4):
        planes = np.broadcast_to(np.array(stored, dtype)[:, None, None], (3, SIZE, SIZE))
        _save(tmp_path / "cells" / "A" / f"{index}.ome.tif", planes)
    _save(tmp_path / "cells" / "A" / "4.ome.tif", np.where(np.eye(SIZE, dtype=bool), planes, planes.max()))
    rows = _by_file(_raw(tmp_path / "cells", tmp_path / "prepared", num_folds=2))
    assert np.ptp(rows.pop("A/4.ome.tif")["x"]) > 0  # a folder of constant images is refused
    assert len(rows) == 4
    for row in rows.values():
        assert row["x"].dtype == (np.uint8 if dtype == np.uint8 else np.uint16)
        np.testing.assert_array_equal(row["x"], np.broadcast_to(expected, (SIZE, SIZE, 3)))


def _table(path, columns):
    frame = pl.DataFrame(columns)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return str(path)


@pytest.fixture
def flat(tmp_path):
    """Nine files, in the folder and in one below it; their classes by file."""
    rng, classes = np.random.default_rng(0), {}
    for number in range(9):
        file = f"{'below/' if number % 2 else ''}cell_{number:03}.tif"
        _save(tmp_path / "flat" / file, _cell(rng, SIZE, SIZE))
        classes[file] = "live" if number % 3 else "dead"
    return tmp_path / "flat", classes


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("by", ["file", "object"])
def test_classes_are_told_by_a_table(tmp_path, flat, suffix, by):
    folder, classes = flat
    keys = list(classes) if by == "file" else [int(file[-7:-4]) for file in classes]
    labels = _table(tmp_path / f"labels{suffix}", {by: keys, "class": list(classes.values())})
    source = _raw(folder, tmp_path / "prepared", labels=labels, num_folds=2)
    assert source.class_names == ("dead", "live")
    assert {file: row["Metadata_Class"] for file, row in _by_file(source).items()} == classes
    chosen = _raw(folder, tmp_path / "prepared", labels=labels, num_folds=2, classes=["live"])
    assert set(_by_file(chosen)) == {file for file, name in classes.items() if name == "live"}


def test_columns_of_a_table_may_be_called_otherwise(tmp_path, flat):
    folder, classes = flat
    labels = _table(
        tmp_path / "labels.csv", {"Path": list(classes), "file": ["x"] * 9, "phase": list(classes.values())}
    )
    source = _raw(folder, tmp_path / "prepared", labels=labels, labels_file="Path", labels_class="phase", num_folds=2)
    assert {file: row["Metadata_Class"] for file, row in _by_file(source).items()} == classes


def test_a_table_may_name_any_file_of_an_object(tmp_path):
    _write_channels(tmp_path / "cells")
    files = [f"{name}_Ch5.ome.tif" for name in ("A/2", "A/10", "A/11", "B/1", "B/3", "B/4")]
    labels = _table(tmp_path / "labels.csv", {"file": files, "class": list("xyxyxy")})
    rows = _by_file(_raw(tmp_path / "cells", tmp_path / "prepared", labels=labels, num_folds=2))
    assert {row["Metadata_Object"]: row["Metadata_Class"] for row in rows.values()} == dict(
        zip([2, 10, 11, 1, 3, 4], "xyxyxy", strict=True)
    )


def test_files_without_a_row_and_rows_without_a_file_are_reported_or_left_out(tmp_path, flat, caplog):
    folder, classes = flat
    files = [*list(classes)[2:], "gone.tif"]
    labels = _table(tmp_path / "labels.csv", {"file": files, "class": [classes.get(file, "live") for file in files]})
    told = f"{labels} does not fit {folder}: 2 files (below/cell_001.tif, cell_000.tif) without a row, 1 row (gone.tif)"
    with pytest.raises(ValueError, match=re.escape(told)):
        _raw(folder, tmp_path / "prepared", labels=labels)
    with caplog.at_level(logging.WARNING):
        source = _raw(folder, tmp_path / "prepared", labels=labels, num_folds=2, on_error="skip")
    assert told in caplog.text
    assert set(_by_file(source)) == set(list(classes)[2:])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"], "class": ["x"]}, "lacks a column 'file' or 'object'; got path, class; expected"),
        ({"file": ["a"], "klass": ["x"]}, "lacks the column 'class'; did you mean 'klass'?"),
        (
            {"file": ["../a.tif"], "class": ["x"]},
            "names ../a.tif; expected a path relative to the folder and inside it",
        ),
        ({"file": ["/a.tif"], "class": ["x"]}, "names /a.tif; expected a path relative"),
        ({"file": ["b/../../a.tif"], "class": ["x"]}, "names b/../../a.tif; expected a path relative"),
        ({"object": ["1", "x"], "class": ["x", "y"]}, "has 'x' in column 'object'; expected the number of an object"),
        ({"file": ["cell_000.tif"] * 2, "class": ["x", "y"]}, "two things of cell_000.tif: got the classes x and y"),
        ({"file": ["cell_000.tif", "b"], "class": ["x", None]}, "has no 'class' in 1 rows, the first is row 2"),
    ],
)
def test_a_table_that_cannot_be_followed_is_named(tmp_path, flat, columns, message):
    labels = _table(tmp_path / "labels.csv", columns)
    with pytest.raises(ValueError, match=re.escape(f"{labels} ")) as caught:
        _raw(flat[0], tmp_path / "prepared", labels=labels)
    assert message in str(caught.value)


def test_objects_of_one_number_cannot_be_told_by_it(cells, tmp_path):
    labels = _table(tmp_path / "labels.csv", {"object": list(range(12)), "class": ["x"] * 12})
    with pytest.raises(ValueError, match=r"object 0 is both G1/e0_s0_000\.ome\.tif and Mitosis/e0_s0_000\.ome\.tif"):
        _raw(cells, tmp_path / "prepared", labels=labels)
    (tmp_path / "unnumbered").mkdir()
    _save(tmp_path / "unnumbered" / "a.tif", np.zeros((1, 9, 9), np.uint8), None)
    with pytest.raises(ValueError, match=r"which not every file has: got '' of a\.tif; .* a column 'file'"):
        _raw(tmp_path / "unnumbered", tmp_path / "prepared", labels=labels)


def test_a_missing_or_unreadable_table_is_named(cells, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no table .*labels\.csv; expected a CSV or Parquet file"):
        _raw(cells, tmp_path, labels=str(tmp_path / "labels.csv"))
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"cannot read the table .*labels\.parquet: "):
        _raw(cells, tmp_path, labels=str(tmp_path / "labels.parquet"))


def test_only_kept_images_are_used_and_nothing_is_prepared_anew(cells, data_dir, tmp_path):
    files = sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.tif"))
    kept = _table(tmp_path / "kept.csv", {"Metadata_File": files[3:-2], "score": [0.5] * len(files[3:-2])})
    source, everything = _raw(cells, data_dir, kept=kept, num_folds=2), _by_file(_raw(cells, data_dir))
    rows = _by_file(source)
    assert sorted(rows) == files[3:-2]
    for file, row in rows.items():
        np.testing.assert_array_equal(row["x"], everything[file]["x"])
        assert row["Metadata_Height_px"] == everything[file]["Metadata_Height_px"]
    kept = _table(tmp_path / "more.csv", {"Metadata_File": [*files, "G1/gone.tif"]})
    with pytest.raises(
        ValueError, match=r"more\.csv names images that .*cells does not have: got 1 file \(G1/gone\.tif\)"
    ):
        _raw(cells, data_dir, kept=kept)
    assert set(
        _by_file(_raw(cells, data_dir, kept=_table(tmp_path / "all.csv", {"Metadata_File": files}), classes=["G1"]))
    ) == set(files[:12])


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


def test_a_truncated_file_is_named_or_skipped_and_counted(own, tmp_path, caplog):
    broken = "G1/e0_s0_000.ome.tif"
    _truncate(own / broken)
    with pytest.raises(ValueError, match=re.escape(f"cannot read the image {own / broken}: ")):
        _raw(own, tmp_path / "prepared")
    with caplog.at_level(logging.WARNING):
        summary = prepare(own, image_size=SIZE, on_error="skip", data_dir=tmp_path / "prepared", fold=3)
    assert str(own / broken) in caplog.text
    assert (summary.skipped, summary.num_examples) == ((broken,), {"G1": 11, "Mitosis": 7})
    rows = _by_file(_raw(own, tmp_path / "prepared", on_error="skip"))
    assert len(rows) == 18
    for file, row in rows.items():
        assert (row["Metadata_Height_px"], row["Metadata_Width_px"]) == read_image(own / file).shape[:2]


def _objects(spoil):
    def remade(folder):
        for path in folder.rglob("*.tif"):
            path.unlink()
        for path in sorted(folder.iterdir()):
            path.rmdir()
        _write_channels(folder)
        spoil(folder)

    return remade


def _leave_one(folder):
    for path in sorted((folder / "Mitosis").iterdir())[1:]:
        path.unlink()


LAST = "Mitosis/e1_s0_005.ome.tif"
PLANES = np.full((3, 9, 9), 7, np.uint16)


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (
            None,
            {"channels": ("P I", "P2")},
            r"G1/e0_s0_000\.ome\.tif has no channel 'P2'; got .*Field, PI.*did you mean 'PI'",
        ),
        (
            lambda f: _save(f / LAST, PLANES, ("Bright Field", "DAPI", "side scatter")),
            {"channels": ("PI",)},
            r"005\.ome\.tif has the channels Bright Field, DAPI, side .* no channel 'PI', the nearest is 'DAPI'",
        ),
        (lambda f: _save(f / LAST, PLANES[:2], NAMES[:2]), {}, r"005\.ome\.tif has the channels Bright Field, PI; exp"),
        (lambda f: _truncate(f / LAST), {}, r"cannot read the image .*005\.ome\.tif: "),
        (
            lambda f: _save(f / LAST, PLANES / np.float32(7) * 1.5),
            {},
            r"005\.ome\.tif has floating-point .* 1\.5 to 1\.5",
        ),
        (
            lambda f: _save(f / LAST, PLANES * np.float32("nan")),
            {},
            r"005\.ome\.tif has \d+ of \d+ pixels that are no number \(NaN\)",
        ),
        (lambda f: _save(f / LAST, PLANES * np.float32(0.1)), {}, r"005\.ome\.tif has float pixels; expected uint16"),
        (
            lambda f: _save(f / LAST, PLANES.astype(np.uint8)),
            {},
            r"005\.ome\.tif has uint8 pixels; expected uint16, as",
        ),
        (lambda f: _save(f / LAST, PLANES.astype(np.int16)), {}, r"005\.ome\.tif has int16 pixels; expected 8 or 16"),
        (_leave_one, {}, r"class 'Mitosis' in .*cells: got Mitosis/e0_s0_000\.ome\.tif; expected two or more"),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3_Ch5.ome.tif", PLANES[0, 1:])),
            {},
            r"B/3_Ch5\.ome\.tif has 8x9 pixels; expected 9x9, as B/3_Ch1\.ome\.tif of the same object has",
        ),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3_Ch5.ome.tif", PLANES[0].astype(np.uint8))),
            {},
            r"B/3_Ch5\.ome\.tif has uint8 pixels; expected uint16, as B/3_Ch1\.ome\.tif of the same object has",
        ),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3_Ch5.ome.tif", PLANES, photometric="minisblack")),
            {},
            r"B/3_Ch5\.ome\.tif holds 3 planes; expected one",
        ),
        (
            _objects(lambda f: (f / "B/3_Ch5.ome.tif").unlink()),
            {},
            r"the object of .*B/3_Ch1\.ome\.tif lacks the file of its channel Ch5; got Ch1; expected Ch1, Ch5",
        ),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3_Ch7.ome.tif", PLANES[0])),
            {},
            r"B/3_Ch1\.ome\.tif has files of more channels than most; got Ch1, Ch5, Ch7; expected Ch1, Ch5",
        ),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3.ome.tif", PLANES[0])),
            {},
            r"B/3\.ome\.tif tells no channel, but 12 other files",
        ),
        (
            _objects(lambda f: tifffile.imwrite(f / "B/3_Ch05.tif", PLANES[0])),
            {},
            r"B/3_Ch05\.tif and .*B/3_Ch5\.ome\.tif are the same channel of one object",
        ),
        (None, {"metadata_regex": r"q(?P<Sample>\d)"}, r"metadata_regex does not match the name of G1/e0_s0_000"),
        (None, {"metadata_regex": r"(?P<Width_px>\d)"}, "named groups other than File, Class, Height_px and Width_px"),
        (
            None,
            {"group": "Metadata_Sampel", "metadata_regex": REGEX},
            "'Metadata_Sampel'; did you mean 'Metadata_Sample'",
        ),
        (None, {"padding": "median"}, "no such padding: got 'median'; expected a stored intensity, 0 or more, or 'est"),
        (None, {"padding": -1.0}, r"no such padding: got -1\.0"),
        (None, {"on_error": "ignore"}, "unknown on_error 'ignore'"),
        (None, {"classes": ["G2"]}, "unknown class 'G2' in .*; did you mean 'G1'"),
        (None, {"num_folds": 1}, r"number out of range: got data\.num_folds=1, expected 2 or more"),
    ],
)
def test_bad_input_is_named_in_one_line(own, tmp_path, spoil, arguments, message):
    if spoil is not None:
        spoil(own)
    with pytest.raises(ValueError, match=message) as caught:
        _raw(own, tmp_path / "prepared", **arguments)
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path, flat):
    folder, _ = flat
    (tmp_path / "secret.tif").write_bytes(b"")
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    labels = _table(tmp_path / "labels.csv", {"file": ["link.tif"], "class": ["x"]})
    with pytest.raises(ValueError, match=r"link\.tif is a link out of the folder"):
        _raw(folder, tmp_path / "prepared", labels=labels)


def test_a_changed_folder_table_or_option_is_prepared_anew(own, tmp_path):
    def path(**options):
        return prepare(own, **{"image_size": SIZE, "data_dir": tmp_path / "prepared", **options}).path

    paths = [path(), path(image_size=SIZE + 1), path(padding=7.0), path(padding="estimated"), path(brightfield=())]
    paths += [path(metadata_regex=REGEX), path(classes=["Mitosis", "G1"])]
    files = sorted(file.relative_to(own).as_posix() for file in own.rglob("*.tif"))
    for second in ("x", "y"):
        classes = ["x", second] * 9 + ["x"]
        paths.append(path(labels=_table(tmp_path / "labels.csv", {"file": files, "class": classes})))
    _save(own / files[0], PLANES)
    paths.append(path())
    assert len(set(paths)) == len(paths) == 10
    assert path() == paths[-1]
    with pytest.raises(TypeError, match="flowcytometry has no argument 'folds'"):
        path(folds=2)


class _NoTensorFlow:
    """As where TensorFlow is not installed; None in ``sys.modules`` would tell TFDS that it is loaded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_the_builder_is_registered_and_its_records_hold_all_that_is_known(cells, data_dir, monkeypatch):
    path = prepare(cells, image_size=SIZE, metadata_regex=REGEX, data_dir=data_dir).path
    assert path.parent.parent.name == "flowcytometry"
    assert tfds.core.registered.imported_builder_cls("flowcytometry").__name__ == "FlowCytometry"
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoTensorFlow, *sys.meta_path])
    records = tfds.builder_from_directory(path).as_data_source("cells")
    rows = _by_file(_raw(cells, data_dir, metadata_regex=REGEX))
    assert len(records) == len(rows)
    for record in records:
        row = rows[record["metadata"]["Metadata_File"].decode()]
        np.testing.assert_array_equal(record["image"], row["x"])
        assert record["label"] == row["label"]
        for name, value in record["metadata"].items():
            assert (value.decode() if isinstance(value, bytes) else value) == row[name]


def _settings(cells, data_dir):
    section = {"name": "flowcytometry", "folder": str(cells), "image_size": SIZE, "channels": ["PI", 0]}
    return {
        "data": {**section, "data_dir": str(data_dir)},
        "input": {"pipeline": "device", "batch_size": 4},
        "model": {"name": "vae", "latents": 2},
        "optim": {"name": "adam", "learning_rate": 1e-3},
        "train": {"num_epochs": 1, "num_devices": 1},
    }


def test_prepare_says_what_there_is(cells, data_dir, capsys):
    experiment.prepare(_settings(cells, data_dir))
    said = capsys.readouterr().out
    assert str(prepare(cells, image_size=SIZE, data_dir=data_dir).path) in said
    assert "cells: 10x10x2 images, train 13, valid 2, test 4, classes G1, Mitosis" in re.sub(r" +", " ", said)


def test_other_images_are_normalised_as_those_of_the_run_were(cells, data_dir, tmp_path, monkeypatch):
    """From ``runs.experiment.run``, which keeps the normalization, to ``runs.results.evaluate`` of another folder."""
    trained, judged = [], []
    monkeypatch.setattr(experiment, "train", lambda built, workdir: None)
    found = measure.Found(*[None] * 3, scores={})
    monkeypatch.setattr(experiment, "report", lambda run, workdir: trained.append(run) or found)
    experiment.run(_settings(cells, data_dir), tmp_path / "run")
    monkeypatch.setattr(cytometry, "fit", lambda *args, **kwargs: pytest.fail("fitted again"))
    monkeypatch.setattr(results, "restore", lambda *_: trained[0])
    monkeypatch.setattr(results, "measure", lambda run, max_images: judged.append(run.source) or found)
    monkeypatch.setattr(measure, "summary", lambda scores: "")
    monkeypatch.setattr(verdicts, "write", lambda *_: [])
    other = _write(tmp_path / "other", (("Mitosis", 3), ("G1", 2)), seed=5)
    results.evaluate(tmp_path / "run", other)

    kept = tmp_path / "run/preprocessing.json"
    assert json.loads(kept.read_text()) == trained[0].source.preprocessing
    saved = cytometry.from_json(json.loads(kept.read_text())["normalisation"])
    split = judged[0].splits["test"]
    raw = unsplit(other, image_size=SIZE, channels=("PI", "brightfield"), data_dir=data_dir).splits["test"]
    np.testing.assert_array_equal(split.metadata["Metadata_File"], raw.metadata["Metadata_File"])
    expected = cytometry.apply(saved, raw.arrays["x"]).astype(np.float64) * 65535
    assert np.all(np.abs(split.arrays["x"] - expected) <= 0.51)
    np.testing.assert_array_equal(split.arrays["label"], split.metadata["Metadata_Class"] == "Mitosis")

    for content, error in ((b"{", ValueError), (None, FileNotFoundError)):
        kept.unlink() if content is None else kept.write_bytes(content)
        with pytest.raises(error, match=r"preprocessing\.json.* expected .* new workdir"):
            results.evaluate(tmp_path / "run", other)


def test_classes_that_a_run_does_not_know_are_unlabeled_and_counted(cells, data_dir, tmp_path, monkeypatch, capsys):
    trained, judged = [], []
    found = measure.Found(*[None] * 3, scores={})
    monkeypatch.setattr(experiment, "train", lambda built, workdir: None)
    monkeypatch.setattr(experiment, "report", lambda run, workdir: trained.append(run) or found)
    settings = _settings(cells, data_dir)
    settings["data"]["classes"] = ["Mitosis", "G1"]
    experiment.run(settings, tmp_path / "run")
    monkeypatch.setattr(results, "restore", lambda *_: trained[0])
    monkeypatch.setattr(results, "measure", lambda run, max_images: judged.append(run.source) or found)
    monkeypatch.setattr(measure, "summary", lambda scores: "")
    monkeypatch.setattr(verdicts, "write", lambda *_: [])
    other = _write(tmp_path / "other", (("Mitosis", 3), ("G1", 2), ("S", 4)), seed=5)
    assert results.evaluate(tmp_path / "run", other)["unknown_classes"] == {"S": 4}
    split = judged[0].splits["test"]
    assert split.num_examples == len(split.arrays["x"]) == len(split.metadata["Metadata_File"]) == 9
    number = {"Mitosis": 0, "G1": 1, "S": -1}
    assert split.arrays["label"].tolist() == [number[name] for name in split.metadata["Metadata_Class"]]
    assert (
        "4 of 9 images are of classes that the run was not trained on, S (4); they are predicted and not judged"
        in capsys.readouterr().err
    )
    none = results.evaluate(tmp_path / "run", _write(tmp_path / "none", (("S", 4),), seed=5))
    assert none["unknown_classes"] == {"S": 4}
    assert set(judged[1].splits["test"].arrays["label"].tolist()) == {-1}


def test_images_of_another_depth_or_kind_are_not_normalised_by_a_run(cells, data_dir, tmp_path):
    source = flowcytometry(cells, SIZE, channels=("PI",), data_dir=data_dir)
    arguments = {"preprocessing": source.preprocessing, "image_size": SIZE, "data_dir": data_dir}
    with pytest.raises(ValueError, match="got uint16 of brightfield, expected uint16 of fluorescence; convert"):
        unsplit(cells, channels=(0,), **arguments)
    _save(tmp_path / "cells/G1/1.tif", PLANES.astype(np.uint8))
    with pytest.raises(ValueError, match="got uint8 of fluorescence, expected uint16 of fluorescence"):
        unsplit(tmp_path / "cells", channels=("PI",), **arguments)


def test_jurkat(data_folder, data_dir):
    source = flowcytometry(data_folder / "jurkat", 40, channels=("PI", "brightfield"), data_dir=data_dir)
    assert (source.shape, source.channel_names) == ((40, 40, 2), ("PI", "brightfield"))
    assert source.preprocessing["kinds"] == ["fluorescence", "brightfield"]
    assert sum(split.num_examples for split in source.splits.values()) == 1709
    for split in source.splits.values():
        assert set(split.arrays["label"]) == set(range(7))
    test = source.splits["test"]
    raw = read_image(data_folder / "jurkat" / test.metadata["Metadata_File"][0])[None, ..., [1, 0]]
    fitted = cytometry.from_json(source.preprocessing["normalisation"])
    expected = cytometry.apply(fitted, raw)[0].astype(np.float64) * 65535
    assert np.all(np.abs(test.arrays["x"][0] - expected) <= 0.51)
