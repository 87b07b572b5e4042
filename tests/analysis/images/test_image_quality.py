import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cellfx.analysis.images.image_quality import kernel_distance, leakage

_spec = importlib.util.spec_from_file_location(
    "reference_image_quality", Path(__file__).parents[2] / "reference/image_quality.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

MIXING = np.random.default_rng(9).normal(size=(6, 6)) + 2 * np.eye(6)
"""Features of a network depend on each other and have scales of their own."""


def features(count, seed, shift=0.0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(count, 6)) + shift) @ MIXING + 5


def standardised(real, other):
    return (other - real.mean(axis=0)) / real.std(axis=0)


def test_one_subset_of_all_equals_a_double_loop():
    real, fake = features(15, 0), features(15, 1, 0.3)
    expected = reference.squared_mmd(standardised(real, real), standardised(real, fake))
    result = kernel_distance(real, fake, num_subsets=1, subset_size=15)
    np.testing.assert_allclose(result.mean, expected, rtol=1e-10)
    assert result.deviation == 0.0


def test_subsets_are_averaged():
    real, fake = features(12, 0), features(9, 1)
    result = kernel_distance(real, fake, num_subsets=400, subset_size=5, seed=3)
    every = kernel_distance(real, fake, num_subsets=1, subset_size=5, seed=3)
    # Unbiased: its mean over all subsets is the estimate of all pairs.
    x, y = standardised(real, real), standardised(real, fake)
    within = [
        np.mean([reference.kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)
    ]
    whole = sum(within) - 2 * np.mean([reference.kernel(a, b) for a in x for b in y])
    assert abs(result.mean - whole) < 4 * result.deviation / np.sqrt(400)
    assert every.mean != result.mean
    assert result.deviation > 0


def test_no_distance_within_one_distribution_and_more_with_every_difference():
    settings = {"num_subsets": 50, "subset_size": 200}
    real = features(2000, 0)
    same = kernel_distance(real, features(2000, 1), **settings)
    assert abs(same.mean) < 3 * same.deviation / np.sqrt(10)
    shifts = [kernel_distance(real, features(2000, 1, shift), **settings).mean for shift in (0.2, 0.4, 0.8)]
    assert same.mean + 5 * same.deviation / np.sqrt(10) < shifts[0] < shifts[1] < shifts[2]
    assert kernel_distance(real, features(2000, 1, 0.0, 0.3), **settings).mean > 10 * abs(same.mean)


def test_the_estimate_is_unbiased_where_the_plain_one_is_not():
    small = kernel_distance(features(4000, 0), features(4000, 1), num_subsets=2000, subset_size=4)
    assert abs(small.mean) < 4 * small.deviation / np.sqrt(2000)


def test_the_scale_of_a_network_does_not_count():
    real, fake, scale = features(40, 0), features(30, 1, 0.2), np.array([1, 10, 100, 1e-3, 5, 0.1])
    plain, scaled = (kernel_distance(real * s + s, fake * s + s, 5, 20) for s in (np.ones(6), scale))
    np.testing.assert_allclose(plain, scaled, rtol=1e-8)


def test_the_same_seed_gives_the_same_subsets():
    real, fake = features(40, 0), features(30, 1)
    assert kernel_distance(real, fake, 3, 10, seed=1) == kernel_distance(real, fake, 3, 10, seed=1)
    assert kernel_distance(real, fake, 3, 10, seed=1) != kernel_distance(real, fake, 3, 10, seed=2)


def test_distances_equal_a_double_loop_in_blocks_of_any_size():
    train, fake, held_out = features(50, 0), features(23, 1), features(17, 2)
    near, usual = (reference.nearest(standardised(train, z), standardised(train, train)) for z in (fake, held_out))
    for block_size in (1, 7, 1000):
        result = leakage(train, fake, held_out, block_size)
        np.testing.assert_allclose(result.fake_distance, near, rtol=1e-9)
        np.testing.assert_allclose(result.held_out_distance, usual, rtol=1e-9)
        np.testing.assert_allclose(result.ratio, np.median(near) / np.median(usual), rtol=1e-9)
        np.testing.assert_allclose(result.too_near_rate, np.mean(near < np.quantile(usual, 0.01)), rtol=1e-9)


def test_copies_are_found_out_and_new_images_are_not():
    train, held_out = features(1000, 0), features(1000, 1)
    copied = leakage(train, train[:300], held_out)
    assert copied.ratio == 0.0
    assert copied.too_near_rate == 1.0
    nearly = leakage(train, train[:300] + 1e-3 * features(300, 3), held_out)
    assert nearly.ratio < 0.05
    fresh = leakage(train, features(1000, 2), held_out)
    np.testing.assert_allclose(fresh.ratio, 1, atol=0.1)
    assert fresh.too_near_rate < 0.03
    half = leakage(train, np.concatenate([train[:500], features(500, 2)]), held_out)
    np.testing.assert_allclose(half.too_near_rate, 0.5, atol=0.02)


def test_a_feature_that_never_varies_is_harmless():
    real, fake = (np.c_[z, np.full(len(z), 0.7)] for z in (features(40, 0), features(30, 1)))
    assert np.isfinite(kernel_distance(real, fake, 3, 10)).all()
    assert np.isfinite(leakage(real, fake, real + 0.1).ratio)


def test_bad_input():
    real, fake = features(20, 0), features(10, 1)
    with pytest.raises(ValueError, match=r"got shape \(10, 5\) of generated and \(20, 6\) of real images"):
        kernel_distance(real, fake[:, 1:])
    with pytest.raises(ValueError, match=r"got shape \(0, 6\) of held-out"):
        leakage(real, fake, fake[:0])
    with pytest.raises(ValueError, match="got 6 undefined or infinite ones of generated images"):
        kernel_distance(real, np.where(np.arange(10)[:, None] == 3, np.nan, fake))
    with pytest.raises(ValueError, match="got num_subsets=0, expected 1 or more"):
        kernel_distance(real, fake, 0, 5)
    for size in (1, 11):
        with pytest.raises(
            ValueError, match=f"got {size} and features of 20 real and 10 generated images, expected 2 to 10"
        ):
            kernel_distance(real, fake, 1, size)
    with pytest.raises(ValueError, match="got block_size=0"):
        leakage(real, fake, fake, 0)
    with pytest.raises(ValueError, match="got 100% at distance 0"):
        leakage(real, fake, real[:7])
