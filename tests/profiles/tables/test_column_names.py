import polars as pl
import pytest

from cellfx.profiles.tables.column_names import features_of
from cellfx.profiles.tables.reading import read, scan


def cells(**changed):
    return pl.DataFrame(
        {
            "ImageNumber": [1, 2],
            "Image_Metadata_Plate": ["2023_b1_p7", "2023_b2_p7"],
            "Image_Count_Cells": [10, 20],
            "Cells_AreaShape_Area": [1.0, 2.0],
            "Cytoplasm_Texture": [3.0, 4.0],
            "Nuclei_Texture": [5.0, 6.0],
            "Note": ["a", "b"],
            **changed,
        }
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_convention_of_cellprofiler(kind, tmp_path):
    path = tmp_path / f"t.{kind}"
    cells().write_csv(path) if kind == "csv" else cells().write_parquet(path)
    profiles = read(path, convention="cellprofiler")
    assert profiles.names == ("Cells_AreaShape_Area", "Cytoplasm_Texture", "Nuclei_Texture")
    named = {"ImageNumber", "Plate", "Image_Count_Cells", "Note"}
    assert set(profiles.metadata.columns) == {f"Metadata_{name}" for name in named}
    assert read(path, "^Cells_", convention="cellprofiler").names == ("Cells_AreaShape_Area",)
    assert "Metadata_Plate" in scan(path, convention="cellprofiler").collect_schema()


def test_a_name_that_is_there_stays(tmp_path):
    cells(Metadata_Plate=["p", "q"]).write_parquet(tmp_path / "t.parquet")
    profiles = read(tmp_path / "t.parquet", convention="cellprofiler")
    assert profiles.metadata["Metadata_Plate"].to_list() == ["p", "q"]
    assert profiles.metadata["Metadata_Image_Metadata_Plate"].to_list() == ["2023_b1_p7", "2023_b2_p7"]


def test_an_unknown_convention(tmp_path):
    with pytest.raises(ValueError, match="no such convention of names: got 'ilastik', expected 'cellprofiler' or None"):
        scan(tmp_path, convention="ilastik")
    assert features_of("^z", "cellprofiler") == "^z"
    assert features_of(None, None) is None


def split(tmp_path, expressions, tell=print):
    path = tmp_path / "t.parquet"
    cells().write_parquet(path)
    return read(path, tell=tell, convention="cellprofiler", split=expressions).metadata


def test_columns_are_split_by_named_groups(tmp_path):
    found = split(tmp_path, {"Metadata_Plate": r"^(?P<Year>\d+)_(?P<Batch>[^_]+)_(?P<Plate>.*)$"})
    assert found.select("Metadata_Year", "Metadata_Batch", "Metadata_Plate").rows() == [
        ("2023", "b1", "p7"),
        ("2023", "b2", "p7"),
    ]


def test_values_that_do_not_fit_are_missing_and_told(tmp_path):
    lines = []
    found = split(tmp_path, {"Metadata_Plate": "_(?P<Batch>b1)_"}, lines.append)
    assert found["Metadata_Batch"].to_list() == ["b1", None]
    assert lines == [
        (
            "1 of 2 rows have a Metadata_Plate in which '_(?P<Batch>b1)_' is not found, such as '2023_b2_p7': they "
            "have no value in what it is split into"
        )
    ]


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ({"Metadata_Plate": "(?P<Batch>"}, r"profiles.split\['Metadata_Plate'\] is not a regular expression that can"),
        ({"Metadata_Plate": "(?P<Batch>b)(?=_)"}, r"is not a regular expression that can be used: got .*look"),
        ({"Metadata_Plate": "(b1)"}, r"nothing to split into: got profiles.split\['Metadata_Plate'\] '\(b1\)'"),
        ({"Metadata_plate": "(?P<Batch>b1)"}, "no column to split: got profiles.split 'Metadata_plate', expected one"),
        ({"Metadata_Plate": "(?P<Note>b1)"}, None),
        ({"Metadata_Plate": "(?P<Batch>x)"}, "is found nowhere: got .*and values such as '2023_b1_p7', expected it"),
    ],
)
def test_expressions_that_cannot_split(expressions, message, tmp_path):
    if message is None:
        message = "two columns for one name: got 'Note' and 'Metadata_Note'"
    with pytest.raises(ValueError, match=message) as caught:
        split(tmp_path, expressions)
    assert "\n" not in str(caught.value)


def test_a_group_may_not_take_another_columns_place(tmp_path):
    cells(Metadata_Batch=["x", "y"]).write_parquet(tmp_path / "u.parquet")
    with pytest.raises(ValueError, match="a column that is there already: got a group for Metadata_Batch in"):
        read(tmp_path / "u.parquet", split={"Image_Metadata_Plate": "(?P<Batch>b1)"})
