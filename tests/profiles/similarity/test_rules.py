import jax
import numpy as np
import polars as pl
import pytest
import screens
from copairs.matching import find_pairs, find_pairs_multilabel

from cellfx.profiles.similarity.rules import check_columns, encode, listed, pair_rule, paired

reference = screens.reference("profiles_pairs")

RULES = [
    (["Metadata_A"], []),
    ([], ["Metadata_A"]),
    (["Metadata_A", "Metadata_B"], []),
    ([], ["Metadata_A", "Metadata_B"]),
    (["Metadata_A"], ["Metadata_B"]),
    (["Metadata_B"], ["Metadata_A", "Metadata_C"]),
    (["Metadata_C"], ["Metadata_D"]),
    (["Metadata_A", "Metadata_D"], ["Metadata_B", "Metadata_C"]),
]


def metadata(seed, missing):
    """Text, numbers, truth values and fractions, some of them missing."""
    rng = np.random.default_rng(seed)
    columns = {
        "Metadata_A": rng.choice(["x", "y", "z"], 40).tolist(),
        "Metadata_B": rng.integers(0, 4, 40).tolist(),
        "Metadata_C": (rng.uniform(size=40) < 0.5).tolist(),
        "Metadata_D": (rng.integers(0, 3, 40) / 4).tolist(),
    }
    if missing:
        for name, values in columns.items():
            for row in rng.choice(40, 4, replace=False):
                values[row] = float("nan") if name == "Metadata_D" and row % 2 else None
    return pl.DataFrame(columns)


def dense(rule, num_rows):
    masks = [np.asarray(jax.jit(paired)(rule, rows)) for rows in np.array_split(np.arange(num_rows, dtype=np.int32), 3)]
    return set(map(tuple, np.argwhere(np.concatenate(masks)).tolist()))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(("sameby", "diffby"), RULES)
def test_masks_and_lists_equal_the_reference(sameby, diffby, missing):
    table = metadata(len(sameby), missing)
    rule = pair_rule(table, sameby, diffby)
    expected = reference.positive(table, sameby, diffby)
    assert 0 < len(expected) < 40 * 39
    assert dense(rule, 40) == expected
    found = listed(rule)
    assert found.tolist() == sorted(map(list, expected))
    assert found.dtype == np.int32


@pytest.mark.parametrize(("sameby", "diffby"), RULES)
def test_pairs_are_those_of_copairs(sameby, diffby):
    table = metadata(7, missing=False)
    found = find_pairs(table.to_pandas(), sameby, diffby)
    expected = {tuple(map(int, pair)) for pair in found} | {tuple(map(int, pair[::-1])) for pair in found}
    assert dense(pair_rule(table, sameby, diffby), 40) == expected


def labeled(num_labels=5, missing=False):
    rng = np.random.default_rng(3)
    values = ["|".join(f"label {k}" for k in rng.permutation(num_labels)[: rng.integers(1, 4)]) for _ in range(40)]
    if missing:
        values[3] = values[17] = None
    return metadata(1, missing=False).with_columns(Metadata_MOA=pl.Series(values, dtype=pl.String))


@pytest.mark.parametrize("num_labels", [5, 80])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("sameby", "diffby"),
    [
        (["Metadata_MOA"], []),
        ([], ["Metadata_MOA"]),
        (["Metadata_MOA"], ["Metadata_A"]),
        (["Metadata_A", "Metadata_MOA"], ["Metadata_B"]),
        (["Metadata_A"], ["Metadata_MOA", "Metadata_B"]),
    ],
)
def test_labels(sameby, diffby, missing, num_labels):
    table = labeled(num_labels, missing)
    rule = pair_rule(table, sameby, diffby, multilabel="Metadata_MOA")
    expected = reference.positive(table, sameby, diffby, multilabel="Metadata_MOA")
    assert expected != reference.positive(table, sameby, diffby)
    assert dense(rule, 40) == expected
    assert listed(rule).tolist() == sorted(map(list, expected))


def test_labels_are_those_of_copairs():
    table = labeled()
    frame = table.to_pandas()
    frame["Metadata_MOA"] = frame["Metadata_MOA"].str.split("|")
    found = find_pairs_multilabel(frame, ["Metadata_MOA"], ["Metadata_A"], "Metadata_MOA")[0]
    expected = {tuple(map(int, pair)) for pair in found} | {tuple(map(int, pair[::-1])) for pair in found}
    assert dense(pair_rule(table, ["Metadata_MOA"], ["Metadata_A"], "Metadata_MOA"), 40) == expected


def test_labels_are_trimmed_and_no_label_is_missing():
    table = pl.DataFrame({"Metadata_MOA": ["a | b", "b", "", " | ", None, "c"]})
    assert dense(pair_rule(table, ["Metadata_MOA"], multilabel="Metadata_MOA"), 6) == {(0, 1), (1, 0)}
    differ = {(0, 5), (5, 0), (1, 5), (5, 1)}
    assert dense(pair_rule(table, [], ["Metadata_MOA"], multilabel="Metadata_MOA"), 6) == differ
    commas = pl.DataFrame({"Metadata_MOA": ["a,b", "b,c", "a|b"]})
    rule = pair_rule(commas, ["Metadata_MOA"], multilabel="Metadata_MOA", separator=",")
    assert dense(rule, 3) == {(0, 1), (1, 0)}


def test_too_many_candidates_are_not_listed():
    table = pl.DataFrame({"Metadata_A": ["x"] * 6 + ["y"] * 4})
    rule = pair_rule(table, ["Metadata_A"])
    assert listed(rule, max_pairs=51) is None
    assert len(listed(rule, max_pairs=52)) == 42


def sparse_labels(num_rows, num_labels, seed, separator="|"):
    """Up to three labels a row, some of them none, and a column of four values."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(num_labels)[: rng.integers(0, 4)] for _ in range(num_rows)]
    values = [
        separator.join(f" label {k}" for k in labels) or (None, "", separator)[i % 3] for i, labels in enumerate(chosen)
    ]
    return pl.DataFrame({"Metadata_MOA": values, "Metadata_A": rng.integers(0, 4, num_rows)})


@pytest.mark.parametrize("separator", ["|", ";"])
@pytest.mark.parametrize("diffby", [[], ["Metadata_A"]])
@pytest.mark.parametrize("num_labels", [1, 3, 40, 200])
def test_lists_by_label_are_those_of_the_masks(num_labels, diffby, separator):
    for seed in range(3):
        table = sparse_labels(120, num_labels, seed, separator)
        rule = pair_rule(table, ["Metadata_MOA"], diffby, "Metadata_MOA", separator)
        mask = np.asarray(paired(rule, np.arange(120, dtype=np.int32)))
        found = listed(rule)
        np.testing.assert_array_equal(found, np.argwhere(mask))
        assert found.dtype == np.int32


def test_few_matches_among_many_rows_are_listed_by_label():
    rule = pair_rule(sparse_labels(3000, 1000, 0), ["Metadata_MOA"], ["Metadata_A"], "Metadata_MOA")
    found = listed(rule, max_pairs=2**20)
    assert 1000 < len(found) < 2**15
    np.testing.assert_array_equal(found, np.argwhere(np.asarray(paired(rule, np.arange(3000, dtype=np.int32)))))


def test_candidates_of_labels_are_their_members_squared_or_all_rows():
    few = pair_rule(
        pl.DataFrame({"Metadata_MOA": ["a|b", "a|b", "a", "c", "c|d", ""]}), ["Metadata_MOA"], (), "Metadata_MOA"
    )
    assert listed(few, max_pairs=9 + 4 + 4 + 1 - 1) is None
    assert len(listed(few, max_pairs=9 + 4 + 4 + 1)) == 6 + 2
    all_share = pair_rule(pl.DataFrame({"Metadata_MOA": ["a|b|c"] * 5}), ["Metadata_MOA"], (), "Metadata_MOA")
    assert listed(all_share, max_pairs=24) is None
    assert len(listed(all_share, max_pairs=25)) == 20
    none = pair_rule(pl.DataFrame({"Metadata_MOA": ["", None]}), ["Metadata_MOA"], (), "Metadata_MOA")
    assert listed(none).shape == (0, 2)


def test_codes_number_combinations_by_first_appearance():
    table = pl.DataFrame(
        {
            "Metadata_A": ["b", "a", "b", None, "a", "b"],
            "Metadata_B": [1.0, 1.0, float("nan"), 2.0, 1.0, 1.0],
        }
    )
    assert encode(table, ["Metadata_A"]).tolist() == [0, 1, 0, -1, 1, 0]
    assert encode(table, ["Metadata_B"]).tolist() == [0, 0, -1, 1, 0, 0]
    assert encode(table, ["Metadata_A", "Metadata_B"]).tolist() == [0, 1, -1, -1, 1, 0]
    assert encode(pl.DataFrame({"Metadata_A": [None, None]}), ["Metadata_A"]).tolist() == [-1, -1]
    assert encode(table.head(0), ["Metadata_A"]).tolist() == []


def test_bad_input():
    table = labeled()
    with pytest.raises(ValueError, match="got 'Metadata_Z', expected one of Metadata_A, Metadata_B"):
        pair_rule(table, ["Metadata_Z"])
    with pytest.raises(ValueError, match="got 'Metadata_Z', expected one of"):
        pair_rule(table, [], ["Metadata_Z"])
    with pytest.raises(ValueError, match="got 'Metadata_Z', expected one of"):
        encode(table, ["Metadata_Z"])
    with pytest.raises(ValueError, match=r"columns are no list: got 'Metadata_A', expected .* write \['Metadata_A'\]"):
        check_columns(table, "Metadata_A")
    with pytest.raises(ValueError, match=r"got sameby \[\] and diffby \[\], expected one column or more"):
        pair_rule(table)
    with pytest.raises(ValueError, match=r"got sameby \['Metadata_A'\] and diffby \['Metadata_A'\]"):
        pair_rule(table, ["Metadata_A"], ["Metadata_A"])
    with pytest.raises(ValueError, match=r"got multilabel 'Metadata_MOA' for sameby \['Metadata_A'\]"):
        pair_rule(table, ["Metadata_A"], multilabel="Metadata_MOA")
    with pytest.raises(ValueError, match="got multilabel 'Metadata_B' for"):
        pair_rule(table, ["Metadata_B"], multilabel="Metadata_B")
