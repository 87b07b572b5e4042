"""Profiles in the formats of other programs, read back by these programs or as they do."""

import datetime

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest

from cellfx.profiles.tables import reading
from cellfx.profiles.tables.table import Profiles, to_frame
from cellfx.profiles.tables.writing import FORMATS, row_names, write_as

BY = ["Metadata_Plate", "Metadata_Well"]


def profiles(num_rows=5):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(num_rows, 3)) * [1, 1e-12, 1e9]
    features[1, 2] = np.nan
    metadata = pl.DataFrame(
        {
            "Metadata_Plate": ["0012"] * num_rows,
            "Metadata_Well": [f"A{i:02d}" for i in range(num_rows)],
            "Metadata_Compound": ["a,b", None, "tab\there", 'quo"te', "line\nend"][:num_rows],
            "Metadata_Dose_um": [1.5, None, 1e-7, 3.0, 4.0][:num_rows],
            "Metadata_Count": [3, None, 2, 1, 7][:num_rows],
            "Metadata_Control": [True, False, None, True, False][:num_rows],
            "Metadata_Whole": list(range(num_rows)),
            "Metadata_Day": [datetime.date(2026, 11, 30)] * num_rows,
        }
    )
    return Profiles(features, ("Cells_Area", "Nuclei_é", "ER_1"), metadata)


def parse_gct(path):
    """Data (D, N) and metadata of columns (N, C) of a GCT 1.3 file, as cmapPy's ``parse_gct`` takes it apart.

    Two lines of version and counts; then a table whose first rows are metadata of columns and whose first columns are
    the id and metadata of rows.
    """
    with path.open(encoding="utf-8") as file:
        assert file.readline().strip() == "#1.3"
        num_rows, num_columns, num_row_fields, num_column_fields = map(int, file.readline().split("\t"))
    table = pd.read_csv(path, sep="\t", skiprows=2, header=None, dtype=str, na_values=["-666"], low_memory=False)
    assert table.shape == (1 + num_column_fields + num_rows, 1 + num_row_fields + num_columns)
    names = table.iloc[0, 1 + num_row_fields :].tolist()
    fields = table.iloc[1 : 1 + num_column_fields, 1 + num_row_fields :].T
    fields.columns, fields.index = table.iloc[1 : 1 + num_column_fields, 0].tolist(), names
    data = table.iloc[1 + num_column_fields :, 1 + num_row_fields :].astype(float)
    data.index, data.columns = table.iloc[1 + num_column_fields :, 0].tolist(), names
    return data, fields


def test_anndata_reads_what_was_written(tmp_path):
    given = profiles()
    write_as(given, tmp_path / "p.h5ad", BY)
    read = anndata.read_h5ad(tmp_path / "p.h5ad")
    np.testing.assert_array_equal(read.X, given.features)
    assert read.var_names.tolist() == list(given.names)
    assert read.obs_names.tolist() == [f"0012:A{i:02d}" for i in range(5)]
    assert read.obs.columns.tolist() == given.metadata.columns
    for name in given.metadata.columns:
        ours = [None if value is None else value for value in given.metadata[name]]
        theirs = [None if pd.isna(value) else value for value in read.obs[name]]
        assert theirs == [str(value) if isinstance(value, datetime.date) else value for value in ours], name
    again = reading.read(tmp_path / "p.h5ad")
    same = again.metadata.drop("Metadata_Index", "Metadata_Day").fill_nan(None)
    assert same.equals(given.metadata.drop("Metadata_Day"))


def test_gct_is_what_its_readers_expect(tmp_path):
    given = profiles()
    write_as(given, tmp_path / "p.gct", BY)
    data, fields = parse_gct(tmp_path / "p.gct")
    np.testing.assert_array_equal(data.to_numpy(), given.features.T)
    assert data.index.tolist() == list(given.names)
    assert data.columns.tolist() == [f"0012:A{i:02d}" for i in range(5)]
    assert fields.columns.tolist() == given.metadata.columns
    assert fields["Metadata_Plate"].tolist() == ["0012"] * 5
    assert fields["Metadata_Compound"].fillna("-").tolist() == ["a,b", "-", "tab here", 'quo"te', "line end"]
    np.testing.assert_array_equal(fields["Metadata_Dose_um"].astype(float), [1.5, np.nan, 1e-7, 3.0, 4.0])


def test_csv_is_read_back(tmp_path):
    given = profiles()
    write_as(given, tmp_path / "p.csv", BY)
    frame = to_frame(given)
    assert pl.read_csv(tmp_path / "p.csv", schema=frame.schema).equals(frame.fill_nan(None))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_is_there_whole_or_not_at_all(suffix, tmp_path, monkeypatch):
    def half(given, path, named_by):
        path.write_text("half")
        raise OSError("disk full")

    write_as(profiles(), tmp_path / f"p{suffix}", BY)
    before = (tmp_path / f"p{suffix}").read_bytes()
    monkeypatch.setitem(FORMATS, suffix, half)
    with pytest.raises(OSError, match="disk full"):
        write_as(profiles(2), tmp_path / f"p{suffix}", BY)
    assert (tmp_path / f"p{suffix}").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [f"p{suffix}"]


def test_names_of_rows_are_unique():
    metadata = pl.DataFrame({"a": ["x", "x", None, "y:3"], "b": [1, 2, 1, 2], "c": ["q", "q", "q", "r"]})
    assert row_names(metadata, ["a", "b"]) == ["x:1", "x:2", ":1", "y:3:2"]
    assert row_names(metadata, ["c"]) == ["q:1", "q:2", "q:3", "r:4"]
    assert row_names(metadata, []) == ["1", "2", "3", "4"]


def test_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"unknown format of profiles: got 'p\.xls', expected a name that ends in \.csv or"
    ):
        write_as(profiles(), tmp_path / "p.xls", BY)
