"""What of a folder is not looked at, cut off or empty is said, in one line each."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellfx.data.flowcytometry import flowcytometry
from cellfx.data.nuclei import nuclei, prepare
from cellfx.runs import experiment

RNG = np.random.default_rng(0)
DATA_SETS = [nuclei, flowcytometry]


@pytest.fixture
def cells(tmp_path):
    """Six images of 8 x 8 pixels in each of two classes."""
    for name in "ab":
        for cell in range(6):
            _save(tmp_path / "cells" / name / f"cell{cell}.tif")
    return tmp_path / "cells"


def _save(path, size=8, value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = RNG.integers(0, 256, (size, size), np.uint8) if value is None else np.full((size, size), value, np.uint8)
    tifffile.imwrite(path, image) if path.suffix == ".tif" else Image.fromarray(image).save(path)


def _notices(load, folder, size=8):
    return load(folder, size, data_dir=folder.parent / "prepared").notices


@pytest.mark.parametrize("load", DATA_SETS)
def test_nothing_is_noticed_of_a_plain_folder(cells, load):
    (cells / "a" / "notes.txt").write_text("of the microscope")
    (cells / "b" / ".hidden.tif").write_bytes(b"")
    assert _notices(load, cells) == ()


@pytest.mark.parametrize(("load", "suffix"), [(nuclei, ".czi"), (flowcytometry, ".png")])
def test_images_of_other_formats_are_counted(cells, load, suffix):
    for name in ("cell7", "cell8"):
        (cells / "a" / f"{name}{suffix}").write_bytes(b"")
    (cells / "b" / "cell9.NPY").write_bytes(b"")
    (line,) = _notices(load, cells)
    told = f"3 image files of {cells} are not looked at: 2 end in {suffix}, 1 ends in .npy, such as a/cell7{suffix}; "
    assert line.startswith(f"{told}expected .")
    assert line.endswith(".tif, .tiff; convert or remove them") or ".png, .tif, .tiff, .jpg" in line


@pytest.mark.parametrize("load", DATA_SETS)
def test_images_in_inner_folders_and_beside_the_classes_are_counted(cells, load):
    for cell in range(3):
        _save(cells / "a" / "plate1" / "day2" / f"cell{cell}.tif")
    _save(cells / "loose.tif")
    inner, loose = _notices(load, cells)
    told = "in folders within those of the classes, such as a/plate1/day2/cell0.tif; expected"
    assert f"3 image files of {cells} are not looked at, {told}" in inner
    assert f"1 image file of {cells} is not looked at, beside the class folders: loose.tif; expected" in loose


def test_a_class_whose_images_lie_deeper_is_named_with_one_of_them(cells):
    _save(cells / "c" / "plate1" / "cell0.tif")
    told = f", but images of other formats or in inner folders: 1, such as {cells}/c/plate1/cell0.tif; add"
    with pytest.raises(ValueError, match=f"{cells}/c is empty: .*{told}"):
        _notices(nuclei, cells)


def test_a_table_of_classes_does_not_hide_other_formats(cells, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(cells / "a" / "cell0.jpg")
    (tmp_path / "labels.csv").write_text("".join(
        ["file,class\n", *(f"{name}/cell{cell}.tif,{name}\n" for name in "ab" for cell in range(6))]))  # fmt: skip
    source = flowcytometry(cells, 8, labels=str(tmp_path / "labels.csv"), data_dir=tmp_path / "prepared")
    assert len(source.notices) == 1
    assert "not looked at: 1 ends in .jpg, such as a/cell0.jpg; expected .tif, .tiff; convert" in source.notices[0]


def test_previews_beside_images_are_noticed(cells):
    _save(cells / "a" / "cell0.jpg")
    (line,) = _notices(nuclei, cells)
    assert f"2 images of {cells} differ from others in their suffix alone, such as a/cell0.jpg and a/cell0.tif" in line


@pytest.mark.parametrize("load", DATA_SETS)
def test_images_that_are_cropped_are_counted(cells, load):
    _save(cells / "a" / "field.tif", 30)
    _save(cells / "a" / "small.tif", 4)
    (line,) = _notices(load, cells)
    assert line == "1 of 14 images are larger than image_size 8 and are cropped; the largest is 30x30"
    assert _notices(load, cells, 30) == ()


@pytest.mark.parametrize("load", DATA_SETS)
def test_constant_images_are_counted_by_class(cells, load):
    for cell in range(6):
        _save(cells / "b" / f"cell{cell}.tif", value=0)
    first = _notices(load, cells)
    assert first == ("6 of 12 images are constant (all pixels 0): 6 of 6 of b, such as b/cell0.tif",)
    assert _notices(load, cells) == first  # from what is prepared


@pytest.mark.parametrize("load", DATA_SETS)
@pytest.mark.parametrize(("value", "told"), [(0, "all pixels 0"), (255, "one value in all pixels")])
def test_a_folder_of_constant_images_is_refused(cells, load, value, told):
    for path in cells.rglob("*.tif"):
        _save(path, value=value)
    told = rf"nothing to learn from in {cells}: got 12 of 12 images are constant \({told}\): 6 of 6 of a, .*; expected"
    with pytest.raises(ValueError, match=told) as caught:
        _notices(load, cells)
    assert "\n" not in str(caught.value)


def test_prepare_says_sizes_and_notices(cells, tmp_path, capsys):
    _save(cells / "a" / "field.tif", 30)
    data = {"name": "nuclei", "folder": str(cells), "image_size": 8, "data_dir": str(tmp_path / "prepared")}
    experiment.prepare({"data": data})
    out, err = capsys.readouterr()
    assert "sizes: 8x8 12, 30x30 1\n" in out
    assert "notice: 1 of 13 images are larger than image_size 8 and are cropped; the largest is 30x30\n" in err
    assert prepare(cells, 8, data_dir=tmp_path / "prepared").notices[0] in err


def test_prepared_checksums_are_those_of_the_files(cells, tmp_path):
    import zlib

    for load in DATA_SETS:
        for split in load(cells, 8, data_dir=tmp_path / "prepared").splits.values():
            for file, checksum in zip(split.metadata["Metadata_File"], split.checksums, strict=True):
                assert checksum == zlib.crc32((cells / file).read_bytes())
