"""Principal components against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cellfx.profiles.steps.components import principal_components


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (12, 12)])
def test_components_are_scikit_learns_up_to_their_sign(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    found, reference = principal_components(features, 3), PCA(3, svd_solver="full").fit(features)
    theirs = reference.transform(features)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, rtol=1e-10)
    sign = np.sign(np.sum(found.projected * theirs, axis=0))
    np.testing.assert_allclose(found.projected, theirs * sign, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("count", [0, 3])
def test_more_components_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"no such number of components: got {count}, expected 1 to 2"):
        principal_components(np.eye(4, 2), count)
