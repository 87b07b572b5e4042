import numpy as np
import polars as pl
import pytest
from pycytominer import consensus as pycytominer_consensus
from screens import numbered, profiles_of

from cellfx.profiles.steps.consensus import METHODS, REPLICATES, consensus, modz_weights
from cellfx.profiles.tables.aggregate import COUNT, aggregate
from cellfx.profiles.tables.reading import read
from cellfx.profiles.tables.table import Profiles, take, take_features, to_frame

pytestmark = pytest.mark.filterwarnings("ignore:DataFrameGroupBy.apply:FutureWarning")
BY = ("Metadata_t", "Metadata_dose")


def replicates(seed=0, num_rows=200):
    rng = np.random.default_rng(seed)
    metadata = pl.DataFrame({
        "Metadata_t": [f"t{i}" if i else None for i in rng.integers(0, 20, num_rows)],
        "Metadata_dose": rng.choice([0.1, 1.0, 10.0], num_rows),
        "Metadata_Well": [f"A{i}" for i in range(num_rows)],
    })  # fmt: skip
    effect = {key: rng.normal(size=30) for key in metadata.select(BY).unique(maintain_order=True).rows()}
    x = np.stack([effect[key] for key in metadata.select(BY).rows()]) + rng.normal(size=(num_rows, 30))
    return numbered(x, metadata)


def theirs(profiles, by, method, **arguments):
    frame = to_frame(profiles).to_pandas()
    return pycytominer_consensus(frame, list(by), method, list(profiles.names), **arguments)


def compare(profiles, by, method, ours, expected):
    np.testing.assert_allclose(ours.features, expected[list(profiles.names)].to_numpy(), rtol=1e-9, atol=1e-12)
    for name in by:
        assert ours.metadata[name].to_list() == expected[name].where(expected[name].notna(), None).tolist()
    sizes = to_frame(profiles).to_pandas().groupby(list(by), dropna=False).size()
    assert ours.metadata[REPLICATES].to_list() == sizes.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by", [BY, BY[:1]])
def test_equals_pycytominer(method, by):
    profiles = replicates()
    ours = consensus(profiles, by, method)
    compare(profiles, by, method, ours, theirs(profiles, by, method))
    assert ours.metadata.columns == [*by, REPLICATES]
    assert ours.names == profiles.names


@pytest.mark.parametrize(
    "arguments", [("spearman", 0.3, 2), ("pearson", 0.01, 4), ("pearson", 0.0, 6), ("spearman", 0.0, 1)]
)
def test_weights_equal_pycytominers(arguments):
    profiles = replicates()
    as_theirs = dict(zip(("method", "min_weight", "precision"), arguments, strict=True))
    expected = theirs(profiles, BY, "modz", modz_args=as_theirs)
    compare(profiles, BY, "modz", consensus(profiles, BY, "modz", *arguments), expected)


@pytest.mark.parametrize("method", METHODS)
def test_equals_pycytominer_on_a_real_plate(method, data_folder):
    profiles = read(data_folder / "cytominer_eval" / "SQ00015054_normalized_feature_select.csv.gz")
    names = [n for n, ok in zip(profiles.names, np.isfinite(profiles.features).all(axis=0), strict=True) if ok]
    profiles, by = take_features(profiles, names), ("Metadata_broad_sample", "Metadata_mmoles_per_liter")
    compare(profiles, by, method, consensus(profiles, by, method), theirs(profiles, by, method))


def test_missing_values_are_ignored():
    profiles = replicates()
    profiles.features[np.random.default_rng(1).uniform(size=profiles.features.shape) < 0.3] = np.nan
    for method in ("median", "mean"):
        compare(profiles, BY, method, consensus(profiles, BY, method), theirs(profiles, BY, method))


def test_closed_forms():
    x = np.array([[1.0, 2, 3, 4], [1, 2, 3, 5], [4, 3, 2, 1]])
    np.testing.assert_allclose(modz_weights(x), [0.495, 0.495, 0.0099], rtol=1e-12)
    np.testing.assert_allclose(modz_weights(x, precision=None), np.array([0.5, 0.5, 0.01]) / 1.01, rtol=1e-12)
    np.testing.assert_allclose(modz_weights(x, min_weight=10), [0.3333] * 3, rtol=1e-12)
    np.testing.assert_allclose(modz_weights(x[[0, 2]], min_weight=0), [0.5, 0.5], rtol=1e-12)
    profiles = Profiles(x[:1], tuple("abcd"), pl.DataFrame({"Metadata_t": ["t"]}))
    np.testing.assert_array_equal(consensus(profiles, ["Metadata_t"], "modz").features, x[:1])


def test_a_replicate_without_correlations_has_the_least_weight():
    x = np.array([[1.0, 2, 3, 4], [1, 2, 3, 5], [2, 2, 2, 2]])
    np.testing.assert_allclose(modz_weights(x), [0.495, 0.495, 0.0099], rtol=1e-12)


def test_modz_trusts_those_that_agree():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=200)
    x = np.stack([effect + 0.3 * rng.normal(size=200) for _ in range(3)] + [3 * rng.normal(size=200)])
    profiles = profiles_of(x, t=["t"] * 4)
    error = {m: np.linalg.norm(consensus(profiles, ["Metadata_t"], m).features[0] - effect) for m in METHODS}
    assert min(error, key=error.get) == "modz"


def test_counts_of_cells_add_up():
    profiles = replicates()
    wells = aggregate(profiles, ("Metadata_t", "Metadata_dose", "Metadata_Well"))
    for method in METHODS:
        result = consensus(wells, ["Metadata_t"], method).metadata
        assert result.columns == ["Metadata_t", COUNT, REPLICATES]
        assert result[COUNT].to_list() == result[REPLICATES].to_list()
        assert result[COUNT].sum() == 200


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_does_not_matter(method):
    profiles = replicates()
    mixed = take(profiles, np.random.default_rng(5).permutation(200))
    first, second = consensus(profiles, BY, method), consensus(mixed, BY, method)
    np.testing.assert_allclose(first.features, second.features, rtol=1e-9, atol=1e-12)
    assert first.metadata.equals(second.metadata)


def test_bad_input():
    profiles = replicates()
    with pytest.raises(ValueError, match="unknown method: got 'mode', expected one of median, mean, modz"):
        consensus(profiles, BY, "mode")
    with pytest.raises(ValueError, match="unknown correlation: got 'kendall', expected one of pearson, spearman"):
        consensus(profiles, BY, "modz", "kendall")
    for weight in (-0.1, np.nan):
        with pytest.raises(ValueError, match=f"min_weight is no weight: got {weight}, expected"):
            consensus(profiles, BY, "modz", min_weight=weight)
    with pytest.raises(ValueError, match="cannot group by 'Metadata_moa'"):
        consensus(profiles, ["Metadata_moa"])
    profiles.features[3, 2] = np.nan
    with pytest.raises(
        ValueError, match="cannot be used for modz: got 1 of 6000 values, the first nan in feature 'f2'"
    ):
        consensus(profiles, BY, "modz")
