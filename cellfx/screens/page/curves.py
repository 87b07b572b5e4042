"""Curves that compare variants: enrichment by percentile, precision and recall at k, hits at k."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellfx.findings.page import Figure
from cellfx.report.charts import profiles

CURVES = {
    "enrichment": (
        "percentiles",
        "odds_ratio",
        "Enrichment",
        (
            "Odds that a pair above the percentile matches, over those of all others; infinite where all above it "
            "match, or all matches are above it."
        ),
        ("percentile of the similarities", "odds ratio"),
        1.0,
    ),
    "precision": ("k", "precision_at_k", "Precision at k", "Of the k nearest, the share that match.", ("k", ""), None),
    "recall": ("k", "recall_at_k", "Recall at k", "Of all matches, the share among the k nearest.", ("k", ""), None),
    "hits": (
        "hit_shares",
        "hit_gain",
        "Hits at k",
        "Share of all matches within the nearest part of the list, less what chance finds there.",
        ("nearest part of the list", "gain over chance"),
        0.0,
    ),
}
"""Figure -> names of its two scores, title, note, names of the axes, and what chance gives."""


def curves(
    found: Mapping[str, Mapping[str, Any]],
    figure: str,
    x: str,
    y: str,
    title: str,
    note: str,
    names: tuple[str, str],
    level: float | None,
) -> Figure | None:
    """A figure of the variants that have such a curve; None where none has."""
    lines = {name: (np.array(each[x]), np.array(each[y])) for name, each in found.items() if x in each}
    if not lines:
        return None
    drawn = profiles.curves(lines, title, note, *names, level=level)
    return Figure(figure, drawn, f"{title}, a line for each variant")
