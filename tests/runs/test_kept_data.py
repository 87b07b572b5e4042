"""What has changed in the data of a run since it was trained is named."""

import json
import re

import numpy as np
import pytest

from cellfx.data.source import Source, Split
from cellfx.runs.kept_data import FILES, check_data, is_kept

CLASSES = ("G1", "S")


def _source(files=None, with_checksums=True, extra=0):
    """Files are (name, class, split, checksum)."""
    files = files if files is not None else _files()
    splits = {}
    for split in ("train", "valid", "test"):
        rows = [file for file in files if file[2] == split]
        names, labels = (np.array([row[k] for row in rows], np.str_) for k in (0, 1))
        numbers = np.array([CLASSES.index(label) for label in labels])
        arrays = {"x": np.zeros((len(rows), 2, 2, 1), np.uint8), "label": numbers}
        metadata = {"Metadata_File": names, "Metadata_Class": labels, "Metadata_Extra": np.full(len(rows), extra)}
        checksums = np.array([row[3] for row in rows], np.uint32) if with_checksums else None
        splits[split] = Split(len(rows), arrays, metadata=metadata, checksums=checksums)
    return Source("cells", (2, 2, 1), splits, CLASSES)


def _files():
    splits = ["train"] * 4 + ["valid", "test"]
    return [(f"{name}/{k}.tif", name, split, 10 * k) for name in CLASSES for k, split in enumerate(splits)]


def _change(*rows):
    """The files, those named as rows in place of what they were."""
    changed = {row[0]: row for row in rows}
    return [changed.get(file[0], file) for file in _files()]


def test_the_same_data_is_taken(tmp_path):
    assert check_data(tmp_path, _source()) == ()
    assert check_data(tmp_path, _source()) == ()
    assert is_kept(tmp_path, _source())


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (_files()[1:], "1 file is gone (G1/0.tif)"),
        ([*_files(), ("S/9.tif", "S", "train", 1)], "1 file is new (S/9.tif)"),
        ([("G1/new.tif", "G1", "train", 0), *_files()[1:]], "1 file is gone (G1/0.tif), 1 file is new (G1/new.tif)"),
        (_change(("S/0.tif", "G1", "train", 0)), "1 file is of another class (S/0.tif)"),
        (_change(("S/0.tif", "S", "valid", 0)), "1 file is in another split (S/0.tif)"),
        (_files()[4:], "4 files are gone (G1/0.tif, G1/1.tif, G1/2.tif, ...)"),
        (_change(("S/0.tif", "G1", "train", 7)), "of another class (S/0.tif), 1 file is of another content (S/0.tif)"),
    ],
)
def test_the_files_that_differ_are_named(tmp_path, files, told):
    check_data(tmp_path, _source())
    since = f"the data of cells has changed since {tmp_path} was trained: "
    with pytest.raises(ValueError, match=f"{re.escape(since)}.*{re.escape(told)}; expected the same") as caught:
        check_data(tmp_path, _source(files))
    assert "\n" not in str(caught.value)
    assert not is_kept(tmp_path, _source(files))


def test_metadata_that_differ_are_told_from_files(tmp_path):
    check_data(tmp_path, _source())
    with pytest.raises(ValueError, match="was trained: the same files with other metadata; expected"):
        check_data(tmp_path, _source(extra=1))


def test_another_content_alone_is_a_notice(tmp_path):
    check_data(tmp_path, _source())
    (line,) = check_data(tmp_path, _source(_change(("S/0.tif", "S", "train", 7), ("S/5.tif", "S", "test", 8))))
    assert line.startswith(
        f"2 of 12 files of cells have another content than when {tmp_path} was trained, such as S/0.tif;"
    )


def test_a_run_of_an_older_version_is_taken_and_its_counts_are_named(tmp_path):
    check_data(tmp_path, _source())
    (tmp_path / FILES).unlink()
    assert check_data(tmp_path, _source()) == ()
    with pytest.raises(ValueError, match=r"'train': 7.* examples, .*'train': 8.* then, and no list of the files"):
        check_data(tmp_path, _source(_files()[1:]))


def test_data_of_no_files_is_remembered_by_its_digest(tmp_path):
    check_data(tmp_path, _source(with_checksums=False))
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
    assert set(json.loads((tmp_path / "data.json").read_text())) == {"train", "valid", "test"}
    with pytest.raises(ValueError, match="has changed since"):
        check_data(tmp_path, _source(_files()[1:], with_checksums=False))


def test_a_damaged_list_of_files_is_named(tmp_path):
    check_data(tmp_path, _source())
    (tmp_path / FILES).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path / FILES))} is damaged: got"):
        check_data(tmp_path, _source())


@pytest.mark.parametrize("content", ['{"test": ', "[]"])
def test_a_damaged_digest_is_named(tmp_path, content):
    check_data(tmp_path, _source())
    (tmp_path / "data.json").write_text(content)
    for check in (check_data, is_kept):
        with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path / 'data.json'))} is damaged: got .*restore it"):
            check(tmp_path, _source())
