import numpy as np
import pandas as pd
import pytest

from cellfx.profiles.steps.correlate import METHODS, correlations


@pytest.mark.parametrize("method", METHODS)
def test_equals_pandas(method):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) * 10.0 ** np.arange(-4, 4) + 100
    x[:, 3] = np.floor(x[:, 3] / 10)
    np.testing.assert_allclose(correlations(x, method), pd.DataFrame(x).corr(method), atol=1e-10)


def test_missing_values_are_left_out_pair_by_pair():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) + 5
    x[rng.uniform(size=x.shape) < 0.3] = np.nan
    x[:30, 0] = x[30:, 1] = np.nan
    x[:, 2] = np.nan
    np.testing.assert_allclose(correlations(x), pd.DataFrame(x).corr(), atol=1e-10)


def test_what_does_not_vary_has_no_correlation():
    x = np.random.default_rng(2).normal(size=(20, 3))
    x[:, 1] = 0.1
    for method in METHODS:
        result = correlations(x, method)
        assert np.isnan(result).tolist() == [[False, True, False], [True] * 3, [False, True, False]]
    x[0, 0], x[1:, 2] = np.nan, 0.3
    x[0, 2] = 5.0  # varies, but not where the first column is known
    assert np.isnan(correlations(x)).tolist() == [[False, True, True], [True] * 3, [True, True, False]]


def test_bad_input():
    with pytest.raises(ValueError, match="unknown method: got 'kendall', expected one of pearson, spearman"):
        correlations(np.zeros((2, 2)), "kendall")
    x = np.array([[np.nan, 1], [np.inf, 2]])
    for method in METHODS:
        with pytest.raises(ValueError, match=f"have no {method} correlation: got 1 infinite and 1 missing"):
            correlations(x, method)
    with pytest.raises(ValueError, match="have no spearman correlation: got 0 infinite and 1 missing"):
        correlations(np.array([[np.nan, 1], [0, 2]]), "spearman")
