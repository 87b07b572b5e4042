import numpy as np
import polars as pl
import pytest
from pycytominer import feature_select

from cellfx.profiles.steps import select as selecting
from cellfx.profiles.steps.select import BLOCKLIST, OPERATIONS, select
from cellfx.profiles.tables.reading import read
from cellfx.profiles.tables.table import Profiles, take_features, to_frame

NOISE_ARGUMENTS = ("noise_removal_perturb_groups", "noise_removal_stdev_cutoff")
ARGUMENTS = {
    "variance_threshold": [({}, {}), ({"min_variance": 0.5}, {"min_variance": 0.5}), ({"min_variance": 0.0},) * 2],
    "frequency_threshold": [({}, {}), ({"freq_cut": 0.3, "unique_cut": 0.2},) * 2],
    "correlation_threshold": [({}, {}), ({"threshold": 0.5}, {"corr_threshold": 0.5})],
    "drop_na_columns": [({}, {}), ({"cutoff": 0.02}, {"na_cutoff": 0.02})],
    "drop_outliers": [({}, {}), ({"cutoff": 3.0}, {"outlier_cutoff": 3.0})],
    "blocklist": [({}, {}), ({"names": ["Cells_3", "Cells_5", "other"]}, {"blocklist": ["Cells_3", "Cells_5"]})],
    "noise_removal": [
        ({"by": ["Metadata_t"], "cutoff": c}, dict(zip(NOISE_ARGUMENTS, ("Metadata_t", c), strict=True)))
        for c in (0.8, 1.2)
    ],
}  # fmt: skip
CASES = [(name, *pair) for name, pairs in ARGUMENTS.items() for pair in pairs]


def awkward(seed=0, num_rows=150):
    """Features of every kind that an operation drops."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(num_rows, 6))
    x = np.concatenate([base, base @ rng.normal(size=(6, 12)) + 0.2 * rng.normal(size=(num_rows, 12))], axis=1)
    x[:, 15:18] = x[:, [0, 14, 2]] + 0.3 * rng.normal(size=(num_rows, 3))
    x /= x.std(axis=0)
    few = rng.integers(0, 3, (num_rows, 2)).astype(float)
    mostly = np.where(rng.uniform(size=(num_rows, 2)) < [0.03, 0.3], rng.normal(size=(num_rows, 2)), 1.0)
    still = np.stack([np.full(num_rows, 0.1), 1e-4 * rng.normal(size=num_rows)], axis=1)
    wild = rng.normal(size=(num_rows, 2)) * 300
    gone = rng.normal(size=(num_rows, 3))
    gone[rng.uniform(size=gone.shape) < [0.03, 0.2, 2]] = np.nan
    x = np.concatenate([x, few, mostly, still, wild, gone], axis=1)
    names = [f"Cells_{i}" for i in range(x.shape[1])]
    names[7], names[9] = "Nuclei_Correlation_RWC_ER_Mito", "Nuclei_Granularity_15_DNA"
    metadata = pl.DataFrame({"Metadata_t": [f"t{i % 40}" if i % 7 else None for i in range(num_rows)]})
    return Profiles(x, tuple(names), metadata.with_columns(Metadata_c=rng.uniform(size=num_rows) < 0.5))


def theirs(profiles, operation, samples="all", **arguments):
    frame = to_frame(profiles).to_pandas()
    result = feature_select(frame, list(profiles.names), samples=samples, operation=operation, **arguments)
    return tuple(name for name in result.columns if not name.startswith("Metadata_"))


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning", "ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize(("name", "arguments", "as_theirs"), CASES)
def test_equals_pycytominer(name, arguments, as_theirs):
    profiles = awkward()
    selection = OPERATIONS[name](profiles, **arguments)
    assert selection.kept == theirs(profiles, name, **as_theirs)
    assert set(selection.kept) | set(selection.dropped) == set(profiles.names)
    assert len(selection.kept) + len(selection.dropped) == len(profiles.names)
    assert 0 < len(selection.dropped) < len(profiles.names)


def test_some_rows_and_several_operations():
    profiles = awkward()
    names = ["drop_na_columns", "frequency_threshold", "variance_threshold", "correlation_threshold", "drop_outliers"]
    kept, selection = select(profiles, names, profiles.metadata["Metadata_c"].to_numpy())
    assert kept.names == selection.kept == theirs(profiles, names, "Metadata_c")
    np.testing.assert_array_equal(kept.features, take_features(profiles, kept.names).features)
    assert kept.metadata.equals(profiles.metadata)
    assert {reason.split(":")[0] for reason in selection.dropped.values()} == set(names)


def test_spearman_equals_pycytominer():
    profiles = awkward()
    profiles = take_features(profiles, profiles.names[:18])
    ours = selecting.correlation_threshold(profiles, 0.6, "spearman")
    assert ours.kept == theirs(profiles, "correlation_threshold", corr_threshold=0.6, corr_method="spearman")
    assert ours.dropped


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if name not in ("noise_removal", "correlation_threshold")]
)
def test_equals_pycytominer_on_real_plates(name, data_folder):
    for path in ("jump/BR00117011_normalized_feature_select_negcon_batch.csv.gz",
                 "cytominer_eval/SQ00015054_normalized_feature_select.csv.gz"):  # fmt: skip
        profiles = read(data_folder / path)
        assert OPERATIONS[name](profiles).kept == theirs(profiles, name)


def test_correlations_of_real_plates(data_folder):
    profiles = read(data_folder / "cytominer_eval" / "SQ00015054_normalized_feature_select.csv.gz")
    known = selecting.drop_na_columns(profiles, 0.0).kept
    profiles = take_features(profiles, known)
    for threshold in (0.9, 0.7):
        ours = selecting.correlation_threshold(profiles, threshold).kept
        assert ours == theirs(profiles, "correlation_threshold", corr_threshold=threshold)
        assert len(ours) < len(known) or threshold == 0.9
    noisy = selecting.noise_removal(profiles, ["Metadata_broad_sample"], 0.8)
    expected = theirs(
        profiles, "noise_removal", noise_removal_perturb_groups="Metadata_broad_sample", noise_removal_stdev_cutoff=0.8
    )
    assert noisy.kept == expected
    assert noisy.dropped


def test_reasons():
    x = np.array([[0.0, 1, 1, 900], [1, 2, np.nan, 0], [2, 3.5, 3, 0], [3, 4, 2, 0]])
    profiles = Profiles(x, tuple("abcd"), pl.DataFrame({"Metadata_t": ["x", "x", "y", "y"]}))
    correlation = np.corrcoef(x[:, 0], x[:, 1])[0, 1]
    assert selecting.correlation_threshold(profiles).dropped == {"b": f"correlates {correlation:.3g} with a"}
    assert selecting.drop_na_columns(profiles).dropped == {"c": "0.25 of it is missing"}
    assert selecting.drop_outliers(profiles).dropped == {"d": "a value of 900"}
    assert selecting.variance_threshold(profiles, 1.25).dropped == {"a": "variance 1.25", "c": "variance 0.667"}
    assert selecting.blocklist(profiles, ["b"]).dropped == {"b": "it is listed"}
    assert selecting.noise_removal(profiles, ["Metadata_t"], 0.4).dropped["d"] == "replicates deviate by 225"
    assert select(profiles, [("blocklist", {"names": "b"})])[1].dropped == {"b": "blocklist: it is listed"}


def test_negative_correlations_are_a_pair_if_asked_for():
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    x = np.stack([a, -a + 0.01 * rng.normal(size=50), rng.normal(size=50)], axis=1)
    profiles = Profiles(x, ("a", "b", "c"), pl.DataFrame({"Metadata_t": range(50)}))
    assert selecting.correlation_threshold(profiles).kept == ("a", "b", "c")
    assert len(selecting.correlation_threshold(profiles, absolute=True).kept) == 2
    assert "c" in selecting.correlation_threshold(profiles, absolute=True).kept


def test_of_equal_features_the_later_goes():
    a = np.arange(4.0)
    profiles = Profiles(np.stack([a, a, a], axis=1), ("a", "b", "c"), pl.DataFrame({"Metadata_t": range(4)}))
    assert selecting.correlation_threshold(profiles).kept == ("a",)


def test_the_blocklist():
    assert len(BLOCKLIST) == len(set(BLOCKLIST)) == 55


def test_bad_input():
    profiles = awkward()
    with pytest.raises(
        ValueError, match="unknown operation: got 'frequency', expected one of variance_threshold, freq"
    ):
        select(profiles, ["frequency"])
    with pytest.raises(
        ValueError, match="arguments that drop_outliers does not have: got cut, expected some of cutoff"
    ):
        select(profiles, [("drop_outliers", {"cut": 1})])
    with pytest.raises(
        ValueError, match="no feature is left after drop_na_columns: got 27 before it, of which the fir"
    ):
        select(profiles, ["blocklist", ("drop_na_columns", {"cutoff": -1.0})])
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"threshold is no correlation: got {threshold}, expected"):
            selecting.correlation_threshold(profiles, threshold)
    with pytest.raises(ValueError, match="values that have no spearman correlation: got 0 infinite and"):
        selecting.correlation_threshold(profiles, method="spearman")
    with pytest.raises(ValueError, match="no such metadata: got 'Metadata_x'"):
        selecting.noise_removal(profiles, ["Metadata_x"])


def test_one_operation_stands_for_itself_and_none_for_the_usual():
    """x0 has a missing value, x1 is constant, x3 repeats x2."""
    x = np.random.default_rng(0).normal(size=(50, 5))
    x[0, 0], x[:, 1], x[:, 3] = np.nan, 1.0, x[:, 2]
    profiles = Profiles(x, tuple(f"x{i}" for i in range(5)), pl.DataFrame({"Metadata_t": range(50)}))
    chosen, selection = select(profiles)
    assert chosen.names == selection.kept == ("x2", "x4")
    assert [reason.partition(":")[0] for reason in selection.dropped.values()] == [
        *("drop_na_columns", "variance_threshold", "correlation_threshold")
    ]
    listed = select(profiles, ["variance_threshold"])[1]
    assert select(profiles, "variance_threshold")[1] == listed
    for one in (("drop_na_columns", {"cutoff": 0.0}), ["drop_na_columns", {"cutoff": 0.0}]):
        assert select(profiles, one)[1].kept == ("x1", "x2", "x3", "x4")
    assert len(select(profiles, ["drop_na_columns", "variance_threshold"])[1].kept) == 4


def test_a_selection_is_read_as_it_was_written(tmp_path):
    selection = selecting.Selection(("a", "c"), {"b": "it is listed"})
    selecting.save(selection, tmp_path / "select.npz")
    assert selecting.load(tmp_path / "select.npz") == selection
