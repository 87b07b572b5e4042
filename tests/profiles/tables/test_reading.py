import gzip

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.reading import read, scan
from cellfx.profiles.tables.table import from_frame, to_frame, write


def table(num_rows=6, start=0):
    return pl.DataFrame({
        "Metadata_Plate": [f"p{(start + i) % 2}" for i in range(num_rows)],
        "Metadata_Well": [f"A{start + i:02d}" for i in range(num_rows)],
        "Metadata_Dose": [0.5, None, *[1.0] * (num_rows - 2)],
        "x": np.arange(num_rows) + start + 0.25,
        "y": [None, *[2.0] * (num_rows - 1)],
    })  # fmt: skip


def as_text(frame):
    """As a file of text has it: doses are no numbers yet."""
    return frame.with_columns(pl.col("^Metadata_.*$").cast(pl.String))


def same(profiles, frame):
    expected = from_frame(frame)
    assert profiles.names == expected.names
    np.testing.assert_array_equal(profiles.features, expected.features)
    assert profiles.metadata.equals(expected.metadata)


def test_single_files(tmp_path):
    frame = table()
    write(from_frame(frame), tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    frame.write_csv(tmp_path / "t.tsv", separator="\t")
    for name in ("csv", "tsv"):
        (tmp_path / f"t.{name}.gz").write_bytes(gzip.compress((tmp_path / f"t.{name}").read_bytes()))
    (tmp_path / "u.TXT").write_bytes((tmp_path / "t.tsv").read_bytes())
    for name in ("t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "u.TXT"):
        expected = frame if name == "t.parquet" else as_text(frame)
        same(read(tmp_path / name), expected)
        assert isinstance(scan(str(tmp_path / name)), pl.LazyFrame)
        same(from_frame(scan(tmp_path / name).collect(engine="streaming")), expected)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_many_files(kind, tmp_path):
    for number in (2, 0, 1):
        part = table(start=6 * number)
        folder = tmp_path / "screen" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}.{kind}"
        part.write_parquet(path) if kind == "parquet" else part.write_csv(path)
    (folder / f".9.{kind}.1234").write_text("what an interrupted write left")
    (folder / f".9.{kind}").write_text("what is hidden")
    (folder / "readme.txt").write_text("what is no table")
    whole = pl.concat([table(start=start) for start in (0, 6, 12)])
    whole = as_text(whole) if kind == "csv" else whole
    same(read(tmp_path / "screen"), whole)
    same(read(f"{tmp_path}/screen/deep/*.{kind}"), whole)
    same(read(f"{tmp_path}/screen/**/[01].{kind}"), whole[:12])


def test_files_of_a_folder_that_are_not_read_are_said(tmp_path):
    table().write_csv(tmp_path / "a.csv")
    table(start=6).write_csv(tmp_path / "b.txt", separator="\t")
    (tmp_path / "c").mkdir()
    for name in ("c/d.xlsx", ".hidden", "_SUCCESS"):
        (tmp_path / name).write_text("x")
    lines = []
    assert len(read(tmp_path, tell=lines.append).features) == 6
    assert lines == [f"not read: 2 of 3 files below {tmp_path}: 'b.txt', 'c/d.xlsx'"]
    read(tmp_path / "a.csv", tell=lines.append)
    assert len(lines) == 1


def test_partitioned_folders(tmp_path):
    inner = tmp_path / "run=3" / "screen"
    for plate in ("p1", "p0"):
        folder = inner / "Metadata_Week=01" / "deep" / f"Metadata_Plate={plate}"
        folder.mkdir(parents=True)
        table().filter(pl.col("Metadata_Plate") == plate).drop("Metadata_Plate").write_parquet(folder / "0.parquet")
    profiles = read(inner)
    assert profiles.names == ("x", "y")
    assert profiles.metadata["Metadata_Plate"].to_list() == ["p0"] * 3 + ["p1"] * 3
    np.testing.assert_array_equal(profiles.features[:, 0], [0.25, 2.25, 4.25, 1.25, 3.25, 5.25])
    assert set(profiles.metadata["Metadata_Week"]) == {"01"}
    only = scan(inner).filter(pl.col("Metadata_Plate") == "p1").select("x").collect()
    assert only["x"].to_list() == [1.25, 3.25, 5.25]
    folder = tmp_path / "names" / "Metadata_Plate=a%20b"
    for path in (folder, folder.with_name("Metadata_Plate=__HIVE_DEFAULT_PARTITION__")):
        path.mkdir(parents=True)
        table(2).drop("Metadata_Plate").write_parquet(path / "0.parquet")
    assert read(tmp_path / "names").metadata["Metadata_Plate"].to_list() == [None, None, "a b", "a b"]


def test_polars_own_partitions(tmp_path):
    table().write_parquet(pl.PartitionBy(tmp_path / "t", key="Metadata_Plate"))
    profiles = read(tmp_path / "t")
    assert profiles.metadata["Metadata_Plate"].to_list() == ["p0"] * 3 + ["p1"] * 3
    assert sorted(profiles.features[:, 0]) == [0.25, 1.25, 2.25, 3.25, 4.25, 5.25]


def test_whole_numbers_do_not_make_a_feature_whole(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Metadata_Plate,x\n" + "7,1\n" * 20_000 + "8,1.5\n")
    profiles = from_frame(scan(path).collect())
    assert profiles.features[-1, 0] == 1.5
    assert profiles.metadata["Metadata_Plate"].to_list()[-1] == "8"
    path.write_text("Metadata_Plate,x\n" + "7,NA\n" * 5 + "8,1.5\n")
    np.testing.assert_array_equal(read(path).features[:, 0], [np.nan] * 5 + [1.5])


def test_a_regular_expression_names_the_features(tmp_path):
    table().write_parquet(tmp_path / "t.parquet")
    profiles = read(tmp_path / "t.parquet", "^x$")
    assert profiles.names == ("x",)
    assert "Metadata_y" in profiles.metadata.columns


def test_real_tables(data_folder):
    path = data_folder / "jump" / "BR00117010_normalized_feature_select_negcon_batch.csv.gz"
    profiles = read(path)
    assert profiles.features.shape[0] == 384
    assert set(profiles.metadata["Metadata_Plate"]) == {"BR00117010"}
    assert profiles.names[0] == "Cells_AreaShape_BoundingBoxMaximum_Y"
    same(from_frame(scan(path).collect()), to_frame(profiles))
    four = scan(data_folder / "jump" / "*.csv.gz").select(pl.col("Metadata_Plate").n_unique()).collect()
    assert four.item() == 4


def test_bad_input(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table: got .*none.csv, where there is nothing, expected files"):
        scan(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="where there is no known kind of file, expected files that end in"):
        scan(tmp_path)
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"not one kind of table: got .*a.xlsx, with files like 'a.xlsx' and 'a.xlsx'"):
        scan(tmp_path / "a.xlsx")
    table().write_parquet(tmp_path / "a.parquet")
    table().write_csv(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"with files like 'a.parquet' and 'b.csv', expected all to end in one of"):
        scan(tmp_path)
    (tmp_path / "b.parquet.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"with files like 'b.parquet.gz'"):
        scan(tmp_path / "b.parquet.gz")
    for name in "cd":
        (tmp_path / f"{name}.h5ad").write_bytes(b"")
    with pytest.raises(ValueError, match=r"AnnData is read one file at a time: got .*, with 2 of them, expected one"):
        scan(tmp_path / "*.h5ad")
    np.savez(tmp_path / "e.npz", features=np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"DeepProfiler's files are read by the folder: got .*e.npz, expected the fol"):
        scan(tmp_path / "e.npz")


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.csv.gz", "e.parquet"])
def test_a_file_of_no_bytes_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    table().write_csv(tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match=rf"an empty table: got .*{name} with 0 bytes, expected a line of names and rows"
    ):
        read(tmp_path / name)


def test_a_packed_file_of_nothing_is_refused(tmp_path):
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(
        ValueError, match=r"an empty table: got nothing in .*e.csv.gz, expected a line of names and rows"
    ):
        scan(tmp_path / "e.csv.gz")
