"""Files of an imaging cytometer that a user can get wrong: the command names each in one line and leaves no run."""

import numpy as np
import pytest
import tifffile

NAMES = ("Bright Field", "PI")
CONFIG = "configs/cnn_cytometry.py:tiny"
LAST = "Mitosis/cell5.ome.tif"
PLANES = np.full((2, 9, 10), 300, np.uint16)


def save(path, planes, names=NAMES):
    metadata = {"axes": "CYX", "Channel": {"Name": list(names)}}
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata=metadata)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of six cells, one file each of two channels of 16 bits."""
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("G1", "Mitosis"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for cell in range(6):
            planes = rng.integers(100, 900, (2, 9 + cell % 2, 10)).astype(np.uint16)
            save(tmp_path / "cells" / name / f"cell{cell}.ome.tif", planes)
    return tmp_path / "cells"


@pytest.fixture
def split_folder(tmp_path, monkeypatch):
    """The same of one file for each channel, as IDEAS exports them."""
    monkeypatch.setenv("CELLFX_CACHE", str(tmp_path / "cache"))
    for name in ("G1", "Mitosis"):
        (tmp_path / "objects" / name).mkdir(parents=True)
        for cell in range(6):
            for channel in (1, 5):
                tifffile.imwrite(tmp_path / "objects" / name / f"{cell}_Ch{channel}.ome.tif", PLANES[0] + cell)
    return tmp_path / "objects"


@pytest.fixture
def train(refused, tmp_path):
    """Function (folder, channels, more arguments) -> the line with which training on it is refused."""

    def run(folder, channels, *argv):
        workdir = tmp_path / "run"
        data = [f"--config.data.folder={folder}", f"--config.data.channels={channels}"]
        line = refused("train", f"--config={CONFIG}", f"--workdir={workdir}", *data, *argv)
        assert line.startswith("train: ")
        assert not workdir.exists()
        return line

    return run


def test_a_channel_that_no_file_has_is_named(train, folder):
    line = train(folder, ("P1",))
    told = "has no channel 'P1'; got the channels Bright Field, PI; expected one of these or an index; correct channels"
    assert f"{folder / 'G1' / 'cell0.ome.tif'} {told}: did you mean 'PI'?" in line


def test_a_channel_that_only_one_file_lacks_is_named(train, folder):
    save(folder / LAST, PLANES, ("Bright Field", "DAPI"))
    line = train(folder, NAMES)
    assert f"{folder / LAST} has the channels Bright Field, DAPI; expected Bright Field, PI" in line
    assert "no channel 'PI', the nearest is 'DAPI'; convert or remove it" in line


def test_a_truncated_file_is_named(train, folder):
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:-150])
    line = train(folder, NAMES)
    assert f"cannot read the image {folder / LAST}: " in line
    assert "expected a whole PNG or TIFF file; replace or remove it, or set on_error to 'skip'" in line


@pytest.mark.parametrize(("value", "told"), [(1.5, "1.5 to 1.5"), (-0.25, "-0.25 to -0.25")])
def test_floating_point_pixels_out_of_range_are_named(train, folder, value, told):
    save(folder / LAST, np.full((2, 9, 10), value, np.float32))
    line = train(folder, NAMES)
    assert f"{folder / LAST} has floating-point pixels from {told}; expected 0 to 1; divide them by" in line


def test_pixels_that_are_no_number_are_counted(train, folder):
    planes = np.full((2, 9, 10), 0.5, np.float32)
    planes[0, :2] = np.nan
    save(folder / LAST, planes)
    told = "has 20 of 180 pixels that are no number (NaN); expected 0 to 1; fill them with the background"
    assert f"{folder / LAST} {told}" in train(folder, NAMES)


def test_a_class_of_one_image_is_named_with_its_file(train, folder):
    for path in sorted((folder / "Mitosis").iterdir())[1:]:
        path.unlink()
    line = train(folder, NAMES)
    assert f"too few images of class 'Mitosis' in {folder}: got Mitosis/cell0.ome.tif; expected two or more" in line


def test_channels_of_different_sizes_are_named(train, split_folder):
    path = split_folder / "Mitosis" / "3_Ch5.ome.tif"
    tifffile.imwrite(path, PLANES[0, 1:])
    line = train(split_folder, ("Ch1", "Ch5"))
    assert f"{path} has 8x10 pixels; expected 9x10, as Mitosis/3_Ch1.ome.tif of the same object has" in line


@pytest.mark.parametrize(
    ("planes", "told"), [(PLANES.astype(np.uint8), "uint8 pixels"), (PLANES / np.float32(600), "float pixels")]
)
def test_mixed_bit_depths_are_named(train, folder, planes, told):
    save(folder / LAST, planes)
    line = train(folder, NAMES)
    assert f"{folder / LAST} has {told}; expected uint16, as" in line


def test_mixed_bit_depths_of_one_object_are_named(train, split_folder):
    path = split_folder / "Mitosis" / "3_Ch5.ome.tif"
    tifffile.imwrite(path, PLANES[0].astype(np.uint8))
    line = train(split_folder, ("Ch1", "Ch5"))
    assert f"{path} has uint8 pixels; expected uint16, as Mitosis/3_Ch1.ome.tif of the same object has" in line


def test_preparing_names_the_same_file(refused, folder):
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:-150])
    line = refused("prepare", f"--config={CONFIG}", f"--config.data.folder={folder}", f"--config.data.channels={NAMES}")
    assert line.startswith(f"prepare: cannot read the image {folder / LAST}: ")


def test_a_list_of_images_that_do_not_exist_is_named(train, folder, tmp_path):
    (tmp_path / "kept.csv").write_text("Metadata_File,Metadata_Score\nG1/cell0.ome.tif,1.0\nG1/gone.ome.tif,2.0\n")
    line = train(folder, NAMES, f"--config.data.kept={tmp_path / 'kept.csv'}")
    assert f"{tmp_path / 'kept.csv'} names images that {folder} does not have: got 1 file (G1/gone.ome.tif)" in line
    line = train(folder, NAMES, f"--config.data.kept={tmp_path / 'kept'}")
    assert f"there is no table {tmp_path / 'kept'}" in line


def test_a_filter_that_is_no_run_is_named(refused, folder, tmp_path):
    argv = ["prepare", f"--config={CONFIG}", f"--config.data.folder={folder}"]
    assert f"{tmp_path / 'nothing'} is no workdir" in refused(*argv, f"--filter={tmp_path / 'nothing'}")
    assert f"{tmp_path} is no workdir" in refused(*argv, f"--filter={tmp_path}")
