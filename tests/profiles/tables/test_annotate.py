import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.annotate import annotate, explained
from cellfx.profiles.tables.reading import read
from cellfx.profiles.tables.table import Profiles


def wells():
    metadata = pl.DataFrame({
        "Metadata_Plate": [7, 8, 7, 9, None],
        "Metadata_Well": ["A01", "A01", "A02", "A01", "A01"],
    })  # fmt: skip
    return Profiles(np.arange(10.0).reshape(5, 2), ("x", "y"), metadata)


def platemap():
    return pl.DataFrame({
        "Plate": ["7", "7", "8", "8", None],
        "well": ["A02", "A01", "A01", "A02", "A01"],
        "compound": ["c2", "c1", None, "c4", "c5"],
        "Metadata_dose": [2.0, 1.0, 3.0, 4.0, 5.0],
    })  # fmt: skip


KEYS = {"Metadata_Plate": "Plate", "Metadata_Well": "well"}


def test_rows_get_what_is_known_of_them():
    result = annotate(wells(), platemap(), KEYS)
    assert result.profiles.metadata.to_dict(as_series=False) == {
        "Metadata_Plate": [7, 8, 7, 9, None],
        "Metadata_Well": ["A01", "A01", "A02", "A01", "A01"],
        "Metadata_compound": ["c1", None, "c2", None, None],
        "Metadata_dose": [1.0, 3.0, 2.0, None, None],
    }
    np.testing.assert_array_equal(result.profiles.features, wells().features)
    assert result.num_missing == 2
    assert result.missing.rows() == [(9, "A01"), (None, "A01")]
    assert result.num_unused == 2
    assert result.unused.rows() == [("8", "A02")]  # the other has no plate


def test_keys_that_find_nothing_are_shown_beside_those_that_are_there():
    def told(plates, wells_of):
        return explained(annotate(wells(), pl.DataFrame({"Plate": plates, "well": wells_of, "x": "c"}), KEYS))

    start = "5 of 5 wells, such as Metadata_Plate "
    assert told(["07", "7.0"], ["a1 ", "A2"]) == (
        f"{start}7 Metadata_Well 'A01' and Metadata_Plate 7 Metadata_Well 'A02', where it has Metadata_Plate '07' "
        "Metadata_Well 'a1 ' and Metadata_Plate '7.0' Metadata_Well 'A2'; 2 of these keys differ only in capitals, "
        "spaces or padding with zeros: write them alike"
    )
    assert told(["70"], ["A10"]) == (
        f"{start}7 Metadata_Well 'A01' and Metadata_Plate 8 Metadata_Well 'A01', where it has Metadata_Plate '70' "
        "Metadata_Well 'A10'"
    )
    nothing = annotate(wells(), platemap()[:2], KEYS)
    shown = "Metadata_Plate 8 Metadata_Well 'A01' and Metadata_Plate 9 Metadata_Well 'A01'"
    assert explained(nothing) == f"3 of 5 wells, such as {shown}"
    unknown = wells()._replace(metadata=wells().metadata.with_columns(Metadata_Plate=None))
    assert explained(annotate(unknown, platemap(), KEYS)) == "5 of 5 wells, which have no key"


def test_keys_of_one_name():
    named = platemap().rename({"well": "Well"})
    for on in (["Metadata_Plate", "Metadata_Well"], ["Plate", "Well"]):
        result = annotate(wells(), named, on)
        assert result.profiles.metadata.equals(annotate(wells(), platemap(), KEYS).profiles.metadata)


def test_a_column_of_whole_numbers_with_gaps_has_the_same_keys():
    points = platemap().with_columns(pl.col("Plate").cast(pl.Float64))
    assert annotate(wells(), points, KEYS).profiles.metadata.equals(
        annotate(wells(), platemap(), KEYS).profiles.metadata
    )
    ours = wells()._replace(metadata=wells().metadata.with_columns(pl.col("Metadata_Plate").cast(pl.Float64)))
    assert annotate(ours, platemap(), KEYS).num_missing == 2


def test_compounds_after_platemaps():
    first = annotate(wells(), platemap(), KEYS).profiles
    compounds = pl.DataFrame({"name": ["c1", "c9"], "moa": ["m", "n"]})
    result = annotate(first, compounds, {"Metadata_compound": "name"})
    assert result.profiles.metadata["Metadata_moa"].to_list() == ["m", None, None, None, None]
    assert (result.num_missing, result.num_unused) == (4, 1)
    assert result.missing.rows() == [(None,), ("c2",)]


def test_real_annotations(data_folder):
    profiles = read(data_folder / "jump" / "BR00117010_normalized_feature_select_negcon_batch.csv.gz")
    compounds = pl.read_csv(
        data_folder / "jump" / "JUMP-Target-1_compound_metadata_additional_annotations.tsv", separator="\t"
    ).select("broad_sample", "moa_list")
    result = annotate(profiles, compounds, {"Metadata_broad_sample": "broad_sample"})
    known = profiles.metadata["Metadata_broad_sample"].is_not_null()
    assert result.num_missing == (~known).sum() == 64
    assert result.missing.rows() == [(None,)]
    controls = annotate(profiles, compounds, {"Metadata_broad_sample": "broad_sample"}, match_missing=True)
    assert controls.num_missing == 0
    by_hand = dict(compounds.rows())
    expected = [by_hand[name] for name in profiles.metadata["Metadata_broad_sample"]]
    assert controls.profiles.metadata["Metadata_moa_list"].to_list() == expected
    assert by_hand[None] == "control vehicle"
    expected = [mechanism if there else None for mechanism, there in zip(expected, known, strict=True)]
    assert result.profiles.metadata["Metadata_moa_list"].to_list() == expected


def test_bad_input():
    doubled = pl.concat([platemap(), platemap()[:2]])
    with pytest.raises(
        ValueError, match="got 1 keys with several rows, the first Metadata_Plate None, Metadata_well 'A"
    ):
        annotate(wells(), pl.concat([platemap(), platemap()[4:]]), KEYS, match_missing=True)
    assert annotate(wells(), pl.concat([platemap(), platemap()[4:]]), KEYS).num_unused == 3
    with pytest.raises(
        ValueError, match="got 2 keys with several rows, the first Metadata_Plate '7', Metadata_well 'A02' with 2, exp"
    ):
        annotate(wells(), doubled, KEYS)
    with pytest.raises(
        ValueError, match="got 'Metadata_Batch', expected one of Metadata_Plate, Metadata_Well of the pro"
    ):
        annotate(wells(), platemap(), ["Batch"])
    with pytest.raises(ValueError, match=r"got 'Metadata_Well', expected one of .*Metadata_dose of the annotation"):
        annotate(wells(), platemap(), ["Plate", "Well"])
    with pytest.raises(ValueError, match="no key to join by: got none"):
        annotate(wells(), platemap(), [])
    with pytest.raises(ValueError, match="metadata that would be there twice: got Metadata_Plate in the annotation"):
        annotate(wells(), platemap(), {"Metadata_Well": "well"})
    with pytest.raises(ValueError, match="metadata that would be there twice: got Metadata_dose in the annotation"):
        annotate(wells(), platemap().with_columns(dose=1), KEYS)
