import numpy as np
import polars as pl
import pytest
from screens import grouped, profiles_of, reference
from sklearn.metrics import confusion_matrix

from cellfx.profiles.scores.nearest import Exclusion, classify, neighbours_of
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import take

slow = reference("profiles_scores")


def screen(seed=0, effect=1.0):
    """Six mechanisms of three compounds, four wells each over two batches."""
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(18), 4)
    features = grouped(rng, compound // 3, 12, effect)
    batch = np.tile([0, 0, 1, 1], 18)
    order = rng.permutation(72)
    names = [f"m{c // 3}" for c in compound[order]]
    return profiles_of(features[order], MOA=names, Compound=compound[order], Batch=batch[order])


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("batch", [None, "Metadata_Batch"])
def test_votes_are_those_of_the_definition(k, batch):
    profiles = screen()
    result = classify(profiles, Exclusion(batch=batch), k, "pearson")
    labels, compound, batches = (profiles.metadata[f"Metadata_{c}"].to_numpy() for c in ("MOA", "Compound", "Batch"))
    allowed = compound[:, None] != compound[None]
    if batch:
        allowed &= batches[:, None] != batches[None]
    known = slow.nearest(slow.pearson(profiles.features), labels, allowed, k)
    assert [result.mechanisms[place] for place in result.predicted] == known
    np.testing.assert_allclose(result.accuracy, np.mean(np.array(known) == labels), rtol=1e-12)
    table = confusion_matrix(labels, known)
    assert result.confusion.tolist() == table.tolist()
    np.testing.assert_allclose(result.balanced_accuracy, np.mean(np.diag(table) / table.sum(axis=1)), rtol=1e-12)
    assert result.judged.all()
    assert (result.num_unreachable, result.num_unknown) == (0, 0)


def test_mechanisms_that_cannot_be_found_are_counted_apart():
    profiles = screen(effect=50.0)
    names = profiles.metadata["Metadata_MOA"].to_list()
    compound = profiles.metadata["Metadata_Compound"].to_numpy()
    # One compound of m0 gets a mechanism of its own; one of m1 none at all; m2 is in one batch only.
    names = ["alone" if c == 0 else None if c == 3 else name for c, name in zip(compound, names, strict=True)]
    batch = np.where(np.array(names) == "m2", 0, profiles.metadata["Metadata_Batch"].to_numpy())
    features = np.where(compound[:, None] == 0, -profiles.features, profiles.features)
    given = profiles._replace(features=features, metadata=pl.DataFrame({
        "Metadata_MOA": names, "Metadata_Compound": compound, "Metadata_Batch": batch,
    }))  # fmt: skip
    nsc = classify(given, kernel="euclidean")
    assert (nsc.num_unreachable, nsc.num_unknown) == (4, 4)
    assert nsc.accuracy == nsc.balanced_accuracy == 1.0
    assert nsc.confusion.sum() == nsc.judged.sum() == 64
    # Rows without a mechanism are given one, and never lend one.
    assert {nsc.mechanisms[place] for place in nsc.predicted[compound == 3]} == {"m1"}
    nscb = classify(given, Exclusion(batch="Metadata_Batch"), kernel="euclidean")
    assert (nscb.num_unreachable, nscb.num_unknown) == (4 + 12, 4)
    assert nscb.accuracy == 1.0


def test_labels_that_are_shared_are_right():
    features = np.array([[1, 0, 0.1], [1, 0.05, 0], [0, 1, 0], [0.1, 1, 0]])
    profiles = profiles_of(features, MOA=["a|b", "b", "a|b", "d|a"], Compound=[0, 1, 2, 3])
    published = classify(profiles)
    assert (published.accuracy, published.num_unreachable) == (0.0, 2)
    shared = classify(profiles, Exclusion(multilabel=True))
    assert (shared.accuracy, shared.num_unreachable) == (1.0, 0)
    assert shared.mechanisms == ("a|b", "b", "d|a")
    assert [shared.mechanisms[place] for place in shared.predicted] == ["b", "a|b", "d|a", "a|b"]


def test_noise_is_classified_by_chance_and_planted_mechanisms_are_recovered():
    rates = []
    for length in (0.0, 12.0):
        sizes = Sizes(mechanism=length, batch=1.0, place=0.0, typical=0.5)
        profiles = simulated(sizes=sizes, num_controls=4, num_mechanisms=6, plates_per_batch=1)
        treated = take(profiles, ~profiles.metadata["Metadata_Control"].to_numpy())
        rates.append(classify(treated, Exclusion(batch="Metadata_Batch")).accuracy)
    # 72 rows; chance is 3 other compounds of 23.
    assert rates[0] < 0.35
    assert rates[1] == 1.0


def test_neighbours_of_a_treatment():
    profiles = screen(effect=5.0)
    table = neighbours_of(profiles, "Metadata_Compound", "4", 5, "pearson")
    assert table.columns == ["Metadata_MOA", "Metadata_Compound", "Metadata_Batch", "similarity", "num_rows"]
    assert set(table["Metadata_Compound"][:2]) == {3, 5}
    assert table["num_rows"].to_list() == [4] * 5
    similarity = slow.pearson(profiles.features)
    compound = profiles.metadata["Metadata_Compound"].to_numpy()
    means = {c: similarity[np.ix_(compound == 4, compound == c)].mean() for c in range(18) if c != 4}
    best = sorted(means, key=lambda c: -means[c])[:5]
    assert table["Metadata_Compound"].to_list() == best
    np.testing.assert_allclose(table["similarity"], [means[c] for c in best], rtol=1e-10)
    assert len(neighbours_of(profiles, "Metadata_Compound", "4", 100)) == 17


def test_refused():
    profiles = screen()
    for k in (0, 1.5):
        with pytest.raises(ValueError, match=f"no number of neighbors: got k={k}"):
            classify(profiles, k=k)
    with pytest.raises(
        ValueError,
        match="no mechanism can be found: got 6 mechanisms in 72 rows, none with rows of two "
        "values of Metadata_MOA, expected",
    ):
        classify(profiles, Exclusion(compound="Metadata_MOA"))
    with pytest.raises(ValueError, match="no such column of metadata: got 'Metadata_Drug'"):
        classify(profiles, Exclusion(compound="Metadata_Drug"))
    with pytest.raises(ValueError, match="got 'm22' in Metadata_MOA, expected one of 6 such as 'm2'; correct the name"):
        neighbours_of(profiles, "Metadata_MOA", "m22")
    features = profiles.features.copy()
    features[3, 2] = np.nan
    with pytest.raises(
        ValueError, match=r"cannot be used for similarities: got 1 of .* the first nan in feature 'f2' of row 3"
    ):
        classify(profiles._replace(features=features))
