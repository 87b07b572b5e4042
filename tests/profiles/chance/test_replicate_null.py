import numpy as np
import polars as pl
import pytest
from screens import numbered

from cellfx.profiles.chance import replicate_null
from cellfx.profiles.chance.replicate_null import medians, treatment_p_values
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.rules import pair_rule


def screen(seed=0):
    """Treatments of one to five wells on three plates, and some wells without."""
    rng = np.random.default_rng(seed)
    treatment = np.repeat(np.arange(20), rng.integers(1, 6, 20))[rng.permutation(20 * 2)]
    treatment[:3] = -1
    plate = rng.integers(0, 3, len(treatment))
    names = [None if code < 0 else code for code in treatment]
    prepared = prepare(numbered(rng.normal(size=(len(treatment), 12)), pl.DataFrame({"t": names})), "pearson")
    return prepared, pair_rule(pl.DataFrame({"t": names}), ["t"]), treatment, plate


def collected(prepared, *arguments, block_rows=None):
    return collect(prepared, {"null": replicate_null.replicate_null(*arguments)}, block_rows)["null"]


def test_pairs_are_those_of_exchanged_treatments():
    prepared, rule, treatment, plate = screen()
    null = collected(prepared, rule, treatment, plate, 3, 4, block_rows=7)
    similarity, rng, known = prepared.rows @ prepared.rows.T, np.random.default_rng(4), np.flatnonzero(treatment >= 0)
    codes = np.unique(treatment[known])
    for i, values in enumerate(null.similarity):
        given = treatment.copy()
        for number in range(3 if i else 0):
            wells = np.flatnonzero(plate[known] == number)
            given[known[wells]] = treatment[known[rng.permutation(wells)]]
        found = [np.sort(values[treatment[null.first] == code]) for code in codes]
        pairs = [np.array(np.triu_indices(np.sum(given == code), 1)) for code in codes]
        rows = [np.flatnonzero(given == code)[each] for code, each in zip(codes, pairs, strict=True)]
        expected = [np.sort(similarity[tuple(each)]) for each in rows]
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-12)


def test_medians_are_those_of_the_pairs_of_each_treatment():
    prepared, rule, treatment, plate = screen()
    null = collected(prepared, rule, treatment, plate, 5)
    codes, values = medians(null, treatment)
    assert codes.tolist() == [code for code in range(20) if np.sum(treatment == code) > 1]
    for column, code in enumerate(codes):
        of = treatment[null.first] == code
        np.testing.assert_allclose(values[:, column], np.median(null.similarity[:, of], axis=1), rtol=1e-12)


def test_treatments_are_compared_with_those_of_their_plates():
    """Treatments 0 and 1 have two wells on plate 0, whose null is high; 2 and 3 on plate 1; 4 one on each."""
    treatment, plate = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
    null = np.array([[0.8, 0.9, 0.1, 0.2, 0.5]] * 50)
    arguments = np.array([0.85, 0.15, 0.6]), np.array([0, 3, 4]), null, treatment, plate
    np.testing.assert_allclose(treatment_p_values(*arguments, 0.05), [51 / 101, 51 / 101, 1 / 51])
    # A stricter limit needs more values than 100: those of plates 0 and 1 together.
    np.testing.assert_allclose(treatment_p_values(*arguments, 0.02), [51 / 201, 151 / 201, 1 / 51])


def test_scores_below_zero_that_differ_by_rounding_are_equal():
    everything = np.array([np.nextafter(-0.3, 0)]), np.array([0]), np.full((9, 1), -0.3), np.zeros(2, int)
    assert treatment_p_values(*everything, np.zeros(2, int), 0.5) == [1.0]


def test_fewer_permutations_where_more_do_not_fit(monkeypatch):
    prepared, rule, treatment, plate = screen()
    pairs = collected(prepared, rule, treatment, plate, 5).similarity.shape[1]
    monkeypatch.setattr(replicate_null, "MAX_VALUES", 31 * pairs)
    assert collected(prepared, rule, treatment, plate, 100).similarity.shape == (31, pairs)
    monkeypatch.setattr(replicate_null, "MAX_VALUES", 19 * pairs)
    with pytest.raises(ValueError, match=f"pairs of replicates to exchange, or too many: got {pairs}, expected"):
        replicate_null.replicate_null(rule, treatment, plate, 100)
