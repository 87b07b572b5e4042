"""Shares of treated wells that are known beforehand."""

import numpy as np
import polars as pl
import pytest
from screens import profiles_of

from cellfx.profiles.steps import normalize, spherize
from cellfx.profiles.steps.control_directions import STILL, stillness
from cellfx.profiles.tables.simulated import simulated
from cellfx.profiles.tables.table import Profiles


def look(profiles, controls, by=(), treated=None, **settings):
    fitted = spherize.fit(profiles, controls, by=by, **settings)
    treated = ~controls if treated is None else treated
    return stillness(fitted, profiles, spherize.apply(fitted, profiles), controls, treated)


@pytest.mark.parametrize("method", ["ZCA", "PCA"])
def test_shares_by_hand(method):
    """Controls vary along a and b, by 8/3 and 2/3; what no control varied in is divided by the smaller one."""
    x = np.array([[2.0, 0, 0], [-2.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [2, 2, 4.0], [2, 2, 0.0]])
    profiles = profiles_of(x, Well=list("ABCDEF"))
    controls = np.arange(6) < 4
    found = look(profiles, controls, method=method, regularization="pycytominer", epsilon=0)
    assert (found.num_controls, found.num_features, found.num_unseen, found.num_small) == (4, 3, 1, 0)
    # One well of 4 + 4 + 16, or 3/2 + 6 + 24, and one that has nothing there.
    np.testing.assert_allclose([found.before, found.after], [16 / 24 / 2, 24 / 31.5 / 2], rtol=1e-12)
    dropped = look(profiles, controls, method=method, regularization="pycytominer", epsilon=0, unseen="drop")
    np.testing.assert_allclose([dropped.before, dropped.after], [16 / 24 / 2, 0], atol=1e-12)
    assert look(profiles, controls, method=method, treated=np.zeros(6, bool)) is None


def test_directions_of_little_variance_count_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) * [1, 1, 1, 1e-3]
    x[100:, 3] += 1.0
    profiles, controls = profiles_of(x, Well=range(200)), np.arange(200) < 100
    found = look(profiles, controls, method="ZCA", regularization="pycytominer")
    assert (found.num_unseen, found.num_small) == (0, 1)
    assert found.before < 0.5
    assert found.after > 0.999
    least = np.array([1, 1, 1, 1.2 * STILL**0.5])
    assert look(profiles_of(rng.normal(size=(200, 4)) * least, Well=range(200)), controls, method="ZCA") is None


def test_standardising_by_the_controls_of_every_plate_costs_a_direction_each():
    wells = simulated(3, 4, num_batches=2, plates_per_batch=4, num_controls=6, num_features=44)
    controls = wells.metadata["Metadata_Control"].to_numpy()
    assert controls.sum() == 48
    assert look(wells, controls).num_unseen == 0
    standard = normalize.apply(normalize.fit(wells, "standardize", controls=controls), wells)
    assert look(standard, controls).num_unseen == 44 - (48 - 8)


def test_the_worst_group_is_told():
    rng = np.random.default_rng(0)
    batch = np.repeat(["a", "b"], 40)
    controls = (np.arange(80) % 40) < np.where(batch == "a", 20, 8)
    wells = Profiles(rng.normal(size=(80, 10)), tuple("abcdefghij"), pl.DataFrame({"Metadata_Batch": batch}))
    found = look(wells, controls, by=("Metadata_Batch",), method="ZCA")
    assert (found.row, found.num_controls, found.num_unseen) == (40, 8, 3)
