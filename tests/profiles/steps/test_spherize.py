import functools

import numpy as np
import polars as pl
import pytest
from pycytominer.operations import Spherize
from screens import numbered
from sklearn.covariance import ledoit_wolf

from cellfx.profiles.steps import control_directions, control_variances, normalize, spherize
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import Profiles, from_frame, take, take_features

exact = functools.partial(spherize.fit, regularization="pycytominer")
"""Divides by the controls' variances as they were measured."""


def wells(num_rows=200, num_features=15, num_controls=80, seed=0):
    """Correlated features of different scale and place; treated wells vary otherwise than controls."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(num_features, num_features)) * 10 ** rng.uniform(-1, 1, num_features)
    x = rng.normal(size=(num_rows, num_features)) @ mixing + 5 * rng.normal(size=num_features)
    is_control = rng.permutation(num_rows) < num_controls
    x[~is_control] += 4 * rng.normal(size=num_features) * rng.uniform(size=(num_rows - num_controls, 1))
    metadata = pl.DataFrame({"Metadata_Batch": rng.permutation(np.arange(num_rows) % 2), "Metadata_c": is_control})
    return numbered(x, metadata), is_control


def theirs(profiles, is_control, method, epsilon=0.0):
    frame = pl.DataFrame(profiles.features, schema=list(profiles.names)).to_pandas()
    return Spherize(epsilon=epsilon, method=method, return_numpy=True).fit(frame[is_control]).transform(frame)


def unsigned(x, reference):
    return x * np.sign(np.sum(x * reference, axis=0))


def covariance(x):
    return np.cov(x, rowvar=False)


@pytest.mark.parametrize("method", spherize.METHODS)
def test_controls_become_the_identity(method):
    profiles, is_control = wells()
    result = spherize.apply(exact(profiles, is_control, method), profiles)
    np.testing.assert_allclose(covariance(result.features[is_control]), np.eye(15), atol=1e-6)
    np.testing.assert_allclose(result.features[is_control].mean(axis=0), np.zeros(15), atol=1e-9)
    assert result.metadata.equals(profiles.metadata)
    assert result.names == (profiles.names if "ZCA" in method else tuple(f"PC{i}" for i in range(1, 16)))
    assert np.abs(covariance(result.features) - np.eye(15)).max() > 0.1


@pytest.mark.parametrize("method", spherize.METHODS)
@pytest.mark.parametrize("num_controls", [80, 15, 9])
def test_equals_pycytominer(method, num_controls):
    profiles, is_control = wells(num_controls=num_controls)
    ours = spherize.apply(exact(profiles, is_control, method, epsilon=0), profiles).features
    expected = theirs(profiles, is_control, method)
    if method.startswith("PCA"):
        # Where controls say nothing, any axes are principal ones.
        seen = min(num_controls - 1, 15)
        ours, expected = unsigned(ours, expected)[:, :seen], expected[:, :seen]
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def jump(data_folder):
    path = data_folder / "jump" / "BR00117010_normalized_feature_select_negcon_batch.csv.gz"
    profiles = from_frame(pl.read_csv(path, infer_schema_length=None))
    is_control = (profiles.metadata["Metadata_control_type"] == "negcon").fill_null(False).to_numpy()
    x = profiles.features
    kept = np.isfinite(x).all(axis=0) & (x[is_control].std(axis=0) > 1e-9)
    return take_features(profiles, [n for n, k in zip(profiles.names, kept, strict=True) if k]), is_control


def test_equals_pycytominer_on_a_real_plate(data_folder):
    profiles, is_control = jump(data_folder)
    fitted = exact(profiles, is_control, "ZCA-cor", epsilon=0)
    assert (is_control.sum(), fitted.ranks.tolist()) == (64, [63])
    expected = theirs(profiles, is_control, "ZCA-cor")
    ours = spherize.apply(fitted, profiles).features
    np.testing.assert_allclose(ours, expected, atol=1e-9 * np.abs(expected).max())
    defaults = spherize.apply(exact(profiles, is_control), profiles).features
    expected = theirs(profiles, is_control, "ZCA-cor", 1e-6)
    np.testing.assert_allclose(defaults, expected, atol=1e-6 * np.abs(expected).max())
    # All wells, more than features by half: full rank, and a covariance of bad condition.
    few = take_features(profiles, profiles.names[:250])
    fitted = exact(few, None, "ZCA", epsilon=0)
    ours = spherize.apply(fitted, few).features
    np.testing.assert_allclose(covariance(ours), np.eye(250), atol=1e-6)
    np.testing.assert_allclose(ours, theirs(few, np.full(384, True), "ZCA"), atol=1e-6)


@pytest.mark.parametrize("scales", [1e-3, 1e-5, 1e-7])
def test_badly_conditioned_controls_become_the_identity_too(scales):
    """Variances down to 1e-14 of the largest; products of features alone would know half of their digits."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    x = rng.normal(size=(300, 20)) * np.geomspace(1, scales, 20) @ rotation
    profiles = Profiles(x, tuple("abcdefghijklmnopqrst"), pl.DataFrame({"Metadata_x": np.zeros(300)}))
    fitted = exact(profiles, None, "ZCA", epsilon=0)
    assert fitted.ranks.tolist() == [20]
    np.testing.assert_allclose(covariance(spherize.apply(fitted, profiles).features), np.eye(20), atol=1e-6)


@pytest.mark.parametrize("method", spherize.METHODS)
@pytest.mark.parametrize("unseen", spherize.UNSEEN)
@pytest.mark.parametrize("kind", ["few controls", "dependent features"])
def test_rank_deficient_controls(method, unseen, kind):
    profiles, is_control = wells(num_controls=9 if kind == "few controls" else 80)
    if kind == "dependent features":
        x = profiles.features
        x[:, 5:] = x[:, :5] @ np.random.default_rng(1).normal(size=(5, 10)) + 3
        x[~is_control] += np.random.default_rng(2).normal(size=(120, 15))
    rank = 8 if kind == "few controls" else 5
    fitted = exact(profiles, is_control, method, epsilon=0, unseen=unseen)
    assert fitted.ranks.tolist() == [rank]
    result = spherize.apply(fitted, profiles).features
    assert np.isfinite(result).all()
    values = np.linalg.eigvalsh(covariance(result[is_control]))
    seen = np.arange(len(values)) >= len(values) - rank
    np.testing.assert_allclose(values, seen.astype(float), atol=1e-6)
    treated = np.linalg.matrix_rank(result[~is_control] - result[is_control].mean(axis=0))
    assert treated == (15 if unseen == "smallest" else rank)
    assert result.shape[1] == (rank if method.startswith("PCA") and unseen == "drop" else 15)


def test_directions_that_controls_do_not_vary_in_get_the_smallest_variance():
    x = np.array([[2.0, 0, 0], [-2.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [0, 0, 6.0]])
    profiles = Profiles(x, ("a", "b", "c"), pl.DataFrame({"Metadata_Well": list("ABCDE")}))
    is_control = np.arange(5) < 4
    kept, dropped = (
        spherize.apply(exact(profiles, is_control, "ZCA", epsilon=0, unseen=unseen), profiles).features
        for unseen in spherize.UNSEEN
    )
    # Variances of the controls are 8/3 and 2/3.
    np.testing.assert_allclose(kept[4], [0, 0, 6 / np.sqrt(2 / 3)], atol=1e-12)
    np.testing.assert_allclose(dropped[4], [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(kept[:4], dropped[:4], atol=1e-12)
    np.testing.assert_allclose(kept[0], [2 / np.sqrt(8 / 3), 0, 0], atol=1e-12)


def test_epsilon_is_a_variance():
    profiles, is_control = wells()
    plain = np.linalg.eigvalsh(covariance(profiles.features[is_control]))
    epsilon = float(np.median(plain))
    result = spherize.apply(exact(profiles, is_control, "ZCA", epsilon=epsilon), profiles).features
    values = np.linalg.eigvalsh(covariance(result[is_control]))
    np.testing.assert_allclose(values, plain / (plain + epsilon), rtol=1e-6)


def test_every_batch_gets_the_same_controls():
    profiles, is_control = wells()
    batch = profiles.metadata["Metadata_Batch"].to_numpy()
    profiles.features[batch == 1] = 3 * profiles.features[batch == 1] + 7
    for by, same in ((("Metadata_Batch",), True), ((), False)):
        result = spherize.apply(exact(profiles, is_control, by=by, epsilon=0), profiles).features
        for name in (0, 1):
            of_batch = result[is_control & (batch == name)]
            assert np.allclose(covariance(of_batch), np.eye(15), atol=1e-6) is same
            assert np.allclose(of_batch.mean(axis=0), 0, atol=1e-9) is same
    alone = take(profiles, batch == 1)
    np.testing.assert_allclose(
        spherize.apply(exact(alone, is_control[batch == 1]), alone).features,
        spherize.apply(exact(profiles, is_control, by=("Metadata_Batch",)), profiles).features[batch == 1],
        atol=1e-9,
    )


def test_zca_changes_least_and_pca_is_in_order():
    profiles, is_control = wells()
    x = profiles.features - profiles.features[is_control].mean(axis=0)
    distance = {
        method: np.sum((spherize.apply(exact(profiles, is_control, method), profiles).features - x)[is_control] ** 2)
        for method in ("ZCA", "PCA", "ZCA-cor")
    }
    assert min(distance, key=distance.get) == "ZCA"
    weights = exact(profiles, is_control, "PCA").weights[0]
    variance = 1 / np.sum(weights**2, axis=0)
    assert np.all(np.diff(variance) < 0)


def test_plates_of_one_batch_effect_come_together():
    """What the issue asks for: with planted differences between batches, controls of batches lie apart before only."""
    profiles = normalize.apply(
        normalize.fit(screen := simulated(sizes=Sizes(batch=20.0)), "standardize", by=()), screen
    )
    is_control = profiles.metadata["Metadata_Control"].to_numpy()
    batch = profiles.metadata["Metadata_Batch"].to_numpy()

    def apart(features):
        means = np.stack([features[is_control & (batch == name)].mean(axis=0) for name in np.unique(batch)])
        return np.linalg.norm(means - means.mean(axis=0)) / np.sqrt(np.trace(covariance(features[is_control])))

    spherized = spherize.apply(exact(profiles, is_control, by=()), profiles)
    assert apart(profiles.features) > 1
    assert apart(spherized.features) < 0.5
    per_batch = spherize.apply(exact(profiles, is_control, by=("Metadata_Batch",)), profiles)
    assert apart(per_batch.features) < 1e-9


def test_a_saved_spherizing_is_the_same(tmp_path):
    profiles, is_control = wells()
    others = wells(seed=1)[0]
    for method, by in (("PCA-cor", ()), ("ZCA", ("Metadata_Batch",))):
        fitted = exact(profiles, is_control, method, by)
        spherize.save(fitted, tmp_path / "s.npz")
        loaded = spherize.load(tmp_path / "s.npz")
        for name, first, second in zip(fitted._fields, fitted, loaded, strict=True):
            np.testing.assert_array_equal(first, second, err_msg=name)
        first, second = (spherize.apply(which, others).features for which in (fitted, loaded))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("num_controls", "num_features"), [(80, 15), (15, 15), (9, 15), (60, 300)])
def test_ledoit_and_wolf_as_scikit_learn_has_it(num_controls, num_features):
    """The map is the inverse root of their covariance, with n - 1 in the denominator."""
    profiles, is_control = wells(num_features=num_features, num_controls=num_controls)
    x = profiles.features[is_control]
    shrinkage = ledoit_wolf(x)[1]
    found = control_variances.principal(profiles, np.flatnonzero(is_control), "ZCA")
    np.testing.assert_allclose(found.shrinkage, shrinkage, rtol=1e-9)
    for method in ("ZCA", "ZCA-cor"):
        weights = spherize.fit(profiles, is_control, method, regularization="ledoit_wolf", epsilon=0).weights[0]
        scale = x.std(axis=0) if "cor" in method else np.ones(num_features)
        covariance = ledoit_wolf(x / scale)[0] * num_controls / (num_controls - 1)
        root = weights * scale[:, None]
        np.testing.assert_allclose(root, root.T, atol=1e-9 * np.abs(root).max())
        np.testing.assert_allclose(root @ covariance @ root, np.eye(num_features), atol=1e-7)


@pytest.mark.parametrize(("regularization", "floor", "unknown"), [
    ("mean_floor", 1.0, 5 / 3), ("median_floor", 0.5, 5 / 6), ("mean_floor", 0.1, 1 / 6), ("median_floor", 9.0, 15.0),
])  # fmt: skip
def test_floors_by_hand(regularization, floor, unknown):
    x = np.array([[2.0, 0, 0], [-2.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [3, 4, 6.0]])
    profiles = Profiles(x, ("a", "b", "c"), pl.DataFrame({"Metadata_Well": list("ABCDE")}))
    is_control, rule = np.arange(5) < 4, {"regularization": regularization, "floor": floor, "epsilon": 0}
    # Variances of the controls are 8/3 and 2/3, their mean and median 5/3.
    first, second = max(8 / 3, unknown), max(2 / 3, unknown)
    kept = spherize.apply(spherize.fit(profiles, is_control, "ZCA", **rule), profiles).features
    np.testing.assert_allclose(kept[4], [3 / first**0.5, 4 / second**0.5, 6 / unknown**0.5], atol=1e-12)
    dropped = spherize.apply(spherize.fit(profiles, is_control, "ZCA", unseen="drop", **rule), profiles).features
    np.testing.assert_allclose(dropped, kept * [1, 1, 0], atol=1e-12)


@pytest.mark.parametrize("regularization", control_variances.REGULARIZATIONS)
@pytest.mark.parametrize("unseen", spherize.UNSEEN)
@pytest.mark.parametrize("num_controls", [80, 9])
def test_components_are_the_features_turned(regularization, unseen, num_controls):
    profiles, is_control = wells(num_controls=num_controls)
    for suffix in ("", "-cor"):
        features, components = (
            spherize.apply(
                spherize.fit(profiles, is_control, kind + suffix, regularization=regularization, unseen=unseen),
                profiles,
            ).features
            for kind in ("ZCA", "PCA")
        )
        np.testing.assert_allclose(features @ features.T, components @ components.T, atol=1e-8 * np.sum(features**2))


def test_a_control_that_is_nearly_there_twice_changes_next_to_nothing():
    """By the variances as measured, a copy with noise of 1e-6 makes up all of every treated well."""
    profiles, is_control = wells(num_features=150, num_controls=60)
    rows, rng = np.flatnonzero(is_control), np.random.default_rng(0)
    copy = profiles._replace(features=profiles.features.copy())
    spread = profiles.features[is_control].std(axis=0)
    copy.features[rows[0]] = copy.features[rows[1]] + 1e-6 * spread * rng.normal(size=150)
    for regularization in control_variances.REGULARIZATIONS:
        before, after = (
            np.linalg.norm(
                spherize.apply(spherize.fit(each, is_control, regularization=regularization), each).features[
                    ~is_control
                ],
                axis=1,
            )
            for each in (profiles, copy)
        )
        ratio = np.max(after / before)
        assert ratio > 1e4 if regularization == "pycytominer" else ratio < 1.3, regularization


def test_the_default_leaves_most_where_controls_vary():
    """More features than controls: what no control varied in has the weight that it had before, or little more."""
    screen = simulated(4, 3, num_controls=12, num_features=300)
    is_control = screen.metadata["Metadata_Control"].to_numpy()
    found = {}
    for regularization in control_variances.REGULARIZATIONS:
        fitted = spherize.fit(screen, is_control, regularization=regularization)
        after = spherize.apply(fitted, screen)
        found[regularization] = control_directions.stillness(fitted, screen, after, is_control, ~is_control)
    two = is_control & (np.cumsum(is_control) < 3)
    assert np.isfinite(spherize.fit(screen, two, "ZCA", regularization="ledoit_wolf", epsilon=0).weights).all()
    default = spherize.fit(screen, is_control)
    np.testing.assert_array_equal(
        default.weights, spherize.fit(screen, is_control, regularization=control_variances.REGULARIZATION).weights
    )
    assert {one.num_unseen for one in found.values()} == {300 - is_control.sum() + 1}
    chosen = found[control_variances.REGULARIZATION]
    assert chosen.after < 1.5 * chosen.before
    assert found["pycytominer"].after > 1.6 * chosen.before


def test_bad_input():
    profiles, is_control = wells()
    with pytest.raises(ValueError, match="unknown regularization: got 'oas', expected one of ledoit_wolf, mean"):
        spherize.fit(profiles, is_control, regularization="oas")
    for floor in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"floor is no share: got {floor}, expected a number above 0"):
            spherize.fit(profiles, is_control, floor=floor)
    with pytest.raises(ValueError, match="unknown method: got 'zca', expected one of ZCA-cor, ZCA, PCA-cor, PCA"):
        exact(profiles, is_control, "zca")
    with pytest.raises(ValueError, match="unknown unseen: got 'fill', expected one of smallest, drop"):
        exact(profiles, is_control, unseen="fill")
    with pytest.raises(ValueError, match=r"got PCA by \('Metadata_Batch',\), expected ZCA or ZCA-cor"):
        exact(profiles, is_control, "PCA", by=["Metadata_Batch"])
    for epsilon in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"epsilon is no variance: got {epsilon}, expected"):
            exact(profiles, is_control, epsilon=epsilon)
    missing = profiles._replace(features=np.where(np.eye(200, 15) > 0, np.nan, profiles.features))
    with pytest.raises(ValueError, match="cannot be used for spherizing: got 15 of 3000 values, the first nan in"):
        exact(missing, is_control)
    fitted = exact(profiles, is_control)
    with pytest.raises(ValueError, match="cannot be used for spherizing: got 15 of 3000 values"):
        spherize.apply(fitted, missing)
    of_one_batch = is_control & (profiles.metadata["Metadata_Batch"].to_numpy() == 0)
    with pytest.raises(ValueError, match="too few controls to fit to: got 0 in Metadata_Batch '1'"):
        exact(profiles, of_one_batch, by=["Metadata_Batch"])
    still = profiles._replace(features=np.where(np.arange(15) == 4, 0.1, profiles.features))
    with pytest.raises(ValueError, match="got 1 features that do not vary among the 80 controls, the first 'f4'"):
        exact(still, is_control)
    assert exact(still, is_control, "ZCA").ranks.tolist() == [14]
    with pytest.raises(ValueError, match="controls that do not vary: got 200 equal rows"):
        exact(profiles._replace(features=np.ones((200, 15))), None, "ZCA")
    with pytest.raises(ValueError, match="other features than it was fitted to: got 14, of which 0 are new"):
        spherize.apply(fitted, take_features(profiles, profiles.names[1:]))


def test_one_column_groups_as_a_list_of_one():
    profiles, is_control = wells()
    found, expected = (exact(profiles, is_control, by=by) for by in ("Metadata_Batch", ["Metadata_Batch"]))
    assert found.by == expected.by == ("Metadata_Batch",)
    np.testing.assert_array_equal(found.weights, expected.weights)
