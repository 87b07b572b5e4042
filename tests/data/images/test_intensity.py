import numpy as np
import pytest

from cellfx.data.images.intensity import PERCENTILES, channel_limits, check_intensity, rescale

IMAGES = np.random.default_rng(0).integers(100, 3000, (20, 16, 16, 2)).astype(np.uint16)


def test_raw_changes_nothing():
    np.testing.assert_array_equal(rescale(IMAGES[0], "raw"), IMAGES[0])


def test_sqrt_of_a_quarter_is_a_half():
    image = np.array([0, 65535 // 4, 65535], np.uint16).reshape(1, 3, 1)
    np.testing.assert_array_equal(rescale(image, "sqrt").ravel(), [0, 32767, 65535])


def test_percentile_stretches_each_image_and_channel():
    image = IMAGES[0].copy()
    image[..., 1] //= 10
    stretched = rescale(image, "percentile")
    assert stretched.dtype == np.uint16
    for channel in range(2):
        assert stretched[..., channel].min() == 0
        assert stretched[..., channel].max() == 65535


def test_constant_image_becomes_black():
    np.testing.assert_array_equal(rescale(np.full((4, 4, 1), 9, np.uint8), "percentile"), 0)


def test_limits_are_the_percentiles_of_all_pixels():
    limits = channel_limits(iter(IMAGES))
    expected = np.percentile(IMAGES, PERCENTILES, axis=(0, 1, 2), method="inverted_cdf")
    np.testing.assert_array_equal(limits, expected)


def test_range_keeps_which_image_is_brighter():
    limits = np.array([[0.0], [200.0]])
    dark, bright = (rescale(np.full((2, 2, 1), value, np.uint8), "range", limits) for value in (50, 100))
    np.testing.assert_array_equal(dark, 64)  # 50 / 200 * 255 = 63.75
    np.testing.assert_array_equal(bright, 128)  # 127.5, to even


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown intensity 'log'; expected one of raw, sqrt, percentile, range"):
        check_intensity("log")
