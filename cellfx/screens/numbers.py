"""Scores as numbers with their intervals and p-values, and groups of rows that find each other, as copairs has it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cellfx.profiles.chance.resampling import Interval, bootstrap_interval, p_value
from cellfx.profiles.scores.average_precision import AveragePrecision
from cellfx.profiles.scores.mean_average_precision import MeanAveragePrecision, mean_average_precision, null_of_mean
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort, Scores
from cellfx.profiles.similarity.rules import encode
from cellfx.screens.setting import Asked

PUBLISHED_NULL_SIZE = 10_000
"""Random rankings for the mean average precision of replicates: p-values of hundreds of treatments are corrected."""


def retrieved(
    precision: AveragePrecision,
    metadata: pl.DataFrame,
    by: Sequence[str],
    columns: Columns,
    question: Asked,
    names: tuple[str, str],
    level: str = "wells",
) -> tuple[dict[str, Any], dict[str, Any], MeanAveragePrecision]:
    """Groups whose rows find each other, as copairs has it.

    Args:
        precision: of rows.
        metadata: of all N of them.
        by: columns that make the groups.
        columns: of the metadata; for intervals compounds are drawn where ``by`` tells them, else groups.
        question: what is asked.
        names: of the share of groups that are retrieved, and of the mean over groups.
        level: of the rows.

    Returns:
        by_group: for scores.json.
        scores: both, by their names.
        mean: of groups.

    Raises:
        ValueError: as ``mean_average_precision``.
    """
    seed = question.effort.seed
    mean = mean_average_precision(precision, metadata, by, PUBLISHED_NULL_SIZE, seed=seed)
    by_group = {
        "groups": mean.groups.to_dict(as_series=False),
        "mean_average_precision": mean.mean_average_precision,
        "corrected_p_value": mean.corrected_p_value,
        "fraction_retrieved": mean.fraction_retrieved,
        "least_p_value": mean.least_p_value,
    }
    drawn = encode(mean.groups, [columns.compound] if columns.compound in by else by)
    # Simes' p-value, see ``profiles.screen.group_scoring``: that no group differs from what it is compared with.
    share, p_simes = mean.retrieved.astype(float), float(mean.corrected_p_value.min())
    means = mean.mean_average_precision
    null = null_of_mean(precision, metadata, by, PUBLISHED_NULL_SIZE, seed)
    scores = {
        names[0]: number_of(level, share.mean(), interval_of(share, drawn, question.effort), p_simes),
        names[1]: number_of(
            level, means.mean(), interval_of(means, drawn, question.effort), p_value(means.mean(), null)
        ),
    }
    return by_group, scores, mean


def interval_of(values: np.ndarray, drawn: np.ndarray, effort: Effort) -> Interval | None:
    """None where there is one group to draw only."""
    if len(np.unique(drawn)) < 2:
        return None
    return bootstrap_interval(values, drawn, num_resamples=effort.num_resamples, seed=effort.seed)


def number_of(level: str, value: float, interval: Interval | None, p_value: float | None = None) -> dict[str, Any]:
    """A score of wells or treatments, for scores.json."""
    found: dict[str, Any] = {"level": level, "value": float(value)}
    if interval is not None:
        found["interval"] = [interval.low, interval.high]
    return found if p_value is None else {**found, "p_value": p_value}


def numbers_of(scores: Scores, level: str) -> dict[str, dict[str, Any]]:
    """All of them, by their names."""
    return {
        name: number_of(level, value, scores.intervals.get(name), scores.p_values.get(name))
        for name, value in scores.numbers.items()
    }
