"""The screen in pictures: plates as they were ordered, and every effect on the cells of the size that was asked for."""

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from cellfx import settings
from cellfx.cli import config
from cellfx.data import screen as pictures
from cellfx.data import synthetic
from cellfx.data.source import SPLITS
from cellfx.preprocess.plates import Sizes
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.tables import reading
from cellfx.runs import repeats, results
from cellfx.screens import run

NOTHING = dict.fromkeys(Sizes._fields, 0.0)
SMALL = {"num_mechanisms": 2, "compounds_per_mechanism": 2, "plates_per_batch": 3, "num_controls": 6}


def drawn(**arguments):
    return pictures.screen(**{**SMALL, "cells_per_well": 3, "image_size": 8, **arguments})


def cells_of(source):
    """All cells in one table: metadata, and factors in spreads from the mean of untreated cells."""
    parts = []
    for name, split in source.splits.items():
        factors = (split.arrays["factors"][:, :7] - pictures.MEAN) / pictures.SPREAD
        columns = dict(zip(pictures.VARIED, factors.T.astype(np.float64), strict=True))
        parts.append(pl.DataFrame({**split.metadata, **columns}).with_columns(split=pl.lit(name)))
    return pl.concat(parts)


def treated_cells(**sizes):
    """Cells of two mechanisms at full potency, of which nothing is ever limited to its range."""
    source = drawn(doses_um=(1.0, 1e6), cells_per_well=120, num_controls=8, sizes={**NOTHING, **sizes})
    return cells_of(source)


def mean_of(cells, condition):
    return cells.filter(condition).select(pictures.VARIED).mean().to_numpy()[0]


@pytest.fixture(scope="module")
def source():
    return drawn(image_size=32, seed=3)


def test_splits_have_the_shapes_of_the_contract(source):
    assert source.shape == (32, 32, 1)
    assert tuple(source.splits) == SPLITS
    assert source.class_names == ("DMSO", "mechanism 01", "mechanism 02")
    assert set(source.factor_names) == set(synthetic.FACTOR_NAMES)
    size = 2 * (2 * 2 * 2 + 6) * 3  # one plate of each of two batches
    for split in source.splits.values():
        assert split.num_examples == size
        assert {name: (array.shape, array.dtype) for name, array in split.arrays.items()} == {
            "x": ((size, 32, 32, 1), np.uint8),
            "label": ((size,), np.int32),
            "factors": ((size, 10), np.float32),
        }
        assert {len(column) for column in split.metadata.values()} == {size}
        names = np.array(["", *source.class_names[1:]])[split.arrays["label"]]
        np.testing.assert_array_equal(split.metadata["Metadata_MOA"], names)
    images = np.concatenate([split.arrays["x"].reshape(-1, 32 * 32) for split in source.splits.values()])
    assert len(np.unique(images, axis=0)) == 3 * size


def test_the_same_seed_draws_the_same_screen_and_another_seed_another(source):
    again, other = drawn(image_size=32, seed=3), drawn(image_size=32, seed=4)
    for name, split in source.splits.items():
        for key, array in split.arrays.items():
            np.testing.assert_array_equal(again.splits[name].arrays[key], array)
        for key, column in split.metadata.items():
            np.testing.assert_array_equal(again.splits[name].metadata[key], column)
        assert not np.array_equal(other.splits[name].arrays["x"], split.arrays["x"])
        assert not np.array_equal(other.splits[name].metadata["Metadata_Well"], split.metadata["Metadata_Well"])


def test_every_plate_has_every_treatment_once_and_its_controls(source):
    cells = cells_of(source)
    assert set(cells.group_by("Metadata_Plate", "Metadata_Well").len()["len"]) == {3}
    wells = cells.unique(["Metadata_Plate", "Metadata_Well"])
    assert wells.height == 6 * 14
    treated = wells.filter(~pl.col("Metadata_Control"))
    keys = ["Metadata_Plate", "Metadata_Compound", "Metadata_Dose_um"]
    assert treated.height == treated.unique(keys).height == 6 * 8
    controls = wells.filter(pl.col("Metadata_Control"))
    assert set(controls["Metadata_Compound"]) == {"DMSO"}
    assert controls["Metadata_Dose_um"].is_nan().all()
    assert set(controls.group_by("Metadata_Plate").len()["len"]) == {6}


def test_compounds_keep_their_wells_within_a_batch_alone(source):
    treated = cells_of(source).filter(~pl.col("Metadata_Control"))
    by = ["Metadata_Compound", "Metadata_Dose_um"]
    within = treated.group_by(*by, "Metadata_Batch").agg(pl.col("Metadata_Well").n_unique())
    assert set(within["Metadata_Well"]) == {1}
    assert treated.group_by(by).agg(pl.col("Metadata_Well").n_unique())["Metadata_Well"].max() == 2


def test_plates_are_in_one_split_and_the_last_of_each_batch_are_held_out():
    cells = cells_of(drawn(plates_per_batch=4, valid_plates=0, test_plates=2, cells_per_well=1))
    plates = cells.group_by("split").agg(pl.col("Metadata_Plate").unique().sort())
    assert dict(plates.iter_rows()) == {
        "train": ["plate 1-1", "plate 1-2", "plate 2-1", "plate 2-2"],
        "test": ["plate 1-3", "plate 1-4", "plate 2-3", "plate 2-4"],
    }


def test_wells_do_not_depend_on_the_split_that_their_plate_is_in():
    wells = []
    for held_out in ({"valid_plates": 1, "test_plates": 1}, {"valid_plates": 0, "test_plates": 2}):
        cells = cells_of(drawn(cells_per_well=400, num_controls=1, sizes={"mechanism": 3.0}, **held_out))
        by = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound"]
        wells.append(cells.group_by(by).agg(pl.col(pictures.VARIED).mean()).sort(by))
    assert wells[0][by].equals(wells[1][by])
    first, second = (table[list(pictures.VARIED)].to_numpy() for table in wells)
    assert np.abs(first - second).max() < 6 * np.sqrt(2 / 400)
    assert first.std() > 0.5


def test_controls_and_cells_that_nothing_is_done_to_have_the_same_documented_law():
    cells = treated_cells()
    for part in (cells.filter(pl.col("Metadata_Control")), cells.filter(~pl.col("Metadata_Control"))):
        values = part.select(pictures.VARIED).to_numpy()
        count = len(values)
        assert np.abs(values.mean(axis=0)).max() < 4.5 / np.sqrt(count)
        assert np.abs(values.std(axis=0) - 1).max() < 4.5 / np.sqrt(2 * count)
        apart = np.corrcoef(values.T) - np.eye(7)
        assert np.abs(apart).max() < 4.5 / np.sqrt(count)
        # Of a normal distribution, .6827 and .9545 lie within one and two standard deviations.
        for within, share in ((1, 0.6827), (2, 0.9545)):
            assert np.abs((np.abs(values) < within).mean(axis=0) - share).max() < 4.5 * 0.5 / np.sqrt(count)


def test_effects_of_treatments_leave_controls_as_they_are():
    plain, strong = (drawn(sizes={"mechanism": size, "compound": size}) for size in (0.0, 3.0))
    for name in SPLITS:
        is_control = plain.splits[name].metadata["Metadata_Control"]
        for key, array in plain.splits[name].arrays.items():
            np.testing.assert_array_equal(array[is_control], strong.splits[name].arrays[key][is_control])
        moved = plain.splits[name].arrays["x"] != strong.splits[name].arrays["x"]
        assert moved[~is_control].any()


def test_a_mechanism_moves_its_compounds_alike_by_the_size_asked_for():
    cells = treated_cells(mechanism=1.2)
    found = {}
    for number in (1, 2, 3):
        for dose in (1.0, 1e6):
            of_compound = pl.col("Metadata_Compound") == f"compound {number:03d}"
            found[number, dose] = mean_of(cells, of_compound & (pl.col("Metadata_Dose_um") == dose))
    error = 1 / np.sqrt(6 * 120)  # standard error of a factor
    assert np.linalg.norm(found[1, 1e6]) == pytest.approx(1.2, abs=4 * error)
    assert np.linalg.norm(found[1, 1.0]) == pytest.approx(0.6, abs=4 * error)  # at half_effect_um
    np.testing.assert_allclose(found[1, 1e6], found[2, 1e6], atol=6 * error)
    assert np.linalg.norm(found[1, 1e6] - found[3, 1e6]) > 0.4
    assert abs(found[1, 1e6][6]) < 5 * error  # nothing is done to the noise


def test_a_compound_has_a_direction_of_its_own():
    cells = treated_cells(compound=1.0)
    high = pl.col("Metadata_Dose_um") == 1e6
    first, second = (mean_of(cells, high & (pl.col("Metadata_Compound") == f"compound 00{i}")) for i in (1, 2))
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=0.15)
    assert np.linalg.norm(first - second) > 0.4


@pytest.mark.parametrize(("part", "column"), [("batch", "Metadata_Batch"), ("plate", "Metadata_Plate")])
def test_batches_and_plates_move_gain_focus_and_noise_alone(part, column):
    plates = {"batch": (20, 1), "plate": (1, 20)}[part]
    sizes = {**NOTHING, part: 0.8}
    source = drawn(
        num_batches=plates[0], plates_per_batch=plates[1], valid_plates=0, test_plates=0, cells_per_well=30, sizes=sizes
    )
    means = cells_of(source).group_by(column).agg(pl.col(pictures.VARIED).mean())
    assert means.height == 20
    spread = dict(zip(pictures.VARIED, means.select(pictures.VARIED).to_numpy().std(axis=0, ddof=1), strict=True))
    for name, found in spread.items():
        if name in ("brightness", "defocus_px", "noise"):
            assert found == pytest.approx(0.8, rel=0.5)  # 3 standard errors of 20 plates
        else:
            assert found < 0.1


def test_brightness_and_area_rise_with_rows_and_columns():
    cells = cells_of(drawn(num_controls=376, cells_per_well=1, num_batches=1, sizes={**NOTHING, "place": 3.0}))
    row = cells["Metadata_Well"].str.head(1).map_elements(lambda name: (ord(name) - 65) / 15, pl.Float64).to_numpy()
    column = (cells["Metadata_Well"].str.slice(1).cast(pl.Int64).to_numpy() - 1) / 23
    slopes = np.linalg.lstsq(
        np.stack([row, column, np.ones_like(row)], axis=1), cells.select(pictures.VARIED).to_numpy(), rcond=None
    )[0]
    expected = np.zeros((2, 7))
    expected[0, 2] = expected[1, 0] = 3.0
    np.testing.assert_allclose(slopes[:2], expected, atol=0.45)  # 4 standard errors of 1,128 wells


def test_wells_vary_in_stain_and_density():
    source = drawn(num_controls=376, cells_per_well=20, num_batches=1, sizes={**NOTHING, "typical": 1.0})
    wells = cells_of(source).group_by("Metadata_Plate", "Metadata_Well").agg(pl.col(pictures.VARIED).mean())
    covariance = np.cov(wells.select(pictures.VARIED).to_numpy().T)
    expected = np.eye(7) / 20
    expected[2, 2] += 1.0
    density = np.array([-0.6, 0, 0, 0, 0.8, 0, 0])
    np.testing.assert_allclose(covariance, expected + np.outer(density, density), atol=0.2)


def test_images_show_the_factors(source):
    split = source.splits["train"]
    _, seeds = synthetic.sample_factors(jnp.asarray(split.metadata["Metadata_Index"], jnp.uint32), 3)
    order = [pictures.FACTOR_NAMES.index(name) for name in synthetic.FACTOR_NAMES]
    images = np.asarray(synthetic.render(split.arrays["factors"][:, order], seeds, 32))
    # Compiled together, sampling and drawing may round single pixels differently.
    np.testing.assert_allclose(images.astype(int), split.arrays["x"].astype(int), atol=1)


def test_upright_cells_differ_in_nothing_but_their_pose(source):
    upright = drawn(image_size=32, seed=3, pose="upright").splits["train"]
    split = source.splits["train"]
    np.testing.assert_array_equal(upright.arrays["factors"][:, :7], split.arrays["factors"][:, :7])
    assert not upright.arrays["factors"][:, 7:].any()
    light = upright.arrays["x"][..., 0].astype(float)
    axis = np.arange(32) - 15.5
    light *= np.hypot(axis, axis[:, None]) < 11  # without neighbors
    light[light < 0.5 * light.max(axis=(1, 2), keepdims=True)] = 0
    total = light.sum(axis=(1, 2))
    x, y = (np.einsum(how, light, axis) / total for how in ("nhw,w->n", "nhw,h->n"))
    assert np.abs([x.mean(), y.mean()]).max() < 0.5
    wide, high = (np.einsum(how, light, axis**2) for how in ("nhw,w->n", "nhw,h->n"))
    long = split.arrays["factors"][:, 1] > 0.6
    assert np.mean((wide > high)[long]) > 0.9


def test_factors_stay_within_their_limits():
    factors = np.concatenate([split.arrays["factors"] for split in drawn(sizes={"batch": 9.0}).splits.values()])
    assert (factors[:, :7] >= pictures.LOW).all()
    assert (factors[:, :7] <= pictures.HIGH).all()
    assert (factors[:, :7] == pictures.LOW).any()
    np.testing.assert_array_less(np.abs(factors[:, 8:]), 2.0001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": {"mechanisms": 1.0}}, "no such effect: got 'mechanisms' in sizes; did you mean 'mechanism'?"),
        ({"sizes": {"batch": -1.0}}, "no such size: got batch=-1.0, expected 0 or more; change sizes.batch"),
        ({"sizes": {"batch": float("nan")}}, "no such size: got batch=nan, expected"),
        ({"sizes": {"batch": "big"}}, "no such size: got batch='big', expected"),
        ({"num_mechanisms": 100}, r"the wells do not fit on a plate: got 400 treated and 6 controls, .* 384"),
        ({"num_batches": 0}, "number out of range: got data.num_batches=0, expected 1 or more; correct it"),
        ({"num_controls": -1}, "number out of range: got data.num_controls=-1, expected 0 or more; correct it"),
        ({"doses_um": ()}, r"no such doses: got doses_um=\(\) and half_effect_um=1.0, expected one dose or more and"),
        ({"doses_um": (1.0, 0.0)}, "all of them above 0; correct them"),
        ({"half_effect_um": -1.0}, "no such doses: got doses_um=.* and half_effect_um=-1.0"),
        ({"cells_per_well": 0}, "number out of range: got data.cells_per_well=0, expected 1 or more; correct it"),
        ({"test_plates": 2}, "no such plates to hold out: got valid_plates=1 and test_plates=2 of 3 plates a batch"),
        ({"valid_plates": -1}, "number out of range: got data.valid_plates=-1, expected 0 or more; correct it"),
        ({"image_size": 7}, "number out of range: got data.image_size=7, expected 8 or more; correct it"),
        ({"pose": "up"}, "unknown pose 'up'; expected one of raw, upright; correct data.pose"),
    ],
)
def test_impossible_screens_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn(**arguments)


def test_images_become_features_profiles_and_scores(compiled_once, tmp_path):
    loaded = settings.to_dict(config.load("configs/tcvae_screen.py:tiny").values)
    loaded["train"].update({"num_devices": 1, "num_epochs": 1})
    repeats.run(loaded, tmp_path / "run")
    table = results.embed(tmp_path / "run", tmp_path / "run" / "latents.parquet")
    profiled = settings.to_dict(config.load("configs/profile_screen.py:tiny").values)
    profiled["profiles"]["path"] = str(table)
    wells, controls = run.read_wells(profiled, Columns(**profiled["columns"]))
    assert wells.names == ("z000", "z001", "z002", "z003")
    assert set(wells.metadata["Metadata_Cell_Count"]) == {4}
    assert (len(controls.judged), controls.judged.sum()) == (6 * (8 + 8), 6 * 8)
    cells = reading.read(table)
    first = {name: wells.metadata[name][-1] for name in ("Metadata_Plate", "Metadata_Well")}
    rows = cells.metadata.select(pl.all_horizontal(pl.col(n) == v for n, v in first.items())).to_series().to_numpy()
    np.testing.assert_allclose(wells.features[-1], cells.features[rows].mean(axis=0), rtol=1e-6)
    scores = run.run(profiled, tmp_path / "profile")
    assert list(scores) == ["raw", "standardized by plate", "spherized"]
    treated = reading.read(tmp_path / "profile" / "profiles" / "raw" / "screen_consensus.parquet")
    assert set(treated.metadata["Metadata_Dose_um"]) == {10.0}
    assert sorted(treated.metadata["Metadata_MOA"]) == [f"mechanism {number:02d}" for number in (1, 1, 2, 2)]
    assert (tmp_path / "profile" / "report.html").is_file()
