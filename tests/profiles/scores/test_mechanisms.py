"""Features against mechanisms: NumPy's correlation, one pair at a time."""

import numpy as np
import polars as pl
import pytest
from screens import numbered

from cellfx.profiles.scores.mechanisms import mechanism_correlations


def profiles(mechanisms, features):
    return numbered(features, pl.DataFrame({"Metadata_MOA": mechanisms}, schema={"Metadata_MOA": pl.String}))


def test_correlations_are_numpys_and_the_strongest_feature_is_first():
    rng = np.random.default_rng(0)
    mechanisms = ["a", "b", "c", None] * 15
    features = rng.normal(size=(60, 5))
    features[::4, 3] += 4.0
    found = mechanism_correlations(profiles(mechanisms, features))
    assert found.features[0] == "f3"
    assert found.mechanisms == ("a", "b", "c")
    rows = [row for row, name in enumerate(mechanisms) if name is not None]
    for i, feature in enumerate(found.features):
        for j, mechanism in enumerate(found.mechanisms):
            member = [float(mechanisms[row] == mechanism) for row in rows]
            expected = np.corrcoef(features[rows, int(feature[1:])], member)[0, 1]
            assert found.correlation[i, j] == pytest.approx(expected, abs=1e-12)
    strength = np.abs(found.correlation).max(axis=1)
    assert np.all(np.diff(strength) <= 0)


def test_a_constant_feature_goes_with_nothing():
    features = np.stack([np.full(6, 0.1), np.arange(6.0)], axis=1)
    found = mechanism_correlations(profiles(["a", "b"] * 3, features))
    assert found.features == ("f1", "f0")
    np.testing.assert_array_equal(found.correlation[1], 0.0)


def test_one_mechanism_is_refused():
    with pytest.raises(ValueError, match="fewer than two mechanisms: got 1 in Metadata_MOA, expected two or more"):
        mechanism_correlations(profiles(["a", "a", None], np.eye(3)))


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match="no column of mechanisms: got 'Metadata_moa', expected one of Metadata_MOA"):
        mechanism_correlations(profiles(["a", "b"], np.eye(2)), "Metadata_moa")


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="features that are not finite cannot be used for correlation with mechanisms"):
        mechanism_correlations(profiles(["a", "b"], np.array([[1.0], [np.nan]])))
