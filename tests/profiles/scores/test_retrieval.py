import numpy as np
import pytest
from screens import grouped, profiles_of, reference

from cellfx.profiles.scores.hit_curve import hit_curve, hit_histogram, percent_scores, rank_scores
from cellfx.profiles.scores.retrieval import at_k, at_r, average_precisions, find_hits, macro_mean, pooled_at_k
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import encode, pair_rule

slow = reference("profiles_scores")


def screen(num_groups=12, size=4, effect=0.8, num_features=20, seed=0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(num_groups), size)
    features = grouped(rng, group, num_features, effect)
    order = rng.permutation(len(group))
    compound = np.arange(len(group)) // 2
    return profiles_of(features[order], MOA=group[order], Compound=compound[order])


@pytest.mark.parametrize("column", ["Metadata_broad_sample", "Metadata_moa"])
def test_precision_and_recall_are_those_of_cytominer_eval(cytominer_plate, cytominer_values, column):
    plate = cytominer_plate
    hits = find_hits(prepare(plate, "pearson"), pair_rule(plate.metadata, [column]), num_top=50)
    known = cytominer_values[f"precrec_mean_{column}"]
    for k in (1, 5, 10, 50):
        precision, recall = pooled_at_k(hits, encode(plate.metadata, [column]), k)
        np.testing.assert_allclose(np.mean(precision), known["precision"][f"{k}.0"], atol=1e-9)
        np.testing.assert_allclose(np.mean(recall), known["recall"][f"{k}.0"], atol=1e-9)


@pytest.mark.parametrize("kernel", ["pearson", "euclidean"])
@pytest.mark.parametrize("exclude", [False, True])
def test_ranks_follow_the_definition(kernel, exclude):
    profiles = screen()
    group, compound = (profiles.metadata[f"Metadata_{name}"].to_numpy() for name in ("MOA", "Compound"))
    candidates = pair_rule(profiles.metadata, diffby=["Metadata_Compound"]) if exclude else None
    hits = find_hits(prepare(profiles, kernel), pair_rule(profiles.metadata, ["Metadata_MOA"]), candidates)
    distance = np.linalg.norm(profiles.features[:, None] - profiles.features[None], axis=2)
    similarity = slow.pearson(profiles.features) if kernel == "pearson" else -distance
    known = slow.hits(similarity, group, compound[:, None] != compound[None] if exclude else None)
    assert [hits.ranks[a:b].tolist() for a, b in zip(hits.starts[:-1], hits.starts[1:], strict=True)] == known
    assert hits.num_candidates.tolist() == [46 if exclude else 47] * 48


def test_scores_follow_from_ranks():
    profiles = screen()
    rule = pair_rule(profiles.metadata, ["Metadata_MOA"])
    hits = find_hits(prepare(profiles, "pearson"), rule)
    known = slow.hits(slow.pearson(profiles.features), profiles.metadata["Metadata_MOA"].to_numpy())
    for k in (1, 3, 10):
        precision, recall = at_k(hits, k)
        np.testing.assert_allclose(precision, [sum(r < k for r in ranks) / k for ranks in known], rtol=1e-12)
        np.testing.assert_allclose(recall, [sum(r < k for r in ranks) / 3 for ranks in known], rtol=1e-12)
    np.testing.assert_allclose(at_r(hits), [sum(r < 3 for r in ranks) / 3 for ranks in known], rtol=1e-12)
    np.testing.assert_allclose(at_r(hits), at_k(hits, 3)[1], rtol=1e-12)
    precisions = [np.mean([(n + 1) / (r + 1) for n, r in enumerate(ranks)]) for ranks in known]
    np.testing.assert_allclose(average_precisions(hits), precisions, rtol=1e-12)
    subset = np.arange(48) < 7
    np.testing.assert_allclose(macro_mean(at_r(hits), subset), np.mean(at_r(hits)[:7]), rtol=1e-12)


def test_pooled_agrees_with_a_list_of_all_pairs():
    profiles = screen(size=3, num_groups=7)
    groups = encode(profiles.metadata, ["Metadata_MOA"])
    hits = find_hits(prepare(profiles, "pearson"), pair_rule(profiles.metadata, ["Metadata_MOA"]), num_top=40)
    for k in (1, 2, 7, 20, 40):
        for ours, known in zip(
            pooled_at_k(hits, groups, k), slow.pooled_at_k(slow.pearson(profiles.features), groups, k), strict=True
        ):
            np.testing.assert_allclose(ours, known, rtol=1e-12)


def test_groups_far_apart_are_all_found_and_noise_is_not():
    profiles = screen(effect=100.0)
    rule = pair_rule(profiles.metadata, ["Metadata_MOA"])
    hits = find_hits(prepare(profiles), rule)
    assert at_r(hits).tolist() == at_k(hits, 3)[0].tolist() == average_precisions(hits).tolist() == [1.0] * 48
    assert hits.ranks.tolist() == [0, 1, 2] * 48
    noise = find_hits(prepare(screen(effect=0.0, num_groups=150)), pair_rule(screen(150).metadata, ["Metadata_MOA"]))
    # 1,800 hits, uniform on 599 ranks: the share within a tenth has a deviation of .007.
    assert abs(hit_curve(noise, [10]).gain[0]) < 0.035


def test_rows_that_are_all_alike_are_not_found_in_any_order():
    features = np.ones((12, 3))
    for groups in (np.repeat([0, 1, 2], 4), np.tile([0, 1, 2], 4)):
        profiles = profiles_of(features, MOA=groups)
        hits = find_hits(prepare(profiles), pair_rule(profiles.metadata, ["Metadata_MOA"]), num_top=3)
        assert hits.ranks.tolist() == [8, 9, 10] * 12
        assert macro_mean(at_r(hits)) == 0.0
        assert not hits.ahead.any()
        assert pooled_at_k(hits, groups, 3)[0].tolist() == [0.0] * 3


def test_blocks_do_not_matter():
    from cellfx.profiles.scores.retrieval import hits_collector
    from cellfx.profiles.similarity.collecting import collect

    profiles = screen()
    prepared, rule = prepare(profiles), pair_rule(profiles.metadata, ["Metadata_MOA"])
    whole, small = (
        collect(prepared, {"hits": hits_collector(prepared, rule, num_top=5)}, block_rows=rows)["hits"]
        for rows in (None, 7)
    )
    for first, second in zip(whole, small, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-12)


def test_average_precision_is_that_of_copairs_ties_included():
    from cellfx.profiles.scores.average_precision import average_precision_of

    profiles = screen()
    for features in (profiles.features, np.round(profiles.features[:, :2])):
        given = profiles._replace(features=features, names=profiles.names[: features.shape[1]])
        prepared = prepare(given, "euclidean")
        same, other = (pair_rule(profiles.metadata, **{by: ["Metadata_MOA"]}) for by in ("sameby", "diffby"))
        for ties in ("expected", "copairs"):
            known = average_precision_of(prepared, same, other, ties).average_precision
            np.testing.assert_allclose(average_precisions(find_hits(prepared, same), ties), known, rtol=1e-12)


def test_top_rows_are_the_most_similar():
    profiles = screen(num_groups=4)
    similarity = slow.pearson(profiles.features) - 2 * np.eye(16)
    group = profiles.metadata["Metadata_MOA"].to_numpy()
    hits = find_hits(prepare(profiles, "pearson"), pair_rule(profiles.metadata, ["Metadata_MOA"]), num_top=20)
    order = np.argsort(-similarity, axis=1)[:, :15]
    assert hits.top_rows.tolist() == [[*row, *[-1] * 5] for row in order.tolist()]
    np.testing.assert_allclose(hits.top[:, :15], np.take_along_axis(similarity, order, axis=1), rtol=1e-12)
    assert np.all(hits.top[:, 15:] == -np.inf)
    assert hits.top_positive[:, :15].tolist() == (group[order] == group[:, None]).tolist()
    assert not hits.top_positive[:, 15:].any()


def test_labels_that_are_shared():
    profiles = profiles_of(np.array([[1, 0, 0.1], [1, 0.1, 0], [0, 1, 0], [0.1, 1, 0]]), MOA=["a|b", "b|c", "c", "d"])
    published = pair_rule(profiles.metadata, ["Metadata_MOA"])
    with pytest.raises(ValueError, match="no positive pairs: got 4 rows"):
        find_hits(prepare(profiles), published)
    shared = pair_rule(profiles.metadata, ["Metadata_MOA"], multilabel="Metadata_MOA")
    hits = find_hits(prepare(profiles), shared)
    assert hits.num_positives.tolist() == [1, 2, 1, 0]
    precision, recall = at_k(hits, 1)
    assert precision[:3].tolist() == [1.0, 1.0, 0.0]
    assert recall[:3].tolist() == [1.0, 0.5, 0.0]
    assert np.isnan([precision[3], recall[3], at_r(hits)[3], average_precisions(hits)[3]]).all()
    np.testing.assert_allclose(macro_mean(recall), 0.5, rtol=1e-12)


def test_histogram_and_curves():
    profiles = screen()
    hits = find_hits(prepare(profiles), pair_rule(profiles.metadata, ["Metadata_MOA"]))
    counts, edges = hit_histogram(hits)
    assert edges.tolist() == list(range(0, 55, 5))
    assert counts.tolist() == np.histogram(hits.ranks, edges)[0].tolist()
    assert counts.sum() == 144
    percents = [1, 2, 5, 10, 33.3, 50, 100]
    ours = percent_scores(hits, percents)
    assert ours.tolist() == slow.percent_scores(hits.ranks.tolist(), percents, 48)
    assert percent_scores(hits, [50], 30).tolist() == slow.percent_scores(hits.ranks.tolist(), [50], 30)
    ranked = rank_scores(hits)
    np.testing.assert_allclose(ranked[4], np.sum(hits.ranks <= 4) - 5 * 144 / 48, rtol=1e-12)
    np.testing.assert_allclose(ranked[-1], 0, atol=1e-9)
    curve = hit_curve(hits, percents)
    np.testing.assert_allclose([curve.found[-1], curve.gain[-1]], [1, 0], atol=1e-12)
    np.testing.assert_allclose(curve.found[3], np.mean(np.clip(0.1 * 47 - hits.ranks, 0, 1)), rtol=1e-12)
    fine = hit_curve(hits, np.arange(1, 10001) / 100)
    np.testing.assert_allclose(curve.area, fine.gain.mean(), atol=1e-4)
    assert 0.1 < curve.area < 0.5


def test_every_rank_once_gains_nothing():
    # Three rows of one group and equally many hits at every rank: what noise is expected to do.
    from cellfx.profiles.scores.retrieval import Hits

    ranks = np.tile(np.arange(4), 6)
    hits = Hits(np.arange(0, 25, 4), ranks, 0 * ranks, np.full(6, 4), *[np.zeros((6, 0))] * 3)
    curve = hit_curve(hits, [1, 10, 25, 60, 99])
    np.testing.assert_allclose(curve.gain, 0, atol=1e-12)
    np.testing.assert_allclose(curve.area, 0, atol=1e-12)


def test_refused():
    profiles = screen()
    prepared, rule = prepare(profiles), pair_rule(profiles.metadata, ["Metadata_MOA"])
    hits = find_hits(prepared, rule, num_top=3)
    with pytest.raises(ValueError, match="got k=0, expected a whole number from 1"):
        at_k(hits, 0)
    with pytest.raises(ValueError, match="got 4 of 3, expected at most as many; give find_hits num_top=4"):
        pooled_at_k(hits, np.zeros(48, int), 4)
    with pytest.raises(ValueError, match="no score to average: got 2 rows"):
        macro_mean(np.array([np.nan, np.nan]))
    with pytest.raises(ValueError, match="a rule of other rows: got one of 8 rows for 48 profiles"):
        find_hits(prepared, pair_rule(profiles.metadata[:8], ["Metadata_MOA"]))
    with pytest.raises(ValueError, match="no width of bins: got 0"):
        hit_histogram(hits, 0)
    for percents in ([0], [5, 101], []):
        with pytest.raises(ValueError, match="no percents of the neighbors: got"):
            hit_curve(hits, percents)
        with pytest.raises(ValueError, match="no percents of the neighbors: got"):
            percent_scores(hits, percents)
