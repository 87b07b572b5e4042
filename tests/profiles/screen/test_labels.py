import polars as pl
import pytest

from cellfx.profiles.screen import labels
from cellfx.profiles.screen.rules import Columns

COLUMNS = Columns(("Metadata_Compound", "Metadata_Dose"), "Metadata_Compound", "Metadata_MOA", dose="Metadata_Dose")


def test_names_are_text_and_doses_are_numbers():
    table = pl.DataFrame(
        {
            "Metadata_Plate": [7, 8],
            "Metadata_Well": ["A01", "A02"],
            "Metadata_Compound": [1.0, 2.5],
            "Metadata_Dose": [" 10", "NA"],
            "Metadata_MOA": [1, 2],
        }
    )
    found = labels.typed(table.lazy(), COLUMNS).collect()
    assert found.rows() == [("7", "A01", "1", 10.0, 1), ("8", "A02", "2.5", None, 2)]
    whole = labels.typed(table.with_columns(Metadata_Dose=pl.Series([1, 2])).lazy(), COLUMNS).collect()
    assert whole["Metadata_Dose"].dtype == pl.Float64
    assert labels.typed(table.drop("Metadata_Dose").lazy(), COLUMNS).collect()["Metadata_Plate"].to_list() == ["7", "8"]
    with pytest.raises(
        ValueError, match="doses that are no numbers: got '10 uM' in Metadata_Dose, expected numbers or"
    ):
        labels.typed(table.with_columns(Metadata_Dose=pl.lit("10 uM")).lazy(), COLUMNS)


def test_words_for_nothing_are_missing_and_told():
    words = ["nan", "NA", " None", "#N/A", "<NA>", "", None, "a"]
    table = pl.DataFrame({"Metadata_Compound": ["c"] * 8, "Metadata_Dose": [1.0] * 8, "Metadata_MOA": words})
    told = []
    found = labels.without_words(table, COLUMNS, told.append)
    assert found["Metadata_MOA"].to_list() == [None] * 7 + ["a"]
    assert told == ["taken for missing: 'nan', 'NA', ' None' in Metadata_MOA of 5 wells"]
    told.clear()
    plain = table.with_columns(Metadata_MOA=pl.lit("a"))
    assert labels.without_words(plain, COLUMNS, told.append).equals(plain)
    assert told == []


def test_values_that_look_alike_are_told():
    table = pl.DataFrame(
        {"a": ["DMSO", "DMSO", "dmso ", None, "x"], "b": ["x", "y", "z", "x", "y"], "c": [1, 2, 3, 4, 5]}
    )
    assert labels.look_alike(table, ["a", "b", "c", "a"]) == [
        (
            "values of a that differ only in capitals or spaces count as different: 'DMSO' (2 wells) and 'dmso ' (1 "
            "wells); write them alike where they are one"
        )
    ]
