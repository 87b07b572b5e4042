"""Tables that did not arrive: pointers, web pages, parts of files, damaged bytes."""

import gzip

import polars as pl
import pytest

from cellfx.files import table_files
from cellfx.profiles.tables import reading

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def table():
    return pl.DataFrame({"Metadata_Plate": ["p"] * 400, "x": [float(i * 7919 % 1009) for i in range(400)]})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.txt", "t.parquet", "t.h5ad"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "a pointer of Git LFS instead of a table: got .* bytes, expected the table .*; run git lfs pull"),
        (b"<!DOCTYPE html>\n<html>Not found</html>", "a web page instead of a table: got .*, which begins with '<!DOC"),
        (b'\n<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page instead of a table"),
        (b"", "an empty table: got .* with 0 bytes"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        reading.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(tmp_path, name):
    """A table of which the middle is damaged or the end is cut; beside it one that is whole."""
    table().write_parquet(tmp_path / "a.parquet", compression="zstd", statistics=False)
    table().write_csv(tmp_path / "a.csv")
    content = (tmp_path / ("a.parquet" if "parquet" in name else "a.csv")).read_bytes()
    content = gzip.compress(content) if name.endswith(".gz") else content
    half = len(content) // 2
    if "cut" in name:
        content = content[:half]
    else:
        content = content[:40] + bytes(byte ^ 0xFF for byte in content[40:half]) + content[half:]
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.parquet", "Parquet without its end: got .*cut.parquet of [0-9,]+ bytes that do not end in b'PAR1'"),
        ("flipped.parquet", r"a table that cannot be read: got .*flipped.parquet \(.*expected a whole .parquet"),
        ("cut.csv.gz", "a packed file that is cut or damaged: got .*cut.csv.gz of [0-9,]+ bytes"),
        ("flipped.csv.gz", "a packed file that is cut or damaged: got .*flipped.csv.gz of [0-9,]+ bytes"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_that_is_cut_or_damaged_is_named(name, message, beside, tmp_path):
    path = damaged(tmp_path, name)
    if beside and path.suffix == ".gz":
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pattern = tmp_path / f"*{''.join(path.suffixes)}" if beside else path
    with pytest.raises(ValueError, match=message) as caught:
        reading.read(pattern)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_parquet(tmp_path):
    (tmp_path / "t.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"no Parquet: got .*t.parquet, which begins with b'a,b.n1,2.n', expected b"):
        reading.scan(tmp_path / "t.parquet")


def test_errors_of_ours_and_missing_files_stay_what_they_are(tmp_path):
    with pytest.raises(ValueError, match=r"^ours$"), table_files.told([tmp_path / "a.csv"]):
        raise ValueError("ours")
    with pytest.raises(FileNotFoundError, match="none"), table_files.told([tmp_path / "a.csv"]):
        (tmp_path / "none").read_bytes()
    with pytest.raises(RuntimeError, match=r"^a defect$"), table_files.told([tmp_path / "a.csv"]):
        raise RuntimeError("a defect")


def test_h5py_speaks_in_one_line(tmp_path):
    path = tmp_path / "t.h5ad"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    with pytest.raises(ValueError, match=r"no AnnData: got .*t.h5ad") as caught:
        reading.read(path)
    assert "\n" not in str(caught.value)
    with (
        pytest.raises(ValueError, match=r"a table that cannot be read: got .*t.h5ad \('x'\)"),
        table_files.told([path]),
    ):
        raise KeyError("x")
