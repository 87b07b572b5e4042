"""The mixture against expectation-maximization written value by value, and what happens where it collapses."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.preprocess import mixture

_spec = importlib.util.spec_from_file_location("mixture_reference", Path(__file__).parents[1] / "reference/mixture.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

RNG = np.random.default_rng(3)
THREE = np.concatenate([RNG.normal(3, 0.1, 1200), RNG.normal(4.5, 0.3, 500), RNG.normal(7, 0.5, 300)])


def parts(found):
    return [np.array(part) for part in (found.weights, found.means, found.deviations)]


def test_three_components_equal_the_reference():
    found, notices = mixture.fit_mixture(THREE)
    assert notices == ()
    assert found.num_pixels == 2000
    expected = reference.fit(THREE, [3.0, 5.0, 8.0], 0.5, 60)
    # What scikit-learn adds to each variance, 1e-6, and where it stops, is far below.
    for ours, theirs in zip(parts(found), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_the_fit_is_a_fixed_point_of_the_reference():
    found, _ = mixture.fit_mixture(THREE)
    for ours, theirs in zip(parts(found), reference.step(THREE, *parts(found)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_densities_equal_the_reference():
    found, _ = mixture.fit_mixture(THREE)
    values = np.linspace(2, 9, 40)
    expected = np.transpose([reference.density(value, *parts(found)) for value in values])
    np.testing.assert_allclose(mixture.component_densities(found, values), expected, rtol=1e-12)
    assert mixture.component_densities(found, np.linspace(-5, 15, 20_001)).sum() * 1e-3 == pytest.approx(1, abs=1e-6)


def test_the_same_pixels_and_seed_give_the_same_mixture():
    assert mixture.fit_mixture(THREE, 1) == mixture.fit_mixture(THREE, 1)


def test_zeros_are_taken_for_one():
    np.testing.assert_array_equal(
        mixture.to_log(np.array([[0, 1], [2, 65535]], np.uint16)), np.log([[1, 1], [2, 65535]])
    )


def test_pixels_are_sampled_without_repetition_and_without_zeros():
    images = np.arange(1, 7001, dtype=np.uint16).reshape(7, 10, 100)
    found = np.rint(np.exp(mixture.sample_log_pixels(images, 5000, 0))).astype(int)
    assert len(np.unique(found)) == len(found) == 5000
    everything = np.sort(np.exp(mixture.sample_log_pixels(images, 7000, 0)))
    np.testing.assert_allclose(everything, np.arange(1, 7001), rtol=1e-12)
    assert (mixture.sample_log_pixels(images, 50, 0) != mixture.sample_log_pixels(images, 50, 1)).any()
    images[:, :5] = 0
    found = mixture.sample_log_pixels(images, 7000, 0)
    assert len(found) == 3500
    assert found.min() > 0
    np.testing.assert_array_equal(mixture.sample_log_pixels(np.zeros((1, 2, 2), np.uint8), 9, 0), np.zeros(4))


def test_one_intensity_has_a_scale_of_one():
    found, notices = mixture.fit_mixture(np.full(50, 2.5))
    assert found == mixture.Mixture((1.0,), (2.5,), (1.0,), 50)
    assert len(notices) == 1
    assert "too few different intensities (1) for 3 components" in notices[0]
    assert "the bright pixels were used: mean 2.5, deviation 1" in notices[0]


def test_two_intensities_cannot_hold_three_components():
    values = np.array([1.0] * 30 + [4.0] * 10)
    found, (notice,) = mixture.fit_mixture(values)
    assert "too few different intensities (2) for 3 components" in notice
    assert "the brightest of 2 components" in notice
    assert "collapsed" in notice
    # The bright ones are all alike, so that all pixels give mean and deviation.
    np.testing.assert_allclose((*found.means, *found.deviations), (values.mean(), values.std()), rtol=1e-12)


def test_a_spike_of_saturated_pixels_is_not_the_brightest_component():
    top = np.log(4095)
    values = np.concatenate([RNG.normal(3, 0.1, 2000), RNG.normal(5.5, 0.4, 500), np.full(60, top)])
    found, (notice,) = mixture.fit_mixture(values)
    assert "the brightest of 3 components" in notice
    assert "collapsed" in notice
    assert "2 components were used" in notice
    assert len(found.means) == 2
    bright = values[2000:]
    np.testing.assert_allclose(found.means[-1], bright.mean(), atol=0.05)
    np.testing.assert_allclose(found.deviations[-1], bright.std(), rtol=0.1)


def test_a_handful_of_pixels_is_not_the_brightest_component():
    values = np.concatenate([RNG.normal(3, 0.1, 20_000), RNG.normal(4.5, 0.4, 5000), RNG.normal(10, 0.1, 10)])
    found, (notice,) = mixture.fit_mixture(values)
    assert "weight 0.000" in notice
    assert "collapsed" in notice
    np.testing.assert_allclose(found.means[-1], values[20_000:].mean(), atol=0.05)


def test_a_background_inside_a_wide_component_is_not_the_brightest():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(3.31, 0.08, 6500), rng.normal(3.05, 1.05, 1900), rng.normal(3.31, 0.35, 1600)])
    found, (notice,) = mixture.fit_mixture(values)
    assert "does not hold the brightest pixels" in notice
    deviation = 1.4826 * np.median(np.abs(values - np.median(values)))
    bright = values[values > np.median(values) + 3 * deviation]
    assert found == mixture.Mixture((len(bright) / 10_000,), (bright.mean(),), (bright.std(),), 10_000)


def test_a_fit_that_has_not_settled_says_so(monkeypatch):
    monkeypatch.setattr(mixture, "_MAX_ITERATIONS", 1)
    assert "3 components had not settled after 1 iterations" in mixture.fit_mixture(THREE)[1]
