"""Variants of a drawn screen, applied to its own wells and to the plates of another one."""

import json

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.steps import normalize, select, spherize, variant
from cellfx.profiles.steps.variant import HELD_OUT, Step
from cellfx.profiles.tables import reading
from cellfx.profiles.tables.simulated import simulated
from cellfx.profiles.tables.table import take, take_features

PLATE, BATCH = "Metadata_Plate", "Metadata_Batch"
ROBUST = Step("mad_robustize", {})
SELECT = Step("select", {"operations": ["variance_threshold", ["correlation_threshold", {"threshold": 0.3}]]})
GLOBAL = Step("standardize", {"by": [], "on": "controls"})
VARIANTS = {
    "raw": (),
    "all kinds": (ROBUST, SELECT, GLOBAL, Step("spherize", {})),
    "on controls": (SELECT, Step("robustize", {"on": "controls"}), Step("spherize", {"method": "PCA"})),
    "two of a kind": (Step("centre", {}), GLOBAL, Step("centre", {"by": BATCH}), SELECT, SELECT),
    "percentiles": (Step("percentile", {"on": "controls", "percentiles": [5, 95]}), Step("percentile", {"by": []})),
    "by batch": (Step("spherize", {"by": BATCH}),),
    "by plate": (Step("spherize", {"by": [PLATE]}),),
}


def drawn(seed=0):
    """128 wells of four plates in two batches, of 15 features, and which of them are controls."""
    wells = simulated(3, 4, num_batches=2, plates_per_batch=2, num_controls=20, num_features=15, seed=seed)
    wells.features[:, -1] = 1.0
    return wells, wells.metadata["Metadata_Control"].to_numpy()


def without(wells, name):
    return take_features(wells, [other for other in wells.names if other != name])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("held_out", [False, True])
def test_the_wells_of_a_run_come_out_as_they_did_there(name, held_out, tmp_path):
    wells, controls = drawn()
    if "spherize" in [step.kind for step in VARIANTS[name]] and name.startswith("by"):
        wells = without(wells, wells.names[-1])
    if held_out:
        out = controls & (np.arange(len(controls)) % 2 == 0)
        wells, controls = (
            wells._replace(metadata=wells.metadata.with_columns(pl.Series(HELD_OUT, out))),
            controls & ~out,
        )
    made = variant.fit(wells, controls, VARIANTS[name], PLATE, tmp_path).wells
    again = variant.apply(tmp_path, wells, controls)
    assert again.names == made.names
    np.testing.assert_array_equal(again.features, made.features)
    order = np.random.default_rng(0).permutation(len(wells.names))
    shuffled = wells._replace(features=wells.features[:, order], names=tuple(wells.names[i] for i in order))
    np.testing.assert_allclose(variant.apply(tmp_path, shuffled, controls).features, made.features, atol=1e-9)
    levels = {"select": "screen_normalized_feature_select", "spherize": "screen_spherized"}
    if VARIANTS[name]:
        written = reading.read(tmp_path / f"{levels.get(VARIANTS[name][-1].kind, 'screen_normalized')}.parquet")
        np.testing.assert_array_equal(again.features, written.features)


def test_new_plates_go_the_way_that_is_written_by_hand(tmp_path):
    wells, controls = drawn()
    made = variant.fit(wells, controls, VARIANTS["all kinds"], PLATE, tmp_path)
    new = drawn(seed=1)[0]
    new = take(new, new.metadata[PLATE] == "plate 2-1")
    _, selection, standard, spherizing = made.fitted
    expected = normalize.apply(normalize.fit(new), new)
    expected = normalize.apply(standard, take_features(expected, selection.kept))
    expected = spherize.apply(spherizing, expected)
    found = variant.apply(tmp_path, new)  # no step by plate fits on controls
    assert 0 < len(selection.kept) < len(wells.names)
    np.testing.assert_array_equal(found.features, expected.features)
    # What README said once, spherizing raw wells alone, is refused as soon as features were selected.
    with pytest.raises(ValueError, match="other features than it was fitted to: got 15, of which"):
        spherize.apply(spherize.load(tmp_path / "spherize.npz"), new)
    assert json.loads((tmp_path / "steps.json").read_text())["steps"][1] == {
        "kind": "select",
        "settings": {"operations": ["variance_threshold", ["correlation_threshold", {"threshold": 0.3}]]},
        "file": "select.npz",
    }


def test_several_steps_of_one_kind_keep_what_each_fitted(tmp_path):
    wells, controls = drawn()
    made = variant.fit(wells, controls, VARIANTS["two of a kind"], PLATE, tmp_path)
    files = {file.name for file in tmp_path.glob("*.npz")}
    assert files == {"centre.npz", "standardize.npz", "centre_2.npz", "select.npz", "select_2.npz"}
    assert normalize.load(tmp_path / "centre.npz").by == (PLATE,)
    assert normalize.load(tmp_path / "centre_2.npz").by == (BATCH,)
    assert select.load(tmp_path / "select_2.npz") == made.fitted[-1]
    assert set(json.loads((tmp_path / "dropped_features.json").read_text())) == set(wells.names) - set(made.wells.names)


def test_nothing_is_fitted_to_wells_that_are_held_out(tmp_path):
    """Values of 1e6 in them change none of the other wells."""
    steps = (ROBUST, Step("standardize", {"by": []}), Step("centre", {"on": "controls"}), Step("spherize", {}))
    results = []
    for value in (0.0, 1e6):
        wells, controls = drawn()
        wells = without(wells, wells.names[-1])
        out = controls & (np.arange(len(controls)) % 2 == 0)
        wells.features[out] += value
        wells = wells._replace(metadata=wells.metadata.with_columns(pl.Series(HELD_OUT, out)))
        made = variant.fit(wells, controls, steps, PLATE, tmp_path).wells
        results.append(made.features[~out])
    np.testing.assert_array_equal(*results)


def test_a_run_that_stopped_leaves_no_steps_behind(tmp_path):
    wells, controls = drawn()
    variant.fit(wells, controls, (ROBUST,), PLATE, tmp_path)
    with pytest.raises(ValueError, match=r"^step 2, spherize: ZCA-cor divides by a spread that is zero"):
        variant.fit(wells, controls, (ROBUST, Step("spherize", {})), PLATE, tmp_path)
    with pytest.raises(
        ValueError, match=r"no variant: got .* without a steps.json that can be read, expected the folder"
    ):
        variant.apply(tmp_path, wells)


def test_wells_that_cannot_go_that_way_are_refused(tmp_path):
    wells, controls = drawn()
    varying = without(wells, wells.names[-1])
    variant.fit(wells, controls, VARIANTS["on controls"], PLATE, tmp_path / "on controls")
    variant.fit(varying, controls, VARIANTS["by batch"], PLATE, tmp_path / "by batch")
    variant.fit(varying, controls, VARIANTS["by plate"], PLATE, tmp_path / "by plate")
    for name, number in (("on controls", "2, robustize"), ("by plate", "1, spherize")):
        with pytest.raises(
            ValueError, match=f"{name}: step {number}: no negative controls to fit to: got controls None"
        ):
            variant.apply(tmp_path / name, wells)
    kept = select.load(tmp_path / "on controls" / "select.npz").kept
    message = f"features that are missing: got 14 without '{kept[0]}', expected all {len(kept)} that it was fitted to"
    with pytest.raises(ValueError, match=message):
        variant.apply(tmp_path / "on controls", without(wells, kept[0]), controls)
    elsewhere = wells._replace(metadata=wells.metadata.with_columns(pl.lit("batch 9").alias(BATCH)))
    with pytest.raises(
        ValueError, match="step 1, spherize: nothing was fitted to this group: got Metadata_Batch 'batch 9'"
    ):
        variant.apply(tmp_path / "by batch", elsewhere, controls)
    with pytest.raises(ValueError, match="no such metadata: got 'Metadata_Plate'"):
        variant.apply(tmp_path / "on controls", wells._replace(metadata=wells.metadata.drop(PLATE)), controls)
    (tmp_path / "by batch" / "steps.json").write_text("{")
    with pytest.raises(ValueError, match="no variant: got"):
        variant.apply(tmp_path / "by batch", wells)
