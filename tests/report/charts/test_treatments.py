"""Which treatments of a map have a color, and what the legend says of them."""

import numpy as np

from cellfx.report.charts import treatments


def test_the_largest_groups_have_looks_of_their_own_and_all_others_are_gray():
    groups = [f"m{number:02d}" for number in range(20) for _ in range(2)] + ["m19", None]
    figure = treatments.treatment_map(np.random.default_rng(0).normal(size=(42, 2)), groups, "Treatments")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["m19  3", *(f"m{number:02d}  2" for number in range(11)), "others  17"]
    looks = [(*each.get_facecolor()[0], len(each.get_paths()[0].vertices)) for each in axes.collections]
    assert len(set(looks)) == 13


def test_long_names_are_cut_and_a_legend_names_no_others_where_there_are_none():
    figure = treatments.treatment_map(np.eye(2), ["an inhibitor " * 10] * 2, "Treatments")
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text().endswith("…  2")
    assert len(text.get_text()) < 50
