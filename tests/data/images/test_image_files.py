import logging
import re
import threading

import imagecodecs
import numpy as np
import pytest
import tifffile

from cellfx.data.images.image_files import UnreadableImageError, fit, read_image, read_planes

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4096, (5, 7), dtype=np.uint16)
PLANES = RNG.integers(0, 4096, (3, 5, 7), dtype=np.uint16)
COLOR = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_png_of_any_depth_and_channels_is_read_as_it_is(tmp_path, dtype, channels):
    image = RNG.integers(0, np.iinfo(dtype).max, (5, 7) if channels is None else (5, 7, channels), dtype=dtype)
    (tmp_path / "a.PNG").write_bytes(imagecodecs.png_encode(image))
    found = read_image(tmp_path / "a.PNG")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image.reshape(5, 7, -1))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (GREY, {}),
        (GREY, {"byteorder": ">", "compression": "lzw"}),
        (PLANES, {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zlib"}),
        (PLANES, {"imagej": True, "metadata": {"axes": "CYX"}}),
        (PLANES, {"photometric": "minisblack"}),
        (COLOR, {"photometric": "rgb"}),
        (PLANES, {"photometric": "rgb", "planarconfig": "separate"}),
        (GREY[None, None], {"ome": True, "metadata": {"axes": "TZYX"}}),
    ],
)
def test_tiff_of_any_layout_is_read_as_it_is(tmp_path, image, options):
    tifffile.imwrite(tmp_path / "a.ome.tif", image, **options)
    expected = np.moveaxis(PLANES, 0, -1) if image is PLANES else image.reshape(5, 7, -1)
    found = read_image(tmp_path / "a.ome.tif")
    assert found.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(found, expected)


def test_what_is_said_of_a_file_that_another_thread_reads_is_not_held_against_this_one(tmp_path, monkeypatch, caplog):
    tifffile.imwrite(tmp_path / "whole.tif", GREY)
    opened, own = tifffile.TiffFile, [True, False]  # from the end

    def complaining(*args, **kwargs):
        complain = lambda: logging.getLogger("tifffile").error("a tag lies behind the end of the file")  # noqa: E731
        if own.pop():
            complain()
        else:
            other = threading.Thread(target=complain)
            other.start()
            other.join()
        return opened(*args, **kwargs)

    monkeypatch.setattr(tifffile, "TiffFile", complaining)
    np.testing.assert_array_equal(read_image(tmp_path / "whole.tif")[..., 0], GREY)
    with pytest.raises(UnreadableImageError, match=r"whole\.tif: EOFError: a tag lies behind the end of the file"):
        read_image(tmp_path / "whole.tif")
    assert len(caplog.records) == 1  # what the error says is not said twice


@pytest.mark.parametrize("removed", [1, 8, 40])
def test_truncated_png_is_named(tmp_path, removed):
    path = tmp_path / "cell.png"
    path.write_bytes(imagecodecs.png_encode(GREY)[:-removed])
    with pytest.raises(UnreadableImageError, match=re.escape(f"cannot read the image {path}: ")):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_no_truncated_tiff_gives_other_pixels(tmp_path, compression):
    path = tmp_path / "cell.tif"
    tifffile.imwrite(path, PLANES, photometric="minisblack", compression=compression)
    data = path.read_bytes()
    refused = 0
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), np.moveaxis(PLANES, 0, -1))
        except UnreadableImageError:
            refused += 1
    assert refused > len(data) / 7 * 0.9


def test_lzw_strip_without_its_last_byte_is_refused(tmp_path):
    """The decoder does not notice: it returns the image with other last pixels."""
    image = np.random.default_rng(0).integers(0, 4000, (20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, compression="lzw")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-1])
    with pytest.raises(UnreadableImageError, match=r"a\.tif: EOFError: the file is cut off"):
        read_image(tmp_path / "a.tif")


def test_damaged_png_is_noticed(tmp_path):
    data = bytearray(imagecodecs.png_encode(COLOR))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"no image at all"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_what_is_no_image_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImageError, match=re.escape(name)):
        read_image(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, bool])
def test_other_pixels_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 6), dtype))
    with pytest.raises(ValueError, match=rf"a\.tif has {np.dtype(dtype)} pixels; expected 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_stacks_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANES, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})
    with pytest.raises(ValueError, match=r"a\.tif has axes ZYX of \(3, 5, 7\)"):
        read_image(tmp_path / "a.tif")


NAMED = {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["DNA", "side scatter", "BF"]}}}


def test_planes_have_the_names_that_the_file_gives_them(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, photometric="minisblack", **NAMED)
    found = read_planes(tmp_path / "a.ome.tif")
    assert (found.names, found.depth) == (("DNA", "side scatter", "BF"), "uint16")
    np.testing.assert_array_equal(found.pixels, read_image(tmp_path / "a.ome.tif"))
    assert read_planes(tmp_path / "a.ome.tif", as_pages=True).names == ()


@pytest.mark.parametrize(
    "options", [{}, {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["DNA", "", "BF"]}}}]
)
def test_planes_are_unnamed_unless_all_of_them_have_names(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, photometric="minisblack", **options)
    assert read_planes(tmp_path / "a.ome.tif").names == ()


def test_colors_of_one_named_channel_are_unnamed(tmp_path):
    metadata = {"axes": "YXS", "Channel": {"Name": ["color"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", COLOR, photometric="rgb", ome=True, metadata=metadata)
    assert read_planes(tmp_path / "a.ome.tif").names == ()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_16_bits(tmp_path, dtype):
    image = np.linspace(0, 1, 35).reshape(5, 7).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=">")
    found = read_planes(tmp_path / "a.tif")
    assert (found.depth, found.pixels.dtype) == ("float", np.uint16)
    assert np.all(np.abs(found.pixels[..., 0] - 65535 * image.astype(np.float64)) <= 0.5)
    assert (found.pixels.min(), found.pixels.max()) == (0, 65535)


@pytest.mark.parametrize(
    ("value", "told"), [(1.5, "0 to 1.5"), (-0.25, "-0.25 to 0"), (1.00001, "0 to 1.00001001"), (np.inf, "0 to inf")]
)
def test_floats_out_of_range_are_refused(tmp_path, value, told):
    image = np.zeros((4, 6), np.float32)
    image[1, 2] = value
    tifffile.imwrite(tmp_path / "a.tif", image)
    with pytest.raises(ValueError, match=rf"a\.tif has floating-point pixels from {re.escape(told)}; expected 0 to 1"):
        read_planes(tmp_path / "a.tif")


def test_fit_crops_the_centre():
    image = np.arange(5 * 6, dtype=np.uint8).reshape(5, 6, 1)
    np.testing.assert_array_equal(fit(image, 2)[..., 0], [[8, 9], [14, 15]])


def test_fit_pads_with_the_median_of_the_border_of_each_channel():
    image = np.zeros((3, 3, 2), np.uint16)
    image[..., 0], image[..., 1] = 7, 300
    image[1, 1] = 60000
    image[0, 0] = 9000  # one of 8 border pixels leaves the median alone
    padded = fit(image, 6)
    np.testing.assert_array_equal(padded[1:4, 1:4], image)
    outside = np.ones((6, 6), bool)
    outside[1:4, 1:4] = False
    np.testing.assert_array_equal(np.unique(padded[outside], axis=0), [[7, 300]])


def test_fit_crops_one_axis_and_pads_the_other():
    image = np.arange(2 * 8, dtype=np.uint8).reshape(2, 8, 1)
    fitted = fit(image, 4)
    assert fitted.shape == (4, 4, 1)
    np.testing.assert_array_equal(fitted[1:3], image[:, 2:6])
