"""Maps of treatments, their nearest with cells, and plates: what is drawn is what was given."""

import numpy as np
import polars as pl
import pytest

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles
from cellfx.screens.page import neighbours, pictures
from cellfx.screens.scores import Columns

COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound", "Metadata_MOA")


def treatments(num_mechanisms=4, size=5, noise=0.2, seed=0):
    """Treatments whose mechanisms lie far apart; the first mechanism has one treatment more."""
    rng = np.random.default_rng(seed)
    mechanism = np.append(np.repeat(np.arange(num_mechanisms), size), 0)
    features = rng.normal(size=(num_mechanisms, 20))[mechanism] + noise * rng.normal(size=(len(mechanism), 20))
    names = [f"compound {number:02d}" for number in range(len(mechanism))]
    metadata = {"Metadata_Compound": names, "Metadata_MOA": [f"mechanism {number}" for number in mechanism]}
    return Profiles(features, tuple(f"feature_{i}" for i in range(20)), pl.DataFrame(metadata))


def wells():
    metadata = {
        "Metadata_Plate": ["one"] * 3 + ["two"] * 3,
        "Metadata_Well": ["A01", "A02", "B01"] * 2,
        "Metadata_Count": [1, 2, None, 3, 6, 9],
        "Metadata_Compound": list("abcabc"),
    }
    features = np.array([[1.0, -2.0, 3.0, 3.0, 0.0, 1.0], [np.nan] * 6]).T
    return Profiles(features, ("Area", "Nothing"), pl.DataFrame(metadata))


def said(figure):
    """The note below the title."""
    return figure.drawn.texts[1].get_text().replace("\n", " ")


def test_the_map_puts_mechanisms_apart_and_is_the_same_again():
    treated = treatments()
    figure = pictures.treatment_map(treated, COLUMNS, seed=3)
    again = pictures.treatment_map(treated, COLUMNS, seed=3)
    groups = [np.asarray(each.get_offsets()) for each in figure.drawn.axes[0].collections]
    assert [len(group) for group in groups] == [0, 6, 5, 5, 5]  # first what has no color
    for group, same in zip(groups, again.drawn.axes[0].collections, strict=True):
        np.testing.assert_array_equal(group, same.get_offsets())
    middles = np.stack([group.mean(axis=0) for group in groups[1:]])
    for number, group in enumerate(groups[1:]):
        nearest = np.linalg.norm(group[:, None] - middles[None], axis=2).argmin(axis=1)
        assert set(nearest) == {number}
    assert "seed 3" in " ".join(text.get_text() for text in figure.drawn.texts)


def test_a_map_without_mechanisms_has_one_color():
    figure = pictures.treatment_map(treatments(), COLUMNS._replace(mechanism=None))
    assert [len(each.get_offsets()) for each in figure.drawn.axes[0].collections] == [21]


@pytest.mark.parametrize(
    ("count", "noise", "got"), [(3, 0.2, "3, expected"), (5, 0.0, "5, all of them alike, expected")]
)
def test_no_map_is_made_of_too_few_or_of_one(count, noise, got):
    treated = treatments(1, count - 1, noise)
    with pytest.raises(ValueError, match=f"no map of treatments: got {got} four or more that differ;"):
        pictures.treatment_map(treated, COLUMNS)


def test_the_nearest_are_those_of_a_sorted_correlation_matrix():
    treated = treatments(noise=1.0)
    found = neighbours.nearest(treated, COLUMNS, ["compound 07", "compound 20"], 3)
    names, mechanisms = (treated.metadata[name].to_list() for name in ("Metadata_Compound", "Metadata_MOA"))
    correlation = np.corrcoef(treated.features)
    np.fill_diagonal(correlation, -np.inf)
    assert len(found) == 6
    for place, row in enumerate(found.iter_rows(named=True)):
        own = names.index(row["treatment"])
        other = int(np.argsort(-correlation[own])[place % 3])
        assert (row["neighbour"], row["neighbour_mechanism"]) == (names[other], mechanisms[other])
        assert row["similarity"] == pytest.approx(correlation[own, other], abs=1e-12)
        assert row["same"] == (mechanisms[own] == mechanisms[other])
    assert {True, False} == set(found["same"])


def test_the_first_of_the_largest_mechanisms_are_looked_at_unless_others_are_named():
    found = neighbours.nearest(treatments(7, 2), COLUMNS, k=1)
    assert found["treatment"].to_list() == ["compound 00", "compound 02", "compound 04", "compound 06", "compound 08"]
    unknown = neighbours.nearest(treatments(7, 2), COLUMNS._replace(mechanism=None), k=1)
    assert unknown["treatment"].to_list() == [f"compound {number:02d}" for number in range(5)]
    assert not unknown["same"].any()


def test_doses_of_a_compound_are_treatments_of_their_own():
    treated = treatments(2, 2)
    metadata = treated.metadata.with_columns(
        Metadata_Compound=pl.Series(list("aabbc")), Metadata_Dose=pl.Series([1, 2] * 2 + [1])
    )
    columns = COLUMNS._replace(treatment=("Metadata_Compound", "Metadata_Dose"))
    found = neighbours.nearest(treated._replace(metadata=metadata), columns, ["a · 2"], 1)
    assert found["neighbour"].to_list() in (["a · 1"], ["c · 1"])


def test_a_treatment_is_named_once_in_the_table():
    table = neighbours.nearest_table(neighbours.nearest(treatments(), COLUMNS, k=2))
    assert [row[0] for row in table.rows] == [
        "compound 00",
        "",
        "compound 05",
        "",
        "compound 10",
        "",
        "compound 15",
        "",
    ]
    assert {row[-1] for row in table.rows} == {"yes"}
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_cells_are_shown_of_treatments_that_have_some():
    found = neighbours.nearest(treatments(), COLUMNS, ["compound 00", "compound 05"], 3)
    shown = found["neighbour"].to_list()[:2]
    images = {name: np.zeros((4, 8, 8, 1)) for name in ("compound 00", *shown)}
    figures = neighbours.nearest_galleries(found, images)
    assert [figure.name for figure in figures] == ["nearest_0"]
    words = [text.get_text() for axes in figures[0].drawn.axes for text in axes.texts]
    assert words[::2] == ["compound 00", *shown]
    assert words[1] == "mechanism 0"
    assert all(word.endswith("the same mechanism") for word in words[3::2])


def test_cells_are_drawn_from_their_treatments_and_the_same_again():
    table = {"Metadata_Compound": list("aaaabbcc"), "Metadata_File": [f"{i}.png" for i in range(7)] + [None]}
    cells = pl.LazyFrame(table)
    found = neighbours.cell_files(cells, COLUMNS, ["a", "c", "d"], 2)
    assert list(found) == ["a", "c"]
    assert len(set(found["a"])) == 2
    assert set(found["a"]) <= {"0.png", "1.png", "2.png", "3.png"}
    assert found["c"] == ["6.png"]
    assert neighbours.cell_files(cells, COLUMNS, ["a", "c", "d"], 2) == found


def test_a_plate_shows_the_mean_of_plates_or_each_on_one_scale():
    (mean,) = pictures.plate_maps(wells(), COLUMNS, ["Count"])
    shown = mean.drawn.axes[0].images[0].get_array()
    assert shown[0, :2].tolist() == [2.0, 4.0]
    assert shown[1, 0] == 9.0  # of the plate that has a value there
    one, two = pictures.plate_maps(wells(), COLUMNS, ["Metadata_Count"], by_plate=True)
    assert [figure.name for figure in (one, two)] == ["plate_map_0", "plate_map_1"]
    assert one.alt == "Count, plate one"
    assert np.isnan(one.drawn.axes[0].images[0].get_array().filled(np.nan)[1, 0])
    assert one.drawn.axes[0].images[0].get_clim() == two.drawn.axes[0].images[0].get_clim() == (1.0, 9.0)


def test_a_mean_over_plates_says_where_it_mixes_treatments():
    (same,) = pictures.plate_maps(wells(), COLUMNS, ["Count"])
    assert said(same).endswith("Gray: no well, or none with a value. Mean over plates.")
    own = wells()
    other = own._replace(metadata=own.metadata.with_columns(Metadata_Compound=pl.Series(list("abcacb"))))
    (mixed,) = pictures.plate_maps(other, COLUMNS, ["Area"])
    assert said(mixed).endswith("Mean over plates, whose layouts differ: 2 of 3 places mix different treatments.")
    for figure in pictures.plate_maps(other, COLUMNS, ["Area"], by_plate=True):
        assert "Mean" not in said(figure)


def test_the_variant_is_named_where_its_values_are_shown():
    area, count = pictures.plate_maps(wells(), COLUMNS, ["Area", "Count"], variant="spherized")
    assert area.alt == "Area, mean of 2 plates, spherized"
    assert count.alt == "Count, mean of 2 plates"
    assert pictures.treatment_map(treatments(), COLUMNS, variant="raw").alt.startswith(
        "t-SNE of 21 treatments by likeness, raw, in colors"
    )
    assert pictures.clustering(treatments(), COLUMNS, "raw").alt == "Treatments by likeness, raw"


def test_the_strength_of_wells_is_the_root_mean_square_of_their_features():
    table = wells()._replace(features=np.array([[3.0, 4.0]] * 6), names=("a", "b"))
    counted = table._replace(metadata=table.metadata.rename({"Metadata_Count": "Metadata_Cell_Count"}))
    (strength,) = pictures.strength_maps(table, COLUMNS, "raw")
    assert strength.alt == "How far wells lie from the origin, raw"
    shown = strength.drawn.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(np.nan)[0, :2], np.sqrt(12.5))
    names = [figure.name for figure in pictures.strength_maps(counted, COLUMNS)]
    assert names == ["plate_strength", "plate_cell_count"]
    assert pictures.strength_maps(table, COLUMNS._replace(well=None)) == []


def test_treatments_are_clustered_by_correlation_under_their_names_and_mechanisms():
    treated = treatments(2, 2)
    figure = pictures.clustering(treated, COLUMNS).drawn
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert sorted(labels)[0] == "compound 00 · mechanism 0"
    order = [int(label.split()[1]) for label in labels]
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, np.corrcoef(treated.features)[np.ix_(order, order)], atol=1e-12)


def test_features_with_a_sign_are_colored_about_zero():
    (figure,) = pictures.plate_maps(wells(), COLUMNS, ["Area"])
    low, high = figure.drawn.axes[0].images[0].get_clim()
    assert (low, high) == (-2.0, 2.0)


WRONG = {
    "k": (
        lambda: neighbours.nearest(treatments(), COLUMNS, k=0),
        "no number of neighbors: got k=0, expected 1",
    ),
    "treatment": (
        lambda: neighbours.nearest(treatments(), COLUMNS, ["compund 07"]),
        "no such treatment: got 'compund 07' in treatment, expected one of 21 such as 'compound 07'",
    ),
    "file column": (
        lambda: neighbours.cell_files(
            pl.LazyFrame({"Metadata_Compound": ["a"], "Metadata_Files": [""]}), COLUMNS, ["a"]
        ),
        (
            "no pictures of cells without their files and treatments: got no column 'Metadata_File'; did you mean "
            "'Metadata_Files'?"
        ),
    ),
    "no cell": (
        lambda: neighbours.cell_files(
            pl.LazyFrame({"Metadata_Compound": ["a"], "Metadata_File": [""]}), COLUMNS, ["b"]
        ),
        "no cell of these treatments: got 'b', expected values of Metadata_Compound; correct the table of cells",
    ),
    "column": (
        lambda: pictures.plate_maps(wells(), COLUMNS, ["Metadata_Cuont"]),
        (
            "no column to draw on a plate: got 'Metadata_Cuont', expected a feature or column of metadata; did you "
            "mean 'Metadata_Count'?"
        ),
    ),
    "text": (
        lambda: pictures.plate_maps(wells(), COLUMNS, ["Compound"]),
        "no numbers to draw on a plate: got String in 'Compound', expected a column of numbers; choose another",
    ),
    "empty": (
        lambda: pictures.plate_maps(wells(), COLUMNS, ["Nothing"]),
        "nothing to draw on a plate: got no finite value in 'Nothing', expected some; leave it out",
    ),
    "no wells": (
        lambda: pictures.plate_maps(wells(), COLUMNS._replace(well=None), ["Area"]),
        "no map of a plate without wells: got columns.well None, expected a column; name it",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_is_said_in_one_line(case):
    draw, message = WRONG[case]
    with pytest.raises(ValueError, match=r".") as caught:
        draw()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_picture_is_left_out_as_a_defect_by_the_class_of_its_error(capsys):
    def fail(error):
        raise error

    left_out = {}
    pictures.attempt(left_out, "map", fail, UserError("too few rows"))
    pictures.attempt(left_out, "plate", fail, ValueError("shapes: got 3, expected 4"))
    assert left_out["map"] == "too few rows"
    assert left_out["plate"] == "a defect of cellfx, please report it: ValueError: shapes: got 3, expected 4"
    assert "Traceback" in capsys.readouterr().err
