"""Each notice by itself, on tables small enough to count in."""

import re

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps import spherize, variant
from cellfx.profiles.steps.variant import HELD_OUT
from cellfx.profiles.tables.simulated import simulated
from cellfx.profiles.tables.table import Profiles
from cellfx.screens import notices
from cellfx.screens.controls import Controls

COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound", "Metadata_MOA", dose="Metadata_Dose")


def wells(num_rows=12, num_features=3, names=None, **columns):
    plates = [f"p{row % 4}" for row in range(num_rows)]
    names = tuple(names or (f"f{i}" for i in range(num_features)))
    features = np.random.default_rng(0).normal(size=(num_rows, len(names)))
    return Profiles(features, names, pl.DataFrame({"Metadata_Plate": plates, **columns}))


def controls(mask, held_out=()):
    mask = np.array(mask, bool)
    fitted = mask & ~np.isin(np.arange(len(mask)), held_out)
    return Controls(fitted, mask if not len(held_out) else mask & ~fitted)


def test_what_was_read_is_counted():
    some = controls(np.arange(12) < 8, held_out=(0, 1))
    assert notices.counted(wells(), some, COLUMNS) == (
        "12 wells with 3 features on 4 plates, 8 of them negative controls, 2 held out"
    )
    one = wells(1, 1)
    assert notices.counted(one, controls([True]), COLUMNS) == (
        "1 well with 1 feature on 1 plate, 1 of them a negative control"
    )


@pytest.mark.parametrize(
    ("bare", "text"),
    [
        ((), None),
        ((2,), "no negative control on 1 plate with 3 wells: p2; what"),
        ((0, 1, 2, 3), "no negative controls: the config has no section controls; scores that compare"),
    ],
)
def test_plates_without_controls_are_named(bare, text):
    some = controls(~np.isin(np.arange(12) % 4, bare), held_out=(1,) if not bare else ())
    found = notices.of_wells(wells(), some, COLUMNS, None)
    assert [line[: len(text or "")] for line in found] == ([text] if text else [])


@pytest.mark.parametrize(
    "name",
    [
        *("ImageNumber", "ObjectNumber", "TableNumber", "Nuclei_Number_Object_Number", "Cells_ObjectNumber"),
        *("well_id", "plate_ID", "ID", "Group_Index", "index", "Unnamed: 0", "Image_ImageNumber"),
        *("__index_level_0__", "level_1", "Unnamed: 0.1", "Unnamed: 12", "Unnamed: 0_level_0", "", "_duplicated_0"),
        *("ImageNumber_x", "ObjectNumber.1", "Cells_Neighbors_FirstClosestObjectNumber_10"),
    ],
)
def test_names_of_counters_are_known(name):
    given, none = wells(names=("x", name)), controls(np.ones(12))
    said = repr(name) if name else "a column without a name"
    assert notices.of_wells(given, none, COLUMNS, None) == [
        (
            f"1 feature of 2 named like a counter or an id: {said}; leave them out with profiles.features, a regular "
            "expression that only features match, or begin their names with Metadata_"
        )
    ]
    assert notices.of_wells(given, none, COLUMNS, "x|y") == []


@pytest.mark.parametrize(
    ("names", "kind", "named"),
    [
        (
            (
                "Cells_Location_Center_X",
                "Cells_AreaShape_Center_Y",
                "Nuclei_Parent_Cells",
                "Cells_Children_Spots_Count",
            ),
            "named like a place or a count of objects, which say where a cell lay",
            4,
        ),
        (("Cells_AreaShape_BoundingBoxArea", "Cells_Number_Objects"), "named like a place or a count of objects", 2),
        (("A_x", "A_y", "B", "B.1", "C", "C_duplicated_0"), "named like what a merge left of a column that both", 4),
        (("B.1", "A_x", "Cells_AreaShape_Zernike_0_0", "Cells_Neighbors_NumberOfNeighbors_2"), "", 0),
    ],
)
def test_places_and_what_a_merge_left_are_told(names, kind, named):
    found = notices.of_wells(wells(names=names), controls(np.ones(12)), COLUMNS, None)
    start = f"{named} feature{'' if named == 1 else 's'} of {len(names)} {kind}"
    assert [line[: len(start)] for line in found] == [start] * bool(named)


def test_names_of_metadata_without_the_prefix_are_told():
    none = controls(np.ones(12))
    assert notices.of_wells(wells(names=("x", "Dose")), none, COLUMNS, None) == [
        "1 feature of 2 named like metadata: 'Dose'; call it Metadata_Dose if it is no feature"
    ]
    assert notices.of_wells(wells(names=("Doses", "dose_uM", "Cells_Column", "site")), none, COLUMNS, None) == [
        (
            "2 features of 4 named like metadata: 'dose_uM', 'site'; call them Metadata_dose_uM, Metadata_site if they "
            "are no features"
        )
    ]
    both = notices.of_wells(wells(names=("", "index", "x")), none, COLUMNS, None)
    assert both[0].startswith("2 features of 3 named like a counter or an id: a column without a name, 'index'; leave")


@pytest.mark.parametrize(
    "name",
    ["Cells_AreaShape_Solidity", "Cells_Granularity_16_RNA", "fluid", "Nuclei_Neighbors_NumberOfNeighbors_1", "z000"],
)
def test_names_of_features_are_not_taken_for_counters(name):
    assert notices.of_wells(wells(names=(name,)), controls(np.ones(12)), COLUMNS, None) == []


@pytest.mark.parametrize(("num_controls", "noticed"), [(3, True), (4, False)])
def test_controls_that_spherizing_makes_alike_are_counted(num_controls, noticed):
    given, some = wells(), controls(np.arange(12) < num_controls)
    fit = variant.Fit(given, (spherize.fit(given, some.fitted),))
    found = notices.of_steps("white", fit, some)
    assert [line.partition(",")[0] for line in found] == ["white: fitted on 3 controls"] * noticed
    assert notices.of_steps("white", fit, controls(np.arange(12) < 5, held_out=(3, 4))) == []


def test_the_smallest_group_is_the_one_that_is_told():
    given = wells(24, batch=["a"] * 8 + ["b"] * 12 + ["c"] * 4)
    some = controls(~np.isin(np.arange(24), (0, 1, 2, 3, 4, 22, 23)))
    fit = variant.Fit(given, (spherize.fit(given, some.fitted, by="batch"),))
    (found,) = notices.of_steps("white", fit, some)
    assert found.startswith(
        "white: fitted on 2 controls in batch 'c', one of 2 such groups, which are no more than the 3"
    )


def drawn(num_features=44, num_controls=6):
    """A screen of eight plates, and which wells are controls."""
    given = simulated(3, 4, num_batches=2, plates_per_batch=4, num_controls=num_controls, num_features=num_features)
    mask = given.metadata["Metadata_Control"].to_numpy()
    return given, controls(mask)


def noticed(steps, given, some, folder):
    plate = ("Metadata_Batch", "Metadata_Plate")
    return notices.of_steps("white", variant.fit(given, some.fitted, steps, plate, folder), some)


def test_what_no_control_varied_in_is_told_with_its_share(tmp_path):
    given, some = drawn(num_features=60)
    step = variant.Step("spherize", {"regularization": "pycytominer"})
    share, alike = noticed((step,), given, some, tmp_path)
    assert re.fullmatch(
        r"white: 48 controls do not vary in 13 and hardly in 1 of 60 directions: \d+\.\d % of a treated well's squared "
        r"norm lies there before spherizing, (\d+\.\d) % behind it; where that is most of it, select features, or "
        r"change regularization, epsilon or unseen of the step spherize",
        share,
    )
    assert alike.startswith("white: fitted on 48 controls, which are no more than the 60 features")
    # By batch, and of controls of which half is held out, it is the worst batch's fitted ones.
    out = some.all & (np.arange(len(some.all)) % 2 == 0)
    half = Controls(some.all & ~out, out)
    marked = given._replace(metadata=given.metadata.with_columns(pl.Series(HELD_OUT, out)))
    (share,) = noticed((variant.Step("spherize", {"by": "Metadata_Batch"}),), marked, half, tmp_path)
    assert re.match(r"white: 1\d controls in Metadata_Batch 'batch \d' do not vary in 4\d of 60 directions: ", share)
    few, enough = drawn(num_features=10), drawn(num_features=10, num_controls=20)
    for given, some in (few, enough):
        assert noticed((step,), given, some, tmp_path) == []


def test_a_spread_of_few_controls_and_what_it_costs_spherizing_are_told(tmp_path):
    given, some = drawn()
    steps = (variant.Step("standardize", {"on": "controls"}), variant.Step("spherize", {}))
    few, share = noticed(steps, given, some, tmp_path)
    assert few.startswith(
        "white: standardize is fitted on 6 controls in Metadata_Batch 'batch 1', Metadata_Plate 'plate 1-1', the "
        "fewest of 8 groups: a spread of fewer than 10 is known poorly"
    )
    assert share.startswith(
        "white: 48 controls do not vary in 4 and hardly in 2 of 44 directions (4 of them because of the steps before "
        "or of features that depend on each other): "
    )
    assert noticed((variant.Step("centre", {"on": "controls"}),), given, some, tmp_path) == []
    assert noticed((variant.Step("standardize", {}),), given, some, tmp_path) == []
    enough = drawn(num_controls=10)
    assert noticed(steps[:1], *enough, tmp_path) == []


def test_directions_that_controls_hardly_vary_in_are_told(tmp_path):
    given, some = drawn(num_features=46)
    text = "white: 48 controls do not vary in 0 and hardly in "
    (share,) = noticed((variant.Step("spherize", {}),), given, some, tmp_path)
    assert share.startswith(text)


def test_features_that_select_left_out_are_named_by_operation(tmp_path):
    given, some = wells(20, names=("a", "b", "c", "d", "e", "f")), controls(np.ones(20))
    given.features[0, :4] = np.nan
    step = variant.Step("select", {})
    assert noticed((step,), wells(20), some, tmp_path) == []
    given.features[:, 4] = 1
    (found,) = noticed((step,), given, some, tmp_path)
    assert found == (
        "white: select left out 5 of 6 features: 'a', 'b', 'c' and 1 more (drop_na_columns); 'e' (variance_threshold); "
        "dropped_features.json of the variant says why"
    )


def test_treatments_that_are_not_compared_are_told_by_their_rule():
    metadata = pl.DataFrame(
        {
            "Metadata_Compound": ["a", "a", "b", "c", "d"],
            "Metadata_Dose": [1.0, 10.0, 10.0, 10.0, 10.0],
            "Metadata_MOA": ["x", "x", "x", "y", None],
        }
    )
    rules = {"highest_dose": True, "mechanism_size": 2}
    assert notices.of_treatments(0, metadata, COLUMNS, rules) == [
        (
            "2 of 5 treatments are compared: 1 are no highest dose of a compound (compared.highest_dose) and 2 have no "
            "mechanism of 2 compounds or more (compared.mechanism_size)"
        )
    ]
    assert notices.of_treatments(0, metadata, COLUMNS, {}) == []
    assert notices.of_treatments(1, metadata, COLUMNS, {}) == [
        "no treatment in 1 well that are no controls: nothing in Metadata_Compound; they are left out of the treatments"
    ]


def test_folders_of_earlier_variants_are_named(tmp_path):
    assert notices.of_workdir(tmp_path, ["raw"]) == []
    for name in ("raw", "old", "older"):
        (tmp_path / "profiles" / name).mkdir(parents=True)
    assert notices.of_workdir(tmp_path, ["raw", "old", "older"]) == []
    assert notices.of_workdir(tmp_path, ["raw"]) == [
        "profiles/ also has what earlier runs in this workdir made: 'old', 'older'; remove it where it misleads"
    ]
    for name in ("raw", "dropped"):
        (tmp_path / "scores" / name).mkdir(parents=True)
    (tmp_path / "scores" / "columns.csv").touch()
    assert notices.of_workdir(tmp_path, ["raw", "old", "older"]) == [
        "scores/ also has what earlier runs in this workdir made: 'dropped'; remove it where it misleads"
    ]
