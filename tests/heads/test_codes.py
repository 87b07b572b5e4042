"""Codes survive their file, and what does not fit is refused."""

import re

import numpy as np
import pytest

from cellfx.heads import codes

NAMES = ("interphase", "prophase", "metaphase", "anaphase")


def made(num_rows=24, **changes):
    rng = np.random.default_rng(0)
    whole = codes.Codes(
        rng.normal(size=(8, num_rows, 5)).astype(np.float32),
        (np.arange(num_rows) % len(NAMES)).astype(np.int32),
        np.array(["train", "valid", "test"])[np.arange(num_rows) // 4 % 3],
        NAMES,
        rng.integers(0, 9, num_rows).astype(np.int32),
        rng.normal(size=(num_rows, 2)).astype(np.float32),
        ("ring", "angle"),
    )
    return whole._replace(**changes)


def same(one, other):
    for name, value in one._asdict().items():
        np.testing.assert_array_equal(getattr(other, name), value, err_msg=name)


@pytest.mark.parametrize("changes", [{}, {"group": None, "factors": None, "factor_names": ()}])
def test_a_file_gives_back_what_was_saved(tmp_path, changes):
    codes.save(tmp_path / "codes.npz", made(**changes))
    loaded = codes.load(tmp_path / "codes.npz")
    same(made(**changes), loaded)
    assert type(loaded.class_names) is tuple
    assert loaded.views.dtype == np.float32
    assert loaded.group is None if "group" in changes else loaded.group.dtype == np.int32


def test_a_split_gives_its_views_and_labels_in_order():
    whole = made()
    views, labels = codes.of_split(whole, "test")
    rows = np.flatnonzero(whole.split == "test")
    np.testing.assert_array_equal(views, whole.views[:, rows])
    np.testing.assert_array_equal(labels, whole.label[rows])


def test_selected_rows_keep_all_that_is_known_of_them():
    whole, rows = made(), np.array([7, 3])
    for kept in (codes.select(whole, rows), codes.select(made(group=None), rows)):
        np.testing.assert_array_equal(kept.views, whole.views[:, rows])
        for name in ("label", "split", "factors"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(whole, name)[rows])
        assert kept.group is None or kept.group.tolist() == whole.group[rows].tolist()


def test_groups_take_their_classes_rows_and_leave_the_others_out():
    whole = made()
    pair = codes.grouped(whole, {"mitosis": ("anaphase", "metaphase"), "interphase": ("interphase",)})
    rows = np.flatnonzero(whole.label != 1)
    np.testing.assert_array_equal(pair.label, (whole.label[rows] == 0).astype(np.int32))
    np.testing.assert_array_equal(pair.views, whole.views[:, rows])
    assert pair.class_names == ("mitosis", "interphase")
    same(whole, codes.grouped(whole, None))


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        ({}, "no class is kept"),
        ({"a": ("metaphas",)}, "did you mean metaphase?"),
        ({"a": ("metaphase",), "b": ("metaphase",)}, "in two groups"),
        ({"a": ("metaphase",), "b": ("prophase",)}, "got none of the classes ['prophase']"),
    ],
)
def test_groups_that_cannot_be_made_are_refused(classes, part):
    whole = codes.select(made(), made().label != 1)
    with pytest.raises(ValueError, match=re.escape(part)):
        codes.grouped(whole, classes)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"label": np.zeros(3, np.int32)}, "do not fit each other"),
        ({"views": np.zeros((24, 5), np.float32)}, "do not fit each other"),
        ({"split": np.full(24, "tset")}, "unknown split in the codes: got 'tset'"),
        ({"label": np.full(24, 4, np.int32)}, "labels without a name"),
        ({"label": np.full(24, -1, np.int32)}, "labels without a name"),
    ],
)
def test_a_file_with_codes_that_do_not_fit_is_refused(tmp_path, changes, part):
    codes.save(tmp_path / "codes.npz", made(**changes))
    with pytest.raises(ValueError, match=re.escape(part)):
        codes.load(tmp_path / "codes.npz")


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no codes"):
        codes.load(tmp_path / "codes.npz")
    (tmp_path / "codes.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no codes"):
        codes.load(tmp_path / "codes.npz")
    np.savez(tmp_path / "codes.npz", views=np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="holds no codes: got KeyError"):
        codes.load(tmp_path / "codes.npz")


def test_a_class_missing_from_a_split_is_named():
    whole = made()
    codes.check_classes(whole)
    kept = codes.select(whole, (whole.split != "test") | (whole.label != 3))
    with pytest.raises(ValueError, match="no image of 'anaphase' among the 6 of split test"):
        codes.check_classes(kept)
