import numpy as np
import pytest
from scipy import ndimage

from cellfx.data.images.pose import adjust


def bar(angle, shift=(0, 0), size=48):
    """A bright bar (size, size, 1), 16 long and 6 wide, turned and moved."""
    image = np.full((size, size), 10.0)
    middle = size // 2
    image[middle - 3 : middle + 3, middle - 8 : middle + 8] = 200
    image = ndimage.shift(ndimage.rotate(image, angle, reshape=False, order=1, cval=10.0), shift, order=1, cval=10.0)
    return np.rint(image).astype(np.uint8)[..., None]


@pytest.mark.parametrize("angle", [0, 30, 90, 137])
@pytest.mark.parametrize("shift", [(0, 0), (3, -4)])
def test_a_cell_is_moved_to_the_middle_and_laid_along_the_horizontal(angle, shift):
    expected = adjust(bar(0), "upright").astype(float)
    found = adjust(bar(angle, shift), "upright").astype(float)
    assert np.abs(found - expected).mean() < 3  # of 255; bilinear edges
    assert found[24, 18:30].min() > 120
    assert found[16:32, 24].min() < 30


def test_a_neighbour_does_not_turn_the_cell():
    image = bar(90)
    image[5:20, 38:46] = 255
    found = adjust(image, "upright")[12:36, 12:36]
    assert np.abs(found.astype(float) - adjust(bar(90), "upright")[12:36, 12:36]).mean() < 3


def test_channels_are_turned_alike_and_types_stay():
    image = np.concatenate([bar(60), bar(60) // 2], axis=-1).astype(np.uint16) * 200
    found = adjust(image, "upright")
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found[..., 0] / 2.0, found[..., 1], atol=101)


@pytest.mark.parametrize("pose", ["raw", "upright"])
def test_an_empty_image_stays_as_it_is(pose):
    image = np.full((16, 20, 1), 7, np.uint8)
    np.testing.assert_array_equal(adjust(image, pose), image)
