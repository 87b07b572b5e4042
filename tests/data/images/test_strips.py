"""Images beside each other: on one scale, of one size, and never from out of their folder."""

import numpy as np
import pytest
import tifffile

from cellfx.data.images.strips import read_strips


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    for name, level in (("a/dark", 100), ("a/bright", 400), ("b", 200)):
        tifffile.imwrite(root / f"{name}.tif", np.full((10, 12), level, np.uint16))
    tifffile.imwrite(tmp_path / "secret.tif", np.zeros((8, 8), np.uint16))
    return root


def test_all_images_have_one_scale_and_size(folder):
    found = read_strips({"x": ["a/dark.tif", "a/bright.tif"], "y": ["b.tif"]}, folder, 8)
    assert {name: strip.shape for name, strip in found.items()} == {"x": (2, 8, 8, 1), "y": (1, 8, 8, 1)}
    assert found["x"].dtype == np.float32
    levels = [float(image.mean()) for image in (*found["x"], *found["y"])]
    np.testing.assert_allclose(levels, [0.0, 1.0, (200 - 100) / (400 - 100)], atol=1e-5)


@pytest.mark.parametrize("path", ["../secret.tif", "a/../../secret.tif", "link.tif", "ABSOLUTE"])
def test_no_image_from_out_of_the_folder_is_read(path, folder):
    (folder / "link.tif").symlink_to(folder.parent / "secret.tif")
    path = path.replace("ABSOLUTE", str(folder.parent / "secret.tif"))
    with pytest.raises(ValueError, match=r"an image out of its folder: got '.*(secret|link)\.tif', expected a path"):
        read_strips({"x": [path]}, folder)


def test_images_of_two_kinds_are_refused(folder):
    tifffile.imwrite(folder / "c.tif", np.zeros((8, 8), np.uint8))
    message = "cannot be shown side by side: got 1 channels of uint16 and 1 channels of uint8"
    with pytest.raises(ValueError, match=message):
        read_strips({"x": ["b.tif"], "y": ["c.tif"]}, folder)


def test_a_file_that_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match=r"cannot read the image .*d\.tif"):
        read_strips({"x": ["d.tif"]}, folder)
