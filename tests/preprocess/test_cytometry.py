"""Normalized intensities against loops over images and the published formulas; what is kept, said and given back."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cellfx.preprocess import cytometry
from cellfx.preprocess.mixture import MIN_DEVIATION

KINDS = ("brightfield", "fluorescence")


def cells(count=60, size=16, seed=0):
    """Bright field and fluorescence of round cells, each image with a background of its own, uint16."""
    rng = np.random.default_rng(seed)
    axis = np.arange(size) - (size - 1) / 2
    radius = np.hypot(axis[:, None], axis) + rng.normal(0, 0.5, (count, size, size))
    inside = radius < size / 4
    bright = (
        rng.uniform(600, 800, (count, 1, 1)) + rng.normal(0, 5, radius.shape) + inside * rng.normal(0, 80, radius.shape)
    )
    log = np.where(inside, rng.normal(5, 0.3, radius.shape), rng.normal(3, 0.1, radius.shape))
    log = np.where(radius < size / 8, rng.normal(7, 0.4, radius.shape), log)
    return np.rint(np.stack([bright, np.exp(log)], axis=-1)).astype(np.uint16)


@pytest.fixture(scope="module")
def images():
    return cells()


@pytest.fixture(scope="module")
def fitted(images):
    return cytometry.fit(images, KINDS)


def test_bright_field_equals_a_loop_over_images(images, fitted):
    found = cytometry.apply(fitted, images)
    assert (found.dtype, found.shape) == (np.float32, images.shape)
    spread = np.array([[images[:, i, j, 0].astype(np.float64).std() for j in range(16)] for i in range(16)])
    threshold = fitted.channels[0].threshold
    for image, ours in zip(images[..., 0].astype(np.float64), found[..., 0], strict=True):
        standard = (image - np.median(image[spread <= threshold])) / image[spread > threshold].std()
        expected = (np.minimum(np.maximum(standard, -3), 3) + 3) / 6
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_cell_is_found_where_it_was_drawn(fitted):
    axis = np.arange(16) - 7.5
    radius = np.hypot(axis[:, None], axis)
    found = cytometry.cell_mask(fitted.channels[0])
    assert found[radius < 3].all()
    assert not found[radius > 6].any()


def test_backgrounds_become_alike(images, fitted):
    is_background = ~cytometry.cell_mask(fitted.channels[0])
    medians = np.median(cytometry.apply(fitted, images)[:, is_background, 0], axis=1)
    np.testing.assert_allclose(medians, 0.5, atol=1e-6)
    assert images[:, 0, 0, 0].std() > 30


def test_fluorescence_is_standardised_by_the_brightest_component(images, fitted):
    channel = fitted.channels[1]
    # As drawn: spots about e^7 with deviation .4.
    np.testing.assert_allclose((channel.mixture.means[-1], channel.mixture.deviations[-1]), (7, 0.4), atol=0.08)
    standard = (np.log(images[..., 1].astype(np.float64)) - channel.mixture.means[-1]) / channel.mixture.deviations[-1]
    expected = (np.clip(standard, -3, 3) + 3) / 6
    found = cytometry.apply(fitted, images)[..., 1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # All that is dimmer than the spots is gone.
    assert (found[images[..., 1] < 100] == 0).all()


def test_the_floor_can_be_the_background(images):
    found = cytometry.fit(images, KINDS, floor="background")
    means, deviation = found.channels[1].mixture.means, found.channels[1].mixture.deviations[-1]
    assert found.channels[1].low == (means[0] - means[-1]) / deviation
    log = np.log(images[..., 1].astype(np.float64))
    expected = np.clip((log - means[0]) / (means[-1] + 3 * deviation - means[0]), 0, 1)
    np.testing.assert_allclose(cytometry.apply(found, images)[..., 1], expected, atol=1e-6)


def test_images_are_normalised_each_for_itself(images, fitted):
    whole = cytometry.apply(fitted, np.concatenate([images] * 10))
    assert len(whole) == 600  # more than are done at once
    np.testing.assert_array_equal(whole[597:], cytometry.apply(fitted, images[57:]))
    assert cytometry.apply(fitted, images[:0]).shape == (0, 16, 16, 2)


def test_the_same_images_give_the_same_normalisation(images, fitted):
    untouched = images.copy()
    assert cytometry.fit(images, KINDS) == fitted
    np.testing.assert_array_equal(images, untouched)
    few = cytometry.fit(images, KINDS, max_pixels=500)
    assert few.channels[1].mixture.num_pixels == 500
    assert few != cytometry.fit(images, KINDS, max_pixels=500, seed=1)


def test_channels_may_stand_in_any_order(images, fitted):
    swapped = cytometry.fit(images[..., ::-1], KINDS[::-1])
    assert swapped.channels == fitted.channels[::-1]
    found = cytometry.apply(swapped, images[..., ::-1])
    np.testing.assert_array_equal(found, cytometry.apply(fitted, images)[..., ::-1])


def test_what_was_not_clipped_comes_back(images, fitted):
    found = cytometry.apply(fitted, images)
    back = cytometry.invert(fitted, found, *cytometry.levels(fitted, images))
    inside = (found > 0) & (found < 1)
    assert inside[..., 0].mean() > 0.9
    assert inside[..., 1].mean() > 0.02
    np.testing.assert_allclose(back[inside], images[inside], rtol=1e-5)
    # One pair of levels may stand for all images.
    one = cytometry.invert(fitted, found[:3], *(column[:1] for column in cytometry.levels(fitted, images)))
    np.testing.assert_array_equal(one[0], back[0])
    np.testing.assert_array_equal(one[..., 1], back[:3, ..., 1])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(2, 5), st.just(2)),
            elements=st.integers(0, np.iinfo(dtype).max) | st.sampled_from([0, 20, np.iinfo(dtype).max]),
        )
    ),
    st.sampled_from(cytometry.FLOORS),
)
def test_whatever_is_stored_becomes_a_number_between_0_and_1(images, floor):
    fitted = cytometry.fit(images, KINDS, floor=floor)
    found = cytometry.apply(fitted, images)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert fitted.channels[1].mixture.deviations[-1] >= MIN_DEVIATION
    assert np.isfinite(cytometry.invert(fitted, found, *cytometry.levels(fitted, images))).all()
    assert cytometry.from_json(json.loads(json.dumps(cytometry.to_json(fitted)))) == fitted


def test_constant_images_become_one_half(images):
    both = images.copy()
    both[3:5] = 700
    fitted = cytometry.fit(both, KINDS)
    assert (cytometry.apply(fitted, both)[3:5, ..., 0] == 0.5).all()
    assert "channel 0 (brightfield): 2 of 60 images are constant" in fitted.notices
    assert "channel 1 (fluorescence): 2 of 60 images are constant" in fitted.notices
    back = cytometry.invert(fitted, cytometry.apply(fitted, both), *cytometry.levels(fitted, both))
    np.testing.assert_array_equal(back[3:5, ..., 0], 700)


def test_nothing_but_one_value_is_normalised_and_said():
    images = np.full((3, 4, 4, 2), 9, np.uint8)
    fitted = cytometry.fit(images, KINDS)
    assert (cytometry.apply(fitted, images) == 0.5).all()
    assert any("all pixel positions deviate alike" in notice for notice in fitted.notices)
    assert any("too few different intensities (1)" in notice for notice in fitted.notices)


def test_zeros_and_saturated_pixels_are_counted(images, fitted):
    assert fitted.notices == ()
    changed = np.minimum(images, 4095)
    changed[0, 0, :7, 1] = 0
    changed[0, 1, :5, 1] = 4095
    changed[1, 1, :3, 0] = 4095
    notices = cytometry.fit(changed, KINDS).notices
    full = int((changed[..., 1] == 4095).sum())
    assert "channel 0 (brightfield): 3 of 15360 pixels are saturated, at 4095" in notices
    assert f"channel 1 (fluorescence): {full} of 15360 pixels are saturated, at 4095" in notices
    assert any(n.startswith("channel 1 (fluorescence): 7 of 15360 pixels are 0, which has no log") for n in notices)
    # A zero of bright field is nothing special, and 4,094 is not the top of 12 bits.
    changed[0, 0, :7] = [0, 25]
    changed[changed == 4095] = 4094
    assert cytometry.fit(changed, KINDS).notices == ()


def test_what_is_kept_goes_through_json_unchanged(fitted):
    saved = json.loads(json.dumps(cytometry.to_json(fitted)))
    assert saved["channels"][0]["cell"] == list(fitted.channels[0].cell)
    assert cytometry.from_json(saved) == fitted
    assert isinstance(cytometry.from_json(saved), cytometry.Normalisation)


def put(saved, path, value):
    *before, last = path
    for step in before:
        saved = saved[step]
    if value is None:
        del saved[last]
    else:
        saved[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["dtype"], "float32", "got dtype='float32', expected uint8 or uint16; fit again"),
        (["dtype"], None, "got KeyError .'dtype'."),
        (["image_size"], [16], r"got image_size=\(16,\), expected height and width"),
        (["image_size"], [16, 15], "expected 16 rows of 15 characters 0 and 1"),
        (["channels"], [], r"got channels=\(\), expected one or more"),
        (["channels"], 3, "got TypeError"),
        (["channels", 0, "kind"], "dark", "got KeyError .'mixture'."),
        (["channels", 0, "cell"], ["0" * 16] * 16, "got cell=.*0000.*, expected 16 rows of 16 characters"),
        (["channels", 0, "threshold"], "high", "got threshold='high', expected a number"),
        (["channels", 1, "low"], -2.0, "got low=-2.0, expected -3 or less"),
        (["channels", 1, "low"], float("nan"), "got low=nan"),
        (["channels", 1, "mixture", "means"], [1.0], r"got mixture.means=\(1.0,\), expected 1 to 3 numbers, one for"),
        (["channels", 1, "mixture", "means"], [3.0, 2.0, 1.0], "expected rising numbers"),
        (["channels", 1, "mixture", "deviations"], [1.0, 0.0, 1.0], "expected numbers above 0"),
        (["channels", 1, "mixture", "weights"], [0.9, 0.9, 0.9], "expected shares, 1 together"),
        (["channels", 1, "mixture", "weights"], 3, "got mixture.weights=3, expected 1 to 3 numbers"),
        (["channels", 1, "mixture", "num_pixels"], 0, "got mixture.num_pixels=0, expected 1 or more"),
        (["notices"], [3], r"got notices=\(3,\), expected sentences"),
        (["extra"], 1, "got .*extra, expected exactly what to_json returned"),
    ],
)
def test_what_was_not_kept_like_this_is_refused(fitted, path, value, message):
    saved = copy.deepcopy(cytometry.to_json(fitted))
    put(saved, path, value)
    with pytest.raises(ValueError, match=f"^not a saved normalization: .*{message}"):
        cytometry.from_json(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": KINDS[:1]}, "got 1 kinds .brightfield. and 2 channels"),
        ({"kinds": ("brightfield", "dapi")}, "got 'dapi', expected brightfield or fluorescence"),
        ({"max_pixels": 0}, "got max_pixels=0, expected 1 or more; raise max_pixels"),
        ({"floor": "zero"}, "got 'zero', expected brightest or background; correct floor"),
        ({"threshold": 1e6}, r"got threshold=1e\+06, expected at least"),
    ],
)
def test_impossible_settings_are_refused(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        cytometry.fit(images, **{"kinds": KINDS, **arguments})


def test_images_that_are_no_stored_images_are_refused(images, fitted):
    for wrong, message in (
        (images[0], r"got an array of shape \(16, 16, 2\) and type uint16, expected \(N, H, W, C\)"),
        (images / 4095, "type float64, expected"),
        (images[:0], "images without pixels: got shape"),
        (images[:, :1, :1], "images of a single pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            cytometry.fit(wrong, KINDS)
    for other in (images[:, 1:], images.astype(np.uint8), images[..., :1], images[0]):
        with pytest.raises(ValueError, match=r"got shape .*, expected \(N, 16, 16, 2\) of uint16; resize them"):
            cytometry.apply(fitted, other)
        with pytest.raises(ValueError, match="images differ from those"):
            cytometry.levels(fitted, other)


def test_real_cells_keep_their_contrast(data_folder):
    tifffile = pytest.importorskip("tifffile")
    files = sorted((data_folder / "jurkat").glob("*/*.tif"))[::12]
    images = np.stack([tifffile.imread(file) for file in files]).transpose(0, 2, 3, 1)
    kinds = ("brightfield", "fluorescence", "fluorescence")
    fitted = cytometry.fit(images, kinds, max_pixels=20_000)
    found = cytometry.apply(fitted, images)
    assert found.std(axis=(1, 2)).min() > 0.01
    # Cells lie in the middle of the frame, background in its corners.
    is_cell = cytometry.cell_mask(fitted.channels[0])
    assert is_cell[18:22, 18:22].all()
    assert not is_cell[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert (found[:, 0, 0, 1] < 0.05).mean() > 0.9
    # Nearly a tenth of the side scatter is 0, and its background is wider at its dim side.
    assert any("channel 2" in notice and "are 0" in notice for notice in fitted.notices)
