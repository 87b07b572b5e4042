"""Folds split no group, are balanced and reproducible; splits are disjoint and complete."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from cellfx.data import splits

GROUPS = np.repeat(["plate_a", "plate_b", "plate_c", "plate_d", "plate_e", "plate_f"], [9, 7, 5, 4, 3, 2])


def _shuffled(groups):
    return groups[np.random.default_rng(1).permutation(len(groups))]


def test_largest_group_goes_first_into_the_emptiest_fold():
    # 9 -> 0, 7 -> 1, 5 -> 2, 4 -> 2 (5 < 7 < 9) makes 9, 3 -> 1 makes 10, 2 -> 0 (9, a tie with fold 2) makes 11.
    folds = splits.group_folds(GROUPS, 3)
    np.testing.assert_array_equal(folds, np.repeat([0, 1, 2, 2, 1, 0], [9, 7, 5, 4, 3, 2]))
    assert folds.dtype == np.int32


def test_fold_sizes_equal_those_of_scikit_learn():
    groups = np.random.default_rng(0).geometric(0.05, 500)
    ours = np.bincount(splits.group_folds(groups, 4))
    theirs = [len(test) for _, test in GroupKFold(4).split(groups, groups=groups)]
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(2, 5))
def test_no_group_is_in_two_folds_and_no_fold_is_empty(groups, num_folds):
    groups = np.array(groups)
    if len(np.unique(groups)) < num_folds:
        with pytest.raises(ValueError, match=f"{len(np.unique(groups))} groups and num_folds={num_folds}"):
            splits.group_folds(groups, num_folds)
        return
    folds = splits.group_folds(groups, num_folds)
    assert {len(set(folds[groups == group])) for group in groups} == {1}
    assert set(folds) == set(range(num_folds))


@pytest.mark.parametrize("fold", range(3))
@pytest.mark.parametrize("valid_rate", [0.0, 0.1, 0.5, 0.99])
def test_split_by_group_separates_groups_and_keeps_every_example(fold, valid_rate):
    groups = _shuffled(GROUPS)
    parts = splits.split_by_group(groups, 3, fold, valid_rate)
    assert list(parts) == ["train", "valid", "test"]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(groups)))
    named = {name: set(groups[rows]) for name, rows in parts.items()}
    assert not named["train"] & named["valid"]
    assert not named["test"] & (named["train"] | named["valid"])
    assert named["train"]
    assert bool(named["valid"]) == (valid_rate > 0)
    np.testing.assert_array_equal(parts["test"], np.flatnonzero(splits.group_folds(groups, 3) == fold))


def test_split_by_group_reaches_the_validation_rate_with_as_few_groups_as_needed():
    groups = np.repeat(np.arange(50), 4)
    parts = splits.split_by_group(groups, 5, 0, valid_rate=0.1)
    # 40 groups of 4 are left, 16 examples are a tenth.
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 144, "valid": 16, "test": 40}


def test_split_by_group_depends_on_the_seed_only_in_validation():
    first, again, other = (splits.split_by_group(np.repeat(np.arange(50), 4), seed=seed) for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    np.testing.assert_array_equal(first["test"], other["test"])
    assert not np.array_equal(first["valid"], other["valid"])


def test_random_folds_partition_the_examples():
    parts = [splits.split_at_random(23, 4, fold, valid_rate=0.2, seed=3) for fold in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate([part["test"] for part in parts])), np.arange(23))
    for part in parts:
        np.testing.assert_array_equal(np.sort(np.concatenate(list(part.values()))), np.arange(23))
        assert len(part["test"]) in (5, 6)
        # A fifth of 17 is 3.4, of 18 is 3.6.
        assert len(part["valid"]) == {6: 3, 5: 4}[len(part["test"])]


def test_random_split_depends_on_the_seed():
    first, again, other = (splits.split_at_random(100, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["test"], again["test"])
    assert not np.array_equal(first["test"], other["test"])


LABELS = np.repeat([0, 1, 2, 3, 4], [2, 3, 8, 34, 103])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=5), st.integers(2, 5), st.floats(0.0, 0.95), st.integers(0, 9))
def test_every_class_is_dealt_out_evenly_and_left_to_train_on(sizes, num_folds, valid_rate, seed):
    sizes = [4, *sizes]  # of one class there is an example to validate on, whatever the fold
    labels = _shuffled(np.repeat(np.arange(len(sizes)), sizes))
    tested = np.zeros((num_folds, len(sizes)), int)
    for fold in range(num_folds):
        parts = splits.split_by_class(labels, num_folds, fold, valid_rate, seed)
        np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
        counts = {name: np.bincount(labels[rows], minlength=len(sizes)) for name, rows in parts.items()}
        tested[fold] = counts["test"]
        rest = np.array(sizes) - counts["test"]
        assert np.all(counts["train"] >= 1)
        np.testing.assert_array_equal(counts["valid"] > 0, (rest > 1) & (valid_rate > 0))
        assert np.all(np.abs(counts["valid"] - valid_rate * rest) <= 1.0)
    np.testing.assert_array_equal(tested.sum(axis=0), sizes)
    assert np.all(tested.max(axis=0) - tested.min(axis=0) <= 1)
    assert tested.sum(axis=1).max() - tested.sum(axis=1).min() <= 1


def test_folds_by_class_partition_the_examples_whatever_the_labels_are_called():
    names = np.array(["a", "b", "c", "d", "e"])[LABELS]
    tested = [splits.split_by_class(LABELS, 5, fold)["test"] for fold in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(LABELS)))
    for fold, rows in enumerate(tested):
        np.testing.assert_array_equal(splits.split_by_class(names, 5, fold)["test"], rows)
    assert not np.array_equal(splits.split_by_class(LABELS, 5, 0, seed=1)["test"], tested[0])


def test_validation_takes_its_share_of_every_class():
    parts = splits.split_by_class(np.repeat([0, 1], [100, 50]), 5, 0, valid_rate=0.1)
    labels = np.repeat([0, 1], [100, 50])
    # 80 and 40 are left.
    np.testing.assert_array_equal(np.bincount(labels[parts["valid"]]), [8, 4])
    np.testing.assert_array_equal(np.bincount(labels[parts["test"]]), [20, 10])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (splits.group_folds, (GROUPS, 1), "num_folds=1; expected 2 or more"),
        (splits.group_folds, (GROUPS, 7), "6 groups and num_folds=7"),
        (splits.split_by_group, (GROUPS, 3, 3), "fold=3; expected 0 to 2"),
        (splits.split_by_group, (GROUPS, 3, -1), "fold=-1; expected 0 to 2"),
        (splits.split_by_group, (GROUPS, 3, 0, 1.0), "valid_rate out of range: got 1.0"),
        (splits.split_by_group, (np.array(["a", "b"]), 2, 0, 0.1), "1 group outside test fold 0"),
        (splits.split_at_random, (3, 5), "got 3; expected one or more in each of 5 folds"),
        (splits.split_at_random, (2, 2, 0, 0.5), "got 2; expected one or more in each of 2 folds"),
        (splits.split_at_random, (9, 1), "num_folds=1"),
        (splits.split_at_random, (9, 3, 5), "fold=5; expected 0 to 2"),
        (splits.split_by_class, (LABELS, 1), "num_folds=1; expected 2 or more"),
        (splits.split_by_class, (LABELS, 5, 5), "fold=5; expected 0 to 4"),
        (splits.split_by_class, (LABELS, 5, 0, 1.0), "valid_rate out of range: got 1.0"),
        (
            splits.split_by_class,
            (np.array(["a", "b", "a"]), 2),
            "too few examples of class b: got 1; expected 2 or more",
        ),
        (splits.split_by_class, (np.zeros(3), 5), "got 3; expected one or more in each of 5 folds"),
        (splits.split_by_class, (np.zeros(2), 2, 0, 0.5), "got 2; expected one or more in each of 2 folds"),
        (splits.split_at_random, (9, 3, 0, -0.1), "valid_rate out of range: got -0.1"),
    ],
)
def test_what_cannot_be_split_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_folds_share_the_counted_examples_evenly():
    rng = np.random.default_rng(0)
    groups = rng.integers(40, size=2000)
    counted = (groups < 25) & (rng.uniform(size=2000) < 0.2)
    folds = splits.group_folds(groups, 5, counted)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(40))
    shares = np.bincount(folds[counted], minlength=5) / counted.sum()
    assert np.all(np.abs(shares - 0.2) < 0.03)
    assert np.all(np.bincount(folds) > 0.15 * 2000)
    np.testing.assert_array_equal(splits.group_folds(groups, 5, np.ones(2000, bool)), splits.group_folds(groups, 5))
