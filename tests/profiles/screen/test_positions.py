import numpy as np
import polars as pl
import pytest
from screens import numbered

from cellfx.profiles.chance.random_ranking import expected_average_precision
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.mean_average_precision import mean_average_precision
from cellfx.profiles.screen import positions
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort
from cellfx.screens import notices
from cellfx.screens import positions as profile_positions

COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound")


def screen(position, effect, moved=False, seed=0, num_treatments=24, num_controls=12, num_plates=4):
    """Four plates; treatments keep their wells, or are placed anew on each; controls always keep theirs."""
    rng = np.random.default_rng(seed)
    num_wells = num_treatments + num_controls
    of_place, of_treatment = position * rng.normal(size=(num_wells, 20)), effect * rng.normal(size=(num_treatments, 20))
    order = rng.permutation(num_wells)
    parts, rows = [], []
    for plate in range(num_plates):
        places = rng.permutation(order[:num_treatments]) if moved else order[:num_treatments]
        places = np.concatenate([places, order[num_treatments:]])
        parts.append(of_place[places] + rng.normal(size=(num_wells, 20)) + 0.5 * rng.normal(size=20))
        parts[-1][:num_treatments] += of_treatment
        names = [f"c{i}" if i < num_treatments else "DMSO" for i in range(num_wells)]
        rows += [(name, f"p{plate}", f"A{place:02d}") for name, place in zip(names, places, strict=True)]
    metadata = pl.DataFrame(rows, ["Metadata_Compound", "Metadata_Plate", "Metadata_Well"], orient="row")
    controls = (metadata["Metadata_Compound"] == "DMSO").to_numpy()
    return numbered(np.concatenate(parts), metadata), controls


def retrieved(wells, controls):
    treated = pl.when(~pl.Series(controls)).then(pl.col("Metadata_Compound")).alias("Metadata_Compound")
    marked = wells._replace(metadata=wells.metadata.with_columns(treated, control=pl.Series(controls)))
    found = average_precision(marked, ["Metadata_Compound"], [], ["Metadata_Plate"], ["control"])
    return mean_average_precision(found, marked.metadata, ["Metadata_Compound"]).fraction_retrieved


def test_treatments_are_found_for_their_positions_alone_and_the_null_knows():
    """Half of treatments that do nothing are retrieved; against control positions none of it is left."""
    p_values, shares = [], []
    for seed in range(20):
        wells, controls = screen(1.0, 0.0, seed=seed)
        shares.append(retrieved(wells, controls))
        p_values.append(positions.beyond(wells, controls, COLUMNS, num_permutations=99).p_value)
    assert np.mean(shares) > 0.5
    assert np.mean(np.array(p_values) <= 0.05) < 0.21


def test_effects_are_beyond_positions():
    for position in (0.0, 0.7):
        found = positions.beyond(*screen(position, 1.0), COLUMNS, num_permutations=99)
        assert found.p_value == 0.01
        assert found.difference > 0.1
        assert (found.num_treatments, found.num_positions) == (24, 12)


@pytest.mark.parametrize("kernel", ["cosine", "euclidean"])
def test_control_positions_are_scored_as_treatments_are(kernel):
    wells, controls = screen(0.5, 0.0)
    found = positions.beyond(wells, controls, COLUMNS, kernel, num_permutations=1)
    well = pl.when(pl.Series(controls)).then(pl.col("Metadata_Well")).alias("Metadata_Well")
    marked = wells._replace(metadata=wells.metadata.with_columns(well))
    rules = ["Metadata_Well"], ["Metadata_Plate"], ["Metadata_Plate"], ["Metadata_Well"]
    alone = average_precision(marked, *rules, similarity=kernel)
    np.testing.assert_allclose(found.of_positions, alone.average_precision.mean(), rtol=1e-9)
    of = pl.when(~pl.Series(controls)).then(pl.col("Metadata_Compound")).alias("Metadata_Compound")
    marked = wells._replace(metadata=wells.metadata.with_columns(of, control=pl.Series(controls)))
    rules = ["Metadata_Compound"], [], ["Metadata_Plate"], ["control"]
    ours = average_precision(marked, *rules, similarity=kernel)
    chance = expected_average_precision(ours.num_positives, ours.num_pairs)
    normalised = np.mean((ours.average_precision - chance) / (1 - chance))
    np.testing.assert_allclose(found.difference, normalised - alone.normalised.mean(), rtol=1e-9)


def test_treatments_that_move_are_judged_by_exchanges_within_positions():
    shares = {}
    for effect in (0.0, 0.7):
        found = [
            positions.kept_in_place(*screen(1.0, effect, True, seed), COLUMNS, num_permutations=39)
            for seed in range(10)
        ]
        shares[effect] = np.mean([p <= 0.05 for _, p in found])
    assert shares[0.0] <= 0.3
    assert shares[0.7] == 1.0
    # Treatments that never move keep their wells in every exchange.
    assert positions.kept_in_place(*screen(0.0, 2.0), COLUMNS, num_permutations=9)[1] == 1.0


def on_plates(seed, per_plate, effect=0.0):
    """Four plates that differ, of treatments in random wells: all four wells on one plate, or one on each plate."""
    rng = np.random.default_rng(seed)
    of_treatment, parts, rows = effect * rng.normal(size=(24, 20)), [], []
    for plate in range(4):
        treatments = np.arange(24) if per_plate == 1 else np.repeat(np.arange(24)[plate::4], 4)
        parts.append(of_treatment[treatments] + rng.normal(size=(24, 20)) + 0.7 * rng.normal(size=20))
        rows += [(f"c{i}", f"p{plate}", f"A{j:02d}") for i, j in zip(treatments, rng.permutation(24), strict=True)]
    metadata = pl.DataFrame(rows, ["Metadata_Compound", "Metadata_Plate", "Metadata_Well"], orient="row")
    return numbered(np.concatenate(parts), metadata), np.zeros(96, bool)


@pytest.mark.parametrize("per_plate", [1, 4])
def test_plates_that_differ_are_neither_found_nor_in_the_way_where_positions_are_kept(per_plate):
    """Exchanges within positions move wells to other plates: with plates as they are p is 0.025, or above 0.8."""
    alone = [
        positions.kept_in_place(*on_plates(seed, per_plate), COLUMNS, num_permutations=39)[1] for seed in range(20)
    ]
    assert np.mean(np.array(alone) <= 0.05) <= 0.2
    assert min(alone) < 0.8
    assert positions.kept_in_place(*on_plates(0, per_plate, 1.0), COLUMNS, num_permutations=39)[1] == 0.025


def test_which_test_is_made_and_what_is_said():
    effort = Effort(num_permutations=9)
    for moved, names in ((False, {profile_positions.NAME, profile_positions.BEYOND}), (True, {profile_positions.KEPT})):
        wells, controls = screen(0.0, 1.0, moved)
        assert set(profile_positions.score(wells, controls, COLUMNS, "cosine", effort)) == names
        said = profile_positions.notice(wells, controls, COLUMNS)
        assert [text[:54] for text in said] == (
            [] if moved else ["24 of 24 treatments with several wells always stand in"]
        )
    assert profile_positions.notice(wells, controls, COLUMNS._replace(well=None)) == []
    with pytest.raises(ValueError, match="too few positions to compare: got 0 of controls and 36 of treatments"):
        positions.beyond(wells, np.zeros(len(controls), bool), COLUMNS._replace(treatment=("Metadata_Well",)))


def test_replicates_that_cannot_be_significant_are_said():
    """Six controls a plate and three replicates: no p-value lies below 1 / 28."""
    few, enough = np.full(96, 1 / 28), np.full(96, 1e-5)
    said = notices.of_retrieval("raw", {"replicates": {"least_p_value": few}})
    assert len(said) == 1
    assert "raw: no treatment's p-value can be below 0.036" in said[0]
    assert "corrected for 96 treatments, 69 of them must be perfect before one is retrieved" in said[0]
    never = notices.of_retrieval("raw", {"replicates": {"least_p_value": np.full(3, 0.1)}})
    assert "corrected for 3 treatments, none can be" in never[0]
    for scores in ({"replicates": {"least_p_value": enough}}, {"replicates": None}):
        assert notices.of_retrieval("raw", scores) == []
    wells, controls = screen(0.0, 0.0, num_treatments=8, num_controls=6, num_plates=3)
    treated = pl.when(~pl.Series(controls)).then(pl.col("Metadata_Compound")).alias("Metadata_Compound")
    marked = wells._replace(metadata=wells.metadata.with_columns(treated, control=pl.Series(controls)))
    found = average_precision(marked, ["Metadata_Compound"], [], ["Metadata_Plate"], ["control"])
    least = mean_average_precision(found, marked.metadata, ["Metadata_Compound"]).least_p_value
    np.testing.assert_allclose(least, 1 / 28, rtol=1e-12)
