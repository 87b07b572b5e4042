"""Tables of scores by row: they hold what the scores are made of, each at the row that it belongs to."""

import re

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.chance.hierarchical import hierarchical
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort
from cellfx.profiles.steps.consensus import consensus
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import Profiles, take
from cellfx.screens import score_files
from cellfx.screens import scores as profile_scores
from cellfx.screens.setting import Asked

COLUMNS = Columns(
    ("Metadata_Compound", "Metadata_Dose_um"),
    "Metadata_Compound",
    "Metadata_MOA",
    batch="Metadata_Batch",
    dose="Metadata_Dose_um",
)
EFFORT = Effort(
    ks=(1, 3), percentiles=(), num_permutations=5, num_resamples=5, num_mp_permutations=19, null_size=50, seed=1
)


@pytest.fixture(scope="module")
def variant():
    """Three mechanisms of three compounds at two doses, one compound without a mechanism; rows in no order."""
    sizes = Sizes(mechanism=5.0, compound=5.0, batch=0.5, place=0.0, typical=0.0)
    wells = simulated(
        3, 3, (1.0, 5.0), num_batches=2, plates_per_batch=2, num_controls=12, num_features=10, sizes=sizes
    )
    order = np.random.default_rng(3).permutation(len(wells.features))
    unknown = pl.when(pl.col("Metadata_Compound") != "compound 002").then(pl.col("Metadata_MOA"))
    wells = take(wells._replace(metadata=wells.metadata.with_columns(Metadata_MOA=unknown)), order)
    controls = wells.metadata["Metadata_Control"].to_numpy()
    pooled = consensus(take(wells, ~controls), COLUMNS.described())
    treated = take(pooled, (pooled.metadata["Metadata_Dose_um"] == 5.0).to_numpy())
    by_batch = consensus(take(wells, ~controls), [*COLUMNS.described(), "Metadata_Batch"])
    by_batch = take(by_batch, (by_batch.metadata["Metadata_Dose_um"] == 5.0).to_numpy())
    return profile_scores.Variant("raw", wells, controls, treated, by_batch)


@pytest.fixture(scope="module")
def found(variant):
    scores = profile_scores.score(variant, COLUMNS, Asked(effort=EFFORT))
    return scores["scores"], scores["tables"]


def value(scores, name):
    return scores[name]["value"]


def test_scores_are_means_over_their_tables(found):
    scores, tables = found
    wells, treatments, compounds = (tables[level] for level in ("wells", "treatments", "compounds"))
    assert [len(tables[level]) for level in score_files.LEVELS] == [4 * (18 + 12), 18, 18, 9, 3]
    known = {
        "fraction retrieved": treatments["retrieved_vs_controls"].mean(),
        "mAP of replicates": treatments["mean_average_precision_vs_controls"].mean(),
        "percent replicating": 100 * treatments["replicating"].mean(),
        "percent mp-value below .05": 100 * (treatments["mp_value"] < 0.05).mean(),
        "replicate average precision": wells["average_precision_vs_treatments"].mean(),
        "replicate average precision: percent retrieved": 100 * treatments["retrieved_vs_treatments"].mean(),
        "grit": wells["grit"].mean(),
        "grit of treatments": treatments["grit"].mean(),
        "NSCB": wells["NSCB_right"].mean(),
        "NSCB of treatments": tables["treatments_by_batch"]["NSCB_right"].mean(),
        "NSC": treatments["NSC_right"].mean(),
        "precision@3": treatments["precision_at_3"].mean(),
        "precision@R": treatments["precision_at_R"].mean(),
        "average precision": treatments["average_precision_of_mechanism"].mean(),
        "average precision: percent retrieved": 100 * compounds["retrieved_of_mechanism"].mean(),
    }
    for name, mean in known.items():
        np.testing.assert_allclose(mean, value(scores, name), rtol=1e-12, err_msg=name)
    assert value(scores, "fraction of compounds retrieved") == compounds["hierarchically_retrieved_vs_controls"].mean()
    p_value = scores["fraction of compounds retrieved"]["p_value"]
    assert p_value == compounds["corrected_simes_p_value_vs_controls"].min()
    assert scores["fraction retrieved"]["p_value"] == treatments["corrected_p_value_vs_controls"].min()


def test_each_row_has_its_own_scores(variant, found):
    """Means of wells by their treatment are those of the treatment, whatever the order of the rows."""
    _, tables = found
    wells, treatments = tables["wells"], tables["treatments"]
    assert wells.select(variant.wells.metadata.columns).equals(variant.wells.metadata)
    by = ["Metadata_Compound", "Metadata_Dose_um"]
    for kind in ("vs_controls", "vs_treatments"):
        means = wells.filter(~pl.col("control")).group_by(by).agg(pl.col(f"average_precision_{kind}").mean())
        both = treatments.join(means, by, "inner")
        assert len(both) == 18
        np.testing.assert_allclose(both[f"mean_average_precision_{kind}"], both[f"average_precision_{kind}"])
    assert treatments["compared"].to_list() == [True] * 9 + [False] * 9
    assert treatments.filter("compared")["Metadata_Dose_um"].unique().to_list() == [5.0]
    assert treatments["num_replicates"].to_list() == [4] * 18
    assert wells.filter("control")["average_precision_vs_controls"].null_count() == 4 * 12
    unknown = treatments.filter(pl.col("Metadata_Compound") == "compound 002")
    assert unknown["NSC_right"].to_list() == [None, None]
    assert unknown["p_value_vs_controls"].null_count() == 0


def test_doses_are_corrected_in_two_steps(found):
    _, tables = found
    treatments, compounds = tables["treatments"], tables["compounds"]
    compound = treatments["Metadata_Compound"].to_numpy()
    known = hierarchical(treatments["p_value_vs_controls"].to_numpy(), np.unique(compound, return_inverse=True)[1])
    np.testing.assert_allclose(treatments["hierarchical_p_value_vs_controls"], known.corrected, rtol=1e-12)
    by_name = compounds.sort("Metadata_Compound")
    np.testing.assert_allclose(by_name["simes_p_value_vs_controls"], known.simes, rtol=1e-12)
    np.testing.assert_allclose(by_name["corrected_simes_p_value_vs_controls"], known.corrected_families, rtol=1e-12)
    counts = treatments.group_by("Metadata_Compound").agg(pl.col("hierarchically_retrieved_vs_controls").sum())
    assert by_name["num_retrieved_vs_controls"].to_list() == counts.sort("Metadata_Compound").to_series(1).to_list()
    assert 0 < by_name["num_retrieved_vs_controls"].sum() < 18
    assert by_name["num_tested_vs_controls"].to_list() == [2] * 9


def test_means_of_mechanisms_are_those_of_their_treatments(found):
    _, tables = found
    compared = tables["treatments"].filter("compared").drop_nulls("Metadata_MOA")
    for row in tables["mechanisms"].iter_rows(named=True):
        own = compared.filter(pl.col("Metadata_MOA") == row["Metadata_MOA"])
        assert (row["num_treatments"], row["num_compounds"]) == (len(own), len(own))
        np.testing.assert_allclose(row["NSC"], own["NSC_right"].mean(), rtol=1e-12)
        np.testing.assert_allclose(row["precision_at_R"], own["precision_at_R"].mean(), rtol=1e-12)
        np.testing.assert_allclose(row["NSCB"], own["NSCB"].mean(), rtol=1e-12)


def test_files_are_read_back_and_columns_described(found, tmp_path):
    _, tables = found
    score_files.write({"raw": tables, "other": {"wells": tables["wells"]}}, tmp_path)
    described = pl.read_csv(tmp_path / "scores" / "columns.csv")
    for level, table in tables.items():
        folder = tmp_path / "scores" / "raw"
        assert pl.read_parquet(folder / f"{level}.parquet").equals(table)
        text = pl.read_csv(folder / f"{level}.csv", schema=table.schema)
        assert text.equals(table)
        rows = described.filter(pl.col("table") == level)
        assert rows["column"].to_list() == table.columns
        assert all(len(meaning) > 10 and "{" not in meaning for meaning in rows["meaning"])
    score_files.write({"raw": {"wells": tables["wells"]}}, tmp_path)
    names = [path.name for path in sorted((tmp_path / "scores" / "raw").iterdir())]
    assert names == ["wells.csv", "wells.parquet"]


def test_a_screen_without_mechanisms_batches_and_replicates_has_the_tables_that_are_left():
    rng = np.random.default_rng(0)
    metadata = pl.DataFrame(
        {"Metadata_Compound": ["a", "b", "c", "d", None, None, None, None], "Metadata_Plate": ["p"] * 8}
    )
    wells = Profiles(rng.normal(size=(8, 5)), tuple("vwxyz"), metadata)
    columns = Columns(("Metadata_Compound",), "Metadata_Compound", well=None)
    variant = profile_scores.Variant("raw", wells, np.arange(8) > 3, take(wells, np.arange(8) < 4))
    tables = profile_scores.score(variant, columns, Asked(replicates=False, effort=EFFORT))["tables"]
    assert list(tables) == ["wells", "treatments", "compounds"]
    assert tables["treatments"]["num_replicates"].to_list() == [1] * 4
    assert tables["wells"]["control"].sum() == 4


def test_every_meaning_is_needed_and_every_column_has_one(found):
    names = {name for table in found[1].values() for name in table.columns}
    unused = [p for p in score_files.MEANINGS if not any(re.fullmatch(p, name) for name in names)]
    assert [pattern for pattern in unused if not pattern.startswith(("matching", "(replicating"))] == []
