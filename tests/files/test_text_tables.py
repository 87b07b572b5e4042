"""Tables of text as Excel and others write them: each dialect that is not read has its line."""

import gzip
import re

import pytest

from cellfx.files import text_tables
from cellfx.files.text_tables import check, count_blank, find_fault, read_names

NAMES, ROW = b"Metadata_Plate,Cells_A,Cells_B\n", b"p,1.5,2\n"


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        NAMES + ROW,
        b"\xef\xbb\xbf" + NAMES + ROW,
        (NAMES + ROW).replace(b"\n", b"\r\n"),
        NAMES + b'"a, b",1,2\n"two\nlines",3,4\n',
        b"x\n1\n",
        NAMES.strip(),
        b",x,y\n0,1,2\n",
        b"0,1,2\n0.5,1,2\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_tables_that_are_right(content, packed, tmp_path):
    name = "t.csv.gz" if packed else "t.csv"
    path = written(tmp_path, gzip.compress(content) if packed else content, name)
    check(path)
    assert find_fault(path) is None
    assert len(read_names(path)) == content.split(b"\n")[0].count(b",") + 1


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (NAMES.replace(b",", b";"), "t.csv", "columns that are separated by semicolons: got 'Metadata_Plate;Cells_A;C"),
        (NAMES.replace(b",", b"\t"), "t.csv", "columns that are separated by tabs: .* rename it to .tsv, or save"),
        (NAMES, "t.tsv", "columns that are separated by commas: .*, expected tabs .* rename it to .csv, or save"),
        (NAMES, "t.TXT", "columns that are separated by commas: .*, expected tabs between"),
        (b"# exported\n" + NAMES, "t.csv", "a comment above the names: got '# exported' in line 1, expected the names"),
        (b"\r\n\n", "t.csv", "an empty line above the names: got .*t.csv, expected names in line 1; delete the line"),
        (b"sep=;\n" + NAMES, "t.csv", "a line for Excel above the names: got 'sep=;' in line 1"),
        (b"Plate 1,,\n" + NAMES, "t.csv", "a line above the names: got 'Plate 1,,' in line 1, which names 1 of 3"),
        ((NAMES + ROW).replace(b"\n", b"\r"), "t.csv", "lines that end in a carriage return alone: got .*t.csv, exp"),
        ((NAMES + ROW).decode().encode("utf-16"), "t.csv", "text in UTF-16, Excel's 'Unicode text': got .*t.csv"),
        ((NAMES + ROW).decode().encode("utf-16-le"), "t.csv", "text in UTF-16, Excel's 'Unicode text': got .*t.csv"),
        (b"a\0b\n", "t.csv", "bytes that are no text: got .*t.csv, which begins with b'a.x00b"),
        (b"a,\xb5\n1,2\n", "t.csv", "text that is not UTF-8: got the byte 0xb5 in line 1 of .*t.csv, expected UTF-8"),
        (b"PK\x03\x04rest", "t.csv", "a zip file, such as an Excel workbook instead of text: got .*t.csv"),
        (b"PAR1rest", "t.tsv", "Parquet instead of text: got .*t.tsv, expected fields between tabs"),
        (
            b"Image,Cells,Cells,Nuclei,Nuclei\nPlate,A,B,A,B\np,1,2,3,4\n",
            "t.csv",
            "two lines of names: got 'Image,Cells,Cells,Nuclei,Nuclei' in line 1, .* 'Plate, A, B' ... in line 2",
        ),
        (
            gzip.compress(NAMES + ROW, mtime=0)[:20],
            "t.csv.gz",
            "a packed file that is cut or damaged: got .*t.csv.gz of 20 bytes",
        ),
        (gzip.compress(b"", mtime=0), "t.csv.gz", "an empty table: got nothing in .*t.csv.gz"),
    ],
)
def test_dialects_that_are_not_read(content, name, message, tmp_path):
    path = written(tmp_path, content, name)
    with pytest.raises(ValueError, match=message) as caught:
        check(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NAMES + ROW + b"p,1,2,3\n", "rows of different lengths: got 4 fields in line 3 of .*, expected 3 between com"),
        (NAMES + b"\n" + ROW + b"p,1\n", "rows of different lengths: got 2 fields in line 4 of .*, expected 3 between"),
        (NAMES + b'p,"1,2\n' + ROW + ROW, "a quotation mark that is not closed where it should be: got lines 2 to 4"),
        (NAMES + ROW + b"\xb5,1,2\n", "text that is not UTF-8: got the byte 0xb5 in line 3 of"),
        (NAMES + ROW + b"p," + b"1" * 140_000 + b",2\n", "text that is no table: got field larger than field limit"),
    ],
)
def test_faults_further_down_have_their_line(content, message, tmp_path):
    path = written(tmp_path, content)
    check(path)
    assert re.match(message, find_fault(path))


def test_a_packed_file_that_was_cut_is_one(tmp_path):
    whole = gzip.compress(NAMES + b"".join(b"p,%d,%d\n" % (i * 7919 % 10007, i) for i in range(9999)))
    path = written(tmp_path, whole[: len(whole) // 2], "t.csv.gz")
    check(path)
    assert find_fault(path).startswith(f"a packed file that is cut or damaged: got {path} of {len(whole) // 2:,} bytes")


def test_lines_without_a_value_are_counted_and_short_rows_refused(tmp_path):
    path = written(tmp_path, NAMES + ROW + b",,\n\n" + ROW + b'"","",""\n')
    assert count_blank(path) == 3
    assert len(text_tables.scan_text([path]).filter(text_tables.has_value()).collect()) == 2
    assert text_tables.counted({path: 3}) == "left out: 3 lines without any value, in t.csv"
    assert text_tables.counted({path: 0}) is None
    assert count_blank(written(tmp_path, NAMES + b"p,1,\n")) == 0
    with pytest.raises(ValueError, match="rows of different lengths: got 2 fields in line 3"):
        count_blank(written(tmp_path, NAMES + ROW + b"p,1\n"))
