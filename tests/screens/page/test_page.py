"""The page of profiles: what it says of variants, of infinite odds, of terms, and of what it leaves out."""

import html

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.tables.table import Profiles
from cellfx.screens.page import page as profile_page
from cellfx.screens.page import tables
from cellfx.screens.scores import Variant
from cellfx.screens.setting import Asked, Pictures

COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound", "Metadata_MOA")
HOSTILE = "<script>alert('x')</script> & \"q\""


def scored(enrichment=2.0, num_mechanisms=2, **more):
    """Scores as of ``screens.scores.score``, of few."""
    number = {"level": "treatments", "value": enrichment, "interval": [1.0, np.inf], "p_value": 0.005}
    names = [f"mechanism {i}" for i in range(num_mechanisms)]
    return {
        "num_treatments": 12,
        "scores": {"enrichment@0.995": number, "NSC": {"level": "treatments", "value": 0.5}},
        "left_out": {},
        "curves": {"percentiles": [0.99, 0.995], "odds_ratio": [2.0, enrichment]},
        "confusion": {"mechanisms": names, "counts": np.eye(num_mechanisms, dtype=int)},
        "subsets": {},
        **more,
    }


def variant(name):
    rng = np.random.default_rng(0)
    places = [f"{row}{column:02d}" for row in "ABC" for column in range(1, 9)]
    metadata = {
        "Metadata_Plate": ["one"] * 12 + ["two"] * 12,
        "Metadata_Well": places,
        "Metadata_Compound": [f"compound {i // 2}" for i in range(24)],
        "Metadata_MOA": [f"mechanism {i // 12}" for i in range(24)],
    }
    wells = Profiles(rng.normal(size=(24, 6)), tuple("abcdef"), pl.DataFrame(metadata))
    treated = wells._replace(features=wells.features[::2], metadata=wells.metadata[::2])
    return Variant(name, wells, np.zeros(24, bool), treated)


def written(scores, workdir, **asked):
    variants = [variant(name) for name in scores]
    page, _ = profile_page.write(variants, scores, COLUMNS, Asked(**asked), Pictures(), {}, workdir)
    return page.read_text()


def figures(name, make, *args):
    """Figures in place of the pictures that a page has of them."""
    found = make(*args)
    return [] if found is None else [found]


def of_mechanisms(scores):
    return profile_page._of_mechanisms({"raw": scores}, variant("raw"), COLUMNS, figures)


def cells(table):
    return [tuple(row) for row in table.rows]


def test_notices_stand_under_the_variants_and_once_where_all_share_one():
    both, one = "both say so", "one says so"
    scores = {"raw": scored(notices=[both]), "new": scored(notices=[one, both]), "old": scored(notices=[both, one])}
    _, notices = tables.comparison(scores, "cosine").parts
    assert (notices.caption, notices.columns) == ("Notices", ("variant", "notice"))
    assert cells(notices) == [("all", both), ("new, old", one)]


@pytest.mark.parametrize("more", [{}, {"notices": []}])
def test_without_a_notice_there_is_no_table_of_them(more):
    assert len(tables.comparison({"raw": scored(**more)}, "cosine").parts) == 1


def test_a_notice_stays_text_and_stands_before_what_is_certain(tmp_path):
    text = written({"raw": scored(), "new": scored(notices=[HOSTILE])}, tmp_path)
    assert HOSTILE not in text
    assert text.index(">Variants</h2>") < text.index(html.escape(HOSTILE)) < text.index(">How certain</h2>")


def test_cards_say_that_they_are_of_the_last_variant(tmp_path):
    cards = profile_page._cards({"raw": scored(3.0), "new": scored(4.0)}, "new")
    assert cards[0] == ("enrichment@0.995", "4", "last variant: new")
    assert profile_page._cards({"raw": scored(3.0)}, "raw")[0].note == "raw"
    assert "are of the last one, new." in written({"raw": scored(), "new": scored()}, tmp_path)


def test_cards_say_that_controls_judge_which_a_variant_was_fitted_on():
    def of(value, fitted):
        numbers = {"level": "wells", "value": value}
        scores = {"mAP of replicates": numbers, "NSC": numbers}
        return {"scores": scores, "fitted_on_controls": fitted}

    def notes(scores):
        return {card.label: card.note for card in profile_page._cards(scores, "white")}

    found = notes({"first": of(0.9, True), "raw": of(0.25, False), "white": of(0.5, True)})
    assert found["NSC"] == "last variant: white"
    judged = "judged by controls that it was fitted on"
    assert found["mAP of replicates"] == f"last variant: white; {judged} (raw, fitted on none: 0.25)"
    assert notes({"white": of(0.5, True)})["mAP of replicates"] == f"white; {judged}"
    assert set(notes({"raw": of(0.25, False), "white": of(0.5, False)}).values()) == {"last variant: white"}


def test_infinite_odds_are_explained_where_they_stand(tmp_path):
    finite = scored()
    finite["scores"]["enrichment@0.995"]["interval"] = [1.0, 3.0]
    for scores, explained in ({"raw": finite}, False), ({"raw": finite, "new": scored(np.inf)}, True):
        parts = tables.comparison(scores, "cosine").parts + tables.certainty(scores, 200).parts
        assert [tables.INFINITE in table.caption for table in parts] == [explained] * 2
        assert ["some of the draws" in table.caption for table in parts] == [False, explained]
    assert profile_page._cards({"raw": scored(np.inf)}, "raw")[0].note == "raw; odds without limit, see Variants"
    drawn = of_mechanisms(scored(np.inf))
    note = drawn[0].drawn.texts[1].get_text().replace("\n", " ")
    assert note.endswith(
        "infinite where all above it match, or all matches are above it. Triangles on the upper edge: infinite."
    )


def test_subsets_have_a_table_for_each_way_to_score_them():
    part = {"num_treatments": 5, "scores": {"NSC": {"level": "treatments", "value": 1.0}}}
    itself, averaged = tables.subsets({"raw": scored(subsets={"strong phenotype": part})}).parts
    assert cells(itself)[1] == ("raw", "strong phenotype", 5, "\N{EN DASH}", "\N{EN DASH}")
    assert cells(averaged)[1] == ("raw", "strong phenotype", 5, "\N{EN DASH}", "\N{EN DASH}", "1")
    assert itself.columns[3:] + averaged.columns[3:] == (*tables.OF_SUBSETS, *tables.MEANS)
    assert tables.subsets({"raw": scored()}) is None


def test_the_glossary_has_the_terms_of_the_scores_and_no_others():
    def terms(*names):
        return [row[0] for row in tables.glossary({"raw": {"scores": names}}).parts[0].rows]

    assert terms("NSC") == ["variant", "match", "NSC", "p"]
    assert terms("NSCB unreachable rows") == ["variant", "match", "unreachable rows", "p"]
    assert terms("recall@5", "average precision: percent retrieved", "percent mp-value below .05") == [
        *("variant", "match", "percent retrieved", "mp-value", "precision@k, recall@k", "p")
    ]
    assert terms("batch enrichment", "enrichment@0.98", "precision@R") == [
        *("variant", "match", "precision@R", "enrichment@.995", "batch enrichment", "p")
    ]


def test_a_small_p_value_has_a_minus_sign_that_does_not_break():
    assert tables.certain({"value": 1.0, "p_value": 4.5e-53}) == "1, p = 4.5e\N{MINUS SIGN}53"


def test_pictures_say_why_they_compare_by_another_similarity_than_the_scores(tmp_path):
    other = written({"raw": scored()}, tmp_path, similarity="cosine")
    assert "by Pearson correlation, though the scores use the cosine similarity: correlation" in other
    same = written({"raw": scored()}, tmp_path, similarity="pearson")
    assert "by Pearson correlation, as in the scores." in same


def test_a_figure_that_would_be_too_large_is_said_to_be_left_out(monkeypatch):
    monkeypatch.setattr(profile_page, "MAX_CLUSTERED", 11)
    for num_mechanisms, left_out in (24, False), (25, True):
        scores = scored(num_mechanisms=num_mechanisms)
        texts = profile_page._texts(scores, variant("raw"), Asked())
        assert ("as there are more than 24 mechanisms" in texts["Mechanisms"]) == left_out
        assert "clustering is left out, as there are more than 11" in texts["Treatments"]
        names = [each.name for each in of_mechanisms(scores)]
        assert ("confusion" in names) != left_out
    assert profile_page._of_treatments(variant("raw").treated, "raw", COLUMNS, Pictures(), figures) == []


def test_the_confusion_counts_treatments():
    drawn = of_mechanisms(scored())
    (confusion,) = [each.drawn for each in drawn if each.name == "confusion"]
    assert "number of treatments" in confusion.texts[1].get_text().replace("\n", " ")
