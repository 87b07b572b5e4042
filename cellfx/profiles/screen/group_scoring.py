"""What is reported of scores that count groups, treatments or mechanisms: how many chance does not explain.

What chance does to such a share follows from what it does to one group, so that nothing is permuted again:

- percent replicating and reproducibility, and each treatment's p-value: wells of a plate exchange their treatments, see
  ``replicate_null``. The bound of percent replicating stays that of random groups of all wells, as published, which
  knows of no plates;
- percent matching: random groups of compounds, as ``replicates`` draws them, each by itself;
- the percent that is retrieved, after the correction of Benjamini and Hochberg: the smallest corrected p-value, which
  is Simes' p-value (1986, doi:10.1093/biomet/73.3.751) of that no group differs from chance;
- the percent of mp-values below a limit: limit / share, which bounds the probability whatever ties the treatments to
  each other, as the controls that all of them share do (Rüger 1978, Metrika 25); it says little, and is never below
  the limit.
"""

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.chance.permuted_ranking import PrecisionNull
from cellfx.profiles.chance.random_ranking import expected_average_precision
from cellfx.profiles.chance.replicate_null import ReplicateNull, medians, treatment_p_values
from cellfx.profiles.chance.resampling import p_value
from cellfx.profiles.chance.tied_precision import Ties
from cellfx.profiles.scores.average_precision import AveragePrecision
from cellfx.profiles.scores.mean_average_precision import (
    THRESHOLD,
    MeanAveragePrecision,
    judged_by,
    mean_average_precision,
)
from cellfx.profiles.scores.mp_value import mp_values
from cellfx.profiles.scores.replicates import Replicating, replicating, reproduced
from cellfx.profiles.scores.retrieval import Hits, average_precisions, find_hits
from cellfx.profiles.screen.rules import ScreenRules
from cellfx.profiles.screen.scoring import Effort, Scores, add_interval, add_rows
from cellfx.profiles.screen.unit_profiles import pooled_units
from cellfx.profiles.similarity.blocks import Prepared, just_above, prepare
from cellfx.profiles.similarity.quantiles import Tail, quantile
from cellfx.profiles.tables.table import Profiles

OVER_NULL = 0.95
"""Quantile of the pairs of different treatments that pairs of replicates must exceed."""
MP_LIMIT = 0.05


def add_replicating(
    scores: Scores, prepared: Prepared, null: ReplicateNull | None, rules: ScreenRules, effort: Effort
) -> None:
    """Percent replicating: groups are treatments; ``null`` is for p-values, which are missing without it."""
    name = "percent replicating"
    result = _add_groups(scores, name, prepared, rules.treatments, rules.compounds, effort)
    if null is None:  # why is said where it was not collected
        scores.details["replicating"] = result._replace(p_value=np.full(len(result.groups), np.nan))
    else:
        codes, values = medians(null, rules.treatments)
        has = np.isin(codes, result.groups)
        codes, values = codes[has], values[:, has]
        rates = np.mean(values > result.high, axis=1)
        scores.p_values[name] = p_value(rates[0], rates[1:])
        by_chance = np.full((len(values) - 1, int(rules.treatments.max()) + 1), np.nan)
        by_chance[:, codes] = values[1:]
        own = treatment_p_values(values[0], codes, by_chance, rules.treatments, rules.plates, THRESHOLD)
        scores.details["replicating"] = result._replace(p_value=own)


def add_matching(scores: Scores, profiles: Profiles, kernel: str, rules: ScreenRules, effort: Effort) -> None:
    """Percent matching: groups are mechanisms, lists of several as they are, of one row a compound: its median."""
    units = pooled_units(profiles, rules)
    prepared, mechanisms = prepare(units.profiles, kernel), units.mechanisms
    name = "percent matching"
    scores.p_values[name] = _add_groups(scores, name, prepared, mechanisms, mechanisms, effort).rate_p_value


def _add_groups(
    scores: Scores, name: str, prepared: Prepared, groups: np.ndarray, drawn: np.ndarray, effort: Effort
) -> Replicating:
    result = replicating(prepared, groups, null_size=effort.null_size, seed=effort.seed)
    scores.details[name.removeprefix("percent ")] = result
    _add_percent(scores, name, result.median > result.high, _of_groups(result.groups, groups, drawn), effort)
    if result.num_large:
        scores.left_out[f"{name} of large groups"] = (
            f"no random group is as large: got {result.num_large} with more rows than there are groups, expected "
            f"none; {name} is of the other {len(result.groups)}"
        )
    return result


def _add_percent(scores: Scores, name: str, is_so: np.ndarray, drawn: np.ndarray, effort: Effort) -> None:
    scores.numbers[name] = 100 * float(np.mean(is_so))
    add_interval(scores, name, 100.0 * is_so, drawn, effort)


def _of_groups(codes: np.ndarray, groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What the first row of each group has: (G,) of the values (N,) of rows with groups (N,)."""
    names, first = np.unique(groups, return_index=True)
    return values[first[np.searchsorted(names, codes)]]


def add_mp_values(scores: Scores, profiles: Profiles, rules: ScreenRules, controls: np.ndarray, effort: Effort) -> None:
    """Percent of the treatments that differ from the controls; wells of plates without any are left out."""
    if not effort.num_mp_permutations:
        raise UserError(
            "mp-values were not asked for: got num_mp_permutations=0, expected 1 or more; raise it to have them"
        )
    settings = 0.9, effort.num_mp_permutations, "shared", effort.seed, rules.plates
    treatments = np.where(np.isin(rules.plates, rules.plates[controls]), rules.treatments, -1)
    result = mp_values(profiles, treatments, controls, *settings)
    scores.details["mp_values"] = result
    drawn = _of_groups(result.treatments, rules.treatments, rules.compounds)
    name = "percent mp-value below .05"
    _add_percent(scores, name, result.p_value < MP_LIMIT, drawn, effort)
    share = scores.numbers[name] / 100
    scores.p_values[name] = min(MP_LIMIT / share, 1.0) if share else 1.0


def add_reproducibility(
    scores: Scores, tail: Tail, null: ReplicateNull | None, rules: ScreenRules, effort: Effort
) -> None:
    """Share of the pairs of replicates that are more alike than most pairs of different treatments.

    ``null`` is for the p-value and the interval, none without it.
    """
    name = "reproducibility"
    scores.numbers[name] = reproduced(tail, OVER_NULL)
    if null is None:  # why is said where it was not collected
        return
    above = null.similarity > just_above(quantile(tail, OVER_NULL, of_others=True), tail.kernel)
    shares = above.mean(axis=1)
    scores.p_values[name] = p_value(shares[0], shares[1:])
    add_interval(scores, name, above[0].astype(float), rules.compounds[null.first], effort)


def add_average_precision(
    scores: Scores, name: str, hits: Hits, null: PrecisionNull | None, drawn: np.ndarray, effort: Effort
) -> AveragePrecision:
    """Mean over rows; ``drawn`` (N,) is what the interval draws."""
    result, values = _scored(hits, effort.ties), np.full(len(hits.num_positives), np.nan)
    values[result.rows] = result.average_precision
    add_rows(scores, name, values, drawn, effort)
    scores.details[f"{name} of rows"] = result
    if null is not None:  # else why is said where it was not collected
        scores.p_values[name] = p_value(scores.numbers[name], null.means)
    return result


def add_units_retrieved(
    scores: Scores,
    name: str,
    result: AveragePrecision,
    profiles: Profiles,
    kernel: str,
    rules: ScreenRules,
    effort: Effort,
) -> None:
    """The percent of compounds whose mechanism chance does not explain, by one profile each; ``result`` is of rows."""
    units = pooled_units(profiles, rules)
    if not units.pooled:
        add_retrieved(scores, name, result, rules.units, rules.mechanisms, effort)
        return
    result = _scored(find_hits(prepare(units.profiles, kernel), units.mechanism), effort.ties)
    add_retrieved(scores, name, result, units.codes, units.mechanisms, effort)


def add_retrieved(
    scores: Scores, name: str, result: AveragePrecision, groups: np.ndarray, drawn: np.ndarray, effort: Effort
) -> None:
    """The percent of groups of rows that chance does not explain, see ``mean_average_precision``."""
    table = pl.DataFrame({"group": groups})
    found = mean_average_precision(result, table, ["group"], effort.null_size, seed=effort.seed)
    _add_retrieved(scores, name, found, groups, drawn, effort)


def add_treatments_retrieved(
    scores: Scores,
    name: str,
    result: AveragePrecision,
    null: PrecisionNull | None,
    rules: ScreenRules,
    effort: Effort,
) -> None:
    """The percent of treatments that chance does not explain.

    Raises:
        ValueError: no null. Random rankings are none: they know nothing of plates.
    """
    if null is None:
        raise UserError(
            "no exchanges of treatments to compare with: got too many matching pairs of wells, expected fewer; see the "
            f"p-value of {name}, or leave out treatments of very many wells, such as positive controls, by rows.where"
        )
    groups = rules.treatments
    table = pl.DataFrame({"group": groups})
    found = mean_average_precision(result, table, ["group"], effort.null_size, seed=effort.seed)
    means, codes = found.mean_average_precision, found.groups["group"].to_numpy()
    found = judged_by(found, treatment_p_values(means, codes, null.of_groups, groups, rules.plates, THRESHOLD))
    _add_retrieved(scores, name, found, groups, rules.compounds, effort)


def _add_retrieved(
    scores: Scores, name: str, found: MeanAveragePrecision, groups: np.ndarray, drawn: np.ndarray, effort: Effort
) -> None:
    scores.details[name] = found
    drawn = _of_groups(found.groups["group"].to_numpy(), groups, drawn)
    _add_percent(scores, f"{name}: percent retrieved", found.retrieved, drawn, effort)
    scores.p_values[f"{name}: percent retrieved"] = float(found.corrected_p_value.min())


def _scored(hits: Hits, ties: Ties) -> AveragePrecision:
    values, positives, candidates = average_precisions(hits, ties), hits.num_positives, hits.num_candidates
    has = (positives > 0) & (candidates > positives)
    rows, k, n = np.flatnonzero(has).astype(np.int32), positives[has], candidates[has]
    chance = expected_average_precision(k, n)
    lonely = np.flatnonzero((positives > 0) & ~has).astype(np.int32)
    unpaired = np.flatnonzero(positives == 0).astype(np.int32)
    return AveragePrecision(rows, values[has], (values[has] - chance) / (1 - chance), k, n, unpaired, lonely)
