import itertools

import numpy as np
import pytest
from screens import profiles_of, reference
from sklearn.decomposition import PCA

from cellfx.profiles.mp_value import mp_values, subset_distances

slow = reference("profiles_scores")


def screen(num_treated=4, num_controls=20, num_features=8, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    treatments = np.repeat([0, 1, 2, -1], [num_treated, num_treated, num_treated, num_controls])
    features = rng.normal(size=(len(treatments), num_features)) * np.arange(1, num_features + 1)
    features[treatments == 1] += shift
    order = rng.permutation(len(treatments))
    return profiles_of(features[order], Compound=treatments[order]), treatments[order], treatments[order] == -1


def test_distances_of_all_subsets_are_those_of_explicit_covariances():
    rows = np.random.default_rng(0).normal(size=(9, 3)) @ np.diag([1, 10, 0.1])
    for size in (1, 2, 4):
        chosen = np.array(list(itertools.combinations(range(9), size)))
        known = [slow.mahalanobis(rows[list(c)], np.delete(rows, c, axis=0)) for c in chosen]
        np.testing.assert_allclose(subset_distances(rows, chosen), known, rtol=1e-9)


@pytest.mark.parametrize("components", ["each", "shared"])
def test_distances_are_those_of_the_definition(components):
    profiles, treatments, controls = screen(shift=5.0)
    ours = mp_values(profiles, treatments, controls, num_permutations=10, components=components)
    untreated = profiles.features[controls]
    assert ours.treatments.tolist() == [0, 1, 2]
    for code, distance, num in zip(ours.treatments, ours.distance, ours.num_components, strict=True):
        treated = profiles.features[treatments == code]
        pca = PCA(0.9, svd_solver="full")
        pca.fit(profiles.features if components == "shared" else np.concatenate([treated, untreated]))
        # cytominer-eval scales the components, which must not matter.
        a, b = (pca.transform(x) * pca.explained_variance_ratio_ for x in (treated, untreated))
        np.testing.assert_allclose(distance**2, slow.mahalanobis(a, b), rtol=1e-9)
        assert num == pca.n_components_


@pytest.mark.parametrize("components", ["each", "shared"])
def test_p_values_are_those_of_all_arrangements(components):
    profiles, treatments, controls = screen(2, 8, 3, shift=4.0, seed=1)
    ours = mp_values(profiles, treatments, controls, 0.999999, 20_000, components)
    for code, p in zip(ours.treatments, ours.p_value, strict=True):
        rows = np.concatenate([profiles.features[treatments == code], profiles.features[controls]])
        squares = [
            slow.mahalanobis(rows[list(c)], np.delete(rows, c, axis=0)) for c in itertools.combinations(range(10), 2)
        ]
        # The observed arrangement is the first of 45; four standard errors of 20,000 draws.
        exact = np.mean(np.array(squares) >= squares[0] - 1e-9)
        assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4


def test_p_values_of_noise_are_uniform_and_of_effects_small():
    rng = np.random.default_rng(0)
    treatments = np.concatenate([np.repeat(np.arange(200), 3), np.full(40, -1)])
    features = rng.normal(size=(640, 10))
    noise = mp_values(profiles_of(features), treatments, treatments < 0, num_permutations=200, components="shared")
    # They share their controls and are not independent: the mean of 200 uniform values has a deviation of .02.
    assert 0.3 < noise.p_value.mean() < 0.7
    features[treatments == 7] += 4.0
    effect = mp_values(profiles_of(features), treatments, treatments < 0, num_permutations=200)
    assert effect.p_value[7] == 1 / 201
    assert np.argmax(effect.distance) == 7


def test_permutations_draw_every_row_equally_often():
    from cellfx.profiles.mp_value import _drawn

    drawn = _drawn(np.random.default_rng(0), 30_000, 3, 6)
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    subsets, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    assert len(subsets) == 20
    assert np.abs(counts - 1500).max() < 5 * np.sqrt(1500)


def test_refused():
    profiles, treatments, controls = screen()
    with pytest.raises(ValueError, match=r"got treatments of shape \(3,\) and bool controls of shape \(32,\)"):
        mp_values(profiles, treatments[:3], controls)
    with pytest.raises(ValueError, match=r"and int64 controls of shape \(32,\), expected \(32,\) codes and bool"):
        mp_values(profiles, treatments, controls.astype(int))
    with pytest.raises(ValueError, match="nothing to compare: got 0 treated rows and 20 controls"):
        mp_values(profiles, np.full(32, -1), controls)
    with pytest.raises(ValueError, match="nothing to compare: got 12 treated rows and 0 controls"):
        mp_values(profiles, treatments, np.zeros(32, bool))
    for settings in ({"explained_rate": 1.0}, {"num_permutations": 0}, {"components": "none"}):
        with pytest.raises(ValueError, match="settings of mp-values out of range: got"):
            mp_values(profiles, treatments, controls, **settings)
    few, treatments, controls = screen(num_controls=5, num_features=20)
    with pytest.raises(ValueError, match="got 5 for 5 principal components, expected more controls than components"):
        mp_values(few, treatments, controls)
    with pytest.raises(ValueError, match="rows that are all the same: got 9 without any difference"):
        mp_values(few._replace(features=np.ones((17, 20))), treatments, controls)
    features = few.features.copy()
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="features that are not finite cannot be used for mp-values"):
        mp_values(few._replace(features=features), treatments, controls)
