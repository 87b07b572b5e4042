import numpy as np
import polars as pl
import pytest
from screens import profiles_of, reference

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.score import score
from cellfx.profiles.screen.scoring import Effort
from cellfx.profiles.tables.table import take

slow = reference("profiles_scores")
COLUMNS = Columns(("Metadata_Compound", "Metadata_Dose"), "Metadata_Compound", "Metadata_MOA")
EFFORT = Effort(num_permutations=99, num_resamples=9)
GRIT = ("grit",)


def screen(seed=0, wells=(2, 3), effect=1.0, compound_effect=0.0):
    """Four mechanisms of three compounds at two doses, with unequal numbers of wells, and ten controls."""
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(12), sum(wells))
    dose = np.tile(np.repeat([0, 1], wells), 12)
    num_treated = len(compound)
    features = rng.normal(size=(num_treated + 10, 30))
    features[:num_treated] += effect * rng.normal(size=(4, 30))[compound // 3]
    features[:num_treated] += compound_effect * rng.normal(size=(12, 30))[compound]
    order = rng.permutation(len(features))
    names = np.array([*(f"c{c:02d}" for c in compound), *["dmso"] * 10], object)[order]
    mechanisms = np.array([*(f"m{c // 3}" for c in compound), *[None] * 10], object)[order]
    doses = np.array([*dose, *[0] * 10])[order]
    return profiles_of(features[order], Compound=names, MOA=mechanisms, Dose=doses), order >= num_treated


def test_treatments_have_the_grit_that_cytominer_eval_pools():
    """Targets are wells of other compounds of the mechanism, so that a group is the mechanism and a member a compound;
    of each compound cytominer-eval is asked with the wells of one dose only."""
    profiles, controls = screen()
    found = score(profiles, controls, COLUMNS, effort=EFFORT, wanted=GRIT)
    similarity = slow.pearson(profiles.features)
    names, doses, mechanisms = (
        profiles.metadata[f"Metadata_{name}"].to_numpy() for name in ("Compound", "Dose", "MOA")
    )
    values = []
    for name, dose in dict.fromkeys(zip(names[~controls], doses[~controls], strict=True)):
        rows = np.flatnonzero((names == name) & (doses == dose))
        targets = np.flatnonzero((mechanisms == mechanisms[rows[0]]) & (names != name))
        known = similarity[np.ix_(rows, np.flatnonzero(controls))]
        values.append((similarity[np.ix_(rows, targets)].mean() - known.mean()) / known.std())
    np.testing.assert_allclose(found.details["grit of treatments"], values, rtol=1e-10)
    np.testing.assert_allclose(found.numbers["grit of treatments"], np.mean(values), rtol=1e-10)
    np.testing.assert_allclose(found.intervals["grit of treatments"].estimate, np.mean(values), rtol=1e-10)
    assert found.p_values["grit of treatments"] == 0.01


def test_with_one_row_a_treatment_both_scores_are_one():
    profiles, controls = screen(1, (1, 1), 0.3)
    found = score(profiles, controls, COLUMNS, effort=EFFORT, wanted=GRIT)
    for part in (found.numbers, found.p_values):
        assert part["grit of treatments"] == pytest.approx(part["grit"], rel=1e-12)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_rows_of_compounds_that_are_no_treatment_do_not_exchange_mechanisms(seed):
    """The first compound lacks its dose: the p-value is that of a screen without the compound."""
    profiles, controls = screen(seed, (1, 1), 0.1)
    other = (profiles.metadata["Metadata_Compound"] != "c00").to_numpy()
    dose = pl.when(pl.Series(other)).then(pl.col("Metadata_Dose"))
    without = profiles._replace(metadata=profiles.metadata.with_columns(Metadata_Dose=dose))
    found = score(without, controls, COLUMNS, effort=EFFORT, wanted=GRIT)
    assert len(found.details["grit of treatments"]) == 22
    alone = score(take(profiles, other), controls[other], COLUMNS, effort=EFFORT, wanted=GRIT)
    assert found.p_values["grit of treatments"] == alone.p_values["grit of treatments"] > 0.1


def test_p_values_of_screens_without_mechanisms_are_not_too_small():
    p_values = []
    for seed in range(60):
        profiles, controls = screen(100 + seed, (1, 3), 0.0, 1.0)
        effort = Effort(num_permutations=39, num_resamples=1)
        p_values.append(score(profiles, controls, COLUMNS, effort=effort, wanted=GRIT).p_values["grit of treatments"])
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1  # of 60 screens 6, where 3 are expected
    assert 0.35 < np.mean(p_values) < 0.65


def test_treatments_of_no_compound_with_a_mechanism_are_left_out():
    profiles, controls = screen()
    missing = profiles.metadata.with_columns(Metadata_Dose=np.full(len(controls), None, object))
    found = score(profiles._replace(metadata=missing), controls, COLUMNS, effort=EFFORT, wanted=GRIT)
    assert set(found.numbers) == {"grit"}
    assert "no score to average: got 0 rows" in found.left_out["grit of treatments"]
