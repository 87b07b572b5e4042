"""Tables as people have them: keys written otherwise, wells that are there twice, files without anything in them."""

import re

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.simulated import simulated
from cellfx.profiles.tables.table import to_frame
from cellfx.screens import wells as profile_wells
from cellfx.screens.wells import read_columns, read_wells

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


def test_rows_are_left_out_by_an_expression_and_counted(tmp_path):
    """As read, or where the expression names what an annotation brings, after that."""
    table, path, lines = screen(), tmp_path / "wells.parquet", []
    table.write_parquet(path)
    settings = asked(path, rows={"where": "(Metadata_Compound IS DISTINCT FROM 'compound 001') AND feature_003 < 1e9"})
    wells, controls = read_wells(settings, read_columns(COLUMNS), lines.append)
    assert (len(wells.features), len(controls.all), int(controls.all.sum())) == (100, 100, 80)
    assert lines == ["left out by rows.where: 4 of 104 rows"]
    table.select("Metadata_Compound").unique().with_columns(
        Good=pl.col("Metadata_Compound") != "compound 002"
    ).write_csv(tmp_path / "good.csv")
    annotation = {"path": str(tmp_path / "good.csv"), "on": "Metadata_Compound", "columns": "Good"}
    settings = asked(path, rows={"where": "Metadata_Good = 'true'"}, annotate=annotation)
    wells, _ = read_wells(settings, read_columns(COLUMNS), lines.append)
    assert (len(wells.features), lines[1]) == (100, "left out by rows.where: 4 of 104 rows")
    assert "compound 002" not in wells.metadata["Metadata_Compound"]
    with pytest.raises(ValueError, match=r"no row left: got 0 of 104 rows by rows.where .*, expected some; loosen it"):
        read({**settings, "rows": {"where": "feature_003 > 1e9"}})
    with pytest.raises(ValueError, match=r"there is no column 'Metadata_Goed'; did you mean 'Metadata_Good'\?"):
        read({**settings, "rows": {"where": "Metadata_Goed"}})
    with pytest.raises(ValueError, match=r"unknown config key rows\.were; did you mean where\?"):
        read({**settings, "rows": {"were": "Metadata_Good"}})


def test_cells_are_left_out_before_they_are_aggregated(tmp_path):
    table, lines = screen(), []
    copies = [table.with_columns(pl.col("^feature_.*$") + shift, QC=pl.lit(shift)) for shift in (0, 2, 50)]
    pl.concat(copies).write_parquet(tmp_path / "cells.parquet")
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    settings = asked(tmp_path / "cells.parquet", rows={"where": "Metadata_QC < 10"}, aggregate={"by": by})
    settings["profiles"]["features"] = "^feature_"
    wells, _ = read_wells(settings, read_columns(COLUMNS), lines.append)
    assert lines == ["left out by rows.where: 104 of 312 rows before aggregation"]
    assert set(wells.metadata["Metadata_Cell_Count"]) == {2}
    place = ["Metadata_Plate", "Metadata_Well"]
    expected = table.join(wells.metadata.select(place), place, "right", maintain_order="right").select(wells.names)
    np.testing.assert_allclose(wells.features, expected.to_numpy() + 1, rtol=1e-12, atol=1e-12)


def test_no_control_is_looked_for_where_none_is_told(tmp_path):
    screen().write_parquet(tmp_path / "wells.parquet")
    for told in (None, {}, {"column": None}, {"column": None, "values": "true"}):
        assert not read(asked(tmp_path / "wells.parquet", controls=told))[1].all.any()


def test_no_wells_are_drawn_without_their_columns():
    drawn = {"simulated": {"num_mechanisms": 2, "num_controls": 4, "num_features": 10}}
    settings = {**asked(""), "profiles": drawn}
    assert profile_wells.read_wells(settings, read_columns(COLUMNS))[0].names[0] == "feature_000"
    with pytest.raises(
        ValueError, match=r"no such column: got columns.treatment 'Metadata_compound', expected one of M"
    ):
        read({**settings, "columns": {**COLUMNS, "treatment": "Metadata_compound"}})


def told(settings):
    """Wells, controls and what was told."""
    lines = []
    wells, controls = read_wells(settings, read_columns(settings["columns"]), lines.append)
    return wells, controls, lines


def written(tmp_path, kind, **changed):
    """The screen with columns changed, as csv or Parquet."""
    path, table = tmp_path / f"wells.{kind}", screen().with_columns(**changed)
    table.write_csv(path) if kind == "csv" else table.write_parquet(path)
    return path


def renamed(names):
    """The four plates by other names."""
    plates = screen()["Metadata_Plate"].unique().sort().to_list()
    return pl.col("Metadata_Plate").replace_strict(plates, names)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("aggregated", [False, True])
def test_plates_that_a_number_parser_takes_for_equal_are_different(kind, aggregated, tmp_path):
    names = ["1E05", "10E04", "001", "1"]
    settings = asked(written(tmp_path, kind, Metadata_Plate=renamed(names), Metadata_Batch=pl.lit("b")))
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    wells, controls, lines = told(settings | ({"aggregate": {"by": by}} if aggregated else {}))
    assert len(wells.features) == 104
    assert set(wells.metadata["Metadata_Plate"]) == set(names)
    assert controls.all.sum() == 80
    assert lines == []


def test_csv_and_parquet_of_one_table_are_the_same_wells(tmp_path):
    changed = {"Metadata_Plate": renamed([7, 10, 9, 101]), "Metadata_Dose": pl.Series([0.0, 2.5] * 52)}
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_Dose", "Metadata_MOA", "Metadata_Control"]
    found = []
    for kind in ("csv", "parquet"):
        columns = {**COLUMNS, "treatment": ["Metadata_Compound", "Metadata_Dose"], "dose": "Metadata_Dose"}
        settings = asked(written(tmp_path, kind, **changed), columns=columns, aggregate={"by": by})
        found.append(told(settings)[0])
    assert found[0].metadata["Metadata_Dose"].dtype == pl.Float64
    np.testing.assert_array_equal(found[0].features, found[1].features)
    for name in by[:-1]:
        assert found[0].metadata[name].equals(found[1].metadata[name])


def test_keys_are_joined_as_they_are_written(tmp_path):
    names = ["0012", "12", "12.0", "1.2E1"]
    path = written(tmp_path, "csv", Metadata_Plate=renamed(names), Metadata_MOA=pl.lit(None))
    map_of_plates = pl.DataFrame({"Plate": [*names, "7"], "Note": [f"n{i}" for i in range(5)]})
    for name in ("map.csv", "map.txt", "map.parquet"):
        if name == "map.parquet":
            map_of_plates.write_parquet(tmp_path / name)
        else:
            map_of_plates.write_csv(tmp_path / name, separator="," if name == "map.csv" else "\t")
        annotation = {"path": str(tmp_path / name), "on": {"Metadata_Plate": "Plate"}, "columns": ["Note"]}
        wells, _, lines = told(asked(path, annotate=annotation))
        pairs = wells.metadata.select("Metadata_Plate", "Metadata_Note").unique().sort("Metadata_Note")
        assert pairs.rows() == list(zip(names, ["n0", "n1", "n2", "n3"], strict=True))
        assert lines == []


def test_plate_maps_in_another_encoding_have_their_line(tmp_path):
    (tmp_path / "map.csv").write_bytes("Plate,Note\np,\u00b5\n".encode("latin-1"))
    annotation = {"path": str(tmp_path / "map.csv"), "on": {"Metadata_Plate": "Plate"}, "columns": ["Note"]}
    with pytest.raises(ValueError, match=r"text that is not UTF-8: got the byte 0xb5 in line 2 of .*map.csv"):
        told(asked(written(tmp_path, "parquet"), annotate=annotation))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("values", [(0,), 0.0, "0"])
def test_controls_that_are_numbers(kind, values, tmp_path):
    dose = pl.when(pl.col("Metadata_Control")).then(0.0).otherwise(2.5)
    controls = {"column": "Metadata_Dose", "values": values}
    columns = {**COLUMNS, "dose": "Metadata_Dose"}
    settings = asked(written(tmp_path, kind, Metadata_Dose=dose), controls=controls, columns=columns)
    assert told(settings)[1].all.sum() == 80


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("word", [None, "", "nan", "NA"])
def test_controls_without_a_value(kind, word, tmp_path):
    compound = pl.when(pl.col("Metadata_Control")).then(pl.lit(word)).otherwise(pl.col("Metadata_Compound"))
    path = written(tmp_path, kind, Metadata_Compound=compound)
    for values in ((None,), "", [None, "DMSO"]):
        wells, found, lines = told(asked(path, controls={"column": "Metadata_Compound", "values": values}))
        assert found.all.sum() == 80
        assert wells.metadata["Metadata_Compound"].null_count() in (0, 80)
        said = [f"taken for missing: {word!r} in Metadata_Compound of 80 wells"] if word else []
        assert lines == said
    with pytest.raises(ValueError, match=r"no well whose Metadata_Compound is DMSO, .* there are [(N]?"):
        told(asked(path, controls={"column": "Metadata_Compound", "values": "DMSO"}))
    if word == "nan":
        assert told(asked(path, controls={"column": "Metadata_Compound", "values": "nan"}))[1].all.sum() == 80


@pytest.mark.parametrize("word", ["nan", "NA", "None", "#N/A"])
def test_a_word_for_nothing_is_no_mechanism(word, tmp_path):
    first = screen()["Metadata_MOA"].drop_nulls().min()
    unknown = pl.when(pl.col("Metadata_MOA") == first).then(pl.lit(word)).otherwise(pl.col("Metadata_MOA"))
    wells, _, lines = told(asked(written(tmp_path, "csv", Metadata_MOA=unknown)))
    count = (screen()["Metadata_MOA"] == first).sum()
    assert lines == [f"taken for missing: {word!r} in Metadata_MOA of {count} wells"]
    assert word not in wells.metadata["Metadata_MOA"].to_list()


@pytest.mark.parametrize("other", ["dmso", "DMSO "])
def test_controls_that_are_written_otherwise_are_told(other, tmp_path):
    row = pl.int_range(pl.len())
    name = pl.when(row % 2 == 0).then(pl.lit("DMSO")).otherwise(pl.lit(other))
    compound = pl.when(pl.col("Metadata_Control")).then(name).otherwise(pl.col("Metadata_Compound"))
    path = written(tmp_path, "csv", Metadata_Compound=compound)
    _, found, lines = told(asked(path, controls={"column": "Metadata_Compound", "values": "DMSO"}))
    assert 0 < found.all.sum() < 80
    (line,) = lines
    assert line.startswith("values of Metadata_Compound that differ only in capitals or spaces count as different: ")
    assert repr(other) in line


@pytest.mark.parametrize("values", ["dmso", ("x", "DMSO "), "D MSO"])
def test_controls_that_are_all_written_otherwise_are_proposed(values, tmp_path):
    compound = pl.when(pl.col("Metadata_Control")).then(pl.lit("DMSO")).otherwise(pl.col("Metadata_Compound"))
    path = written(tmp_path, "csv", Metadata_Compound=compound)
    with pytest.raises(ValueError, match=r"expected one or more; did you mean 'DMSO'\? correct controls.values"):
        told(asked(path, controls={"column": "Metadata_Compound", "values": values}))


@pytest.mark.parametrize("expression", ["*feature*", "(feature", "feature_["])
@pytest.mark.parametrize("aggregated", [False, True])
def test_features_that_are_no_regular_expression(expression, aggregated, tmp_path):
    settings = asked(written(tmp_path, "csv"))
    by = ["Metadata_Plate", "Metadata_Well"]
    for section in ("profiles", "aggregate") if aggregated else ("profiles",):
        changed = {**settings, "aggregate": {"by": by}} if aggregated else {**settings}
        changed[section] = {**changed[section], "features": expression}
        with pytest.raises(ValueError, match=r"is not a regular expression: .*; expected one such as") as caught:
            told(changed)
        assert repr(expression) in str(caught.value)


@pytest.mark.parametrize("aggregated", [False, True])
def test_words_of_excel_among_features_are_missing(aggregated, tmp_path):
    words = pl.Series(["#N/A", "#DIV/0!", "-nan(ind)", "1.#QNAN", "<NA>", *["1.5"] * 99])
    settings = asked(written(tmp_path, "csv", feature_000=words))
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    wells = told(settings | ({"aggregate": {"by": by}} if aggregated else {}))[0]
    assert np.isnan(wells.features[:, wells.names.index("feature_000")]).sum() == 5
    commas = written(tmp_path, "csv", feature_000=pl.lit("1,5"))
    with pytest.raises(ValueError, match=r"text in a feature column: got '1,5' .*its decimals are behind a comma"):
        told(asked(commas) | ({"aggregate": {"by": by}} if aggregated else {}))


@pytest.mark.parametrize("aggregated", [False, True])
def test_lines_without_a_value_are_no_wells(aggregated, tmp_path):
    path = written(tmp_path, "csv")
    path.write_text(path.read_text() + "," * (screen().width - 1) + "\n\n")
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    wells, _, lines = told(asked(path) | ({"aggregate": {"by": by}} if aggregated else {}))
    assert len(wells.features) == 104
    assert lines == ["left out: 2 lines without any value, in wells.csv"]


def test_counts_of_cells_in_text_add_up(tmp_path):
    path = written(tmp_path, "csv", Metadata_Cell_Count=pl.lit(3))
    assert told(asked(path))[0].metadata["Metadata_Cell_Count"].sum() == 312
    by = ["Metadata_Plate", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    settings = asked(path, aggregate={"by": by}, columns={**COLUMNS, "well": None})
    assert told(settings)[0].metadata["Metadata_Cell_Count"].sum() == 312


@pytest.mark.parametrize("aggregated", [False, True])
def test_names_of_cellprofiler_and_batches_out_of_plates_are_config_options(aggregated, tmp_path):
    names = {"Metadata_Plate": "Image_Metadata_Plate", "feature_000": "Cells_A", "feature_001": "Nuclei_B"}
    table = screen().with_columns(renamed(["b1_p1", "b1_p2", "b2_p1", "b2_p2"])).drop("Metadata_Batch")
    table.rename({f"feature_{i:03d}": f"Image_C{i}" for i in range(2, 10)} | names).write_csv(tmp_path / "wells.csv")
    settings = asked(tmp_path / "wells.csv", columns={**COLUMNS, "batch": "Metadata_Batch"})
    split = {"Metadata_Plate": "^(?P<Batch>[^_]+)_(?P<Plate>.*)"}
    settings["profiles"] |= {"convention": "cellprofiler", "split": split}
    by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_MOA", "Metadata_Control"]
    wells, _, lines = told(settings | ({"aggregate": {"by": by}} if aggregated else {}))
    assert wells.names == ("Cells_A", "Nuclei_B")
    assert sorted(wells.metadata.select("Metadata_Batch", "Metadata_Plate").unique().rows()) == [
        *(("b1", "p1"), ("b1", "p2"), ("b2", "p1"), ("b2", "p2")),
    ]
    assert lines == []
    for key, value in (("convention", "ilastik"), ("split", {"Metadata_Plate": "(?P<Batch>"})):
        with pytest.raises(ValueError, match=f"profiles.{key}"):
            told({**settings, "profiles": {**settings["profiles"], key: value}})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_filtered_by_doses_as_numbers(kind, tmp_path):
    path = written(tmp_path, kind, Metadata_Dose=pl.Series([10.0, 2.5, 9.0, 100.0] * 26))
    settings = asked(path, columns={**COLUMNS, "dose": "Metadata_Dose"}, rows={"where": "Metadata_Dose > 9"})
    assert set(told(settings)[0].metadata["Metadata_Dose"]) == {10.0, 100.0}


def test_rows_are_filtered_by_doses_of_an_annotation_as_numbers(tmp_path):
    path = written(tmp_path, "csv")
    compounds = screen().select("Metadata_Compound").unique(maintain_order=True)
    compounds.with_columns(Dose=pl.Series(["10", "2.5", "9", "100"] * len(compounds))[: len(compounds)]).write_csv(
        tmp_path / "doses.csv"
    )
    annotation = {"path": str(tmp_path / "doses.csv"), "on": "Metadata_Compound", "columns": "Dose"}
    columns = {**COLUMNS, "dose": "Metadata_Dose"}
    settings = asked(path, columns=columns, annotate=annotation, rows={"where": "Metadata_Dose > 9"}, controls=None)
    assert set(told(settings)[0].metadata["Metadata_Dose"]) == {10.0, 100.0}
