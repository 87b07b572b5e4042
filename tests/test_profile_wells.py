"""Tables as people have them: keys written otherwise, wells that are there twice, files without anything in them."""

import re

import numpy as np
import polars as pl
import pytest

from cellfx import profile_wells
from cellfx.profile_wells import read_columns, read_wells
from cellfx.profiles.simulated import simulated
from cellfx.profiles.table import to_frame

COLUMNS = {"treatment": "Metadata_Compound", "compound": "Metadata_Compound", "mechanism": "Metadata_MOA"}


def asked(path, **changed):
    controls = {"column": "Metadata_Control", "values": "true"}
    return {"profiles": {"path": str(path)}, "columns": COLUMNS, "controls": controls, **changed}


def read(settings):
    return read_wells(settings, read_columns(settings["columns"]))


def screen():
    return to_frame(simulated(3, 2, num_batches=2, plates_per_batch=2, num_controls=20, num_features=10))


def test_a_column_of_treatments_may_be_named_alone():
    assert read_columns(COLUMNS).treatment == ("Metadata_Compound",)
    assert read_columns({**COLUMNS, "treatment": ["a", "b"]}).treatment == ("a", "b")


@pytest.mark.parametrize(
    "on", [{"Metadata_Plate": "Plate", "Metadata_Well": "Metadata_Well"}, ["Metadata_Plate", "Metadata_Well"]]
)
@pytest.mark.parametrize("columns", [{"MOA": "Metadata_MOA"}, ["MOA"], "MOA"])
def test_keys_and_columns_of_one_name_are_a_list(on, columns, tmp_path, capsys):
    table = screen()
    table.drop("Metadata_MOA").write_parquet(tmp_path / "wells.parquet")
    platemap = table.select("Metadata_Plate", "Metadata_Well", "Metadata_MOA")
    platemap.rename({"Metadata_Plate": "Plate", "Metadata_MOA": "MOA"}).write_csv(tmp_path / "map.csv")
    annotation = {"path": str(tmp_path / "map.csv"), "on": on, "columns": columns}
    for tables in (annotation, [annotation]):
        wells, controls = read(asked(tmp_path / "wells.parquet", annotate=tables))
        assert wells.metadata["Metadata_MOA"].to_list() == table["Metadata_MOA"].to_list()
        assert controls.all.sum() == 80
    assert capsys.readouterr().out == ""


def test_keys_that_are_padded_otherwise_are_said(tmp_path, capsys):
    table = screen()
    table.drop("Metadata_MOA").write_parquet(tmp_path / "wells.parquet")
    well = pl.col("Metadata_Well").str.replace("^([A-Z])0", "${1}").str.to_lowercase()
    table.select("Metadata_Plate", well, "Metadata_MOA").write_csv(tmp_path / "map.csv")
    annotation = {
        "path": str(tmp_path / "map.csv"),
        "on": ("Metadata_Plate", "Metadata_Well"),
        "columns": ["Metadata_MOA"],
    }
    wells, _ = read(asked(tmp_path / "wells.parquet", annotate=[annotation]))
    assert wells.metadata["Metadata_MOA"].null_count() == 104
    said = capsys.readouterr().out
    assert said.startswith(
        "no annotation in map.csv for 104 of 104 wells, such as Metadata_Plate 'plate 1-1' Metadata_We"
    )
    ours, theirs = (re.findall("Metadata_Well '(.*?)'", part) for part in said.split(", where it has "))
    assert len(ours) == 2
    assert [f"{name[0].upper()}{int(name[1:]):02d}" for name in theirs] == ours
    assert said.endswith(
        "; 104 of these keys differ only in capitals, spaces or padding with zeros: write them alike\n"
    )


def test_wells_that_are_there_twice_are_refused(tmp_path):
    table = screen()
    pl.concat([table, table[:3], table[:1]]).write_parquet(tmp_path / "wells.parquet")
    settings = asked(tmp_path / "wells.parquet")
    with pytest.raises(ValueError, match=r"got 3 of 104, such as Metadata_Plate 'plate 1-1', Metadata_Well") as caught:
        read(settings)
    assert "in 3 rows, expected one row for each; leave rows out, pool them" in str(caught.value)
    wells, _ = read({**settings, "columns": {**COLUMNS, "well": None}})
    assert len(wells.features) == 108
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    pooled, _ = read({**settings, "aggregate": {"by": by}})
    assert len(pooled.features) == 104
    unnamed = table.with_columns(pl.lit(None, pl.String).alias("Metadata_Well"))
    unnamed.write_parquet(tmp_path / "wells.parquet")
    assert len(read(settings)[0].features) == 104


@pytest.mark.parametrize("aggregated", [False, True])
def test_tables_without_anything_are_refused(aggregated, tmp_path):
    settings = asked(tmp_path / "wells.csv")
    if aggregated:
        settings["aggregate"] = {"by": ["Metadata_Plate", "Metadata_Well"]}
    (tmp_path / "wells.csv").write_text("")
    with pytest.raises(ValueError, match=r"an empty table: got .*wells.csv with 0 bytes, expected a line of names and"):
        read(settings)
    screen()[:0].write_csv(tmp_path / "wells.csv")
    with pytest.raises(
        ValueError, match=r"a table without rows: got .*wells.csv with 10 features of 0 wells, expected"
    ):
        read(settings)


def test_mechanisms_that_are_numbers_are_no_lists_of_labels(tmp_path):
    screen().with_columns(Metadata_MOA=pl.lit(3)).write_parquet(tmp_path / "wells.parquet")
    settings = asked(tmp_path / "wells.parquet", columns={**COLUMNS, "multilabel": True})
    with pytest.raises(ValueError, match=r"mechanisms that are no lists of labels: got Int32 in Metadata_MOA .*'a\|b'"):
        read(settings)
    np.testing.assert_array_equal(read(asked(tmp_path / "wells.parquet"))[1].all.sum(), 80)


def test_no_wells_are_drawn_without_their_columns():
    drawn = {"simulated": {"num_mechanisms": 2, "num_controls": 4, "num_features": 10}}
    settings = {**asked(""), "profiles": drawn}
    assert profile_wells.read_wells(settings, read_columns(COLUMNS))[0].names[0] == "feature_000"
    with pytest.raises(
        ValueError, match=r"no such column: got columns.treatment 'Metadata_compound', expected one of M"
    ):
        read({**settings, "columns": {**COLUMNS, "treatment": "Metadata_compound"}})
