"""Label tables as other programs leave them; how they are held against a folder is tested with the folders."""

import logging

import numpy as np
import pytest

from cellfx.data.images.tables import ClassTable, read_classes, read_kept

FILES = [("a.png",), ("b.png",), ("007.png",)]


def classes(path):
    return read_classes(ClassTable(path), FILES, np.arange(3), path.parent, "raise")


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.tsv", "\t"), ("t.txt", "\t"), ("T.TXT", "\t")])
def test_text_is_read_as_its_ending_says(name, separator, tmp_path):
    lines = ["file,class", "a.png,G1", "b.png,1E05", "007.png,10E04"]
    (tmp_path / name).write_text("\n".join(lines).replace(",", separator))
    assert classes(tmp_path / name) == ["G1", "1E05", "10E04"]


def test_lines_without_a_value_are_left_out_and_counted(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("file,class\na.png,G1\n,\n\nb.png,G2\n007.png,G2\n\n")
    with caplog.at_level(logging.WARNING):
        assert classes(tmp_path / "t.csv") == ["G1", "G2", "G2"]
    assert "left out: 3 lines without any value, in t.csv" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS instead of a table"),
        ("t.csv", b"<html></html>", "a web page instead of a table"),
        ("t.csv", b"file;class\na.png;G1\n", "columns that are separated by semicolons"),
        ("t.csv", b"file,class\na.png,\xb5\n", "text that is not UTF-8: got the byte 0xb5 in line 2"),
        ("t.csv", b"file,class\na.png,G1\nb.png\n", "rows of different lengths: got 1 fields in line 3"),
        ("t.csv", b"file,class\na.png,G1\nb.png,G1,?\n", "rows of different lengths: got 3 fields in line 3"),
        ("t.parquet", b"PAR1 cut", "Parquet without its end"),
        ("t.xlsx", b"PK\x03\x04", "no kind of table: got the ending '.xlsx', expected .parquet, .csv"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    for read in (classes, lambda path: read_kept(path, ["a.png"], path.parent)):
        with pytest.raises(ValueError, match=f"cannot read the table .*{name}: .*{message}") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
