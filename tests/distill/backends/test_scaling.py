import numpy as np
import pytest

from cellfx.distill.backends.scaling import UNUSABLE, WRONG_RATE, fit_scale, wanted


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 800)) * [[1], [30], [0.01], [2], [5]] + [[0], [100], [0], [-3], [1]]
    return values.astype(np.float32), rng


def uniform(num_rows):
    return np.full(num_rows, 1 / num_rows, np.float32)


def likelihood(scores, y):
    """Mean -log p of float64 scores (N,), where a label is wrong at WRONG_RATE."""
    right = 1 / (1 + np.exp(-y * scores))
    return -np.mean(np.log((1 - WRONG_RATE) * right + WRONG_RATE * (1 - right)))


def test_squared_error_is_that_of_weighted_least_squares(rows):
    values, _ = rows
    rng = np.random.default_rng(1)
    y, weights = rng.normal(size=800) + values[3], rng.uniform(size=800)
    weights /= weights.sum()
    found = fit_scale("squared", values, y.astype(np.float32), weights.astype(np.float32))
    for row, loss, scale, offset in zip(values, *found, strict=True):
        design = np.column_stack([row, np.ones(800)]) * np.sqrt(weights)[:, None]
        (slope, intercept), *_ = np.linalg.lstsq(design, y * np.sqrt(weights))
        np.testing.assert_allclose([scale, offset], [slope, intercept], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(loss, np.sum(weights * (y - slope * row - intercept) ** 2), rtol=1e-4)


def test_labels_are_fitted_nearly_as_well_as_by_a_general_optimizer(rows):
    from scipy.optimize import minimize

    values, _ = rows
    rng = np.random.default_rng(2)
    standard = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    y = np.where(standard[1].astype(np.float64) + 0.4 * rng.normal(size=800) > 0.6, 1.0, -1.0)
    y = np.where(rng.random(800) < 0.02, -y, y)
    found = fit_scale("hinge", values, y.astype(np.float32), uniform(800))
    best = minimize(lambda p: likelihood(p[0] * standard[1] + p[1], y), [3.0, -2.0], method="Nelder-Mead")
    achieved = likelihood(found.scale[1] * values[1].astype(np.float64) + found.offset[1], y)
    assert found.loss.argmin() == 1
    assert best.fun - 1e-6 < achieved < best.fun + 0.01
    np.testing.assert_allclose(found.loss[1], achieved, atol=0.01)


def test_border_is_not_moved_by_wrong_labels_far_away():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 2000)).astype(np.float32) ** 3
    y = np.where(values[0] > 1, 1, -1).astype(np.float32)
    wrong = np.argsort(values[0])[-20:]
    y[wrong] = -1
    found = fit_scale("hinge", values, y, uniform(2000))
    np.testing.assert_allclose(-found.offset / found.scale, 1, atol=0.15)


def test_a_turned_and_stretched_formula_is_as_good(rows):
    values, _ = rows
    y = np.where(values[3] > -2, 1, -1).astype(np.float32)
    plain, turned = (fit_scale("hinge", array, y, uniform(800)) for array in (values[3:4], -7 * values[3:4] + 2))
    np.testing.assert_allclose(plain.loss, turned.loss, atol=2e-3)
    assert plain.scale[0] > 0 > turned.scale[0]


@pytest.mark.parametrize("loss", ["hinge", "squared"])
def test_what_cannot_be_scaled_is_unusable_and_harms_nothing_else(rows, loss):
    values, _ = rows
    y = np.where(values[3] > -3, 1, -1).astype(np.float32)
    bad = np.stack([np.full(800, 2.5), np.full(800, np.nan), np.where(np.arange(800) == 9, np.inf, 1.0)])
    alone = fit_scale(loss, values, y, uniform(800))
    together = fit_scale(loss, np.concatenate([values, bad.astype(np.float32)]), y, uniform(800))
    assert (together.loss[5:] == UNUSABLE).all()
    for array in together:
        assert np.isfinite(array).all()
    np.testing.assert_allclose(together.loss[:5], alone.loss, rtol=1e-6)


def test_wanted_values_have_a_higher_likelihood(rows):
    _, rng = rows
    y = np.where(rng.random(800) < 0.3, 1, -1).astype(np.float32)
    scores = np.stack([3 * rng.normal(size=800), 0.5 * rng.normal(size=800)]).astype(np.float32)
    goal, shrink = wanted("hinge", scores, y)
    assert shrink[0] < 1
    assert shrink[1] == 1
    for before, after, factor in zip(scores, goal, shrink, strict=True):
        start = (before * factor).astype(np.float64)
        for part in (0.1, 0.5, 1.0):
            assert likelihood(start + part * (after - start), y) < likelihood(start, y)
    goal, shrink = wanted("squared", scores, y)
    np.testing.assert_array_equal(goal, np.stack([y, y]))
    np.testing.assert_array_equal(shrink, 1)
