"""Treatments in other batches: each batch has its own profile of a treatment, and neighbors are never of one batch."""

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort
from cellfx.profiles.steps.consensus import consensus
from cellfx.profiles.tables.table import Profiles, take
from cellfx.screens import batches
from cellfx.screens.page import tables
from cellfx.screens.setting import Asked

C, M, B = "Metadata_Compound", "Metadata_MOA", "Metadata_Batch"
COLUMNS = Columns((C,), C, M, batch=B)
DESCRIBED = [C, M]
ASKED = Asked(effort=Effort(num_permutations=99, num_resamples=9))


def wells(seed=0, batch_size=6.0, mechanism_size=3.0, compound_size=1.0):
    """Twelve compounds of four mechanisms, each in two of three batches with two wells; batches are far apart."""
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(12), 4)
    batch = (compound + np.tile([0, 0, 1, 1], 12)) % 3
    features = rng.normal(size=(48, 20)) + batch_size * rng.normal(size=(3, 20))[batch]
    features += mechanism_size * rng.normal(size=(4, 20))[compound % 4]
    features += compound_size * rng.normal(size=(12, 20))[compound]
    metadata = pl.DataFrame({C: compound, M: [f"m{c % 4}" for c in compound], B: [f"b{each}" for each in batch]})
    return Profiles(features, tuple(f"f{i}" for i in range(20)), metadata)


def expected(profiles):
    """Share of (compound, batch) medians whose nearest, elsewhere, has their mechanism: written out."""
    rows = sorted(set(profiles.metadata.iter_rows()))
    medians = [
        np.median(profiles.features[[row == each for each in profiles.metadata.iter_rows()]], axis=0) for row in rows
    ]
    unit = [each / np.linalg.norm(each) for each in medians]
    right = []
    for i, (compound, mechanism, batch) in enumerate(rows):
        others = [j for j, (c, _, b) in enumerate(rows) if c != compound and b != batch]
        nearest = max(others, key=lambda j: unit[i] @ unit[j])
        if any(rows[j][1] == mechanism for j in others):
            right.append(rows[nearest][1] == mechanism)
    return np.mean(right)


def test_treatments_may_be_told_by_their_batch_too():
    profiles = wells()
    treated = consensus(profiles, [*DESCRIBED, B])
    found = batches.by_batch(profiles, treated, {"by": [*DESCRIBED, B]}, B)
    assert found.metadata.equals(treated.metadata)
    np.testing.assert_array_equal(found.features, treated.features)


def test_neighbours_are_of_another_compound_and_batch():
    for seed, batch_size in (0, 6.0), (1, 0.0), (2, 1.0):
        profiles = wells(seed, batch_size)
        treated = consensus(profiles, DESCRIBED)
        found = batches.by_batch(profiles, treated, {"by": DESCRIBED}, B)
        assert len(found.features) == 24
        scores = batches.score(found, COLUMNS, ASKED)
        assert set(scores.numbers) == {"NSCB of treatments", "NSCB of treatments unreachable rows"}
        np.testing.assert_allclose(scores.numbers["NSCB of treatments"], expected(profiles), rtol=1e-12)
        assert set(scores.p_values) == set(scores.intervals) == {"NSCB of treatments"}
    assert scores.p_values["NSCB of treatments"] == 0.01


def test_only_compared_treatments_come_back_with_missing_values_and_in_the_way_they_were_pooled():
    profiles = wells()
    unknown = profiles.metadata.with_columns(Metadata_MOA=pl.when(pl.col(C) != 5).then(pl.col(M)))
    profiles = profiles._replace(metadata=unknown)
    treated = take(consensus(profiles, DESCRIBED, "mean"), np.array([5, 0]))
    found = batches.by_batch(profiles, treated, {"by": DESCRIBED, "method": "mean"}, B)
    assert found.metadata.select(C, M, B).rows() == [
        (0, "m0", "b0"),
        (0, "m0", "b1"),
        (5, None, "b0"),
        (5, None, "b2"),
    ]
    np.testing.assert_allclose(found.features[0], profiles.features[:2].mean(axis=0), rtol=1e-12)


def test_one_batch_or_none_is_said():
    profiles = wells()
    alone = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_Batch=pl.lit("x")))
    assert batches.by_batch(alone, alone, {"by": DESCRIBED}, B) is None
    assert batches.by_batch(alone, alone, {"by": DESCRIBED}, None) is None
    with pytest.raises(ValueError, match=r"no two batches: got columns\.batch None, expected a column with two values"):
        batches.score(None, COLUMNS._replace(batch=None), ASKED)


def test_p_values_of_screens_without_mechanisms_are_not_too_small():
    """Compounds are alike in all of their batches, which exchanging whole compounds knows of."""
    p_values = []
    for seed in range(60):
        profiles = wells(100 + seed, 1.0, 0.0, 3.0)
        found = batches.by_batch(profiles, profiles, {"by": DESCRIBED}, B)
        asked = ASKED._replace(effort=Effort(num_permutations=39, num_resamples=1))
        p_values.append(batches.score(found, COLUMNS, asked).p_values["NSCB of treatments"])
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1  # of 60 screens 6, where 3 are expected
    assert 0.35 < np.mean(p_values) < 0.75


def test_the_glossary_explains_it():
    scored = {"v": {"scores": {"NSCB of treatments unreachable rows": {}, "NSCB of treatments": {}}}}
    terms = [row[0] for row in tables.glossary(scored).parts[0].rows]
    assert {"NSCB of treatments", "unreachable rows"} <= set(terms)
