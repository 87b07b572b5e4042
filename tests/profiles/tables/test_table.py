import datetime
import re

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.table import (
    SUFFIXES,
    Profiles,
    check_finite,
    from_frame,
    groups,
    level_path,
    take,
    take_features,
    to_frame,
    write,
)


def small():
    metadata = pl.DataFrame({"Metadata_Plate": ["b", "a", "b"], "Metadata_Well": ["A01", None, "A02"]})
    return Profiles(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, np.nan]]), ("x", "y"), metadata)


def test_a_table_is_divided_and_put_together_again():
    frame = pl.DataFrame({"x": [1, 2], "Metadata_Plate": ["p", "q"], "y": [0.5, None], "z": [True, False]})
    profiles = from_frame(frame)
    assert profiles.names == ("x", "y", "z")
    assert profiles.features.dtype == np.float64
    np.testing.assert_array_equal(profiles.features, [[1, 0.5, 1], [2, np.nan, 0]])
    assert profiles.metadata.columns == ["Metadata_Plate"]
    again = from_frame(to_frame(profiles))
    np.testing.assert_array_equal(again.features, profiles.features)
    assert again.names == profiles.names
    assert again.metadata.equals(profiles.metadata)


def test_a_regular_expression_chooses_features_and_drops_nothing():
    frame = pl.DataFrame({"plate": ["p"], "z0": [1.0], "area": [2.0], "z1": [3.0], "Metadata_z2": [4.0]})
    profiles = from_frame(frame, r"^z\d")
    assert profiles.names == ("z0", "z1")
    assert profiles.metadata.columns == ["Metadata_plate", "Metadata_area", "Metadata_z2"]
    np.testing.assert_array_equal(profiles.features, [[1.0, 3.0]])


def test_numbers_written_as_text_are_numbers():
    frame = pl.DataFrame({"x": ["1.5", "NA", " 2e3 ", None, "NaN", "None", "-inf"], "y": [None] * 7})
    np.testing.assert_array_equal(
        from_frame(frame).features,
        np.stack([[1.5, np.nan, 2000, np.nan, np.nan, np.nan, -np.inf], np.full(7, np.nan)], axis=1),
    )


def test_text_in_a_feature_column_is_refused():
    with pytest.raises(ValueError, match=r"got 'A549' in row 2 of 'cell', expected numbers; name the column Metadata_"):
        from_frame(pl.DataFrame({"x": [1.0, 2, 3], "cell": ["1", "", "A549"]}))
    with pytest.raises(ValueError, match=r"text in a feature column: got datetime.date\(2020, 1, 2\) in row 0 of 'day"):
        from_frame(pl.DataFrame({"day": [datetime.date(2020, 1, 2)]}))
    with pytest.raises(ValueError, match=r"in row 0 of 'list'"):
        from_frame(pl.DataFrame({"list": [[1.0, 2.0]]}))


def test_tables_without_features_are_refused():
    with pytest.raises(ValueError, match=r"got the columns 'Metadata_Plate', expected at least one that does not"):
        from_frame(pl.DataFrame({"Metadata_Plate": [1]}))
    with pytest.raises(ValueError, match=r"got the columns 'c0', 'c1', 'c2', 'c3', 'c4' and 2 more, .* '\^z' is found"):
        from_frame(pl.DataFrame({f"c{i}": [1] for i in range(7)}), "^z")
    with pytest.raises(ValueError, match="two columns for one name: got 'Plate' and 'Metadata_Plate'"):
        from_frame(pl.DataFrame({"x": [1], "Plate": [1], "Metadata_Plate": [1]}), "x")


def test_check_finite():
    check_finite(take(small(), np.array([0, 1])), "scores")
    with pytest.raises(ValueError, match=r"for scores: got 1 of 6 values, the first nan in feature 'y' of row 2, exp"):
        check_finite(small(), "scores")
    with pytest.raises(ValueError, match="the first inf in feature 'x' of row 0"):
        check_finite(small()._replace(features=np.array([[np.inf, 0], [0, 0], [0, 0]])), "scores")


@pytest.mark.parametrize(
    ("features", "advice"),
    [
        (
            [[1, 2], [3, np.nan]],
            "1 of 2 features and 1 of 2 rows: drop the features, in a config by the step {'name': 's",
        ),
        (
            [[1, 2], [3, np.inf]],
            "1 of 2 features and 1 of 2 rows: make infinite values missing (NaN), then drop the fea",
        ),
        ([[1, 2], [np.nan, np.nan]], "2 of 2 features and 1 of 2 rows: take out these rows"),
        ([[1, np.nan], [np.nan, 2]], "2 of 2 features and 2 of 2 rows: fill them in before, as nothing here does"),
    ],
)
def test_what_can_be_done_about_missing_values_is_said(features, advice):
    profiles = Profiles(np.array(features, float), ("x", "y"), pl.DataFrame({"Metadata_t": [0, 1]}))
    with pytest.raises(ValueError, match=f"expected finite numbers; they are in {re.escape(advice)}"):
        check_finite(profiles, "scores")


def test_take():
    assert take(small(), np.array([2, 0])).metadata["Metadata_Well"].to_list() == ["A02", "A01"]
    np.testing.assert_array_equal(take(small(), np.array([False, True, False])).features, [[3, 4]])
    for rows in (np.array([True, False]), np.array([0.0]), np.zeros((1, 1), int)):
        with pytest.raises(ValueError, match=r"rows that cannot be taken: got .* one bool for each of 3 rows"):
            take(small(), rows)


def test_take_features():
    chosen = take_features(small(), ("y", "x"))
    assert chosen.names == ("y", "x")
    np.testing.assert_array_equal(chosen.features[:, 1], small().features[:, 0])
    with pytest.raises(ValueError, match="features that are not there: got 'z', expected some of 'x', 'y'"):
        take_features(small(), ("x", "z"))


def test_groups_are_in_the_order_of_their_first_rows():
    metadata = pl.DataFrame({"Metadata_A": ["b", None, "a", "b", None], "Metadata_B": [1, 1, 1, 2, 1]})
    assert [group.tolist() for group in groups(metadata, ["Metadata_A"])] == [[0, 3], [1, 4], [2]]
    assert [group.tolist() for group in groups(metadata, ["Metadata_A", "Metadata_B"])] == [[0], [1, 4], [2], [3]]
    assert [group.tolist() for group in groups(metadata, ())] == [[0, 1, 2, 3, 4]]
    with pytest.raises(ValueError, match="no such metadata: got 'Metadata_C', expected some of 'Metadata_A', 'Meta"):
        groups(metadata, ["Metadata_C"])


def test_writing(tmp_path):
    path = level_path(tmp_path, "BR00117010", "selected")
    assert path.name == "BR00117010_normalized_feature_select.parquet"
    assert level_path(tmp_path, "p", "aggregated").name == "p.parquet"
    assert len(set(SUFFIXES.values())) == len(SUFFIXES)
    write(small(), path)
    again = from_frame(pl.read_parquet(path))
    np.testing.assert_array_equal(again.features, small().features)
    assert again.metadata.equals(small().metadata)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=r"got 'p.csv', expected a name that ends in .parquet"):
        write(small(), tmp_path / "p.csv")
    with pytest.raises(ValueError, match="unknown level: got '4c', expected one of single_cell, aggregated"):
        level_path(tmp_path, "p", "4c")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "p.parquet"
    write(small(), path)
    before = path.read_bytes()
    with pytest.raises(pl.exceptions.PolarsError):
        write(small()._replace(features=np.zeros((2, 2))), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_one_column_groups_as_a_list_of_one():
    for found, expected in zip(
        groups(small().metadata, "Metadata_Plate"), groups(small().metadata, ["Metadata_Plate"]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
