"""One table a plate, as different programs leave them: order, types and columns differ, what is read does not."""

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.aggregate import aggregate_lazily
from cellfx.profiles.tables.reading import read, scan

WELLS = [f"A{number}" for number in range(6)]
DOSES = [0.1, 0.5, 1.0, 2.5, 10.0, None]


def plate(name, **changed):
    features = {f"Cells_{letter}": np.arange(6) * (i + 1.0) for i, letter in enumerate("ABCD")}
    columns = {
        "Metadata_Plate": [name] * 6,
        "Metadata_Well": WELLS,
        "Metadata_Dose": [0.1, 0.5, 1.0, 2.5, 10.0, None],
    }
    return pl.DataFrame({**columns, **features, **changed})


def shuffled(frame):
    return frame.select(sorted(frame.columns, reverse=True))


def as_integer(frame, name):
    return frame.with_columns(pl.col(name).cast(pl.Int64))


CASES = {
    "same": (plate("1"), plate("2")),
    "order": (plate("1"), shuffled(plate("2"))),
    "whole": (as_integer(plate("1"), "Cells_A"), plate("2")),
    "float32": (plate("1").cast({"Cells_B": pl.Float32}), plate("2")),
    "text": (plate("1", Cells_C=["0", "3", "nan", "9", "NA", ""]), plate("2")),
    "missing": (plate("1", Metadata_Dose=[None] * 6, Cells_D=[None] * 6), plate("2")),
    "plates that are numbers": (as_integer(plate("1"), "Metadata_Plate"), plate("2")),
    "numbers with a point": (plate("1").cast({"Metadata_Plate": pl.Float64}), plate("2")),
    "categories": (
        plate("1").cast({"Metadata_Plate": pl.Categorical}),
        plate("2").cast({"Metadata_Well": pl.Categorical}),
    ),
}


def saved(tmp_path, frames, kind):
    folder = tmp_path / kind
    folder.mkdir()
    for name, frame in zip("abc", frames, strict=False):
        path = folder / f"{name}.{kind}"
        frame.write_parquet(path) if kind == "parquet" else frame.write_csv(path)
    return folder


def as_numbers(column):
    return column.cast(pl.String).cast(pl.Float64, strict=False).to_list()


@pytest.mark.parametrize("case", CASES)
def test_types_and_order_do_not_matter(case, tmp_path, caplog):
    first, second = CASES[case]
    expected = np.concatenate(
        [
            np.stack([as_numbers(frame[f"Cells_{letter}"]) for letter in "ABCD"], axis=1).astype(float)
            for frame in (first, second)
        ]
    )
    found = []
    for kind in ("parquet", "csv"):
        profiles = read(saved(tmp_path, (first, second), kind))
        order = [f"Cells_{letter}" for letter in "ABCD"]
        assert list(profiles.names) == order
        np.testing.assert_array_equal(profiles.features, expected)
        assert profiles.metadata["Metadata_Well"].to_list() == WELLS * 2
        found.append(as_numbers(profiles.metadata["Metadata_Plate"]))
        doses = as_numbers(profiles.metadata["Metadata_Dose"])
        assert doses == as_numbers(first["Metadata_Dose"]) + as_numbers(second["Metadata_Dose"])
        pooled = aggregate_lazily(scan(tmp_path / kind), ("Metadata_Plate", "Metadata_Well"), "mean")
        np.testing.assert_array_equal(pooled.features, expected)
    assert found[0] == found[1] == [1.0] * 6 + [2.0] * 6
    if case == "plates that are numbers":
        assert set(read(tmp_path / "parquet").metadata["Metadata_Plate"]) == {"1", "2"}
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_features_that_not_all_have_are_left_out_and_told(kind, tmp_path):
    told = []
    frames = plate("1").drop("Cells_B"), plate("2").drop("Cells_C"), plate("3").drop("Cells_C")
    profiles = read(saved(tmp_path, frames, kind), tell=told.append)
    assert profiles.names == ("Cells_A", "Cells_D")
    np.testing.assert_array_equal(profiles.features, np.tile(np.arange(6)[:, None] * [1.0, 4], (3, 1)))
    assert told == [
        (
            f"left out: 2 of 4 features, which not all tables have: 'Cells_C', 'Cells_B'; 'b.{kind}', 'c.{kind}' lack "
            "'Cells_C'"
        )
    ]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_metadata_that_not_all_have_are_missing_and_told(kind, tmp_path):
    told = []
    frames = plate("1"), plate("2", Metadata_Note=["n"] * 6, other=["o"] * 6)
    profiles = read(saved(tmp_path, frames, kind), "^Cells_", told.append)
    assert profiles.metadata["Metadata_Note"].to_list() == [None] * 6 + ["n"] * 6
    assert profiles.metadata["Metadata_other"].to_list() == [None] * 6 + ["o"] * 6
    assert told == [
        f"{name} is not in all tables and empty where it is missing: 'a.{kind}' lacks {name!r}"
        for name in ("Metadata_Note", "other")
    ]


def test_what_is_left_out_is_logged_where_nobody_asks(tmp_path, caplog):
    read(saved(tmp_path, (plate("1"), plate("2").drop("Cells_D")), "csv"))
    assert "left out: 1 of 4 features, which not all tables have: 'Cells_D'; 'b.csv' lacks" in caplog.text


def test_nothing_in_common(tmp_path):
    frames = plate("1").select("Metadata_Plate", "Cells_A"), plate("2").select("Metadata_Plate", "Cells_B")
    with pytest.raises(ValueError, match=r"tables without a feature in common: got 'Cells_A', 'Cells_B', each missing"):
        read(saved(tmp_path, frames, "parquet"))


def test_folders_name_plates_for_text_too(tmp_path):
    for name in ("007", "7"):
        folder = tmp_path / f"Metadata_Plate={name}"
        folder.mkdir()
        plate(name).drop("Metadata_Plate").write_csv(folder / "t.csv")
    assert read(tmp_path).metadata["Metadata_Plate"].to_list() == ["007"] * 6 + ["7"] * 6
