import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm

from cellfx.analysis.latents.density import class_densities

RNG = np.random.default_rng(0)


def area(densities):
    return np.trapezoid(densities.density, densities.grid[None], axis=-1)


def test_densities_equal_scipy():
    labels = np.repeat([0, 1, 2], [300, 40, 2])
    codes = np.concatenate([RNG.normal(size=(340, 3)), [[-1, -1, -1], [2, 2, 2]]]) * [1, 50, 1e-3] + [0, 9, 1]
    densities = class_densities(codes, labels, 300)
    assert densities.grid.shape == (3, 300)
    assert densities.density.shape == (3, 3, 300)
    for label in range(3):
        for latent in range(3):
            expected = gaussian_kde(codes[labels == label, latent], "scott")(densities.grid[latent])
            np.testing.assert_allclose(densities.density[label, latent], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(area(densities), 1, atol=2e-4)


def test_many_codes_are_added_up_in_blocks():
    codes = RNG.normal(size=(9001, 1))
    densities = class_densities(codes, np.zeros(9001, int), 150)
    np.testing.assert_allclose(densities.density[0, 0], gaussian_kde(codes[:, 0])(densities.grid[0]), rtol=1e-9)


def test_a_spike_is_as_wide_as_the_grid_can_show():
    labels = np.array([0] * 50 + [1] + [2] * 5 + [4])
    codes = np.stack([RNG.normal(size=57), np.full(57, 7.0), np.where(labels == 0, RNG.normal(size=57), 0.25)], axis=1)
    densities = class_densities(codes, labels)
    assert densities.density.shape == (5, 3, 200)
    np.testing.assert_allclose(area(densities)[[0, 1, 2, 4]], 1, atol=2e-4)
    np.testing.assert_array_equal(densities.density[3], 0)
    step = densities.grid[:, 1] - densities.grid[:, 0]
    np.testing.assert_allclose(densities.density[1, 0], norm.pdf(densities.grid[0], codes[50, 0], step[0]), atol=1e-9)
    np.testing.assert_allclose(densities.density[2, 2], norm.pdf(densities.grid[2], 0.25, step[2]), atol=1e-9)
    np.testing.assert_allclose(densities.grid[1, [0, -1]], [6.5, 7.5], rtol=1e-12)
    assert np.all(np.diff(densities.grid) > 0)


@pytest.mark.parametrize("num_points", [16, 60, 500])
@pytest.mark.parametrize("codes", [[0.0, 1.0], [0.0, 0.0, 0.0, 5.0], [1e6, 1e6 + 1], [-1e-12, 0.0], [3.0]])
def test_every_area_is_one_whatever_the_codes(codes, num_points):
    codes = np.array(codes)[:, None]
    labels = np.arange(len(codes)) % 2
    np.testing.assert_allclose(area(class_densities(codes, labels, num_points)), 1, atol=2e-4)


def test_classes_that_have_no_example_can_be_asked_for():
    densities = class_densities(RNG.normal(size=(9, 2)), np.zeros(9, int), num_classes=3)
    assert densities.density.shape[0] == 3
    assert not densities.density[1:].any()


def test_bad_input():
    with pytest.raises(ValueError, match=r"got shapes \(4, 2\) and \(3,\)"):
        class_densities(np.zeros((4, 2)), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"got shapes \(0, 2\) and \(0,\)"):
        class_densities(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ValueError, match="got 2 infinite or undefined latents"):
        class_densities(np.array([[np.nan, 1.0], [np.inf, 1.0]]), np.zeros(2, int))
    with pytest.raises(ValueError, match="got num_points=15, expected 16 or more"):
        class_densities(np.zeros((4, 2)), np.zeros(4, int), 15)
    with pytest.raises(ValueError, match="got 0 to 3, expected 0 to 2"):
        class_densities(np.zeros((4, 2)), np.arange(4), num_classes=3)
    with pytest.raises(ValueError, match="got -1 to 2, expected 0 to 2"):
        class_densities(np.zeros((4, 2)), np.arange(4) - 1)
