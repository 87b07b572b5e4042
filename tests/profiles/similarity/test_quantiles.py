import numpy as np
import polars as pl
import pytest

from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.collecting import collect, match
from cellfx.profiles.similarity.quantiles import Wanted, count_above, quantile, tail_collector
from cellfx.profiles.similarity.rules import pair_rule, paired
from cellfx.profiles.tables.simulated import simulated

QS = (0.999, 0.995, 0.9, 0.5, 0.01)


def screen():
    profiles = simulated(num_mechanisms=6, num_batches=2, num_controls=10, num_features=30, seed=3)
    return profiles, pair_rule(profiles.metadata, ["Metadata_MOA"])


def collected(profiles, rule, kernel="pearson", wanted=Wanted(QS, (0.95, 0.2)), block_rows=None, **kwargs):  # noqa: B008
    prepared = prepare(profiles, kernel)
    return collect(prepared, {"tail": tail_collector(prepared, rule, wanted, **kwargs)}, block_rows)["tail"]


def values_of(profiles, rule, kernel):
    if kernel == "pearson":
        similarity = np.corrcoef(profiles.features)
    else:
        similarity = 1 / (1 + np.linalg.norm(profiles.features[:, None] - profiles.features[None], axis=2))
    i, j = np.triu_indices(len(similarity), 1)
    return similarity[i, j], np.asarray(paired(rule, np.arange(len(similarity))))[i, j]


@pytest.mark.parametrize("kernel", ["pearson", "euclidean"])
@pytest.mark.parametrize("kept_pairs", [0, 1 << 22])
@pytest.mark.parametrize("block_rows", [None, 17])
def test_quantiles_and_counts_are_exact(kernel, kept_pairs, block_rows):
    profiles, rule = screen()
    tail = collected(profiles, rule, kernel, kept_pairs=kept_pairs, block_rows=block_rows)
    values, same = values_of(profiles, rule, kernel)
    for q in QS:
        threshold = quantile(tail, q)
        np.testing.assert_allclose(threshold, np.quantile(values, q), rtol=1e-12)
        above = values > threshold
        assert count_above(tail, threshold).tolist() == [np.sum(above & ~same), np.sum(above & same)]
        np.testing.assert_allclose(quantile(tail, q, each_twice=True), np.quantile(np.tile(values, 2), q), rtol=1e-12)
    for q in (0.95, 0.2):
        threshold = quantile(tail, q, of_others=True)
        np.testing.assert_allclose(threshold, np.quantile(values[~same], q), rtol=1e-12)
        above = values > threshold
        assert count_above(tail, threshold).tolist() == [np.sum(above & ~same), np.sum(above & same)]


@pytest.mark.parametrize("kept_pairs", [0, 1 << 22])
def test_only_candidates_are_looked_at_and_the_top_is_listed(kept_pairs):
    profiles, rule = screen()
    candidates = pair_rule(profiles.metadata, ["Metadata_Batch"], ["Metadata_Compound"])
    wanted = Wanted((0.9, 0.995), (0.95,), 0.995)
    tail = collected(profiles, rule, wanted=wanted, kept_pairs=kept_pairs, candidates=candidates)
    values, same = values_of(profiles, rule, "pearson")
    i, j = np.triu_indices(len(profiles.features), 1)
    allowed = match(candidates, i, j)
    assert tail.counts.sum(axis=0).tolist() == [np.sum(allowed & ~same), np.sum(allowed & same)]
    np.testing.assert_allclose(quantile(tail, 0.9), np.quantile(values[allowed], 0.9), rtol=1e-12)
    known = np.quantile(values[allowed & ~same], 0.95)
    np.testing.assert_allclose(quantile(tail, 0.95, of_others=True), known, rtol=1e-12)
    threshold = quantile(tail, 0.995)
    np.testing.assert_allclose(threshold, np.quantile(values[allowed], 0.995), rtol=1e-12)
    above, (similarity, first, second, matches) = allowed & (values > threshold), tail.top
    listed = similarity > threshold
    order = np.lexsort((second[listed], first[listed]))
    pairs = np.stack([first, second])[:, listed][:, order]
    assert pairs.tolist() == np.stack([i, j])[:, above].tolist()
    assert matches[listed][order].tolist() == same[above].tolist()


def test_windows_keep_little():
    profiles, rule = screen()
    whole, windowed = (collected(profiles, rule, wanted=Wanted((0.995,)), kept_pairs=n) for n in (1 << 22, 0))
    sizes = [sum(len(values) for pair in tail.kept for values in pair) for tail in (whole, windowed)]
    assert sizes[0] == 204 * 203 // 2
    assert sizes[1] < 0.02 * sizes[0]


def test_a_window_that_misses_is_widened():
    profiles, rule = screen()
    tail = collected(profiles, rule, kept_pairs=0, narrow=1e-9)
    values, same = values_of(profiles, rule, "pearson")
    for q in QS:
        np.testing.assert_allclose(quantile(tail, q), np.quantile(values, q), rtol=1e-12)
    np.testing.assert_allclose(quantile(tail, 0.95, of_others=True), np.quantile(values[~same], 0.95), rtol=1e-12)


def test_the_ends():
    profiles, rule = screen()
    values, _ = values_of(profiles, rule, "pearson")
    for kept_pairs in (0, 1 << 22):
        tail = collected(profiles, rule, wanted=Wanted((0.0, 1.0)), kept_pairs=kept_pairs)
        np.testing.assert_allclose([quantile(tail, 0.0), quantile(tail, 1.0)], [values.min(), values.max()], rtol=1e-12)


def test_a_quantile_that_was_not_asked_for():
    profiles, rule = screen()
    tail = collected(profiles, rule, wanted=Wanted((0.99,)), kept_pairs=0)
    with pytest.raises(ValueError, match=r"a quantile that was not asked for: got 0.3, expected one of those"):
        quantile(tail, 0.3)


def test_all_rows_together():
    profiles, _ = screen()
    rule = pair_rule(profiles.metadata.with_columns(Metadata_One=1), ["Metadata_One"])
    with pytest.raises(ValueError, match="no pairs that do not match: got groups in which all rows belong together"):
        quantile(collected(profiles, rule, wanted=Wanted((0.9,))), 0.9, of_others=True)


def test_match_is_the_mask_of_blocks():
    profiles, _ = screen()
    rng = np.random.default_rng(0)
    labels = ["|".join(rng.choice(list("abcdefgh"), rng.integers(1, 4), replace=False)) for _ in profiles.features]
    metadata = profiles.metadata.with_columns(Metadata_Labels=pl.Series(labels))
    for kwargs in (
        {"sameby": ["Metadata_MOA"], "diffby": ["Metadata_Plate", "Metadata_Well"]},
        {"sameby": ["Metadata_Labels"], "multilabel": "Metadata_Labels"},
        {"sameby": ["Metadata_Plate"], "diffby": ["Metadata_Labels"], "multilabel": "Metadata_Labels"},
    ):
        rule = pair_rule(metadata, **kwargs)
        mask = np.asarray(paired(rule, np.arange(len(metadata))))
        i, j = np.indices(mask.shape).reshape(2, -1)
        assert mask.any()
        assert np.array_equal(match(rule, i, j), mask.ravel())
