import os
import re

import numpy as np
import pytest

from cellfx.data.images.folder import nearest, parse_names, scan


@pytest.fixture
def folder(tmp_path):
    for name in ("B/2.png", "B/1.TIF", "A/3.png", "A/.4.png", "A/notes.txt", ".hidden/1.png"):
        path = tmp_path / "cells" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "cells"


def test_files_are_listed_by_class_and_name(folder):
    found = scan(folder)
    assert found.class_names == ("A", "B")
    assert found.files == ("A/3.png", "B/1.TIF", "B/2.png")
    np.testing.assert_array_equal(found.labels, [0, 1, 1])


def test_labels_follow_the_chosen_classes(folder):
    found = scan(folder, ["B", "A"])
    assert found.files == ("B/1.TIF", "B/2.png", "A/3.png")
    np.testing.assert_array_equal(found.labels, [0, 0, 1])


def _change_content(folder):
    (folder / "A/3.png").write_bytes(b"x" * len("A/3.png"))


def _swap_classes(folder):
    os.rename(folder / "A/3.png", folder / "A/kept")
    os.rename(folder / "B/2.png", folder / "A/3.png")
    os.rename(folder / "A/kept", folder / "B/2.png")


@pytest.mark.parametrize(
    "change",
    [
        _change_content,
        _swap_classes,
        lambda folder: (folder / "A/3.png").rename(folder / "A/5.png"),
        lambda folder: (folder / "B/2.png").unlink(),
        lambda folder: (folder / "B/3.png").write_bytes(b""),
    ],
)
def test_fingerprint_notices(folder, change):
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(0, 0))
    before = scan(folder).fingerprint
    assert scan(folder).fingerprint == before
    change(folder)
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(0, 0))  # as an archive that keeps no times would leave them
    assert scan(folder).fingerprint != before


@pytest.mark.parametrize("absolute", [True, False])
def test_link_out_of_the_folder_is_refused(folder, tmp_path, absolute):
    (tmp_path / "secret.png").write_bytes(b"")
    (folder / "A/link.png").symlink_to(tmp_path / "secret.png" if absolute else "../../secret.png")
    with pytest.raises(ValueError, match=r"link\.png is a link out of the folder"):
        scan(folder)


def test_link_inside_the_folder_is_followed(folder):
    (folder / "A/link.png").symlink_to("3.png")
    assert "A/link.png" in scan(folder).files


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["A", "b"], "unknown class 'b' in .*; did you mean 'B'"),
        (["A", "A"], r"classes must be different names, at least one; got \['A', 'A'\]"),
        ([], r"classes must be different names, at least one; got \[\]"),
    ],
)
def test_wrong_classes_are_refused(folder, classes, message):
    with pytest.raises(ValueError, match=message):
        scan(folder, classes)


def test_empty_class_is_named(folder):
    (folder / "C").mkdir()
    with pytest.raises(ValueError, match=f"class folder {re.escape(str(folder / 'C'))} is empty"):
        scan(folder)
    assert scan(folder, ["A", "B"]).class_names == ("A", "B")


def test_missing_folder_file_and_flat_folder_are_named(folder):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; expected a folder"):
        scan(folder / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"3\.png is a file; expected a folder"):
        scan(folder / "A/3.png")
    with pytest.raises(ValueError, match=f"no class folders in {re.escape(str(folder / 'A'))}"):
        scan(folder / "A")


def test_names_become_columns_of_text():
    columns = parse_names(["A/p07_x3.png", "B/p11_x.png"], r"p(?P<Plate>\d+)_x(?P<Site>\d)?")
    assert {name: list(values) for name, values in columns.items()} == {
        "Metadata_File": ["A/p07_x3.png", "B/p11_x.png"],
        "Metadata_Class": ["A", "B"],
        "Metadata_Plate": ["07", "11"],
        "Metadata_Site": ["3", ""],
    }


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        (r"(?P<Plate>q)", r"metadata_regex does not match the name of A/p\.png; got '\(\?P<Plate>q\)'"),
        (r"(?P<Class>A)/", r"needs named groups other than File and Class"),
        (r"(p)", "needs named groups"),
        (r"(?P<Plate>p", "is not a regular expression"),
    ],
)
def test_unusable_expressions_are_refused(regex, message):
    with pytest.raises(ValueError, match=message):
        parse_names(["A/p.png"], regex)


def test_nearest_lists_few_choices_only():
    assert nearest("Anafase", ["Metaphase", "Anaphase"]) == "did you mean 'Anaphase'? (there are Metaphase, Anaphase)"
    assert nearest("c7", [f"class{i}" for i in range(30)]) == "did you mean 'class7'?"
