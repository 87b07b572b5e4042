"""Which examples train, validate and test a model: by group where examples of one group resemble each other."""

from collections.abc import Mapping

import numpy as np


def group_folds(groups: np.ndarray, num_folds: int, counted: np.ndarray | None = None) -> np.ndarray:
    """Folds of nearly equal size that split no group.

    The largest group goes first, each into the fold that holds the fewest examples so far, as in scikit-learn's
    GroupKFold. Ties are broken by the sorted order of the groups and of the folds: no random numbers.

    Args:
        groups: (N,) group of each example, e.g. the plate, numbers or strings.
        num_folds: number of folds.
        counted: (N,) bool, the examples that the folds shall share evenly; None counts all. Groups without one are
            dealt out by their size.

    Returns:
        (N,) int32 fold of each example, in 0..num_folds - 1.

    Raises:
        ValueError: fewer than 2 folds, or fewer groups than folds.
    """
    names, membership, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights = sizes if counted is None else np.bincount(membership, np.asarray(counted), len(names)).astype(np.int64)
    _check_num_folds(num_folds)
    if len(names) < num_folds:
        raise ValueError(
            f"fewer groups than folds: {len(names)} groups and num_folds={num_folds}; expected a group for every "
            "fold; lower num_folds or group by something finer"
        )
    fold_of_group = np.zeros(len(names), np.int32)
    filled, total = np.zeros((2, num_folds), np.int64)
    for group in np.lexsort((-sizes, -weights)):
        fold = np.argmin(filled if weights[group] else total)
        fold_of_group[group] = fold
        filled[fold] += weights[group]
        total[fold] += sizes[group]
    return fold_of_group[membership]


def split_by_group(
    groups: np.ndarray,
    num_folds: int = 5,
    fold: int = 0,
    valid_rate: float = 0.1,
    seed: int = 0,
    counted: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Splits such that no group is in two of them: one fold tests, random groups of the others validate.

    Args:
        groups: (N,) group of each example.
        num_folds: see ``group_folds``.
        fold: the fold that tests.
        valid_rate: fraction of the other folds' examples to validate on; groups are taken in random order until they
            reach it, but never all of them. 0 for none.
        seed: of the order in which groups are taken to validate.
        counted: see ``group_folds``.

    Returns:
        "train", "valid" and "test" -> increasing indices, int64.

    Raises:
        ValueError: see ``group_folds``; no such fold; ``valid_rate`` not in [0, 1); or a single group is left, which
            cannot both train and validate.
    """
    groups = np.asarray(groups)
    check_fold(fold, num_folds)
    _check_valid_rate(valid_rate)
    is_test = group_folds(groups, num_folds, counted) == fold
    names, sizes = np.unique(groups[~is_test], return_counts=True)
    if valid_rate > 0 and len(names) < 2:
        raise ValueError(
            f"no group left to validate on: {len(names)} group outside test fold {fold}; expected 2 or more; "
            "raise num_folds, set valid_rate=0 or group by something finer"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    # The last group stays for training even where the one before it was too small.
    taken = order[:-1][before[:-1] < valid_rate * sizes.sum()]
    is_valid = ~is_test & np.isin(groups, names[taken])
    return _indices({"train": ~is_test & ~is_valid, "valid": is_valid, "test": is_test})


def split_at_random(
    num_examples: int, num_folds: int = 5, fold: int = 0, valid_rate: float = 0.1, seed: int = 0
) -> dict[str, np.ndarray]:
    """Splits for examples without groups: one of ``num_folds`` random parts tests, some of the rest validate.

    Args:
        num_examples: N.
        num_folds: parts of equal size (to one example); the same for every ``fold``.
        fold: the part that tests.
        valid_rate: fraction of the rest to validate on, at least one example where it is not 0.
        seed: of the permutation.

    Returns:
        "train", "valid" and "test" -> increasing indices, int64.

    Raises:
        ValueError: fewer than 2 folds, no such fold, ``valid_rate`` not in [0, 1), or too few examples for every split
            to have one.
    """
    _check_num_folds(num_folds)
    check_fold(fold, num_folds)
    _check_valid_rate(valid_rate)
    place = np.random.default_rng(seed).permutation(num_examples)
    is_test = place % num_folds == fold
    num_rest = num_examples - int(is_test.sum())
    num_valid = max(1, round(valid_rate * num_rest)) if valid_rate > 0 else 0
    if num_examples < num_folds or num_rest - num_valid < 1:
        raise _too_few_examples(num_examples, num_folds)
    rest = np.flatnonzero(~is_test)
    is_valid = np.zeros(num_examples, bool)
    is_valid[rest[np.argsort(place[rest])[:num_valid]]] = True
    return _indices({"train": ~is_test & ~is_valid, "valid": is_valid, "test": is_test})


def split_by_class(
    labels: np.ndarray, num_folds: int = 5, fold: int = 0, valid_rate: float = 0.1, seed: int = 0
) -> dict[str, np.ndarray]:
    """Splits at random, every class alike: each is dealt over the folds, and validation takes its share of each.

    The classes are dealt one after the other without starting anew, so that the folds differ by at most one example of
    a class and by at most one in all. A class with fewer examples than folds is missing from some of them.

    Args:
        labels: (N,) class of each example, numbers or strings.
        num_folds: parts; the same for every ``fold``.
        fold: the part that tests.
        valid_rate: fraction of what is left of each class to validate on: at least one example where it is not 0, but
            never the last one.
        seed: of the order in which examples are dealt.

    Returns:
        "train", "valid" and "test" -> increasing indices, int64; every class has an example to train on.

    Raises:
        ValueError: fewer than 2 folds, no such fold, ``valid_rate`` not in [0, 1), a class with a single example, or
            too few examples for every split to have one.
    """
    _check_num_folds(num_folds)
    check_fold(fold, num_folds)
    _check_valid_rate(valid_rate)
    names, members, sizes = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if np.any(sizes == 1):
        raise ValueError(
            f"too few examples of class {names[sizes == 1][0]}: got 1; expected 2 or more, to train and to test on; "
            "add examples or leave the class out"
        )
    order = np.random.default_rng(seed).permutation(len(members))
    order = order[np.argsort(members[order], kind="stable")]  # class by class, each in random order
    is_test = np.zeros(len(members), bool)
    is_test[order[fold::num_folds]] = True
    is_valid = np.zeros(len(members), bool)
    for member in range(len(names) if valid_rate > 0 else 0):
        rest = order[(members[order] == member) & ~is_test[order]]
        is_valid[rest[: min(max(1, round(valid_rate * len(rest))), len(rest) - 1)]] = True
    if len(members) < num_folds or (valid_rate > 0 and not is_valid.any()):
        raise _too_few_examples(len(members), num_folds)
    return _indices({"train": ~is_test & ~is_valid, "valid": is_valid, "test": is_test})


def _check_num_folds(num_folds: int) -> None:
    if num_folds < 2:
        raise ValueError(f"too few folds: num_folds={num_folds}; expected 2 or more; raise num_folds")


def _too_few_examples(num_examples: int, num_folds: int) -> ValueError:
    return ValueError(
        f"too few examples to split: got {num_examples}; expected one or more in each of {num_folds} folds and in "
        "training beside validation; add examples, lower num_folds or set valid_rate=0"
    )


def check_fold(fold: int, num_folds: int) -> None:
    """Raises a ValueError for a fold that there is not."""
    if not 0 <= fold < num_folds:
        raise ValueError(f"no such fold: fold={fold}; expected 0 to {num_folds - 1}; change fold or num_folds")


def _check_valid_rate(valid_rate: float) -> None:
    if not 0.0 <= valid_rate < 1.0:
        raise ValueError(
            f"valid_rate out of range: got {valid_rate}; expected 0 or more and less than 1; change valid_rate"
        )


def _indices(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}
