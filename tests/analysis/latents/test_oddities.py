import numpy as np
import pytest

from cellfx.analysis.latents import oddities


def images(count=3, side=9, channels=2):
    return np.random.default_rng(0).uniform(0, 1, (count, side, side + 1, channels)).astype(np.float32)


def test_every_kind_keeps_shape_type_and_range():
    x = images()
    found = oddities.make_oddities(x)
    assert list(found) == ["blank", "saturated", "shuffled", "out of focus"]
    for odd in found.values():
        assert odd.shape == x.shape
        assert odd.dtype == np.float32
        assert odd.min() >= 0
        assert odd.max() <= 1
    assert found["blank"].max() == 0
    assert found["saturated"].min() == 1


def test_shuffling_keeps_every_pixel_whole_and_moves_it():
    x = images()
    odd = oddities.shuffled(x, seed=1)
    for before, after in zip(x, odd, strict=True):
        pixels = [sorted(map(tuple, image.reshape(-1, 2).tolist())) for image in (before, after)]
        assert pixels[0] == pixels[1]
    assert np.mean(odd == x) < 0.1
    order = [
        [row.tolist().index(value) for value in odd_row] for row, odd_row in zip(*_first_channel(x, odd), strict=True)
    ]
    assert order[0] != order[1]
    np.testing.assert_array_equal(odd, oddities.shuffled(x, seed=1))
    assert np.any(odd != oddities.shuffled(x, seed=2))


def _first_channel(*arrays):
    return [array[..., 0].reshape(len(array), -1) for array in arrays]


def test_defocus_is_a_gaussian_along_both_axes_and_no_other():
    """A bright pixel becomes the product of two normal densities; scipy cuts them off at four widths."""
    x = np.zeros((2, 41, 41, 2), np.float32)
    x[0, 20, 20, 1] = 1
    odd = oddities.out_of_focus(x, 3.0)
    density = np.exp(-((np.arange(41) - 20.0) ** 2) / (2 * 3.0**2))
    density[np.abs(np.arange(41) - 20) > 12] = 0
    density /= density.sum()
    np.testing.assert_allclose(odd[0, :, :, 1], np.outer(density, density), rtol=1e-4, atol=1e-8)
    assert odd[1].max() == odd[0, :, :, 0].max() == 0


def test_a_blurred_border_takes_nothing_from_outside():
    np.testing.assert_allclose(oddities.out_of_focus(np.full((1, 8, 8, 1), 0.7, np.float32), 3.0), 0.7, rtol=1e-5)


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"defocus_px is no width: got 0, expected a number of pixels above 0; raise"):
        oddities.out_of_focus(images(), 0)


def test_places_are_those_of_a_known_distribution():
    training = np.stack([np.arange(100.0), -2 * np.arange(100.0)], axis=1)
    codes = np.array([[-5.0, 300.0], [49.5, -99.0], [0.0, -198.0], [1e6, -1e6]])
    found = oddities.placed(codes, np.random.default_rng(0).permutation(training))
    # A code that equals one of a hundred lies in the middle of that hundredth.
    np.testing.assert_allclose(found.quantile, [[0, 1], [0.5, 0.5], [0.005, 0.005], [1, 0]], atol=1e-12)
    spread = np.sqrt(np.mean((np.arange(100) - 49.5) ** 2))
    expected = np.stack([(codes[:, 0] - 49.5) / spread, (codes[:, 1] + 99) / (2 * spread)], axis=1)
    np.testing.assert_allclose(found.z_score, expected, rtol=1e-12)


def test_places_of_the_training_codes_are_spread_evenly():
    training = np.random.default_rng(0).normal(size=(500, 3)) ** 3
    quantile = np.sort(oddities.placed(training, training).quantile, axis=0)
    np.testing.assert_allclose(quantile, np.repeat((np.arange(500) + 0.5)[:, None] / 500, 3, axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("codes", "training", "message"),
    [
        (np.zeros((2, 3)), np.zeros((5, 4)), r"codes that cannot be compared: got shapes \(2, 3\) and \(5, 4\) of the"),
        (np.zeros((2, 3)), np.zeros((0, 3)), r"codes that cannot be compared: .* with N of 1 or more; encode both"),
        (np.array([[np.nan]]), np.array([[1.0], [2.0]]), r"codes that are no numbers: got infinite or undefined"),
        (np.zeros((1, 2)), np.array([[1.0, 5.0], [2.0, 5.0]]), r"constant latents: got the same value of z1 for all 2"),
    ],
)
def test_what_cannot_be_placed_is_refused(codes, training, message):
    with pytest.raises(ValueError, match=message):
        oddities.placed(codes, training)
