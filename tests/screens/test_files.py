"""Levels of a run in other formats: those that were asked for, and no others."""

import anndata
import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.tables.table import Profiles, from_frame, write
from cellfx.screens import files

COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound", batch="Metadata_Batch")


def folder_of(tmp_path):
    metadata = pl.DataFrame(
        {
            "Metadata_Compound": ["a", "b"],
            "Metadata_Batch": ["1", "1"],
            "Metadata_Plate": ["p", "p"],
            "Metadata_Well": ["A01", "A02"],
        }
    )
    profiles = Profiles(np.array([[1.0, 2.0], [3.0, np.nan]]), ("f", "g"), metadata)
    write(profiles, tmp_path / "screen_spherized.parquet")
    write(profiles, tmp_path / "screen_consensus.parquet")
    return tmp_path, profiles


def test_every_level_is_written_and_named_by_what_its_rows_are(tmp_path):
    folder, profiles = folder_of(tmp_path)
    levels = ["spherized", "consensus", "spherized"]
    files.write(folder, levels, files.files({"formats": ("csv", "h5ad", "gct")}), COLUMNS)
    suffixes = (".csv", ".gct", ".h5ad", ".parquet")
    names = [f"screen_{level}{suffix}" for level in ("consensus", "spherized") for suffix in suffixes]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert anndata.read_h5ad(folder / "screen_consensus.h5ad").obs_names.tolist() == ["a", "b"]
    assert anndata.read_h5ad(folder / "screen_spherized.h5ad").obs_names.tolist() == ["1:p:A01", "1:p:A02"]
    for level in "consensus", "spherized":
        read = from_frame(pl.read_csv(folder / f"screen_{level}.csv", schema_overrides={"Metadata_Batch": pl.String}))
        np.testing.assert_array_equal(read.features, profiles.features)
        assert read.metadata.equals(profiles.metadata)
    files.write(folder, levels, files.files({"formats": ("csv",)}), COLUMNS)
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".parquet"}
    files.write(folder, levels, files.files({}), COLUMNS)
    assert {path.suffix for path in folder.iterdir()} == {".parquet"}


def test_refused():
    with pytest.raises(ValueError, match=r"unknown format in files\.formats: got 'gctx'; .*gct"):
        files.files({"formats": ("csv", "gctx")})
    with pytest.raises(ValueError, match=r"unknown config key files\.format"):
        files.files({"format": ("csv",)})
