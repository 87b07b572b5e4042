"""Rules for the treatments that are compared, on tables small enough to see the answer."""

import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.treatments import at_highest_dose, known, named, shared

TABLE = pl.DataFrame(
    {
        "Metadata_Compound": ["a", "a", "a", "b", "b", "c", None, "d", "e"],
        "Metadata_Dose": [1.0, 10.0, 10.0, 0.1, None, None, 50.0, 3.0, 1.0],
        "Metadata_MOA": ["x", "x", "x", "x", "y", "y", "z", None, "w"],
        "Metadata_Name": ["n", "", " ", None, "m", "m", "m", "m", "m"],
    }
)


def test_the_highest_dose_of_every_compound_is_taken():
    found = at_highest_dose(TABLE, "Metadata_Compound", "Metadata_Dose").tolist()
    assert found == [False, True, True, True, False, True, False, True, True]


def test_what_is_empty_is_not_known():
    assert known(TABLE, "Metadata_Name").tolist() == [True, False, False, False, True, True, True, True, True]


@pytest.mark.parametrize(("least", "rows"), [(1, 7), (2, 6), (3, 0)])
def test_a_mechanism_counts_by_its_compounds(least, rows):
    found = shared(TABLE, "Metadata_MOA", "Metadata_Compound", least)
    assert found.sum() == rows
    assert not found[7]


def test_doses_must_be_numbers():
    with pytest.raises(ValueError, match="doses that are no numbers: got String in Metadata_MOA, expected numbers"):
        at_highest_dose(TABLE, "Metadata_Compound", "Metadata_MOA")


@pytest.mark.parametrize("call", [lambda t: known(t, "Metadata_X"), lambda t: shared(t, "Metadata_MOA", "Metadata_X")])
def test_an_unknown_column_is_named(call):
    with pytest.raises(ValueError, match="no such column: got 'Metadata_X', expected one of Metadata_Compound, "):
        call(TABLE)


def test_a_treatment_has_a_value_in_every_column():
    columns = Columns(("Metadata_Compound", "Metadata_Dose"), "Metadata_Compound")
    expected = [True, True, True, True, False, False, False, True, True]
    assert named(TABLE, columns).tolist() == expected
    missing = TABLE.with_columns(pl.col("Metadata_Dose").fill_null(float("nan")))
    assert named(missing, columns).tolist() == expected
