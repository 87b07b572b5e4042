import numpy as np
import polars as pl
import pytest
from screens import grouped, numbered

from cellfx.profiles.chance.permuted_labels import label_null, mean_null, nearest_null, rank_gain, unit_sums_collector
from cellfx.profiles.scores.enrichment import enriched
from cellfx.profiles.scores.hit_curve import hit_curve
from cellfx.profiles.scores.nearest import Exclusion, judge_neighbours, neighbours_collector
from cellfx.profiles.scores.odds_chance import enrichment_interval, enrichment_null
from cellfx.profiles.scores.retrieval import at_k, at_r, find_hits, macro_mean
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.collecting import Collector, collect
from cellfx.profiles.similarity.quantiles import Wanted, tail_collector
from cellfx.profiles.similarity.rules import encode, pair_rule


def screen(effect=1.0, num_mechanisms=10, seed=0, num_wells=2):
    """Four compounds of each mechanism, in some wells each."""
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(4 * num_mechanisms), num_wells)
    features = grouped(rng, compound // 4, 15, effect)
    order = rng.permutation(len(compound))
    metadata = pl.DataFrame({"Metadata_MOA": (compound // 4)[order], "Metadata_Compound": compound[order]})
    profiles = numbered(features[order], metadata)
    rules = pair_rule(metadata, ["Metadata_MOA"]), pair_rule(metadata, diffby=["Metadata_Compound"])
    return prepare(profiles, "pearson"), metadata, *rules


def tail_of(prepared, same, candidates, percentile=0.95):
    collector = tail_collector(prepared, same, Wanted((percentile,), listed=percentile), candidates)
    return collect(prepared, {"tail": collector})["tail"]


def test_exchanging_labels_is_scoring_other_labels():
    """The null of one permutation must be the score of the profiles whose compounds were given other mechanisms."""
    prepared, metadata, same, candidates = screen()
    units = metadata["Metadata_Compound"].to_numpy()
    hits = find_hits(prepared, same, candidates, num_top=20)
    null = label_null(hits.top_rows, hits.num_positives, same, units, (1, 5), 3, seed=4)
    odds = enrichment_null(tail_of(prepared, same, candidates), 0.95, same, units, 3, seed=4)
    rng = np.random.default_rng(4)
    mechanism = np.arange(40) // 4
    for i in range(3):
        given = mechanism[rng.permutation(40)]
        other = metadata.with_columns(Metadata_MOA=pl.Series(given[units]))
        rule = pair_rule(other, ["Metadata_MOA"])
        known = find_hits(prepared, rule, candidates)
        for k in (1, 5):
            precision, recall = at_k(known, k)
            np.testing.assert_allclose(null[f"precision@{k}"][i], macro_mean(precision), rtol=1e-12)
            np.testing.assert_allclose(null[f"recall@{k}"][i], macro_mean(recall), rtol=1e-12)
        np.testing.assert_allclose(null["precision@R"][i], macro_mean(at_r(known)), rtol=1e-12)
        np.testing.assert_allclose(odds[i], enriched(tail_of(prepared, rule, candidates), 0.95).odds_ratio, rtol=1e-12)


def unequal(seed=0, effect=0.5):
    """Compounds of one to four wells in three batches, some without a mechanism."""
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(40), rng.integers(1, 5, 40))
    features = grouped(rng, compound // 4, 15, effect)
    moa = [None if number // 4 == 9 else number // 4 for number in compound]
    metadata = pl.DataFrame({"Metadata_MOA": moa, "Metadata_Compound": compound})
    metadata = metadata.with_columns(Metadata_Batch=pl.Series(rng.integers(0, 3, len(compound))))
    return numbered(features, metadata), compound


def test_odds_of_exchanged_units_of_unequal_size_are_those_of_other_labels():
    profiles, compound = unequal()
    prepared, metadata = prepare(profiles, "pearson"), profiles.metadata
    units = np.where(compound < 36, compound, -1)
    known = metadata.with_columns(
        pl.when(pl.Series(units >= 0)).then(pl.col(name)).alias(name) for name in ("Metadata_MOA", "Metadata_Compound")
    )
    same, across = pair_rule(known, ["Metadata_MOA"]), pair_rule(known, diffby=["Metadata_Compound"])
    odds = enrichment_null(tail_of(prepared, same, across), 0.95, same, units, 20, seed=4)
    rng, mechanism = np.random.default_rng(4), np.arange(36) // 4
    for value in odds:
        given = mechanism[rng.permutation(36)]
        label = [None if unit < 0 else int(given[unit]) for unit in units]
        rule = pair_rule(known.with_columns(Metadata_MOA=pl.Series(label)), ["Metadata_MOA"])
        np.testing.assert_allclose(value, enriched(tail_of(prepared, rule, across), 0.95).odds_ratio, rtol=1e-12)


@pytest.mark.parametrize("batch", [None, "Metadata_Batch"])
def test_nearest_rows_of_exchanged_units_are_judged_as_with_other_labels(batch):
    """Which rows can be found at all changes with the labels."""
    profiles, compound = unequal()
    prepared, metadata = prepare(profiles, "pearson"), profiles.metadata.filter(compound < 36)
    prepared, compound = prepared._replace(rows=prepared.rows[compound < 36]), compound[compound < 36]
    exclusion, same = Exclusion(batch=batch), pair_rule(metadata, ["Metadata_MOA"])
    near = collect(prepared, {"near": neighbours_collector(prepared, metadata, exclusion)})["near"]
    groups = None if batch is None else metadata[batch].to_numpy()
    null = nearest_null(near.rows[:, 0], same, compound, groups, 20, seed=4)
    rng, mechanism = np.random.default_rng(4), np.arange(36) // 4
    for value in null:
        other = metadata.with_columns(Metadata_MOA=pl.Series(mechanism[rng.permutation(36)][compound]))
        found = collect(prepared, {"near": neighbours_collector(prepared, other, exclusion)})["near"]
        np.testing.assert_array_equal(found.rows, near.rows)
        np.testing.assert_allclose(value, judge_neighbours(found, other, exclusion).accuracy, rtol=1e-12)


def test_pairs_within_an_exchanged_unit_match_before_and_after():
    """Two batches of two plates whose wells are alike: no exchange of plates takes the pairs of one plate apart."""
    rng = np.random.default_rng(0)
    plate = np.repeat(np.arange(4), 6)
    metadata = pl.DataFrame({"Metadata_Batch": plate // 2, "Metadata_Plate": plate})
    prepared = prepare(numbered(grouped(rng, plate, 15, 3.0), metadata), "pearson")
    same = pair_rule(metadata, ["Metadata_Batch"])
    tail = tail_of(prepared, same, None, 0.6)
    odds = enrichment_null(tail, 0.6, same, plate, 60, seed=1)
    observed = enriched(tail, 0.6).odds_ratio
    # Of three ways to pair four plates, one is the observed one.
    assert 0.15 < np.mean(odds == observed) < 0.55
    assert np.all(odds > 1)


@pytest.mark.parametrize("by_row", [False, True])
def test_means_of_exchanged_units_are_those_of_other_labels(by_row):
    """Units of one to three wells, so that means over rows and over pairs differ."""
    prepared, metadata, _, candidates = screen(num_wells=3)
    rng = np.random.default_rng(3)
    units = metadata["Metadata_Compound"].to_numpy().copy()
    units[rng.permutation(len(units))[:40]] = -1
    names = np.unique(units[units >= 0])
    same = pair_rule(metadata, ["Metadata_MOA"], ["Metadata_Compound"])
    value = rank_gain(candidates)
    parts = {"sums": unit_sums_collector(units, value), "all": Collector(value, np.concatenate)}
    found = collect(prepared, parts)
    means = mean_null(found["sums"], same, units, by_row, 3, seed=4)
    rng, mechanism = np.random.default_rng(4), {unit: unit // 4 for unit in names}
    for i in range(4):
        order = rng.permutation(len(names)) if i else np.arange(len(names))
        of = np.array([mechanism[unit] for unit in names])
        given = np.full(units.max() + 1, -1)
        given[names] = of[order]
        label = np.where(units >= 0, given[units], -1)
        matches = (label[:, None] == label) & (units[:, None] != units) & (units >= 0) & (units >= 0)[:, None]
        per_row = [found["all"][row][matches[row]] for row in range(len(units)) if matches[row].any()]
        expected = np.mean([np.mean(values) for values in per_row]) if by_row else np.mean(np.concatenate(per_row))
        np.testing.assert_allclose(means[i], expected, rtol=1e-9)


def test_gain_of_ranks_is_the_area_of_the_hit_curve():
    prepared, metadata, same, candidates = screen()
    units = metadata["Metadata_Compound"].to_numpy()
    sums = collect(prepared, {"sums": unit_sums_collector(units, rank_gain(candidates))})["sums"]
    area = hit_curve(find_hits(prepared, same, candidates)).area
    means = mean_null(sums, same, units)
    np.testing.assert_allclose(means[0], area, rtol=1e-12)
    assert np.all(means[1:] < means[0])
    assert abs(means[1:].mean()) < 0.01


def test_scores_of_effects_are_beyond_their_nulls_and_those_of_noise_within():
    for effect, beyond in ((2.0, True), (0.0, False)):
        prepared, metadata, same, candidates = screen(effect)
        units = metadata["Metadata_Compound"].to_numpy()
        hits = find_hits(prepared, same, candidates, num_top=6)
        null = label_null(hits.top_rows, hits.num_positives, same, units, (1,), 200)
        odds = enrichment_null(tail_of(prepared, same, candidates), 0.95, same, units, 200)
        observed = enriched(tail_of(prepared, same, candidates), 0.95).odds_ratio
        shares = [np.mean(null["precision@R"] >= macro_mean(at_r(hits))), np.mean(odds >= observed)]
        assert all(share == 0 if beyond else 0.005 < share < 0.995 for share in shares)


def test_too_few_neighbours_for_r_leave_it_out():
    prepared, metadata, same, candidates = screen()
    hits = find_hits(prepared, same, candidates, num_top=5)
    null = label_null(hits.top_rows, hits.num_positives, same, metadata["Metadata_Compound"].to_numpy(), (1,), 2)
    assert set(null) == {"precision@1", "recall@1"}


def test_interval_of_an_odds_ratio_is_the_bootstrap_of_tables():
    prepared, metadata, same, candidates = screen(1.5)
    units = metadata["Metadata_Compound"].to_numpy()
    tail = tail_of(prepared, same, candidates)
    ours = enrichment_interval(tail, 0.95, same, units, num_resamples=300, seed=2)
    score = enriched(tail, 0.95)
    assert ours.estimate == score.odds_ratio
    similarity, rng, odds = prepared.rows @ prepared.rows.T, np.random.default_rng(2), []
    for _ in range(300):
        chosen = rng.integers(40, size=40)
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in chosen])
        i, j = np.triu_indices(len(rows), 1)
        i, j = rows[i], rows[j]
        i, j = i[units[i] != units[j]], j[units[i] != units[j]]
        matches, above = units[i] // 4 == units[j] // 4, similarity[i, j] > score.threshold
        table = [np.sum(a & m) for a in (above, ~above) for m in (matches, ~matches)]
        odds.append(table[0] * table[3] / (table[1] * table[2]) if table[1] * table[2] else np.inf)
    odds = np.sort(odds)
    np.testing.assert_allclose(ours.low, odds[int(np.floor(0.025 * 299))], rtol=1e-9)
    np.testing.assert_allclose(ours.high, odds[int(np.ceil(0.975 * 299))], rtol=1e-9)
    assert ours.low < ours.estimate < ours.high


def test_too_many_matching_pairs_have_no_interval(monkeypatch):
    from cellfx.profiles.chance import exchange
    from cellfx.profiles.scores import odds_chance

    prepared, metadata, same, candidates = screen()
    monkeypatch.setattr(exchange, "MAX_PAIRS", 10)
    monkeypatch.setattr(odds_chance, "MAX_PAIRS", 10)
    assert mean_null(np.zeros((80, 40)), same, metadata["Metadata_Compound"].to_numpy()) is None
    assert (
        enrichment_interval(tail_of(prepared, same, candidates), 0.95, same, encode(metadata, ["Metadata_MOA"])) is None
    )


def test_perfect_separation_has_an_infinite_end():
    prepared, metadata, same, candidates = screen(50.0, num_wells=1)
    tail = tail_of(prepared, same, candidates, 1 - 60 / 780)
    interval = enrichment_interval(tail, 1 - 60 / 780, same, metadata["Metadata_Compound"].to_numpy(), num_resamples=50)
    assert interval.estimate == interval.high == np.inf


def test_refused(monkeypatch):
    from cellfx.profiles.chance import permuted_labels

    monkeypatch.setattr(permuted_labels, "MAX_SUMS", 100)
    for units, num in ((np.arange(80), 80), (np.full(80, -1), 0)):
        with pytest.raises(ValueError, match=f"no units to exchange, or too many: got {num} in 80 rows, expected from"):
            unit_sums_collector(units, lambda block: block.similarity)
    prepared, _, same, candidates = screen()
    hits = find_hits(prepared, same, candidates, num_top=5)
    for ks, units in (((6,), 80), ((0,), 80), ((1,), 79)):
        with pytest.raises(ValueError, match=r"nothing to exchange: got k of \[.\], nearest rows of shape \(80, 5\)"):
            label_null(hits.top_rows, hits.num_positives, same, np.arange(units), ks)
    with pytest.raises(ValueError, match="80 units and 0 permutations"):
        label_null(hits.top_rows, hits.num_positives, same, np.arange(80), (1,), 0)
