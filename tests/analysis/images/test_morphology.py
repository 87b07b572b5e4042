import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from cellfx.analysis.images.morphology import Measured, measure, spread_ratio, spread_ratios
from cellfx.data import synthetic

FACTORS = {name: index for index, name in enumerate(synthetic.FACTOR_NAMES)}
COUNT = 400


def cells(neighbours=0, noise=0.005):
    factors, seeds = synthetic.sample_factors(jnp.arange(COUNT, dtype=jnp.uint32), 5)
    factors = np.array(factors)
    factors[:, FACTORS["neighbours"]], factors[:, FACTORS["noise"]] = neighbours, noise
    images = synthetic.render(jnp.asarray(factors), seeds, 32)
    return np.asarray(images) / np.float32(255), {name: factors[:, i] for name, i in FACTORS.items()}


@pytest.fixture(scope="module")
def alone():
    images, factors = cells()
    return images, factors, measure(images)


def ellipse(size, long_px, short_px, angle=0.3, at=(0.0, 0.0), level=0.8, background=0.1):
    """One image (1, S, S, 1) as a microscope sees it: the mean of 8 x 8 points per pixel, and a blur of .8 px."""
    fine = (np.arange(8 * size) + 0.5) / 8 - size / 2
    x, y = fine[None] - at[0], fine[:, None] - at[1]
    p, q = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = (p / long_px) ** 2 + (q / short_px) ** 2 < 1
    share = inside.reshape(size, 8, size, 8).mean(axis=(1, 3))
    return (background + (level - background) * gaussian_filter(share, 0.8))[None, :, :, None]


def test_known_factors_are_found_again(alone):
    _, factors, measured = alone
    assert measured.found.all()
    least = {"area_px": 0.98, "brightness": 0.95, "eccentricity": 0.97, "x_px": 0.97, "y_px": 0.97}
    for name, rank in least.items():
        assert spearmanr(getattr(measured, name), factors[name])[0] > rank, name
    np.testing.assert_allclose(np.median(measured.area_px / factors["area_px"]), 1, atol=0.05)
    np.testing.assert_allclose(np.median(measured.x_px - factors["x_px"]), 0, atol=0.05)


def test_neighbours_and_noise_do_not_mislead():
    images, factors = cells(neighbours=2, noise=0.03)
    measured = measure(images)
    assert measured.found.mean() > 0.99
    for name, rank in {"area_px": 0.95, "brightness": 0.95, "eccentricity": 0.9}.items():
        assert spearmanr(getattr(measured, name), factors[name])[0] > rank, name


@pytest.mark.parametrize("axes", [(9.0, 9.0), (12.0, 6.0), (14.0, 4.0)])
def test_an_ellipse_has_the_area_and_eccentricity_of_its_formula(axes):
    measured = measure(ellipse(40, *axes, at=(2.3, -1.4)), field_px=80.0)
    np.testing.assert_allclose(measured.area_px, 4 * np.pi * axes[0] * axes[1], rtol=0.03)
    np.testing.assert_allclose(measured.brightness, 0.7, rtol=0.12)
    np.testing.assert_allclose(measured.eccentricity**2, 1 - (axes[1] / axes[0]) ** 2, atol=0.02)
    np.testing.assert_allclose([measured.x_px, measured.y_px], [[4.6], [-2.8]], atol=0.05)


def test_brightness_is_proportional_to_the_light_of_a_cell():
    levels = np.linspace(0.2, 1.0, 9)
    measured = [measure(ellipse(32, 8, 6, level=level)) for level in levels]
    light = np.concatenate([m.brightness for m in measured])
    np.testing.assert_allclose(light / light[-1], (levels - 0.1) / 0.9, rtol=1e-9)
    np.testing.assert_allclose(np.ptp([m.area_px for m in measured]), 0, atol=1e-9)


def test_the_area_grows_by_less_than_pixels():
    radii = np.linspace(8, 8.3, 31)
    areas = np.concatenate([measure(ellipse(32, r, r, at=(0.3, 0.1)), field_px=32.0).area_px for r in radii])
    np.testing.assert_allclose(areas, np.pi * radii**2, rtol=0.015)
    assert np.diff(areas).max() < 1.0


def test_the_size_of_the_image_does_not_count(alone):
    images = alone[0][:40]
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    for first, second in zip(measure(images), measure(large), strict=True):
        # Squares of four pixels have the second moments of their four parts only: an eighth of a pixel squared.
        np.testing.assert_allclose(first, second, rtol=0.02, atol=0.02)


def test_channels_are_averaged_and_images_do_not_meet(alone, monkeypatch):
    images, _, measured = alone
    some = images[:7]
    monkeypatch.setattr("cellfx.analysis.images.morphology._BLOCK", 3)
    two = measure(np.concatenate([some * 0.5, some * 1.5], axis=-1))
    for first, second in zip(two, measured, strict=True):
        np.testing.assert_allclose(first, second[:7], rtol=1e-5, atol=1e-5)


def test_a_brighter_neighbour_that_does_not_touch_changes_nothing():
    one = ellipse(40, 8, 6, level=0.4)
    both = np.maximum(one, ellipse(40, 5, 5, at=(15, 14), level=1.0))
    for first, second in zip(measure(one), measure(both), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-9)


def test_nothing_is_found_in_empty_frames():
    rng = np.random.default_rng(0)
    frames = np.concatenate(
        [np.zeros((2, 32, 32, 1)), np.ones((2, 32, 32, 1)), 0.3 + 0.05 * rng.normal(size=(99, 32, 32, 1))]
    )
    for column in measure(frames):
        np.testing.assert_array_equal(column, 0)
    assert not measure(ellipse(32, 8, 8, level=0.14)).found.any()
    assert measure(ellipse(32, 8, 8, level=0.14), min_contrast=0.03).found.all()


def test_spread_ratio_closed_forms():
    values = np.random.default_rng(0).normal(size=4000)
    np.testing.assert_allclose(spread_ratio(values, 0.25 * values + 3), 0.25, rtol=1e-10)
    np.testing.assert_allclose(spread_ratio(values, np.random.default_rng(1).normal(size=3000)), 1, atol=0.05)
    assert spread_ratio(values, np.full(9, 2.0)) == 0.0
    # Three failed images of a hundred do not hide that all others are one.
    assert spread_ratio(values, np.where(np.arange(100) < 3, 1e6, 2.0)) == 0.0


def test_collapse_in_any_factor_is_seen(alone):
    _, _, measured = alone
    np.testing.assert_allclose(min(spread_ratios(measured, measured).values()), 1, rtol=1e-12)
    middle = float(np.median(measured.eccentricity))
    flat = measured._replace(eccentricity=middle + 0.1 * (measured.eccentricity - middle))
    np.testing.assert_allclose(min(spread_ratios(measured, flat).values()), 0.1, rtol=1e-6)
    np.testing.assert_allclose(spread_ratios(measured, flat, ("area_px",))["area_px"], 1, rtol=1e-12)
    nothing = measured._replace(found=np.zeros(COUNT, bool))
    assert max(spread_ratios(measured, nothing).values()) == 0.0


def test_images_in_which_nothing_was_found_do_not_count(alone):
    _, _, measured = alone
    found = np.arange(COUNT) < COUNT // 2
    half = Measured(*(np.where(found, column, 0) for column in measured[:-1]), found)
    for real, fake in ((measured, half), (half, measured)):
        parts = [x.area_px[x.found] for x in (real, fake)]
        np.testing.assert_allclose(spread_ratios(real, fake, ("area_px",))["area_px"], spread_ratio(*parts), rtol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match=r"got shape \(4, 32, 32\), expected \(N, H, W, C\)"):
        measure(np.zeros((4, 32, 32)))
    with pytest.raises(ValueError, match=r"got shape \(4, 32, 7, 1\)"):
        measure(np.zeros((4, 32, 7, 1)))
    with pytest.raises(ValueError, match=r"got shape \(0, 32, 32, 1\)"):
        measure(np.zeros((0, 32, 32, 1)))
    with pytest.raises(ValueError, match=r"no spread of real values: got shape \(3,\) with 1 that are not finite"):
        spread_ratio(np.array([1, np.nan, 2]), np.ones(3))
    with pytest.raises(ValueError, match=r"no spread of generated values: got shape \(0,\)"):
        spread_ratio(np.ones(3), np.ones(0))
    with pytest.raises(ValueError, match="got 3 values of which nine in ten equal 1"):
        spread_ratio(np.ones(3), np.ones(3))
