import numpy as np
import polars as pl
import pytest
from screens import numbered

from cellfx.profiles.chance import exchange, permuted_ranking
from cellfx.profiles.chance.permuted_ranking import average_precision_null
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.retrieval import average_precisions, find_hits
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.rules import pair_rule
from tests.profiles.chance.test_permuted_labels import screen


def null_of(prepared, matching, candidates, units, num_permutations=3, seed=4, block_rows=None, ties="expected"):
    collector = average_precision_null(matching, candidates, units, num_permutations, seed, ties=ties)
    return collect(prepared, {"null": collector}, block_rows)["null"].means


@pytest.mark.parametrize("num_wells", [1, 3])
def test_exchanging_labels_is_scoring_other_labels(num_wells):
    prepared, metadata, same, candidates = screen(num_wells=num_wells)
    units = metadata["Metadata_Compound"].to_numpy()
    null = null_of(prepared, same, candidates, units, block_rows=17)
    rng, mechanism = np.random.default_rng(4), np.arange(40) // 4
    for i in range(3):
        other = metadata.with_columns(Metadata_MOA=pl.Series(mechanism[rng.permutation(40)][units]))
        hits = find_hits(prepared, pair_rule(other, ["Metadata_MOA"]), candidates)
        np.testing.assert_allclose(null[i], np.nanmean(average_precisions(hits)), rtol=1e-12)


def test_rows_exchange_their_treatments():
    prepared, metadata, _, _ = screen(num_wells=3)
    compound = metadata["Metadata_Compound"].to_numpy()
    everything = pair_rule(pl.DataFrame({"all": np.zeros(len(compound))}), ["all"])
    units = np.arange(len(compound))
    null = null_of(prepared, pair_rule(metadata, ["Metadata_Compound"]), everything, units)
    rng = np.random.default_rng(4)
    for i in range(3):
        rule = pair_rule(pl.DataFrame({"compound": compound[rng.permutation(len(compound))]}), ["compound"])
        np.testing.assert_allclose(
            null[i], np.mean(average_precisions(find_hits(prepared, rule, everything))), rtol=1e-12
        )


def test_rows_exchange_their_treatments_within_plates():
    """Each plate has every compound once, and plates differ: only exchanges across plates take replicates apart."""
    rng = np.random.default_rng(0)
    plate, compound = np.repeat(np.arange(3), 20), np.tile(np.arange(20), 3)
    profiles = numbered(rng.normal(size=(3, 10))[plate] + rng.normal(size=(60, 10)), pl.DataFrame({"c": compound}))
    prepared, same = prepare(profiles, "pearson"), pair_rule(profiles.metadata, ["c"])
    everything = pair_rule(pl.DataFrame({"all": np.zeros(60)}), ["all"])
    collector = average_precision_null(same, everything, np.arange(60), 3, 4, within=plate)
    null = collect(prepared, {"null": collector})["null"].means
    rng = np.random.default_rng(4)
    for value in null:
        given = np.concatenate([rng.permutation(20) for _ in range(3)])
        rule = pair_rule(pl.DataFrame({"c": given}), ["c"])
        np.testing.assert_allclose(
            value, np.mean(average_precisions(find_hits(prepared, rule, everything))), rtol=1e-12
        )


@pytest.mark.parametrize("ties", ["expected", "copairs"])
@pytest.mark.parametrize("kernel", ["cosine", "euclidean"])
def test_ties_rank_as_in_average_precision(kernel, ties):
    """Whole numbers make many equal similarities."""
    rng = np.random.default_rng(0)
    metadata = pl.DataFrame({"Metadata_MOA": np.arange(30) // 3, "Metadata_Compound": np.arange(30)})
    profiles = numbered(rng.integers(1, 3, size=(30, 4)).astype(float), metadata)
    prepared = prepare(profiles, kernel)
    same, across = pair_rule(metadata, ["Metadata_MOA"]), pair_rule(metadata, diffby=["Metadata_Compound"])
    null = null_of(prepared, same, across, np.arange(30), 5, ties=ties)
    rng = np.random.default_rng(4)
    for i in range(5):
        given = metadata.with_columns(Metadata_MOA=pl.Series((np.arange(30) // 3)[rng.permutation(30)]))
        rules = ["Metadata_MOA"], ["Metadata_Compound"], [], ["Metadata_MOA"]
        known = average_precision(profiles._replace(metadata=given), *rules, kernel, ties=ties)
        np.testing.assert_allclose(null[i], known.average_precision.mean(), rtol=1e-12)


def test_rows_without_a_unit_take_no_part():
    prepared, metadata, same, candidates = screen(num_wells=1)
    units = np.where(metadata["Metadata_MOA"].to_numpy() < 8, metadata["Metadata_Compound"].to_numpy(), -1)
    known = metadata.with_columns(pl.when(pl.Series(units >= 0)).then(pl.col("Metadata_MOA")).alias("Metadata_MOA"))
    same = pair_rule(known, ["Metadata_MOA"])
    null = null_of(prepared, same, candidates, units, 50)
    observed = np.nanmean(average_precisions(find_hits(prepared, same, candidates)))
    assert np.all(null < observed)
    assert 0.05 < null.mean() < 0.2


def test_refused(monkeypatch):
    _, _, same, candidates = screen(num_wells=1)
    with pytest.raises(ValueError, match="no matching pairs of rows to exchange, or too many: got 0 in 200 perm"):
        average_precision_null(same, candidates, np.full(40, -1))
    monkeypatch.setattr(permuted_ranking, "MAX_LOOKUPS", 1000)
    with pytest.raises(ValueError, match="got 120 in 10 permutations, expected from 1 to 100"):
        average_precision_null(same, candidates, np.arange(40), 10)
    monkeypatch.setattr(exchange, "MAX_PAIRS", 5)
    with pytest.raises(ValueError, match=r"got more than 8,388,608 candidates in 10 permutations"):
        average_precision_null(same, candidates, np.arange(40), 10)
