"""The simulated screen has the effects that it says, each of the size that was asked for."""

import numpy as np
import polars as pl
import pytest

from cellfx.preprocess.plates import CONTROL, Sizes
from cellfx.profiles.tables.simulated import simulated

NOTHING = Sizes(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_every_plate_has_every_treatment_once_and_its_controls():
    found = simulated(3, 2, (1.0, 10.0), num_batches=2, plates_per_batch=2, num_controls=5, num_features=20)
    assert found.features.shape == (4 * (12 + 5), 20)
    treated = found.metadata.filter(~pl.col("Metadata_Control"))
    keys = ["Metadata_Plate", "Metadata_Compound", "Metadata_Dose_um"]
    assert treated.select(keys).is_unique().all()
    assert treated.group_by(keys).len().height == 4 * 12
    assert found.metadata["Metadata_Control"].sum() == 4 * 5
    assert set(found.metadata.filter(pl.col("Metadata_Control"))["Metadata_Compound"]) == {CONTROL}
    assert found.metadata.filter(pl.col("Metadata_Control"))["Metadata_MOA"].null_count() == 20


def test_wells_are_unique_on_a_plate_and_stay_within_a_batch():
    found = simulated(num_features=20).metadata
    assert found.select("Metadata_Plate", "Metadata_Well").is_unique().all()
    treated = found.filter(~pl.col("Metadata_Control"))
    within = treated.group_by("Metadata_Compound", "Metadata_Batch").agg(pl.col("Metadata_Well").n_unique())
    assert set(within["Metadata_Well"]) == {1}
    between = treated.group_by("Metadata_Compound").agg(pl.col("Metadata_Well").n_unique())
    assert between["Metadata_Well"].max() > 1


def test_the_same_seed_draws_the_same_screen():
    first, again, other = (simulated(num_features=20, seed=seed).features for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_alone_has_unit_variance():
    assert simulated(sizes=NOTHING).features.std() == pytest.approx(1.0, abs=0.02)


def test_a_mechanism_moves_its_compounds_alike_by_the_size_asked_for():
    found = simulated(sizes=NOTHING._replace(mechanism=50.0), doses_um=(1.0, 1e6), half_effect_um=1.0)
    means = _means(found, "Metadata_MOA", "Metadata_Dose_um")
    low, high = (np.linalg.norm(means[key]) for key in (("mechanism 01", 1.0), ("mechanism 01", 1e6)))
    assert high == pytest.approx(50.0, rel=0.03)
    assert low == pytest.approx(25.0, rel=0.06)
    compounds = _means(found, "Metadata_Compound", "Metadata_Dose_um")
    first, second = (compounds[(f"compound {number:03d}", 1e6)] for number in (1, 2))
    assert np.corrcoef(first, second)[0, 1] > 0.99
    assert abs(np.corrcoef(first, compounds[("compound 005", 1e6)])[0, 1]) < 0.5


def test_batches_differ_along_the_typical_directions_only():
    found = simulated(sizes=NOTHING._replace(batch=30.0), num_batches=40, plates_per_batch=1, num_typical=2)
    means = np.stack(list(_means(found, "Metadata_Batch").values()))
    spread = np.linalg.svd(means - means.mean(axis=0), compute_uv=False) / np.sqrt(39)
    assert spread[:2] == pytest.approx(30.0, rel=0.35)
    assert spread[2] < 1.0


def test_the_first_and_last_row_differ_by_the_place_effect():
    found = simulated(sizes=NOTHING._replace(place=80.0), num_batches=6)
    row = found.metadata["Metadata_Well"].str.head(1)
    first, last = (found.features[(row == letter).to_numpy()].mean(axis=0) for letter in "AP")
    column_part = 80.0 * 0.3  # wells of a row are not spread evenly over the columns
    assert np.linalg.norm(last - first) == pytest.approx(80.0, abs=column_part)


def test_too_many_wells_are_refused():
    with pytest.raises(ValueError, match=r"the wells do not fit on a plate: got 400 treated and 64 controls, .* 384"):
        simulated(num_mechanisms=100)


def test_too_few_features_are_refused():
    with pytest.raises(ValueError, match=r"too few features: got 5, expected at least num_typical \+ 2 = 8"):
        simulated(num_features=5)


def _means(found, *columns):
    keys = list(zip(*(found.metadata[column].to_list() for column in columns), strict=True))
    keys = keys if len(columns) > 1 else [key[0] for key in keys]
    groups = sorted({key for key in keys if key is not None and (len(columns) == 1 or None not in key)})
    return {group: found.features[[key == group for key in keys]].mean(axis=0) for group in groups}
