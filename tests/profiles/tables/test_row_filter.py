import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.row_filter import columns_of, keep, keep_profiles, told
from cellfx.profiles.tables.table import Profiles

TABLE = pl.DataFrame(
    {
        "Metadata_Type": ["trt", None, "poscon", "trt"],
        "Metadata_Cells": ["9", "100", None, "80"],
        "Area": [1.0, float("nan"), 3.0, None],
        "Metadata_Good": [True, False, None, True],
    }
)


@pytest.mark.parametrize(
    ("where", "rows", "missing"),
    [
        ("Metadata_Type <> 'poscon'", [0, 3], 1),
        ("Metadata_Type IS DISTINCT FROM 'poscon'", [0, 1, 3], 0),
        ("Metadata_Type IN ('trt', 'none')", [0, 3], 1),
        ("Metadata_Type = 'trt' AND Metadata_Good", [0, 3], 0),
        ("(Metadata_Type IS DISTINCT FROM 'x and y') AND Metadata_Good", [0, 3], 1),
        ("Metadata_Good AND Metadata_Type IS DISTINCT FROM LOWER('TRT')", [], 1),
        ("COALESCE(Metadata_Type, '') <> 'poscon'", [0, 1, 3], 0),
        ("CAST(Metadata_Cells AS DOUBLE) > 20", [1, 3], 1),
        ('"Area" > 2', [2], 2),
        ("NOT Metadata_Good", [1], 1),
        ("Area = MAX(Area)", [2], 2),
        ("MAX(Area) > 2", [0, 1, 2, 3], 0),
        ("Metadata_Type = 'nothing'", [], 1),
    ],
)
def test_rows_for_which_an_expression_is_true_are_kept_and_the_others_counted(where, rows, missing):
    kept, count = keep(where, TABLE.with_row_index("row").lazy())
    assert kept.collect()["row"].to_list() == rows
    assert count == (4, 4 - len(rows), missing)
    features = TABLE["Area"].fill_null(np.nan).to_numpy()[:, None]
    profiles = Profiles(features, ("Area",), TABLE.drop("Area"))
    ours, again = keep_profiles(where, profiles)
    assert again == count
    np.testing.assert_array_equal(ours.features, features[rows])
    assert ours.metadata.equals(profiles.metadata[rows])


def test_what_is_left_out_is_told():
    count = keep("Metadata_Good", TABLE.lazy())[1]
    assert told(count, "wells").startswith("left out by rows.where: 2 of 4 wells, 1 of these because a value that it")
    assert told(count._replace(missing=0), "wells") == "left out by rows.where: 2 of 4 wells"
    assert columns_of("Area > 2 AND (Area < 3 OR Metadata_Good)") == ["Area", "Metadata_Good"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("Area >", "unable to parse 'Area >' as Expr"),
        ("", "unable to parse '' as Expr"),
        ("1 = 1", "it names no column"),
        ("Area", "it gives Float64, not true or false"),
        ("Aera > 2", "there is no column 'Aera'; did you mean 'Area'?"),
        ("Metadata_Type = 1", "cannot compare string with numeric type (i32)"),
        ("CAST(Metadata_Type AS DOUBLE) > 1", "conversion from `str` to `f64` failed in column 'Metadata_Type'"),
        ("Metadata_Type IS DISTINCT FROM 'poscon' AND Area > 1", "put it in parentheses"),
        ("(NOT Metadata_Good IS NOT DISTINCT FROM (TRUE) or Area > 1)", "put it in parentheses"),
        ("SELECT 1", "expected an expression (found 'SELECT' clause)"),
        ("Area > (SELECT 3)", "not allowed"),
        ("read_csv('secret')", "unsupported function 'read_csv'"),
        ("Area > 1; DROP TABLE x", "invalid expression"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(where, why):
    with pytest.raises(
        ValueError, match=r"no condition for rows: got rows.where .* expected SQL .* correct it"
    ) as caught:
        keep(where, TABLE.lazy())
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
