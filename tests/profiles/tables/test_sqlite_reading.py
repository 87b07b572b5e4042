"""Small databases as cytominer-database writes them, against pycytominer's SingleCells."""

import sqlite3

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables import sqlite_reading
from cellfx.profiles.tables.aggregate import aggregate_lazily
from cellfx.profiles.tables.reading import read, scan

BY = ("Metadata_Plate", "Metadata_Well")


def tables(num_images=6, cells_per_image=5, seed=0, prefix="Image_Metadata_"):
    """Cells and nuclei are numbered in different orders; each image lies in a table of its own number."""
    rng, rows = np.random.default_rng(seed), {"Image": [], "Cells": [], "Cytoplasm": [], "Nuclei": []}
    for image in range(1, num_images + 1):
        number = {"TableNumber": 70 + image % 2, "ImageNumber": image}
        place = {"Plate": "0012", "Well": f"A{image % 3 + 1:02d}", "Site": image}
        place = {prefix + name: value for name, value in place.items()}
        rows["Image"].append({**number, **place, "Image_Count_Cells": cells_per_image})
        nuclei = rng.permutation(cells_per_image) + 1
        for cell in range(1, cells_per_image + 1):
            parents = {"Cytoplasm_Parent_Cells": cell, "Cytoplasm_Parent_Nuclei": int(nuclei[cell - 1])}
            rows["Cytoplasm"].append({**number, "ObjectNumber": cell, **parents, "Cytoplasm_A": rng.normal()})
            rows["Cells"].append({**number, "ObjectNumber": cell, "Cells_A": rng.normal(), 'Cells_"B': rng.normal()})
            rows["Nuclei"].append({**number, "ObjectNumber": cell, "Nuclei_A": rng.normal()})
    return {name: pl.DataFrame(each).sample(fraction=1, shuffle=True, seed=seed) for name, each in rows.items()}


def write(path, frames):
    with sqlite3.connect(path) as database:
        for table, frame in frames.items():
            names = [name.replace('"', '""') for name in frame.columns]
            columns = ", ".join(f'"{name}"' for name in names)
            database.execute(f'CREATE TABLE "{table}" ({columns})')
            database.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(names))})', frame.iter_rows())
    database.close()
    return path


def joined(frames):
    """The same join by Polars."""
    on = ["TableNumber", "ImageNumber"]
    cells, nuclei = (frames[name].rename({"ObjectNumber": f"Cytoplasm_Parent_{name}"}) for name in ("Cells", "Nuclei"))
    found = frames["Cytoplasm"].join(cells, on=[*on, "Cytoplasm_Parent_Cells"])
    return found.join(nuclei, on=[*on, "Cytoplasm_Parent_Nuclei"]).join(frames["Image"], on=on)


@pytest.mark.parametrize("ending", sqlite_reading.ENDINGS)
def test_cells_are_joined(ending, tmp_path):
    frames = tables()
    profiles = read(write(tmp_path / f"plate{ending}", frames), tell=pytest.fail)
    names = ("Cytoplasm_Parent_Cells", "Cytoplasm_Parent_Nuclei", "Cytoplasm_A", "Cells_A", 'Cells_"B', "Nuclei_A")
    assert profiles.names == names
    assert set(profiles.metadata["Metadata_Plate"]) == {"0012"}
    assert {"Metadata_ImageNumber", "Metadata_Site", "Metadata_Cells_ObjectNumber"} <= set(profiles.metadata.columns)
    assert "Metadata_Image_Count_Cells" not in profiles.metadata.columns
    expected = joined(frames)
    order = ["ImageNumber", "ObjectNumber"]
    ours = profiles.metadata.with_columns(pl.all().cast(pl.Int64, strict=False)).with_row_index("row")
    ours = ours.sort("Metadata_ImageNumber", "Metadata_Cytoplasm_ObjectNumber")["row"].to_numpy()
    np.testing.assert_array_equal(profiles.features[ours], expected.sort(order).select(names).to_numpy())


def test_aggregated_as_pycytominer_does(tmp_path):
    from pycytominer.cyto_utils.cells import SingleCells

    frames = tables(prefix="Metadata_")
    frames["Cells"] = frames["Cells"].drop('Cells_"B')
    path = write(tmp_path / "plate.sqlite", frames)
    theirs = SingleCells(f"sqlite:///{path}").aggregate_profiles()
    features = ["Cells_A", "Cytoplasm_A", "Nuclei_A"]
    ours = aggregate_lazily(scan(path), BY, features="_A$")
    assert ours.metadata["Metadata_Well"].to_list() == theirs.iloc[:, 1].tolist() == ["A01", "A02", "A03"]
    order = [ours.names.index(name) for name in features]
    np.testing.assert_allclose(ours.features[:, order], theirs[features].to_numpy(float), rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 30, 1000])
@pytest.mark.parametrize("columns", [1, 2, 100])
def test_any_part_at_a_time_gives_the_same(rows, columns, tmp_path, monkeypatch):
    path = write(tmp_path / "plate.db", tables())
    whole = read(path)
    monkeypatch.setattr(sqlite_reading, "_ROWS_AT_A_TIME", rows)
    monkeypatch.setattr(sqlite_reading, "_COLUMNS_AT_A_TIME", columns)
    parts = read(path)
    np.testing.assert_array_equal(parts.features, whole.features)
    assert parts.metadata.equals(whole.metadata)
    pooled = aggregate_lazily(scan(path), BY, "mean", budget_bytes=24 * 40)
    np.testing.assert_allclose(pooled.features, aggregate_lazily(scan(path), BY, "mean").features, rtol=1e-12)
    some = scan(path).filter(pl.col("Metadata_Well") == "A02").select("Nuclei_A", "Metadata_Well").head(3).collect()
    assert some["Metadata_Well"].to_list() == ["A02"] * 3
    assert scan(path).select(pl.len()).collect().item() == 30


def test_plates_are_joined_and_what_is_left_out_is_told(tmp_path):
    frames, told = tables(), []
    write(tmp_path / "a.sqlite", frames)
    frames["Nuclei"] = frames["Nuclei"].filter((pl.col("ImageNumber") != 2) | (pl.col("ObjectNumber") != 3))
    frames["Cells"] = frames["Cells"].with_columns(Cells_C=pl.lit("nan"))
    frames["Image"] = frames["Image"].drop("TableNumber")
    write(tmp_path / "b.sqlite", {name: frame.drop("TableNumber", strict=False) for name, frame in frames.items()})
    profiles = read(tmp_path / "*.sqlite", tell=told.append)
    assert len(profiles.features) == 59
    assert told == [
        "left out: 1 of 30 cells of b.sqlite, which no cytoplasm with a nucleus and an image belongs to",
        "left out: 1 of 7 features, which not all tables have: 'Cells_C'; 'a.sqlite' lacks 'Cells_C'",
        (
            "Metadata_TableNumber is not in all tables and empty where it is missing: 'b.sqlite' lacks "
            "'Metadata_TableNumber'"
        ),
    ]
    only = read(tmp_path / "b.sqlite", tell=told.append)
    assert np.isnan(only.features[:, only.names.index("Cells_C")]).all()


def test_more_columns_than_sqlite_gives(tmp_path):
    frames = tables(2, 2)
    many = pl.DataFrame({f"Cells_F{i}": np.arange(4) + i / 4 for i in range(1050)})
    frames["Cells"] = frames["Cells"].hstack(many)
    frames["Nuclei"] = frames["Nuclei"].hstack(many.rename(lambda name: name.replace("Cells", "Nuclei")))
    profiles = read(write(tmp_path / "plate.sqlite", frames))
    assert profiles.features.shape == (4, 2106)
    first, second = (profiles.features[:, profiles.names.index(f"Nuclei_F{i}")] for i in range(2))
    np.testing.assert_array_equal(second - first, [0.25] * 4)


def test_databases_that_are_none(tmp_path):
    (tmp_path / "f.db").write_bytes(b"no database")
    with pytest.raises(ValueError, match=r"no SQLite: got .*f.db, which begins with b'no database'"):
        read(tmp_path / "f.db")
    whole = write(tmp_path / "b.sqlite", tables(40, 20)).read_bytes()
    (tmp_path / "b.sqlite").write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(ValueError, match=r"a table that cannot be read: got .*b.sqlite \(") as caught:
        read(tmp_path / "b.sqlite")
    assert "\n" not in str(caught.value)
    write(tmp_path / "a.sqlite", tables())
    with pytest.raises(ValueError, match=r"a table that cannot be read: got .*b.sqlite \("):
        read(tmp_path / "*.sqlite")
    frames = tables()
    write(tmp_path / "c.sqlite", {"Per_Image": frames["Image"], "Cells": frames["Cells"]})
    with pytest.raises(ValueError, match="without the tables Cytoplasm, Nuclei, Image; it has Per_Image, Cells, expec"):
        read(tmp_path / "c.sqlite")
    write(tmp_path / "d.sqlite", {**frames, "Cytoplasm": frames["Cytoplasm"].drop("Cytoplasm_Parent_Nuclei")})
    with pytest.raises(ValueError, match=r"got the table Cytoplasm of .*d.sqlite without Cytoplasm_Parent_Nuclei, exp"):
        read(tmp_path / "d.sqlite")
    write(tmp_path / "g.sqlite", {**frames, "Cells": frames["Cells"].with_columns(A=1.0)})
    with pytest.raises(ValueError, match=r"two columns for one name: got 'A' of Cells in .*g.sqlite, which is read as"):
        read(tmp_path / "g.sqlite")
    text = frames["Cells"].with_columns(Cells_A=pl.lit("A549"))
    write(tmp_path / "e.sqlite", {**frames, "Cells": text})
    with pytest.raises(ValueError, match="got 'A549' in 'Cells_A', expected numbers") as caught:
        read(tmp_path / "e.sqlite")
    assert "\n" not in str(caught.value)


def test_a_database_is_not_written_to(tmp_path):
    path = write(tmp_path / "plate.sqlite", tables())
    before = path.read_bytes()
    read(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["plate.sqlite"]
    with pytest.raises(ValueError, match="readonly"), sqlite_reading._opened(path) as database:
        database.execute("DELETE FROM Image")
