"""Every kind of image file that a generated table holds is read as tifffile and Pillow give it, or refused."""

import io
import itertools
import re

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cellfx.data.images.image_files import UnreadableImageError, read_image, read_planes

H, W, C = 16, 32, 3
RAMP = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, axis=0)
COLORS = np.stack([RAMP[0], RAMP[1][::-1], RAMP[2]])
DTYPES = ("uint8", "uint16", "uint32", "int16", "float32", "float64", "bool")
PHOTOMETRIC = ("minisblack", "miniswhite", "rgb", "rgba", "gray palette", "palette", "separated", "cielab")
AXES = ("YX", "pages", "ome CYX", "ome ZYX", "imagej CYX", "YXC", "contig", "separate", "rows")
STORAGE = (
    {},
    {"byteorder": ">"},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "rowsperstrip": 5},
    {"tile": (16, 16), "compression": "zstd"},
    {"bigtiff": True},
)
COUNTS = {"read": 0, "refused": 0}


def _pixels(dtype, shape):
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.startswith("float"):
        return rng.integers(0, 65536, shape).astype(dtype) / 65535
    return rng.integers(0, min(np.iinfo(dtype).max, 65535), shape, endpoint=True).astype(dtype)


def _write(path, dtype, photometric, axes, storage):
    """Writes a TIFF, or says that there is no such."""
    samples = {"rgb": 3, "rgba": 4, "separated": 4, "cielab": 3}.get(photometric, 1)
    options = {"photometric": {"rgba": "rgb", "gray palette": "palette"}.get(photometric, photometric), **storage}
    if photometric == "rgba":
        options["extrasamples"] = ["unassalpha"]
    if "palette" in photometric:
        options["colormap"] = RAMP if photometric == "gray palette" else COLORS
    shape, planes = {"YX": (H, W)}.get(axes, (C, H, W)), {}
    if axes.startswith("ome"):
        planes = {"ome": True, "metadata": {"axes": axes[4:]}}
    elif axes.startswith("imagej"):
        planes = {"imagej": True, "metadata": {"axes": axes[7:]}}
    elif axes == "YXC":
        shape, planes = (H, W, C), {"metadata": {"axes": axes}}
    elif axes == "rows":
        shape = (2 * H, H, C)
    if samples > 1 or axes in ("contig", "separate"):
        samples = max(samples, 3)
        if axes not in ("contig", "separate", "YX") or "palette" in photometric:
            return False
        planes = {"planarconfig": "separate" if axes == "separate" else "contig"}
        shape = (samples, H, W) if axes == "separate" else (H, W, samples)
    try:
        tifffile.imwrite(path, _pixels(dtype, shape), **options, **planes)
    except (ValueError, TypeError):  # tifffile writes no such file
        return False
    return True


def _is_read(dtype, photometric, axes):
    """Whether the file means intensities, all of them in one image of channels."""
    if photometric in ("separated", "cielab") or axes in ("ome ZYX", "rows"):
        return False
    if photometric == "miniswhite" and (axes in ("contig", "separate") or dtype.startswith("float")):
        return False
    if "palette" in photometric and (dtype.startswith("float") or (axes == "imagej CYX" and dtype != "uint8")):
        return False  # there ImageJ files hold no colors
    if photometric == "palette" and axes != "YX":
        return False
    return dtype in ("uint8", "uint16") or dtype.startswith("float")


def _expected(path, photometric, axes):
    stored = tifffile.imread(path)
    if photometric == "miniswhite":
        stored = np.iinfo(stored.dtype).max - stored
    if "palette" in photometric:
        with tifffile.TiffFile(path) as file:
            colors = (file.pages.first.colormap >> 8).astype(np.uint8)
        stored = colors[0][stored] if photometric == "gray palette" else colors[:, stored]
        axes = axes if photometric == "gray palette" else "pages"
    if stored.dtype.kind == "f":
        stored = np.round(stored * 65535).astype(np.uint16)
    if stored.ndim == 2:
        return stored[..., None]
    last = axes in ("YXC", "contig") or (axes == "YX" and stored.shape[-1] in (3, 4))
    return stored if last else np.moveaxis(stored, 0, -1)


@pytest.mark.filterwarnings("ignore:.*writing")
@pytest.mark.parametrize(("dtype", "photometric"), list(itertools.product(DTYPES, PHOTOMETRIC)))
def test_tiff_is_read_whole_as_tifffile_and_pillow_give_it_or_refused(tmp_path, dtype, photometric):
    path = tmp_path / "a.tif"
    for axes, storage in itertools.product(AXES, STORAGE):
        if not _write(path, dtype, photometric, axes, storage):
            continue
        what = f"{dtype} {photometric} {axes} {storage}"
        if not _is_read(dtype, photometric, axes):
            with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} h[^\n]*; expected ") as caught:
                read_planes(path)
            assert not isinstance(caught.value, UnreadableImageError), what
            COUNTS["refused"] += 1
            continue
        found = read_planes(path)
        np.testing.assert_array_equal(found.pixels, _expected(path, photometric, axes), what)
        COUNTS["read"] += 1
        if dtype == "uint8" and axes == "YX":
            with Image.open(path) as image:
                pillow = np.asarray(image.convert("RGB") if image.mode == "P" else image)
            pillow = pillow[..., :1] if photometric == "gray palette" else pillow
            np.testing.assert_array_equal(found.pixels, pillow.reshape(found.pixels.shape), what)


LOSSLESS = ("lzw", "zlib", "packbits", "zstd", "lzma", "png", "lerc")
LOSSY = ("webp", "jpeg", "jpegxl", "jpeg2000", "jpegxr")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3])
def test_compressed_tiff_is_read_as_tifffile_gives_it(tmp_path, dtype, samples):
    """Lossy ones too: what was lost was lost when the file was written."""
    image, written = _pixels(dtype, (H, W, samples)), []
    for compression, tile in itertools.product(LOSSLESS + LOSSY, (None, (16, 16))):
        path = tmp_path / f"{compression}.tif"
        options = {"photometric": "rgb" if samples == 3 else "minisblack", "compression": compression, "tile": tile}
        try:
            tifffile.imwrite(path, image if samples == 3 else image[..., 0], **options)
        except (ValueError, TypeError, RuntimeError):  # not of this depth
            continue
        np.testing.assert_array_equal(read_image(path), tifffile.imread(path).reshape(H, W, samples), compression)
        written.append(compression)
    assert len(set(written)) >= 7, written


def test_uncompressed_ycbcr_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _pixels("uint8", (H, W, 3)), photometric="ycbcr", planarconfig="contig")
    with pytest.raises(ValueError, match=r"a\.tif holds uncompressed YCbCr; expected gray, RGB"):
        read_image(tmp_path / "a.tif")


def test_counts_of_the_table(capsys):
    with capsys.disabled():
        print(f"\ngenerated TIFF files: {COUNTS['read']} read, {COUNTS['refused']} refused")
    assert COUNTS["read"] > 300
    assert COUNTS["refused"] > 300


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.webp"])
def test_orientation_is_applied(tmp_path, name, orientation):
    image = Image.fromarray(_pixels("uint8", (H, W, 3)))
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, np.asarray(image), photometric="rgb",
                         extratags=[(274, "H", 1, orientation, True)])  # fmt: skip
    else:
        exif = Image.Exif()
        exif[274] = orientation
        image.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(tmp_path / name) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert expected.shape[:2] == ((W, H) if orientation > 4 else (H, W))
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)


def test_orientation_turns_the_channels_of_a_stack(tmp_path):
    planes = _pixels("uint16", (C, H, W))
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", extratags=[(274, "H", 1, 6, False)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.rot90(np.moveaxis(planes, 0, -1), -1))


def _saved(mode, suffix, palette=None, **options):
    """A file of Pillow's, and what Pillow reads from it."""
    image = Image.fromarray(_pixels("bool" if mode == "1" else "uint8", (H, W, *([] if mode in "1LP" else [4]))))
    if mode == "P":
        image = Image.frombytes("P", (W, H), _pixels("uint8", (H, W)).tobytes())
        image.putpalette((palette >> 8).astype(np.uint8).T.tobytes())
    image = image if image.mode == mode else image.convert(mode)
    file = io.BytesIO()
    image.save(file, suffix, **options)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        opened.load()
        expected = opened.convert("RGB") if opened.mode == "P" else opened.convert("L") if mode == "1" else opened
    expected = np.asarray(expected).reshape(H, W, -1)
    return file.getvalue(), expected[..., :1] if palette is RAMP or mode == "L" else expected


PILLOW = [
    *(("png", {"mode": mode}) for mode in ("1", "L", "LA", "RGB", "RGBA")),
    ("png", {"mode": "L", "transparency": 7}),
    ("png", {"mode": "RGB", "transparency": (1, 2, 3)}),
    *((suffix, {"mode": "P", "palette": palette}) for palette in (RAMP, COLORS) for suffix in ("png", "bmp", "gif")),
    ("png", {"mode": "P", "palette": COLORS, "transparency": b"\xff" * 9}),
    *((suffix, {"mode": mode}) for mode in ("L", "RGB") for suffix in ("bmp", "jpeg")),
    *(("webp", {"mode": mode, "lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (False, True)),
    ("gif", {"mode": "L"}),
    ("jpeg", {"mode": "RGB", "progressive": True}),
]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize(("suffix", "case"), PILLOW)
def test_other_files_are_read_as_pillow_gives_them(tmp_path, suffix, case):
    data, expected = _saved(suffix=suffix, **case)
    (tmp_path / f"a.{suffix}").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_read_as_it_was_written(tmp_path, channels):
    image = _pixels("uint16", (H, W, channels))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(image if channels > 1 else image[..., 0]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


@pytest.mark.parametrize(("suffix", "loop"), [("gif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_animations_are_refused(tmp_path, suffix, loop):
    frames = [Image.fromarray(frame) for frame in _pixels("uint8", (3, H, W))]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **loop)
    with pytest.raises(ValueError, match=r"a\.\w+ holds 3 frames; expected one"):
        read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(
    ("suffix", "case", "message"),
    [
        ("jpeg", {"mode": "CMYK"}, "pixels of the mode CMYK; expected gray or RGB"),
        ("bmp", {"mode": "1"}, "pixels of the mode 1; expected gray or RGB"),
        ("png", {"mode": "P", "palette": COLORS, "transparency": 7}, "a palette with transparent colors"),
        ("gif", {"mode": "P", "palette": COLORS, "transparency": 7}, "a palette with transparent colors"),
    ],
)
def test_other_pixels_are_refused(tmp_path, suffix, case, message):
    data, _ = _saved(suffix=suffix, **case)
    (tmp_path / f"a.{suffix}").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.{suffix} h\w+ {message}"):
        read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jpeg", "bmp", "gif", "webp"])
def test_no_cut_file_gives_other_pixels(tmp_path, suffix):
    data, expected = _saved("L" if suffix == "gif" else "RGB", suffix)
    path, refused = tmp_path / f"a.{suffix}", 0
    lengths = range(1, len(data), 11)
    for length in lengths:
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), expected)
        except UnreadableImageError:
            refused += 1
    assert refused > 0.9 * len(lengths)


def _pages(path, *pages, **options):
    with tifffile.TiffWriter(path) as file:
        for page, own in pages:
            file.write(page, contiguous=False, metadata=None, photometric="minisblack", **{**options, **own})


TURNED = {"extratags": [(274, "H", 1, 6, False)]}
GREY = _pixels("uint8", (H, W))
OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    'DimensionOrder="XYZCT" Type="uint8" SizeX="32" SizeY="16" SizeZ="1" SizeC="{}" SizeT="1">'
    '{}</Pixels></Image></OME>'
)  # fmt: skip
MEMBER = '<TiffData FirstC="{0}" IFD="0" PlaneCount="1"><UUID FileName="c{0}.ome.tif">urn:uuid:{0}</UUID></TiffData>'


def _two_ome_images(path):
    with tifffile.TiffWriter(path, ome=True) as file:
        for _ in range(2):
            file.write(np.stack([GREY, GREY]), photometric="minisblack", metadata={"axes": "CYX"})


def _ome(path, xml, count=1):
    with tifffile.TiffWriter(path) as file:
        for k in range(count):
            file.write(GREY, contiguous=False, description=xml if k == 0 else None, metadata=None)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: _pages(p, (GREY, {}), (GREY[1:], {}), (GREY, {})), "3 pages of different kinds: 16x32 uint8, 15x32"),
        (lambda p: _pages(p, (GREY, {}), (GREY.astype(np.uint16), {})), "2 pages of different kinds: .* 16x32 uint16"),
        (
            lambda p: _pages(p, (GREY, {}), (GREY, {"extratags": [(274, "H", 1, 6, True)]})),
            "2 pages of different kinds",
        ),
        (lambda p: _pages(p, (GREY, {"subifds": 1}), (GREY, {})), r"images within a page \(SubIFDs\)"),
        (_two_ome_images, "2 images .*; expected one; save each in a file of its own"),
        (lambda p: _ome(p, OME.format(3, "<TiffData/>"), 2), "2 of the 3 planes that its OME-XML tells; expected all"),
        (
            lambda p: _ome(p, OME.format(2, MEMBER.format(0) + MEMBER.format(1))),
            r"a set of 2 files \(c0\.ome\.tif, c1\.ome\.tif\) and holds 1 planes of it; expected a file of all",
        ),
        (
            lambda p: tifffile.imwrite(p, _pixels("uint8", (H, H, 2)), photometric="minisblack", ome=False),
            "16 pages of 16x2 pixels, which look like 16 rows of an image of 16 columns and 2 channels",
        ),
        (
            lambda p: tifffile.imwrite(p, _pixels("uint8", (H, H, 2)), photometric="minisblack", ome=True),
            "16 pages of 16x2 pixels, which look like 16 rows of an image of 16 columns and 2 channels",
        ),
    ],
)
def test_files_of_more_or_less_than_one_image_are_refused(tmp_path, write, message):
    write(tmp_path / "c0.ome.tif")
    with pytest.raises(ValueError, match=rf"c0\.ome\.tif (holds|belongs to) {message}") as caught:
        read_planes(tmp_path / "c0.ome.tif")
    assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.parametrize("where", ["first", "last", "subifd"])
def test_reduced_pages_are_passed_over(tmp_path, where):
    small = (GREY[::4, ::4], {"subfiletype": 1})
    whole = (GREY, {"subifds": 1} if where == "subifd" else {})
    _pages(tmp_path / "a.tif", *([small, whole] if where == "first" else [whole, small]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], GREY)


def test_pages_of_a_set_are_read_as_pages(tmp_path):
    _ome(tmp_path / "a_Ch1.ome.tif", OME.format(2, MEMBER.format(0) + MEMBER.format(1)))
    np.testing.assert_array_equal(read_planes(tmp_path / "a_Ch1.ome.tif", as_pages=True).pixels[..., 0], GREY)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_palettes_of_few_bits(tmp_path, bits):
    image = Image.frombytes("P", (W, H), (_pixels("uint8", (H, W)) % 2**bits).tobytes())
    image.putpalette((COLORS >> 8).astype(np.uint8).T[:: 2 ** (8 - bits)].tobytes())
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_inverted_12_bits_that_are_packed(tmp_path):
    """White is 0 and black the largest number of 12 bits, not of the 16 that they are unpacked into."""
    image = _pixels("uint16", (H, W)) >> 4
    tifffile.imwrite(tmp_path / "a.tif", image, bitspersample=12, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], 4095 - image)
