"""Plates of one name in several batches: a screen of them must come out as if every plate had a name of its own."""

import json

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns, screen_rules
from cellfx.profiles.steps import normalize, variant
from cellfx.profiles.steps.variant import Step
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.aggregate import aggregate
from cellfx.profiles.tables.simulated import Sizes, simulated
from cellfx.profiles.tables.table import Profiles, to_frame
from cellfx.screens import controls as profile_controls
from cellfx.screens import run
from cellfx.screens import scores as profile_scores
from cellfx.screens.page import pictures
from cellfx.screens.wells import read_columns, read_wells

BATCH, PLATE, WELL = plate_identity.BATCH, plate_identity.PLATE, plate_identity.WELL
COLUMNS = {"treatment": "Metadata_Compound", "compound": "Metadata_Compound", "mechanism": "Metadata_MOA"}
COLUMNS |= {"batch": BATCH}
KEPT = ["Metadata_Compound", "Metadata_MOA", "Metadata_Control"]


def screen(same_names):
    """96 wells of two batches of two plates, the batches far apart."""
    wells = simulated(
        *(3, 2), num_batches=2, plates_per_batch=2, num_controls=18, num_features=8, sizes=Sizes(batch=6.0), seed=1
    )
    number = pl.col(PLATE).str.slice(-1)
    name = number if same_names else pl.concat_str(pl.col(BATCH).str.slice(-1), number, separator="-")
    return to_frame(wells).with_columns(name.alias(PLATE))


def cells(table):
    """Two cells a well that differ."""
    shift = pl.col("^feature_.*$")
    return pl.concat([table.with_columns(shift * (1 + sign / 8)) for sign in (-1, 1)])


def asked(path, **changed):
    steps = (
        "standardize",
        {"name": "mad_robustize", "on": "controls"},
        {"name": "spherize", "by": PLATE, "method": "ZCA"},
    )
    effort = {"num_permutations": 9, "num_resamples": 20, "num_mp_permutations": 19, "null_size": 50, "ks": (1,)}
    return {
        "profiles": {"path": str(path)},
        "columns": COLUMNS,
        "controls": {"column": "Metadata_Control", "values": "true", "held_out": 0.5},
        "scores": effort,
        "pictures": {"nearest": 0, "plates": ("feature_000",), "by_plate": True},
        "variants": (("all", steps),),
        **changed,
    }


def test_plates_of_one_name_are_told_by_their_batch(tmp_path):
    """Every score to its digits, and what every step fitted, of wells and of wells that two like cells make."""
    found = []
    for same_names, pooled in ((False, False), (True, False), (True, True)):
        folder = tmp_path / f"{same_names} {pooled}"
        folder.mkdir()
        table, changed = screen(same_names).sort(BATCH, PLATE, WELL), {}
        if pooled:
            table, changed = pl.concat([table, table]), {"aggregate": {"by": [BATCH, PLATE, WELL, *KEPT]}}
        table.write_parquet(folder / "table.parquet")
        scores = run.run(asked(folder / "table.parquet", **changed), folder / "run")
        assert scores["all"].pop("notices")  # they name plates
        kinds = ("standardize", "mad_robustize", "spherize")
        fitted = [np.load(folder / "run" / "profiles" / "all" / f"{kind}.npz")["centre"] for kind in kinds]
        assert [len(centre) for centre in fitted] == [4, 4, 4]
        found.append((json.dumps(profile_scores.plain(scores)), fitted))
    for scores, fitted in found[1:]:
        assert scores == found[0][0]
        np.testing.assert_array_equal(fitted, found[0][1])


@pytest.mark.parametrize("by", [[BATCH, PLATE, WELL, *KEPT], [PLATE, WELL, *KEPT], None])
def test_cells_of_plates_of_one_name_are_not_pooled(by, tmp_path):
    """The batch is added where the cells have it; without ``by``, wells are told by it and the rest is annotated."""
    found = []
    for same_names in (True, False):
        table = screen(same_names)
        table.select(BATCH, PLATE, WELL, *KEPT).write_parquet(tmp_path / "map.parquet")
        changed = {"aggregate": {"by": by, "method": "mean"}}
        if by is None:
            on = {"path": str(tmp_path / "map.parquet"), "on": [BATCH, PLATE, WELL], "columns": KEPT}
            changed = {"aggregate": {"method": "mean"}, "annotate": on}
        cells(table.drop(KEPT) if by is None else table).write_parquet(tmp_path / "cells.parquet")
        found.append(read_wells(asked(tmp_path / "cells.parquet", **changed), read_columns(COLUMNS)))
    (wells, controls), (others, theirs) = found
    assert len(wells.features) == 96
    np.testing.assert_array_equal(wells.features, others.features)
    assert wells.metadata.drop(PLATE).equals(others.metadata.drop(PLATE))
    for mask, other in zip(controls, theirs, strict=True):
        np.testing.assert_array_equal(mask, other)


def test_wells_are_looked_at_twice_after_they_were_pooled(tmp_path):
    table = screen(same_names=True)
    odd = cells(table).with_columns(Metadata_Site=pl.Series([1] * len(table) + [2] * len(table)))
    odd.write_parquet(tmp_path / "cells.parquet")
    by = [BATCH, PLATE, WELL, *KEPT, "Metadata_Site"]
    settings = asked(tmp_path / "cells.parquet", aggregate={"by": by})
    message = r"there more than once: got 96 of 96, such as Metadata_Batch 'batch 1', Metadata_Plate '1', Metadata_Well"
    with pytest.raises(ValueError, match=message) as caught:
        read_wells(settings, read_columns(COLUMNS))
    assert str(caught.value).endswith("these rows differ in 'Metadata_Site'")
    settings["aggregate"] = {"by": by[:-1]}
    assert len(read_wells(settings, read_columns(COLUMNS))[0].features) == 96


def test_without_batches_the_name_alone_tells_a_plate(tmp_path):
    screen(same_names=True).write_parquet(tmp_path / "wells.parquet")
    columns = {**COLUMNS, "batch": None}
    with pytest.raises(ValueError, match=r"got 6 of 90, such as Metadata_Plate '1', Metadata_Well .*'Metadata_Batch'$"):
        read_wells(asked(tmp_path / "wells.parquet", columns=columns), read_columns(columns))


def test_the_usual_columns_are_found():
    wells = simulated(2, 2, num_batches=2, plates_per_batch=2, num_controls=8, num_features=8)
    assert normalize.fit(wells).by == (BATCH, PLATE)
    one = wells._replace(metadata=wells.metadata.drop(BATCH))
    assert normalize.fit(one).by == (PLATE,)
    same = wells._replace(metadata=wells.metadata.with_columns(pl.lit("1").alias(PLATE), pl.lit("A01").alias(WELL)))
    assert len(aggregate(same).features) == 2
    assert len(aggregate(same._replace(metadata=same.metadata.drop(BATCH))).features) == 1


def test_codes_and_names():
    metadata = pl.DataFrame({"b": ["x", "x", "y", None, None, "y"], "p": ["1", "2", "1", "1", "1", None]})
    assert plate_identity.codes(metadata, ("b", "p")).tolist() == [0, 1, 2, 3, 3, -1]
    assert [name for name, _ in plate_identity.named(metadata, ("b", "p"))] == [
        *("1 of batch x", "2", "1 of batch y", "1 of batch None", "None")
    ]
    assert plate_identity.identity("p", "p") == plate_identity.identity(None, "p") == ("p",)
    assert plate_identity.completed(["p", "w"], ("b", "p")) == ("b", "p", "w")
    assert plate_identity.completed(["w"], ("b", "p")) == ("w",)
    rules = screen_rules(metadata, np.zeros(6, bool), Columns(("p",), "p", plate="p", batch="b"))
    assert rules.plates.tolist() == [0, 1, 2, 3, 3, -1]


def test_a_replicate_is_compared_with_controls_of_its_own_plate():
    """Batches far apart: with plates of one name, controls of the other batch would be easy to tell from it."""
    scores = []
    for same_names in (True, False):
        table = screen(same_names)
        features = [name for name in table.columns if not name.startswith("Metadata_")]
        wells = Profiles(table.select(features).to_numpy(), tuple(features), table.select(pl.col("^Metadata_.*$")))
        made = profile_scores.Variant("raw", wells, table["Metadata_Control"].to_numpy(), wells)
        scores.append(profile_scores.score(made, read_columns(COLUMNS))["replicates"]["mean_average_precision"])
    np.testing.assert_array_equal(*scores)


def test_new_plates_need_their_batch(tmp_path):
    wells = simulated(2, 2, num_batches=2, plates_per_batch=2, num_controls=8, num_features=8)
    controls = wells.metadata["Metadata_Control"].to_numpy()
    made = variant.fit(wells, controls, (Step("standardize", {}),), (BATCH, PLATE), tmp_path).wells
    np.testing.assert_array_equal(variant.apply(tmp_path, wells).features, made.features)
    with pytest.raises(ValueError, match="step 1, standardize: no such metadata: got 'Metadata_Batch', expected some"):
        variant.apply(tmp_path, wells._replace(metadata=wells.metadata.drop(BATCH)))


def test_plates_of_one_name_are_pictured_each(tmp_path):
    table = screen(same_names=True)
    table.write_parquet(tmp_path / "wells.parquet")
    columns = read_columns(COLUMNS)
    wells, _ = read_wells(asked(tmp_path / "wells.parquet"), columns)
    drawn = pictures.plate_maps(wells, columns, ["feature_000"], by_plate=True)
    assert [figure.alt for figure in drawn] == [
        f"feature_000, plate {plate} of batch batch {batch}" for batch in (1, 2) for plate in (1, 2)
    ]
    with pytest.raises(ValueError, match=r"of 18 on plate 1 of batch batch 1, expected a share"):
        profile_controls.find(table, (BATCH, PLATE), "Metadata_Control", "true", 0.99)
