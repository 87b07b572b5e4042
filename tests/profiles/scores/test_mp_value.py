import itertools

import numpy as np
import pytest
from screens import profiles_of, reference
from sklearn.decomposition import PCA

from cellfx.profiles.scores.mp_value import mp_values, subset_distances

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
    from cellfx.profiles.scores.mp_value import _drawn

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


def beside_noise(untreated, num_treated=2, seed=1):
    """Controls and ten treatments of nothing but noise."""
    codes = np.concatenate([np.full(len(untreated), -1), np.repeat(np.arange(10), num_treated)])
    noise = np.random.default_rng(seed).normal(size=(10 * num_treated, untreated.shape[1]))
    return profiles_of(np.concatenate([untreated, noise])), codes, codes < 0


def centred_by_plate(num_plates, size, num_features):
    plates = np.random.default_rng(0).normal(size=(num_plates, size, num_features))
    return (plates - plates.mean(axis=1, keepdims=True)).reshape(-1, num_features)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("components", "num_features"), [("each", 300), ("shared", 18)])
def test_controls_that_were_centred_by_plate_are_refused_where_their_rank_is_too_low(components, num_features, dtype):
    untreated = centred_by_plate(12, 2, num_features).astype(dtype)
    # Two treated rows raise the rank by two: it must exceed that of the components by more.
    known = "got 24 of rank 12 for 12 principal components, expected a rank of 15 or more; lower explained_rate"
    with pytest.raises(ValueError, match=known):
        mp_values(*beside_noise(untreated), 0.9, 10, components)
    fewer = mp_values(*beside_noise(untreated), 0.3, 10, components)
    assert fewer.num_components.max() <= 9
    assert np.all(np.isfinite(fewer.distance))


@pytest.mark.parametrize("components", ["each", "shared"])
def test_copies_of_few_controls_are_refused(components):
    untreated = np.repeat(np.random.default_rng(0).normal(size=(4, 8)), 6, axis=0)
    with pytest.raises(ValueError, match=r"got 24 of rank 3 for \d principal components, expected a rank of \d"):
        mp_values(*beside_noise(untreated), num_permutations=10, components=components)


@pytest.mark.parametrize("value", [0.0, 0.1])
@pytest.mark.parametrize("components", ["each", "shared"])
def test_controls_that_are_all_the_same_are_refused(components, value):
    with pytest.raises(ValueError, match=r"got 24 of rank 0 for \d principal components, expected a rank of"):
        mp_values(*beside_noise(np.full((24, 8), value)), num_permutations=10, components=components)


@pytest.mark.parametrize("components", ["each", "shared"])
def test_controls_that_do_not_vary_on_the_components_are_refused(components):
    # Of 60 features the controls vary in the last 30, the treated rows, which say what the components are, in others.
    own = np.arange(60) >= 30
    profiles, codes, controls = beside_noise(centred_by_plate(1, 24, 60) * own)
    features = np.where(controls[:, None], 1, 1e3 * ~own) * profiles.features
    with pytest.raises(ValueError, match=r"got 24 of rank 0 for (\d+) principal components, expected a rank of \1 or"):
        mp_values(profiles._replace(features=features), codes, controls, 0.5, 10, components)


@pytest.mark.parametrize("components", ["each", "shared"])
def test_ranks_do_not_count_units_or_features_that_never_vary_or_repeat_others(components):
    profiles, treatments, controls = screen()
    known = mp_values(profiles, treatments, controls, num_permutations=20, components=components)
    features = np.concatenate([profiles.features, profiles.features, np.full((32, 3), 0.1)], axis=1)
    repeated = mp_values(profiles_of(features), treatments, controls, num_permutations=20, components=components)
    np.testing.assert_allclose(repeated.distance, known.distance, rtol=1e-9)
    features = profiles.features.copy()
    features[np.flatnonzero(controls)[0], 0] = 3e6
    far = mp_values(profiles._replace(features=features), treatments, controls, 0.9, 20, components)
    assert far.num_components.tolist() == [1, 1, 1]


@pytest.mark.parametrize("components", ["each", "shared"])
def test_others_that_lose_a_direction_when_wells_change_places_are_refused(components):
    # Five controls of rank 4 for 4 components and three treated rows that are equal: five rows with two of them have 3.
    untreated = np.random.default_rng(0).normal(size=(5, 4))
    profiles = profiles_of(np.concatenate([untreated, np.full((3, 4), 3.0)]))
    codes = np.repeat([-1, 0], [5, 3])
    with pytest.raises(ValueError, match=r"got a direction in which the others have .* expected more than 1e-14"):
        mp_values(profiles, codes, codes < 0, 0.999999, 200, components)
    with pytest.raises(ValueError, match="got a direction in which the others have 0 of the scatter of all"):
        subset_distances(np.array([[0.0, 0.0], [1, 0], [2, 0], [3, 0], [0, 5.0]]), np.array([[4]]))


@pytest.mark.parametrize("components", ["each", "shared"])
def test_wells_change_places_within_plates(components):
    """Two treated wells on plate 0 of 5 controls: 21 pairs, of which those that are as far are counted."""
    rng = np.random.default_rng(3)
    plate = np.repeat([0, 1], [7, 12])
    treatments = np.where(np.arange(19) < 2, 0, -1)
    features = rng.normal(size=(19, 3)) + 4.0 * plate[:, None]
    profiles = profiles_of(features, Compound=treatments)
    settings = 0.999, 4000, components
    pairs = np.array(list(itertools.combinations(range(7), 2)))
    known = subset_distances(features, pairs)
    share = np.mean(known >= known[0] * (1 - 1e-9))
    within, among = (mp_values(profiles, treatments, treatments < 0, *settings, within=of) for of in (plate, None))
    assert abs(within.p_value[0] - share) < 4 * np.sqrt(share * (1 - share) / 4000)
    assert within.distance == among.distance
    assert among.p_value[0] < within.p_value[0] - 0.1
