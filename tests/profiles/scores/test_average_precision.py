import functools
import itertools
import json

import numpy as np
import polars as pl
import pytest
import screens
from copairs.map import average_precision as copairs_average_precision
from sklearn.metrics import average_precision_score

from cellfx.profiles.chance.random_ranking import expected_average_precision
from cellfx.profiles.scores import average_precision as module
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.mean_average_precision import mean_average_precision
from cellfx.profiles.similarity.blocks import KERNELS, over_blocks, prepare
from cellfx.profiles.tables.table import Profiles

reference, pairs_reference = screens.reference("profiles_average_precision"), screens.reference("profiles_pairs")

RULES = {
    "all others": (["Metadata_Compound"], [], [], ["Metadata_Compound"]),
    "other plates": (["Metadata_Compound"], ["Metadata_Plate"], ["Metadata_Plate"], ["Metadata_Compound"]),
    "controls": (["Metadata_Compound"], [], ["Metadata_Plate"], ["Metadata_Control"]),
    "mechanisms": (["Metadata_MOA"], ["Metadata_Compound"], [], ["Metadata_MOA", "Metadata_Compound"]),
    "two columns": (["Metadata_MOA", "Metadata_Plate"], [], [], ["Metadata_Plate"]),
    "overlapping": (["Metadata_Compound"], [], ["Metadata_Plate"], []),
    "different only": ([], ["Metadata_Plate"], ["Metadata_Plate"], []),
}


SELF_TIED = [RULES[name] for name in ("overlapping", "different only")]
"""Pairs that are positive and negative are tied with themselves; the reference and copairs rank positives first."""


def ties_of(rules, kernel="cosine"):
    return "copairs" if rules in SELF_TIED or kernel == "spearman" else "expected"


def screen(num_rows=72, num_features=12, seed=0):
    rng = np.random.default_rng(seed)
    compound = rng.integers(0, 12, num_rows)
    features = screens.grouped(rng, compound, num_features, 0.7)
    metadata = pl.DataFrame(
        {
            "Metadata_Compound": [f"compound {c}" for c in compound],
            "Metadata_MOA": [f"mechanism {c // 3}" for c in compound],
            "Metadata_Plate": rng.integers(0, 3, num_rows),
            "Metadata_Control": compound == 0,
        }
    )
    return screens.numbered(features, metadata)


def expected(profiles, rules, kernel="cosine"):
    similarity = over_blocks(prepare(profiles, kernel), lambda block, rows: block)
    if kernel == "spearman":  # of few features it has many ties, which whole numbers tell
        ranks = np.argsort(np.argsort(profiles.features, axis=1), axis=1)
        similarity = ranks @ ranks.T
    pairs = [pairs_reference.positive(profiles.metadata, *rules[i : i + 2]) for i in (0, 2)]
    return reference.of_rows(similarity, *pairs), pairs


def check(result, profiles, rules, kernel="cosine"):
    scores, pairs = expected(profiles, rules, kernel)
    assert result.rows.tolist() == sorted(scores)
    np.testing.assert_allclose(result.average_precision, [scores[row] for row in result.rows], rtol=1e-12)
    positives, negatives = (np.bincount([i for i, _ in found], minlength=len(profiles.features)) for found in pairs)
    assert result.num_positives.tolist() == positives[result.rows].tolist()
    assert result.num_pairs.tolist() == (positives + negatives)[result.rows].tolist()
    assert result.without_positives.tolist() == np.flatnonzero(positives == 0).tolist()
    assert result.without_negatives.tolist() == np.flatnonzero((positives > 0) & (negatives == 0)).tolist()


@pytest.mark.parametrize("few", [0, 5, 64])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_counting_and_sorting_equal_the_reference(rules, few, monkeypatch):
    monkeypatch.setattr(module, "FEW_POSITIVES", few)
    profiles = screen()
    check(average_precision(profiles, *rules, ties=ties_of(rules)), profiles, rules)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(kernel):
    profiles = screen(seed=1)
    rules = RULES["other plates"]
    result = average_precision(profiles, *rules, similarity=kernel, ties=ties_of(rules, kernel))
    check(result, profiles, rules, kernel)


def test_pairs_that_are_not_listed(monkeypatch):
    profiles = screen(seed=2)
    monkeypatch.setattr(module, "listed", functools.partial(module.listed, max_pairs=10))
    check(average_precision(profiles, *RULES["other plates"]), profiles, RULES["other plates"])


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize(("kernel", "distance"), [("cosine", "cosine"), ("pearson", "correlation"), ("euclidean",) * 2])
def test_equals_copairs(rules, kernel, distance):
    profiles = screen(seed=3)
    frame = profiles.metadata.to_pandas()
    theirs = copairs_average_precision(frame, profiles.features, *rules, distance=distance, progress_bar=False)
    ours = average_precision(profiles, *rules, similarity=kernel, ties=ties_of(rules))
    both = (theirs["n_pos_pairs"] > 0) & (theirs["n_total_pairs"] > theirs["n_pos_pairs"])
    assert ours.rows.tolist() == np.flatnonzero(both).tolist()
    theirs = theirs[both]
    np.testing.assert_allclose(ours.average_precision, theirs["average_precision"], rtol=0, atol=1e-9)
    clipped = np.maximum(ours.normalised, -1)
    np.testing.assert_allclose(clipped, theirs["normalized_average_precision"], rtol=0, atol=1e-9)
    assert ours.num_positives.tolist() == theirs["n_pos_pairs"].tolist()
    assert ours.num_pairs.tolist() == theirs["n_total_pairs"].tolist()


def test_equals_scikit_learn_where_negatives_are_all_others():
    profiles = screen(seed=4)
    result = average_precision(profiles, *RULES["all others"])
    similarity = over_blocks(prepare(profiles), lambda block, rows: block)
    compound = profiles.metadata["Metadata_Compound"].to_numpy()
    for row, score in zip(result.rows, result.average_precision, strict=True):
        others = np.arange(72) != row
        wanted = average_precision_score(compound[others] == compound[row], similarity[row, others])
        np.testing.assert_allclose(score, wanted, rtol=1e-12)


@pytest.mark.parametrize("few", [0, 64])
def test_equal_rows_rank_positives_first_in_any_order_by_the_rule_of_copairs(few, monkeypatch):
    monkeypatch.setattr(module, "FEW_POSITIVES", few)
    rng = np.random.default_rng(5)
    profiles = screen()
    # Nine different profiles in 72 rows, scaled: most similarities are ties.
    features = rng.normal(size=(9, 12))[rng.integers(0, 9, 72)] * rng.uniform(0.5, 2, (72, 1))
    profiles = profiles._replace(features=features)
    frame = profiles.metadata.to_pandas()
    theirs = copairs_average_precision(frame, np.sign(features), *RULES["all others"], progress_bar=False)
    signs = average_precision(profiles._replace(features=np.sign(features)), *RULES["all others"], ties="copairs")
    np.testing.assert_allclose(signs.average_precision, theirs["average_precision"][signs.rows], rtol=0, atol=1e-9)
    for kernel, ties in itertools.product(KERNELS[:3], ("expected", "copairs")):
        result = average_precision(profiles, *RULES["all others"], similarity=kernel, ties=ties)
        order = rng.permutation(72)
        shuffled = Profiles(features[order], profiles.names, profiles.metadata[order])
        other = average_precision(shuffled, *RULES["all others"], similarity=kernel, ties=ties)
        scores = np.full((2, 72), np.nan)
        scores[0, result.rows], scores[1, order[other.rows]] = result.average_precision, other.average_precision
        np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("kernel", ["cosine", "euclidean"])
def test_ties_have_the_mean_of_all_their_orders(kernel, few, monkeypatch):
    """Whole numbers of two features: pairs are tied by tens; a tiny shift puts them in a random order."""
    monkeypatch.setattr(module, "FEW_POSITIVES", few)
    rng = np.random.default_rng(8)
    features, group = rng.integers(1, 4, size=(24, 2)).astype(float), np.repeat(np.arange(8), 3)
    profiles = screens.profiles_of(features, Compound=group)
    result = average_precision(profiles, *RULES["all others"], similarity=kernel)
    similarity = np.array(over_blocks(prepare(profiles, kernel), lambda block, rows: block))
    rounded, total, draws = np.round(similarity, 9), np.zeros(24), 3000
    for _ in range(draws):
        order = np.argsort(-(rounded + 1e-10 * rng.random((24, 24))), axis=1)
        for row in range(24):
            found = group[order[row][order[row] != row]] == group[row]
            places = np.flatnonzero(found) + 1
            total[row] += np.mean(np.arange(1, len(places) + 1) / places) / draws
    assert np.abs(result.average_precision - total).max() < 5 * 0.3 / np.sqrt(draws)
    first = average_precision(profiles, *RULES["all others"], similarity=kernel, ties="copairs")
    assert np.all(first.average_precision >= result.average_precision - 1e-12)
    assert np.mean(first.average_precision - result.average_precision) > 0.1


def test_equal_profiles_score_as_chance_does():
    """96 rows that are all the same had a mean average precision of 1 and p = 7e-6."""
    profiles = screens.profiles_of(np.ones((96, 5)), Compound=np.repeat(np.arange(24), 4))
    result = average_precision(profiles, *RULES["all others"])
    np.testing.assert_allclose(result.average_precision, expected_average_precision(3, 95), rtol=1e-12)
    np.testing.assert_allclose(result.normalised, 0, atol=1e-12)
    assert mean_average_precision(result, profiles.metadata, ["Metadata_Compound"]).p_value.min() > 0.2


def test_binary_features_are_retrieved_by_chance_in_one_of_twenty():
    below = {"expected": [], "copairs": []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        features = rng.integers(0, 2, size=(48, 8)).astype(float)
        profiles = screens.profiles_of(features, Compound=np.arange(48) // 2)
        for ties, found in below.items():
            result = average_precision(profiles, *RULES["all others"], similarity="euclidean", ties=ties)
            found.append(mean_average_precision(result, profiles.metadata, ["Metadata_Compound"]).p_value < 0.05)
    assert np.mean(below["expected"]) < 0.07
    assert np.mean(below["copairs"]) > 0.09  # positives first, as it was


def test_closed_forms():
    angle = np.radians([0, 1, 2, 3, 90, 91])
    metadata = pl.DataFrame({"Metadata_A": ["a", "b", "a", "b", "c", "c"]})
    profiles = Profiles(np.stack([np.cos(angle), np.sin(angle)], axis=1), ("x", "y"), metadata)
    result = average_precision(profiles, ["Metadata_A"], [], [], ["Metadata_A"])
    # 0 finds 1 before 2; 2 finds 1 and 3 alike, then 0; likewise from the other side; 90 finds 91 first.
    np.testing.assert_allclose(result.average_precision, [1 / 2, 1 / 3, 1 / 3, 1 / 2, 1, 1], rtol=1e-12)
    # One positive of five: the expectation is (1 + 1/2 + 1/3 + 1/4 + 1/5) / 5.
    chance = 137 / 300
    np.testing.assert_allclose(result.normalised[[0, 4]], [(1 / 2 - chance) / (1 - chance), 1], rtol=1e-12)


def test_labels_make_pairs():
    profiles = screen(seed=6)
    moa = [f"mechanism {i % 5}|mechanism {i % 7}" for i in range(72)]
    profiles = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_MOA=pl.Series(moa)))
    rules = (["Metadata_MOA"], [], [], ["Metadata_MOA"])
    result = average_precision(profiles, *rules, multilabel="Metadata_MOA")
    similarity = over_blocks(prepare(profiles), lambda block, rows: block)
    pairs = [pairs_reference.positive(profiles.metadata, *rules[i : i + 2], "Metadata_MOA") for i in (0, 2)]
    scores = reference.of_rows(similarity, *pairs)
    np.testing.assert_allclose(result.average_precision, [scores[row] for row in range(72)], rtol=1e-12)
    # A rule that does not name the column takes no notice.
    one = average_precision(profiles, *RULES["other plates"], multilabel="Metadata_MOA")
    check(one, profiles, RULES["other plates"])


def test_missing_values_leave_rows_out_and_name_them():
    profiles = screen(seed=7)
    compound = profiles.metadata["Metadata_Compound"].to_list()
    compound[5] = compound[40] = None
    compound[7] = "alone"
    profiles = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_Compound=pl.Series(compound)))
    result = average_precision(profiles, *RULES["all others"])
    assert result.without_positives.tolist() == [5, 7, 40]
    check(result, profiles, RULES["all others"])


def test_bad_input():
    profiles = screen()
    alone = profiles.metadata.with_columns(Metadata_Compound=pl.Series([f"compound {i}" for i in range(72)]))
    message = r"no row has both a positive and a negative pair: got 0 of 72 rows with a positive pair and none of these"
    with pytest.raises(ValueError, match=message):
        average_precision(profiles._replace(metadata=alone), *RULES["all others"])
    same = profiles.metadata.with_columns(Metadata_Compound=pl.lit("DMSO"))
    with pytest.raises(ValueError, match="got 72 of 72 rows with a positive pair and none of these with a negative"):
        average_precision(profiles._replace(metadata=same), *RULES["all others"])
    with pytest.raises(ValueError, match="got 'Metadata_Z', expected one of"):
        average_precision(profiles, ["Metadata_Z"], [], [], ["Metadata_Plate"])
    with pytest.raises(ValueError, match=r"got 864 of 864 values, the first nan in feature .* of row 0"):
        average_precision(profiles._replace(features=np.full((72, 12), np.nan)), *RULES["all others"])
    with pytest.raises(ValueError, match="got row 0 that is constant"):
        average_precision(profiles._replace(features=np.ones((72, 12))), *RULES["all others"], similarity="pearson")


def test_published_values_of_jump(data_folder):
    """Chandrasekaran et al. 2024: replicates of a compound on four plates against the controls of its own plate."""
    published = json.loads((data_folder / "jump/published_map.json").read_text())
    name = "jump/{}_normalized_feature_select_negcon_batch.csv.gz"
    plates = [pl.read_csv(data_folder / name.format(plate), infer_schema_length=None) for plate in published["plates"]]
    table = pl.concat(plates, how="vertical_relaxed")
    metadata = table.select(
        "Metadata_broad_sample", "Metadata_Plate", Metadata_Control=pl.col("Metadata_control_type").eq_missing("negcon")
    )
    names = tuple(column for column in table.columns if not column.startswith("Metadata_"))
    profiles = Profiles(table.select(names).to_numpy(), names, metadata)
    compound = ["Metadata_broad_sample"]
    result = average_precision(profiles, compound, [], ["Metadata_Plate"], ["Metadata_Control"])
    assert profiles.features.shape == (1536, 904)
    assert set(result.num_pairs - result.num_positives) == {64}
    assert result.without_positives.tolist() == np.flatnonzero(metadata["Metadata_Control"].to_numpy()).tolist()
    scores = mean_average_precision(result, metadata, compound)
    found = dict(zip(scores.groups["Metadata_broad_sample"], scores.mean_average_precision, strict=True))
    assert len(found) == 306
    assert len(published["mean_average_precision"]) == 14
    for name, value in published["mean_average_precision"].items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12)
    # Most compounds have 3 positives among 67 pairs: all 47,905 rankings are counted. Eight wells make 7 among 71.
    assert scores.exact.tolist() == (scores.num_rows == 4).tolist()
    assert (scores.exact.sum(), scores.retrieved.sum()) == (292, 187)
    assert scores.fraction_retrieved == 187 / 306
