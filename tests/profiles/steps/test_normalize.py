import numpy as np
import polars as pl
import pytest
from pycytominer import normalize as pycytominer_normalize
from screens import numbered

from cellfx.profiles.steps import normalize
from cellfx.profiles.tables.table import Profiles, from_frame, take, to_frame

PUBLISHED = ("standardize", "robustize", "mad_robustize")


def plates(seed=0, missing=0.02):
    """Three plates of 40 wells, 12 features of very different scale; a third are controls."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(120, 12)) * 10.0 ** np.arange(-6, 6) + rng.normal(size=12) * 3
    x[rng.uniform(size=x.shape) < missing] = np.nan
    plate = rng.permutation(np.repeat(["a", "b", "c"], 40))
    metadata = pl.DataFrame({"Metadata_Plate": plate, "Metadata_control": rng.uniform(size=120) < 1 / 3})
    return numbered(x, metadata)


def controls(profiles):
    return profiles.metadata["Metadata_control"].to_numpy()


def theirs(profiles, method, samples):
    frame = to_frame(profiles).to_pandas()
    result = pycytominer_normalize(
        frame, features=list(profiles.names), meta_features=list(profiles.metadata.columns), samples=samples,
        method=method,
    )  # fmt: skip
    return result[list(profiles.names)].to_numpy()


@pytest.mark.parametrize("method", PUBLISHED)
@pytest.mark.parametrize("samples", ["all", "Metadata_control"])
@pytest.mark.parametrize("by", [(), ("Metadata_Plate",)])
def test_equals_pycytominer(method, samples, by):
    profiles = plates()
    mask = None if samples == "all" else controls(profiles)
    ours = normalize.apply(normalize.fit(profiles, method, by, mask), profiles)
    assert ours.names == profiles.names
    assert ours.metadata.equals(profiles.metadata)
    plate = profiles.metadata["Metadata_Plate"].to_numpy()
    parts = [plate == name for name in "abc"] if by else [np.full(120, True)]
    for rows in parts:
        expected = theirs(take(profiles, rows), method, samples)
        np.testing.assert_allclose(ours.features[rows], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", PUBLISHED)
def test_equals_pycytominer_on_a_real_plate(method, data_folder):
    path = data_folder / "jump" / "BR00117010_normalized_feature_select_negcon_batch.csv.gz"
    profiles = from_frame(pl.read_csv(path, infer_schema_length=None))
    mask = (profiles.metadata["Metadata_control_type"] == "negcon").fill_null(False).to_numpy()
    assert mask.sum() == 64
    fitted = normalize.fit(profiles, method, controls=mask)
    # Where the controls have no median deviation pycytominer divides by epsilon: numbers of 1e18.
    expected = theirs(profiles, method, "Metadata_control_type == 'negcon'")
    varies = np.abs(expected).max(axis=0) < 1e12
    assert varies.sum() > 500
    np.testing.assert_allclose(
        normalize.apply(fitted, profiles).features[:, varies], expected[:, varies], rtol=1e-9, atol=1e-9
    )


def test_closed_forms():
    profiles = Profiles(
        np.array([[1.0], [2.0], [3.0], [4.0], [10.0]]), ("x",), pl.DataFrame({"Metadata_Plate": ["p"] * 5})
    )
    cases = {"standardize": (4, np.sqrt(10)), "robustize": (3, 2), "mad_robustize": (3, 1.4826), "centre": (4, 1)}
    cases["percentile"] = (1.04, 8.72)
    assert tuple(cases) == normalize.METHODS
    for method, (centre, scale) in cases.items():
        fitted = normalize.fit(profiles, method)
        np.testing.assert_allclose(fitted.centre, [[centre]], rtol=1e-12)
        np.testing.assert_allclose(fitted.scale, [[scale]], rtol=1e-12)
    np.testing.assert_allclose(normalize.fit(profiles, "mad_robustize", epsilon=0.5).scale, [[1.9826]], rtol=1e-12)


def test_percentiles_of_controls_become_zero_and_one():
    """Plate by plate, as Ljosa et al. scale; by SciPy's percentiles."""
    profiles = plates()
    mask, plate = controls(profiles), profiles.metadata["Metadata_Plate"].to_numpy()
    for percentiles in ((1.0, 99.0), (10.0, 75.0)):
        fitted = normalize.fit(profiles, "percentile", controls=mask, percentiles=percentiles)
        result = normalize.apply(fitted, profiles).features
        for name in "abc":
            ends = scoreatpercentile(result, mask & (plate == name), percentiles)
            np.testing.assert_allclose(ends, [[0.0] * 12, [1.0] * 12], atol=1e-6)
            before = profiles.features[plate == name]
            np.testing.assert_array_equal(np.argsort(result[plate == name], axis=0), np.argsort(before, axis=0))
    for wrong in ((99.0, 1.0), (1.0,), (0.0, 101.0), (50.0, 50.0), (float("nan"), 99.0), "19", 5, ("1", "99")):
        with pytest.raises(ValueError, match=r"percentiles that are none: got .*, expected two from 0 to 100, the low"):
            normalize.fit(profiles, "percentile", percentiles=wrong)


def scoreatpercentile(x, rows, percentiles):
    """(2, D), without missing values, by SciPy."""
    from scipy.stats.mstats import mquantiles

    columns = [column[np.isfinite(column)] for column in x[rows].T]
    shares = [percentile / 100 for percentile in percentiles]
    return np.array([mquantiles(column, shares, alphap=1, betap=1) for column in columns]).T


@pytest.mark.parametrize("method", ["robustize", "mad_robustize", "percentile"])
@pytest.mark.parametrize("huge", [1e12, 1e17, -1e300])
def test_one_huge_value_does_not_switch_off_the_others_scale(method, huge):
    profiles = plates(missing=0)
    percentiles = (5.0, 95.0)
    expected = normalize.fit(profiles, method, (), percentiles=percentiles)
    row = int(np.argmax(profiles.features[:, 7]) if huge > 0 else np.argmin(profiles.features[:, 7]))
    profiles.features[row, 7] = huge
    found = normalize.fit(profiles, method, (), percentiles=percentiles)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)
    np.testing.assert_allclose(found.centre, expected.centre, rtol=1e-12)


@pytest.mark.parametrize("method", normalize.METHODS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -1e-9])
def test_a_constant_feature_becomes_zero(method, value):
    profiles = plates(missing=0)
    profiles.features[:, 3] = value
    result = normalize.apply(normalize.fit(profiles, method), profiles).features
    assert np.isfinite(result).all()
    assert np.abs(result[:, 3]).max() <= 1e-15 * max(abs(value), 1)


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_feature_without_spread_is_only_centred(method):
    profiles = plates(missing=0)
    mask = controls(profiles)
    profiles.features[:, 3] = np.where(mask, 5.0, 7.0)
    result = normalize.apply(normalize.fit(profiles, method, controls=mask), profiles).features
    np.testing.assert_array_equal(result[:, 3], np.where(mask, 0.0, 2.0))


@pytest.mark.parametrize("method", normalize.METHODS)
def test_missing_values_are_ignored_and_stay(method):
    profiles = plates(missing=0.1)
    profiles.features[profiles.metadata["Metadata_Plate"].to_numpy() == "b", 4] = np.nan
    result = normalize.apply(normalize.fit(profiles, method), profiles).features
    np.testing.assert_array_equal(np.isnan(result), np.isnan(profiles.features))


@pytest.mark.parametrize("by", [(), ("Metadata_Plate",), ("Metadata_Plate", "Metadata_control")])
def test_a_saved_normalization_is_the_same(by, tmp_path):
    profiles, others = plates(), plates(1)
    fitted = normalize.fit(profiles, "mad_robustize", by)
    normalize.save(fitted, tmp_path / "n.npz")
    loaded = normalize.load(tmp_path / "n.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["n.npz"]
    for name, first, second in zip(fitted._fields, fitted, loaded, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=name)
    first, second = (normalize.apply(which, others).features for which in (fitted, loaded))
    np.testing.assert_array_equal(first, second)


def test_the_order_of_rows_and_features_does_not_matter():
    profiles, rng = plates(), np.random.default_rng(3)
    rows, columns = rng.permutation(120), rng.permutation(12)
    fitted = normalize.fit(profiles, "robustize")
    names = tuple(profiles.names[i] for i in columns)
    mixed = take(profiles, rows)._replace(names=names, features=profiles.features[rows][:, columns])
    again = normalize.apply(fitted, mixed)
    assert again.names == profiles.names
    np.testing.assert_array_equal(again.features, normalize.apply(fitted, profiles).features[rows])


def test_missing_plates_are_a_group_too():
    profiles = plates()
    metadata = profiles.metadata.with_columns(Metadata_Plate=pl.col("Metadata_Plate").replace("b", None))
    expected = normalize.apply(normalize.fit(profiles), profiles).features
    changed = profiles._replace(metadata=metadata)
    np.testing.assert_array_equal(normalize.apply(normalize.fit(changed), changed).features, expected)


def test_bad_input(tmp_path):
    profiles = plates()
    mask = controls(profiles)
    with pytest.raises(ValueError, match="unknown method: got 'spherize', expected one of standardize, robustize, mad"):
        normalize.fit(profiles, "spherize")
    none = mask & (profiles.metadata["Metadata_Plate"].to_numpy() != "b")
    with pytest.raises(ValueError, match="too few controls to fit to: got 0 in Metadata_Plate 'b', expected 2 or more"):
        normalize.fit(profiles, controls=none)
    with pytest.raises(ValueError, match="too few rows to fit to: got 1 in all rows together"):
        normalize.fit(take(profiles, np.array([0])), by=())
    with pytest.raises(ValueError, match=r"got bool of shape \(119,\), expected bool of shape \(120,\)"):
        normalize.fit(profiles, controls=mask[1:])
    with pytest.raises(ValueError, match=r"controls do not fit the profiles: got int64 of shape \(120,\)"):
        normalize.fit(profiles, controls=mask.astype(int))
    with pytest.raises(ValueError, match="no such metadata: got 'Metadata_plate'"):
        normalize.fit(profiles, by=["Metadata_plate"])
    infinite = profiles._replace(features=np.where(np.arange(12) == 2, np.inf, profiles.features))
    with pytest.raises(ValueError, match="infinite features have no scale: got inf in feature 'f2' of row 0"):
        normalize.fit(infinite)
    fitted = normalize.fit(take(profiles, profiles.metadata["Metadata_Plate"].to_numpy() != "c"))
    with pytest.raises(ValueError, match="nothing was fitted to this group: got Metadata_Plate 'c', expected one of"):
        normalize.apply(fitted, profiles)
    with pytest.raises(ValueError, match=r"got 12, of which 1 are new \['g'\], .* 12, of which 1 are missing \['f0'\]"):
        normalize.apply(fitted, profiles._replace(names=("g", *profiles.names[1:])))
    (tmp_path / "text.npz").write_text("nothing")
    np.savez(tmp_path / "arrays.npz", x=np.zeros(2))
    np.savez(tmp_path / "kind.npz", description=np.array('{"kind": "spherizing"}'))
    np.savez(tmp_path / "pickled.npz", description=np.array([{}], object))
    for name in ("text", "arrays", "pickled"):
        with pytest.raises(ValueError, match=f"no saved normalization: got .*{name}.npz, expected a .npz that was"):
            normalize.load(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="no saved normalization: got another kind in"):
        normalize.load(tmp_path / "kind.npz")


def test_one_column_groups_as_a_list_of_one():
    profiles = plates()
    for found, expected in zip(
        normalize.fit(profiles, by="Metadata_Plate"), normalize.fit(profiles, by=["Metadata_Plate"]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
