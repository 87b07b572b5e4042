"""What is reported of each score of a screen: its value, its interval, its p-value, and what figures need.

Each function adds to a ``Scores`` what one part of ``scores.score`` found.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.exchange import MAX_PAIRS
from cellfx.profiles.chance.permuted_labels import label_null, mean_null, nearest_null
from cellfx.profiles.chance.resampling import Interval, bootstrap_interval, p_value
from cellfx.profiles.chance.tied_precision import Ties, check_ties
from cellfx.profiles.scores.enrichment import PERCENTILES, Enrichment, enriched
from cellfx.profiles.scores.grit import Grit
from cellfx.profiles.scores.hit_curve import hit_curve, hit_histogram
from cellfx.profiles.scores.nearest import Neighbours, judge_neighbours
from cellfx.profiles.scores.odds_chance import enrichment_interval, enrichment_null
from cellfx.profiles.scores.retrieval import Hits, at_k, at_r, macro_mean
from cellfx.profiles.screen.rules import Columns, ScreenRules
from cellfx.profiles.similarity.quantiles import Tail
from cellfx.profiles.similarity.rules import Rule, encode

SAME = 1e-6
"""Similarities that differ by less say nothing: rounding, and what regularization leaves of a spherized control."""
HEADLINE = 0.995
"""Percentile whose odds ratio always gets an interval and a null; the thesis reports it."""
DRAWN_PAIRS = 1 << 18
"""Up to so many pairs above them, lower percentiles get them too; a bootstrap takes seconds then."""


class Scores(NamedTuple):
    """What one call says of a screen.

    Attributes:
        numbers: score -> value. Means over the rows, or groups, for which a score is defined.
        intervals: score -> 95 percent bootstrap interval. Mechanisms are drawn, because compounds of one find each
            other; for odds ratios and scores of replicates compounds, for the batch enrichment wells.
        p_values: score -> how likely chance does as well. Of mechanism scores: the share of permutations in which
            compounds exchange their mechanisms; of "replicate average precision" those in which wells exchange their
            treatments within plates; of the batch enrichment see ``add_batches``, of the percentages and shares of
            groups ``group_scoring``.
        per_row: score -> (N,) NaN where it is not defined, for ``subset_means``.
        details: what figures and tables need: ``hits``, ``curve``, ``histogram``, ``enrichment``, ``NSC``, ``NSCB``,
            ``grit``, ``grit of treatments``, ``replicating``, ``matching``, ``mp_values``, ``batch_enrichment``, the
            ``rules``, whose codes groups are numbered by, and by the name of either average precision a
            ``MeanAveragePrecision`` (of mechanisms: of compounds, each one profile), followed by " of rows" an
            ``AveragePrecision``.
        left_out: score -> reason in one line.
    """

    numbers: dict[str, float]
    intervals: dict[str, Interval]
    p_values: dict[str, float]
    per_row: dict[str, np.ndarray]
    details: dict[str, Any]
    left_out: dict[str, str]


class Effort(NamedTuple):
    """How much is computed.

    Attributes:
        ks: neighbors of precision and recall.
        percentiles: of the enrichment; ``HEADLINE`` is added.
        num_permutations: of mechanisms among compounds, treatments among wells and batches among plates or controls.
        num_resamples: of mechanisms, compounds or controls.
        num_mp_permutations: of wells, for mp-values; 0 leaves them out.
        null_size: random groups, for percent replicating and matching, and random rankings, for what is retrieved.
        seed: of all of these.
        ties: how average precision ranks pairs that are equally alike, see ``average_precision``.
    """

    ks: tuple[int, ...] = (1, 5, 10, 50)
    percentiles: tuple[float, ...] = PERCENTILES
    num_permutations: int = 200
    num_resamples: int = 500
    num_mp_permutations: int = 200
    null_size: int = 1000
    seed: int = 0
    ties: Ties = "expected"


def check_effort(effort: Effort) -> None:
    """Raises a ValueError where nothing would be computed, or ties have no such rule."""
    check_ties(effort.ties)
    least = dict.fromkeys(("num_permutations", "num_resamples", "null_size"), 1) | {"num_mp_permutations": 0}
    for name, value in least.items():
        if getattr(effort, name) < value:
            raise UserError(f"too little effort: got {name}={getattr(effort, name)}, expected {value} or more")
    if not all(k >= 1 and k == int(k) for k in effort.ks) or not all(0 <= q <= 1 for q in effort.percentiles):
        raise UserError(
            f"neighbors or percentiles out of range: got ks={list(effort.ks)} and percentiles="
            f"{list(effort.percentiles)}, expected whole numbers from 1 and shares in [0, 1]; correct them"
        )


def add_interval(scores: Scores, name: str, values: np.ndarray, groups: np.ndarray, effort: Effort) -> None:
    """The interval of a mean over values (R,) whose groups (R,) are drawn as wholes."""
    if len(np.unique(groups)) < 2:
        scores.left_out[f"interval of {name}"] = "one group to draw again: got 1, expected 2 or more"
        return
    scores.intervals[name] = bootstrap_interval(values, groups, num_resamples=effort.num_resamples, seed=effort.seed)


def add_rows(scores: Scores, name: str, values: np.ndarray, groups: np.ndarray, effort: Effort) -> None:
    """A score of rows: its mean over those that have one, with an interval in which groups (N,) are drawn."""
    scores.numbers[name], scores.per_row[name] = macro_mean(values), values
    has = ~np.isnan(values)
    add_interval(scores, name, values[has], groups[has], effort)


def add_retrieval(scores: Scores, hits: Hits, gains: np.ndarray | None, rules: ScreenRules, effort: Effort) -> None:
    """Precision, recall and average precision of mechanisms, and their hits; ``gains`` (N, U) are for the null."""
    for k in effort.ks:
        for kind, values in zip(("precision", "recall"), at_k(hits, k), strict=True):
            add_rows(scores, f"{kind}@{k}", values, rules.mechanisms, effort)
    add_rows(scores, "precision@R", at_r(hits), rules.mechanisms, effort)
    null = label_null(
        hits.top_rows, hits.num_positives, rules.mechanism, rules.units, effort.ks, effort.num_permutations, effort.seed
    )
    for name, values in null.items():
        scores.p_values[name] = p_value(scores.numbers[name], values)
    if "precision@R" not in null:
        largest, kept = hits.num_positives.max(), hits.top_rows.shape[1]
        reason = f"more positives than nearest rows are kept: got {largest}, expected {kept} or fewer"
        scores.left_out["p-value of precision@R"] = reason
    curve = hit_curve(hits)
    scores.details.update(hits=hits, curve=curve, histogram=hit_histogram(hits))
    scores.numbers["hits above chance"] = curve.area
    row = np.repeat(np.arange(len(hits.num_positives)), hits.num_positives)
    gain = 0.5 - (hits.ranks + 0.5) / hits.num_candidates[row]
    add_interval(scores, "hits above chance", gain, rules.mechanisms[row], effort)
    _mean_by_chance(scores, "hits above chance", gains, rules, effort)


def listed_from(percentiles: Sequence[float], rules: ScreenRules) -> float:
    """The lowest percentile above which there are not too many pairs to draw them again, ``HEADLINE`` at most."""
    num_rows = int(rules.across.complete.sum())
    few = [q for q in percentiles if (1 - q) * num_rows * (num_rows - 1) / 2 <= DRAWN_PAIRS]
    return min((*few, HEADLINE))


def add_enrichment(scores: Scores, tail: Tail, rules: ScreenRules, effort: Effort) -> None:
    """Odds ratios at all percentiles, with intervals and p-values from ``listed_from`` on; all have Fisher's p."""
    percentiles = dict.fromkeys((*effort.percentiles, HEADLINE))
    scores.details["enrichment"] = found = tuple(enriched(tail, percentile) for percentile in percentiles)
    least = listed_from(tuple(percentiles), rules)
    for one in found:
        name, q = f"enrichment@{one.percentile:g}", one.percentile
        if not _add_odds(scores, name, one) or q < least:
            continue
        null = enrichment_null(tail, q, rules.mechanism, rules.units, effort.num_permutations, effort.seed)
        _odds_by_chance(scores, name, q, tail, rules.mechanism_across, null, rules.units, effort)


def add_batches(scores: Scores, tail: Tail, rules: ScreenRules, effort: Effort) -> None:
    """Batch enrichment of the controls.

    Wells of a plate are alike whatever its batch, so that plates exchange their batches where one has several. Where
    none has, wells do, and plates and batches are not told apart. For the interval wells are drawn.
    """
    kept = np.concatenate([values for interval in tail.kept for values in interval])
    if len(kept) and np.ptp(kept) < SAME:
        raise UserError(
            f"controls that are all equally similar: got similarities from {kept.min():.6g} to {kept.max():.6g}, "
            "expected ones that differ; controls are so that were spherized by no more of them than features"
        )
    name, found = "batch enrichment", enriched(tail, HEADLINE)
    if not _add_odds(scores, name, found):
        return
    scores.details["batch_enrichment"] = found
    wells = np.where(rules.untreated.complete, np.arange(len(rules.units)), -1)
    plates = np.where(rules.untreated.complete & rules.batch.complete, rules.plates, -1)
    several = len(np.unique(plates[plates >= 0])) > len(np.unique(rules.batch.same[0][plates >= 0]))
    exchanged = plates if several else wells
    null = enrichment_null(tail, HEADLINE, rules.batch, exchanged, effort.num_permutations, effort.seed)
    _odds_by_chance(scores, name, HEADLINE, tail, rules.batch, null, wells, effort)


def _add_odds(scores: Scores, name: str, found: Enrichment) -> bool:
    """Adds an odds ratio, if it is one."""
    if np.isnan(found.odds_ratio):
        scores.left_out[name] = (
            f"no odds: got {found.table[0].sum()} pairs above the percentile of the similarities and "
            f"{found.table[1].sum()} below, expected some of both; equal profiles have none above"
        )
        return False
    scores.numbers[name] = found.odds_ratio
    return True


def _odds_by_chance(
    scores: Scores,
    name: str,
    percentile: float,
    tail: Tail,
    pairs: Rule,
    null: np.ndarray,
    units: np.ndarray,
    effort: Effort,
) -> None:
    scores.p_values[name] = p_value(scores.numbers[name], null[~np.isnan(null)])
    interval = enrichment_interval(tail, percentile, pairs, units, num_resamples=effort.num_resamples, seed=effort.seed)
    if interval is None:
        scores.left_out[f"interval of {name}"] = f"too many matching pairs to list: got more than {MAX_PAIRS:,}"
    else:
        scores.intervals[name] = interval


def add_grit(scores: Scores, result: Grit, similarity: np.ndarray | None, rules: ScreenRules, effort: Effort) -> None:
    """Grit of rows; ``similarity`` (N, U), summed over the rows of compounds, is for the null."""
    scores.details["grit"] = result
    add_rows(scores, "grit", result.grit, rules.mechanisms, effort)
    if similarity is not None:
        sizes = np.bincount(np.unique(rules.units[rules.units >= 0], return_inverse=True)[1])
        similarity = (similarity - sizes * result.control_mean[:, None]) / result.control_std[:, None]
    _mean_by_chance(scores, "grit", similarity, rules, effort, by_row=True)


def _mean_by_chance(
    scores: Scores, name: str, sums: np.ndarray | None, rules: ScreenRules, effort: Effort, by_row: bool = False
) -> None:
    if sums is None:  # why is said where they were not collected
        return
    null = mean_null(sums, rules.mechanism, rules.units, by_row, effort.num_permutations, effort.seed)
    if null is None:
        scores.left_out[f"p-value of {name}"] = f"too many matching pairs to list: got more than {MAX_PAIRS:,}"
    else:
        scores.p_values[name] = p_value(null[0], null[1:])


def add_nearest(
    scores: Scores, name: str, near: Neighbours, rules: ScreenRules, columns: Columns, effort: Effort
) -> None:
    """Mechanisms predicted by the nearest row; ``name`` is NSC or NSCB."""
    result = judge_neighbours(near, rules.known, columns.exclusion(name == "NSCB"))
    scores.details[name] = result
    scores.numbers[f"{name} unreachable rows"] = float(result.num_unreachable)
    add_rows(scores, name, np.where(result.judged, result.right, np.nan), rules.mechanisms, effort)
    groups = encode(rules.known, [columns.batch]) if name == "NSCB" else None
    null = nearest_null(near.rows[:, 0], rules.mechanism, rules.units, groups, effort.num_permutations, effort.seed)
    if null is None:
        scores.left_out[f"p-value of {name}"] = f"too many matching pairs to list: got more than {MAX_PAIRS:,}"
    else:
        scores.p_values[name] = p_value(scores.numbers[name], null)
