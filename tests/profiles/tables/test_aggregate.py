import numpy as np
import polars as pl
import pytest
from pycytominer import aggregate as pycytominer_aggregate

from cellfx.profiles.tables.aggregate import COUNT, METHODS, WELL, aggregate, aggregate_lazily
from cellfx.profiles.tables.table import Profiles, from_frame, to_frame


def cells(num_rows=3000, num_features=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_rows, num_features))
    x[rng.uniform(size=x.shape) < 0.05] = np.nan
    plate = rng.choice(["p2", "p1", "p10"], num_rows)
    well = rng.choice([f"A{i:02d}" for i in range(1, 13)], num_rows)
    x[(plate == "p2") & (well == "A03"), 1] = np.nan
    metadata = pl.DataFrame(
        {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": rng.integers(1, 5, num_rows)}
    )
    return Profiles(x, tuple("vwxyz"[:num_features]), metadata)


def theirs(profiles, by, method):
    frame = to_frame(profiles).to_pandas()
    return pycytominer_aggregate(frame, strata=list(by), features=list(profiles.names), operation=method)


def equal(first, second):
    assert first.names == second.names
    assert first.metadata.equals(second.metadata)
    np.testing.assert_allclose(first.features, second.features, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by", [WELL, ("Metadata_Plate",), ("Metadata_Site", "Metadata_Well", "Metadata_Plate")])
def test_equals_pycytominer(method, by):
    profiles = cells()
    ours, expected = aggregate(profiles, by, method), theirs(profiles, by, method)
    np.testing.assert_allclose(ours.features, expected[list("vwxyz")].to_numpy(), rtol=1e-12, atol=1e-15)
    assert ours.metadata.columns == [*by, COUNT]
    for name in by:
        assert ours.metadata[name].to_list() == expected[name].tolist()
    sizes = to_frame(profiles).to_pandas().groupby(list(by)).size()
    assert ours.metadata[COUNT].to_list() == sizes.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget_bytes", [24, 24 * 500, 24 * 3000, 24 * 8000, 1 << 30])
def test_any_part_at_a_time_gives_the_same(method, budget_bytes, tmp_path):
    profiles = cells()
    to_frame(profiles).write_parquet(tmp_path / "cells.parquet", row_group_size=256)
    lazy = pl.scan_parquet(tmp_path / "cells.parquet")
    equal(aggregate_lazily(lazy, WELL, method, budget_bytes=budget_bytes), aggregate(profiles, WELL, method))


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_are_a_group_and_come_last(method):
    profiles = cells()
    metadata = profiles.metadata.with_columns(pl.col("Metadata_Plate").replace("p1", None))
    profiles = profiles._replace(metadata=metadata)
    pooled = aggregate(profiles, WELL, method)
    assert pooled.metadata["Metadata_Plate"].to_list() == ["p10"] * 12 + ["p2"] * 12 + [None] * 12
    np.testing.assert_allclose(pooled.features, theirs(profiles, WELL, method)[list("vwxyz")], rtol=1e-12, atol=1e-15)
    equal(aggregate_lazily(to_frame(profiles).lazy(), WELL, method, budget_bytes=24 * 500), pooled)
    missing = pooled.metadata.with_columns(p2=pl.col("Metadata_Plate") == "p2", well=pl.col("Metadata_Well") == "A03")
    rows = (missing["p2"] & missing["well"]).fill_null(False).to_numpy()
    assert np.isnan(pooled.features[:, 1]).tolist() == rows.tolist()
    assert rows.sum() == 1


def test_counts_add_up():
    profiles = cells()
    sites = aggregate(profiles, (*WELL, "Metadata_Site"))
    wells = aggregate(sites, WELL)
    assert wells.metadata.equals(aggregate(profiles, WELL).metadata)
    assert wells.metadata.equals(aggregate_lazily(to_frame(sites).lazy(), WELL).metadata)
    assert wells.metadata[COUNT].sum() == 3000


def test_closed_form():
    metadata = pl.DataFrame({"Metadata_Well": ["B", "A", "B", "B"], "Metadata_Plate": [1, 1, 1, 1]})
    profiles = Profiles(np.array([[1.0], [5.0], [2.0], [9.0]]), ("x",), metadata)
    for method, expected in (("median", 2.0), ("mean", 4.0)):
        np.testing.assert_allclose(aggregate(profiles, WELL, method).features, [[5.0], [expected]], rtol=1e-12)


def test_columns_of_any_kind_are_read_lazily(tmp_path):
    frame = pl.DataFrame({
        "plate": ["p", "p", "q"], "z0": ["1.5", "NA", " 2"], "z1": [True, False, True], "z2": [1, None, 3],
        "z3": pl.Series([0.25, np.nan, 1], dtype=pl.Float32), "other": ["a", "b", "c"],
    })  # fmt: skip
    pooled = aggregate_lazily(frame.lazy(), ("Metadata_plate",), "mean", "^z")
    np.testing.assert_array_equal(pooled.features, [[1.5, 0.5, 1, 0.25], [2, 1, 3, 1]])
    equal(pooled, aggregate(from_frame(frame, "^z"), ("Metadata_plate",), "mean"))


def test_bad_input():
    profiles = cells()
    lazy = to_frame(profiles).lazy()
    for call in (aggregate, aggregate_lazily):
        table = profiles if call is aggregate else lazy
        with pytest.raises(ValueError, match="unknown method: got 'mode', expected one of median, mean"):
            call(table, WELL, "mode")
        for by in ((), "Metadata_Well"):
            with pytest.raises(ValueError, match=f"nothing to group by: got {by!r}".replace("()", r"\(\)")):
                call(table, by)
        with pytest.raises(
            ValueError, match="cannot group by 'Metadata_X': got the metadata Metadata_Plate, Metadata_"
        ):
            call(table, ("Metadata_X",))
    with pytest.raises(ValueError, match="cannot group by 'Metadata_Cell_Count'"):
        aggregate(aggregate(profiles), (COUNT,))
    with pytest.raises(ValueError, match="got budget_bytes=0, expected 24 or more"):
        aggregate_lazily(lazy, budget_bytes=0)
    with pytest.raises(ValueError, match="text in a feature column: got 'A549' in 'cell', expected numbers"):
        aggregate_lazily(lazy.with_columns(cell=pl.lit("A549")))
    with pytest.raises(ValueError, match=r"text in a feature column: got .*2020.* in 'day', expected numbers"):
        aggregate_lazily(lazy.with_columns(day=pl.date(2020, 1, 2)))
    with pytest.raises(ValueError, match="a table without features"):
        aggregate_lazily(lazy.select("Metadata_Plate"))
