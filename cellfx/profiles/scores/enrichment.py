"""Enrichment: how much likelier the most similar pairs are to belong together than all others are.

Rohban et al. 2017 (doi:10.7554/eLife.24060); Bornholdt 2021, section 3.4.2; cytominer-eval's ``enrichment``. A score of
the whole screen: a threshold is put at a percentile of all similarities, and the odds of pairs above it to match are
divided by the odds of those below.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.scores.fisher import fisher_greater
from cellfx.profiles.similarity.blocks import Prepared, prepare
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.quantiles import Tail, Wanted, count_above, quantile, tail_collector
from cellfx.profiles.similarity.rules import Rule, pair_rule
from cellfx.profiles.tables.table import Profiles, take

PERCENTILES = (0.999, 0.995, 0.99, 0.98, 0.95)


class Enrichment(NamedTuple):
    """Enrichment at one percentile.

    Attributes:
        percentile: in [0, 1].
        threshold: similarity at it.
        odds_ratio: 1 for noise; infinity where every pair above matches or all matches are above.
        log10_p: decimal logarithm of the p-value of Fisher's exact test against an odds ratio above 1.
        p_value: 0 where it is below 1e-308.
        table: (2, 2) int64, [above, not above] x [matching, not matching].
    """

    percentile: float
    threshold: float
    odds_ratio: float
    log10_p: float
    p_value: float
    table: np.ndarray


def enrichment(
    prepared: Prepared,
    matching: Rule,
    percentiles: Sequence[float] = PERCENTILES,
    candidates: Rule | None = None,
    each_twice: bool = False,
) -> tuple[Enrichment, ...]:
    """Odds ratios of the pairs above percentiles of all similarities; memory stays O(block x N), quantiles are exact.

    Args:
        prepared: N rows.
        matching: pairs that belong together. All others do not, also those of rows whose group is missing.
        percentiles: each in [0, 1].
        candidates: pairs that are looked at; all by default.
        each_twice: counts pairs as cytominer-eval does when it is given a whole matrix: (i, j) and (j, i). Odds ratios
            hardly change, but p-values do: they are those of twice as much evidence as there is.

    Raises:
        ValueError: percentiles outside [0, 1], no pair that matches or none that does not, or a rule of other rows.
    """
    collector = tail_collector(prepared, matching, Wanted(tuple(percentiles)), candidates)
    tail = collect(prepared, {"tail": collector})["tail"]
    return tuple(enriched(tail, percentile, each_twice) for percentile in percentiles)


def enriched(tail: Tail, percentile: float, each_twice: bool = False) -> Enrichment:
    """Enrichment at a percentile that a tail was collected for.

    Raises:
        ValueError: the tail was collected for other quantiles, or one kind of pairs is missing.
    """
    other, matching = tail.counts.sum(axis=0).tolist()
    if not matching or not other:
        raise UserError(
            f"pairs of one kind only: got {matching} that match and {other} that do not, expected both; choose "
            "columns that form two groups or more, one of them with two rows or more"
        )
    threshold = quantile(tail, percentile, each_twice=each_twice)
    b, a = count_above(tail, threshold).tolist()
    table = np.array([[a, b], [matching - a, other - b]], np.int64) * (2 if each_twice else 1)
    fisher = fisher_greater(*table.ravel().tolist())
    return Enrichment(percentile, threshold, fisher.odds_ratio, fisher.log10_p, fisher.p_value, table)


def batch_enrichment(
    profiles: Profiles,
    controls: np.ndarray,
    batch: str = "Metadata_Batch",
    percentiles: Sequence[float] = (0.995,),
    kernel: str = "pearson",
    each_twice: bool = False,
) -> tuple[Enrichment, ...]:
    """Batch enrichment score, Bornholdt 2021, section 4.8.2: ``enrichment`` of untreated wells with batches as groups.

    Args:
        profiles: of N rows.
        controls: (N,) bool, negative controls.
        batch: column of metadata.
        percentiles: each in [0, 1]; the thesis takes .995.
        kernel: see ``similarity.KERNELS``.
        each_twice: see ``enrichment``.

    Returns:
        One for each percentile; 1 is no batch effect, and larger ones are worse.

    Raises:
        ValueError: controls that do not fit, fewer than three of them, or as ``enrichment``.
    """
    controls = np.asarray(controls)
    if controls.dtype != bool or controls.shape != (len(profiles.features),):
        raise UserError(
            f"controls that cannot be chosen: got {controls.dtype} of shape {controls.shape}, expected bool of shape "
            f"({len(profiles.features)},); say of every row whether it is a control"
        )
    if controls.sum() < 3:
        raise UserError(
            f"too few controls to compare batches: got {int(controls.sum())}, expected 3 or more; give controls of two "
            "batches or more"
        )
    untreated = take(profiles, controls)
    rule = pair_rule(untreated.metadata, sameby=[batch])
    return enrichment(prepare(untreated, kernel), rule, percentiles, each_twice=each_twice)
