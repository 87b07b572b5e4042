import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellfx.preprocess.size import NO_SIGNAL, resize

BOTH = ("brightfield", "fluorescence")


def rng():
    return np.random.default_rng(0)


def stored(height, width, dtype=np.uint16, channels=2):
    return rng().integers(100, 200, (height, width, channels)).astype(dtype)


def test_what_is_too_large_loses_its_rim():
    image = stored(9, 12)
    np.testing.assert_array_equal(resize(image, 5, BOTH, rng()), image[2:7, 3:8])
    np.testing.assert_array_equal(resize(stored(8, 8), 8, BOTH, rng()), stored(8, 8))


def test_what_is_too_small_lies_in_the_middle():
    image = stored(4, 7)
    found = resize(image, 9, BOTH, rng())
    np.testing.assert_array_equal(found[2:6, 1:8], image)
    outside = np.ones((9, 9), bool)
    outside[2:6, 1:8] = False
    assert (found[outside, 1] == 20).all()
    assert NO_SIGNAL == 20


def test_height_and_width_are_treated_each_for_itself():
    image = stored(4, 12)
    found = resize(image, 8, BOTH, rng())
    np.testing.assert_array_equal(found[2:6], image[:, 2:10])
    assert (found[[0, 1, 6, 7], :, 1] == 20).all()


def test_bright_field_is_padded_with_noise_like_its_own_border():
    image = np.full((20, 30, 1), 60_000, np.uint16)
    # Twice as many at 1,000 as at 1,300 along the border: mean 1,100 and deviation 100 sqrt(2).
    ring = np.ones((20, 30), bool)
    ring[1:-1, 1:-1] = False
    image[ring, 0] = np.resize([1000, 1300, 1000], ring.sum())
    assert ring.sum() == 96
    found = resize(image, 400, ["brightfield"], rng()).astype(np.float64)
    noise = np.concatenate([found[:190].ravel(), found[210:].ravel()])
    # Five standard errors of the mean and of the deviation of 152,000 normal numbers.
    assert abs(noise.mean() - 1100) < 5 * 141.4 / np.sqrt(noise.size)
    assert abs(noise.std() - 100 * np.sqrt(2)) < 5 * 141.4 / np.sqrt(2 * noise.size)
    assert abs(np.mean((noise - noise.mean()) ** 4) / noise.var() ** 2 - 3) < 5 * np.sqrt(24 / noise.size)


def test_every_channel_has_a_border_of_its_own():
    image = np.stack([np.full((4, 4), 50), np.full((4, 4), 90), np.full((4, 4), 7)], axis=-1).astype(np.uint8)
    found = resize(image, 6, ("brightfield", "brightfield", "fluorescence"), rng(), constant=None)
    # Borders without spread give noise without spread.
    np.testing.assert_array_equal(found, np.broadcast_to(np.uint8([50, 90, 7]), (6, 6, 3)))


def test_the_estimate_is_the_median_of_the_border():
    image = np.full((5, 5, 1), 255, np.uint8)
    image[0] = 10
    image[-1] = 30
    image[1:4, [0, -1]] = 11
    # Sorted: 5 x 10, 6 x 11, 5 x 30.
    found = resize(image, 7, ["fluorescence"], rng(), constant=None)
    assert found[0, 0, 0] == 11
    assert resize(image, 7, ["fluorescence"], rng(), constant=33.6)[0, 0, 0] == 34


def test_noise_stays_within_the_type():
    image = np.zeros((4, 4, 1), np.uint8)
    image[0] = 255
    found = resize(image, 64, ["brightfield"], rng())
    assert found.dtype == np.uint8
    # Wrapping around instead of clipping would leave neither end so frequent.
    assert min((found == 0).mean(), (found == 255).mean()) > 0.05


def test_the_same_generator_gives_the_same_noise():
    first, second, other = (resize(stored(4, 4), 8, BOTH, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first[..., 0] != other[..., 0]).any()
    np.testing.assert_array_equal(first[..., 1], other[..., 1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.uint8, np.uint16]))
def test_any_size_becomes_any_other(height, width, size, dtype):
    image = stored(height, width, dtype)
    untouched = image.copy()
    found = resize(image, size, BOTH, rng())
    assert (found.shape, found.dtype) == ((size, size, 2), dtype)
    np.testing.assert_array_equal(image, untouched)
    rows, columns = min(height, size), min(width, size)
    top, left = (size - rows) // 2, (size - columns) // 2
    from_top, from_left = (height - rows) // 2, (width - columns) // 2
    np.testing.assert_array_equal(
        found[top : top + rows, left : left + columns],
        image[from_top : from_top + rows, from_left : from_left + columns],
    )


@pytest.mark.parametrize(
    ("image", "size", "kinds", "message"),
    [
        (np.zeros((4, 4), np.uint8), 8, BOTH, r"got an array of shape \(4, 4\) and type uint8, expected \(H, W, C\)"),
        (np.zeros((4, 4, 2)), 8, BOTH, "type float64, expected .* of uint8 or uint16; convert"),
        (np.zeros((0, 4, 2), np.uint8), 8, BOTH, r"got shape \(0, 4, 2\), expected at least one"),
        (stored(4, 4), 8, BOTH[:1], "got 1 kinds .brightfield. and 2 channels, expected one kind for every"),
        (stored(4, 4), 8, ("brightfield", "dark"), "got 'dark', expected brightfield or fluorescence; correct kinds"),
        (stored(4, 4), 0, BOTH, "got size=0, expected 1 or more; raise size"),
    ],
)
def test_impossible_requests_are_refused(image, size, kinds, message):
    with pytest.raises(ValueError, match=message):
        resize(image, size, kinds, rng())
