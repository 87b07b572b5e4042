"""All scores of a screen from one computation of its similarities, with intervals and with what chance would give.

    scores = score(profiles, controls)
    scores.numbers["precision@R"], scores.intervals["precision@R"], scores.p_values["precision@R"]

Mechanism scores compare treated rows with a known mechanism and leave out pairs of one compound, which are alike
whatever the mechanism is. With one row a compound, as published, no pair is left out. A score that a screen has no
rows for, such as grit without controls, is named with the reason in ``Scores.left_out``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.permuted_labels import rank_gain, unit_sums_collector
from cellfx.profiles.chance.permuted_ranking import average_precision_null
from cellfx.profiles.chance.replicate_null import replicate_null
from cellfx.profiles.scores.grit import Grit, grit_collector
from cellfx.profiles.scores.nearest import neighbours_collector
from cellfx.profiles.scores.retrieval import Hits, hits_collector, macro_mean
from cellfx.profiles.screen import group_scoring, scoring, treatment_grit
from cellfx.profiles.screen.group_scoring import OVER_NULL
from cellfx.profiles.screen.rules import USUAL, Columns, ScreenRules, screen_rules
from cellfx.profiles.screen.scoring import HEADLINE, Effort, Scores
from cellfx.profiles.similarity.blocks import Prepared, prepare
from cellfx.profiles.similarity.collecting import Collector, collect
from cellfx.profiles.similarity.quantiles import Wanted, tail_collector
from cellfx.profiles.tables.table import Profiles

LARGEST_R = 256
"""Up to as many nearest rows are kept for the null of precision@R."""
STEPS = (
    *("retrieval", "enrichment", "replicates", "reproducibility", "grit", "NSC", "NSCB", "batch enrichment"),
    *("percent replicating", "percent matching", "mp-values"),
)
"""Each computes a score or several; ``left_out`` calls them so."""
OF_MECHANISMS = ("retrieval", "enrichment", "grit", "NSC", "NSCB", "percent matching")
"""Those of ``STEPS`` that need a column of mechanisms."""
OF_CONTROLS = ("grit", "batch enrichment", "mp-values")
"""Those that need negative controls."""
NO_CONTROLS = "no negative controls: got 0, expected 2 or more; say which rows are controls"
NO_MECHANISMS = "no column of mechanisms: got columns.mechanism None, expected the name of a column; name it"
NULLS = {
    "p-value of hits above chance": ("retrieval",),
    "p-value of average precision": ("retrieval",),
    "p-value of replicate average precision": ("replicates",),
    "p-value of grit": ("grit",),
    "p-values of percent replicating and reproducibility": ("percent replicating", "reproducibility"),
}
"""What is collected for a null -> the steps that it belongs to."""


def score(
    profiles: Profiles,
    controls: np.ndarray | None = None,
    columns: Columns | None = None,
    kernel: str = "pearson",
    effort: Effort | None = None,
    wanted: Sequence[str] = STEPS,
) -> Scores:
    """Computes every score that a screen has rows for.

    Args:
        profiles: of N rows, wells or treatments.
        controls: (N,) bool, negative controls; none by default.
        columns: of the metadata; ``screen_rules.USUAL`` by default.
        kernel: see ``similarity.KERNELS``.
        effort: how much is computed.
        wanted: some of ``STEPS``.

    Raises:
        ValueError: controls or columns that do not fit, an effort of nothing, a step that is none, or as
            ``similarity.prepare``.
    """
    columns, effort = columns or USUAL, effort or Effort()
    _check(wanted, effort)
    controls = np.zeros(len(profiles.features), bool) if controls is None else np.asarray(controls)
    rules, prepared = screen_rules(profiles.metadata, controls, columns), prepare(profiles, kernel)
    scores = Scores({}, {}, {}, {}, {"rules": rules}, {})
    wanted = _possible(wanted, scores, columns, controls)
    makers = _collectors(prepared, rules, controls, columns, effort)
    makers = {name: maker for name, maker in makers.items() if any(step in wanted for step in NULLS.get(name, (name,)))}
    found = _collected(prepared, makers, scores.left_out)
    of_hits, of_precision, of_replicates, of_grit, of_similarity = NULLS
    alike = found.get(of_similarity)

    def retrieval(hits: Hits) -> None:
        scoring.add_retrieval(scores, hits, found.get(of_hits), rules, effort)
        name, null = "average precision", found.get(of_precision)
        result = group_scoring.add_average_precision(scores, name, hits, null, rules.mechanisms, effort)
        percent, retrieved = f"{name}: percent retrieved", group_scoring.add_units_retrieved
        attempt(scores.left_out, percent, retrieved, scores, name, result, profiles, kernel, rules, effort)

    def replicates(hits: Hits) -> None:
        name, null = "replicate average precision", found.get(of_replicates)
        result = group_scoring.add_average_precision(scores, name, hits, null, rules.compounds, effort)
        percent, retrieved = f"{name}: percent retrieved", group_scoring.add_treatments_retrieved
        attempt(scores.left_out, percent, retrieved, scores, name, result, null, rules, effort)

    def grit(result: Grit) -> None:
        scoring.add_grit(scores, result, found.get(of_grit), rules, effort)
        values = scores, result, found.get(of_grit), rules, effort
        attempt(scores.left_out, treatment_grit.NAME, treatment_grit.add_treatment_grit, *values)

    steps: dict[str, Callable[[Any], None]] = {
        "retrieval": retrieval,
        "enrichment": lambda tail: scoring.add_enrichment(scores, tail, rules, effort),
        "replicates": replicates,
        "reproducibility": lambda tail: group_scoring.add_reproducibility(scores, tail, alike, rules, effort),
        "grit": grit,
        "NSC": lambda near: scoring.add_nearest(scores, "NSC", near, rules, columns, effort),
        "NSCB": lambda near: scoring.add_nearest(scores, "NSCB", near, rules, columns, effort),
        "batch enrichment": lambda tail: scoring.add_batches(scores, tail, rules, effort),
    }
    for name in [name for name in steps if name in found]:
        _whole(scores, name, steps[name], found[name])
    others: dict[str, Callable[[], None]] = {
        "percent replicating": lambda: group_scoring.add_replicating(scores, prepared, alike, rules, effort),
        "percent matching": lambda: group_scoring.add_matching(scores, profiles, kernel, rules, effort),
        "mp-values": lambda: group_scoring.add_mp_values(scores, profiles, rules, controls, effort),
    }
    for name, compute in others.items():
        if name in wanted:
            _whole(scores, name, compute)
    _leave_to_steps(scores)
    return scores


def _possible(wanted: Sequence[str], scores: Scores, columns: Columns, controls: np.ndarray) -> Sequence[str]:
    """The steps that there are columns and controls for; the others are left out."""
    for has, those, why in (
        (columns.mechanism is not None, OF_MECHANISMS, NO_MECHANISMS),
        (controls.any(), OF_CONTROLS, NO_CONTROLS),
    ):
        if not has:
            scores.left_out.update({name: why for name in wanted if name in those})
            wanted = [name for name in wanted if name not in those]
    return wanted


def _leave_to_steps(scores: Scores) -> None:
    """Says nothing of nulls all of whose steps are left out themselves."""
    for null in [null for null, own in NULLS.items() if all(step in scores.left_out for step in own)]:
        scores.left_out.pop(null, None)


def subset_means(scores: Scores, subset: np.ndarray) -> dict[str, float]:
    """Scores of rows averaged over a subset that has any, the way Bornholdt 2021, section 4.6.2, scores subsets.

    Args:
        scores: of N rows.
        subset: (N,) bool, see ``subsets``.
    """
    defined = {name: values for name, values in scores.per_row.items() if not np.isnan(values[subset]).all()}
    return {name: macro_mean(values, subset) for name, values in defined.items()}


def _collectors(
    prepared: Prepared, rules: ScreenRules, controls: np.ndarray, columns: Columns, effort: Effort
) -> dict[str, Callable[[], Collector]]:
    largest = LARGEST_R if columns.multilabel else min(_most_matches(rules), LARGEST_R)
    num_top = max((*effort.ks, largest))
    percentiles = tuple(dict.fromkeys((*effort.percentiles, HEADLINE)))
    of_hits, of_precision, of_replicates, of_grit, of_similarity = NULLS
    wells = np.where(rules.treatments >= 0, np.arange(len(rules.treatments)), -1)

    def across_batches() -> Collector:
        _need_batch(columns)
        return neighbours_collector(prepared, rules.known, columns.exclusion(True))

    def of_batches() -> Collector:
        _need_batch(columns)
        return tail_collector(prepared, rules.batch, Wanted((HEADLINE,), listed=HEADLINE), rules.untreated)

    return {
        "retrieval": lambda: hits_collector(prepared, rules.mechanism, rules.across, num_top),
        "enrichment": lambda: tail_collector(
            prepared, rules.mechanism, Wanted(percentiles, listed=scoring.listed_from(percentiles, rules)), rules.across
        ),
        "replicates": lambda: hits_collector(prepared, rules.treatment, rules.treated),
        "reproducibility": lambda: tail_collector(
            prepared, rules.treatment, Wanted(of_others=(OVER_NULL,)), rules.treated
        ),
        "grit": lambda: grit_collector(prepared, rules.mechanism_across, controls),
        "NSC": lambda: neighbours_collector(prepared, rules.known, columns.exclusion(False)),
        "NSCB": across_batches,
        "batch enrichment": of_batches,
        of_hits: lambda: unit_sums_collector(rules.units, rank_gain(rules.across)),
        of_precision: lambda: average_precision_null(
            rules.mechanism, rules.across, rules.units, effort.num_permutations, effort.seed, ties=effort.ties
        ),
        of_replicates: lambda: average_precision_null(
            rules.treatment,
            rules.treated,
            wells,
            effort.num_permutations,
            effort.seed,
            rules.plates,
            rules.treatments,
            effort.ties,
        ),
        of_similarity: lambda: replicate_null(
            rules.treatment, rules.treatments, rules.plates, effort.num_permutations, effort.seed
        ),
        of_grit: lambda: unit_sums_collector(rules.units, lambda block: block.similarity),
    }


def _most_matches(rules: ScreenRules) -> int:
    """The most rows that can share a mechanism, however the compounds exchange theirs."""
    known = rules.units >= 0
    _, first, sizes = np.unique(rules.units[known], return_index=True, return_counts=True)
    of_mechanism = np.bincount(rules.mechanisms[known][first], minlength=1)
    return int(np.sort(sizes)[::-1][: of_mechanism.max()].sum())


def _need_batch(columns: Columns) -> None:
    if columns.batch is None:
        raise UserError("no column of batches: got columns.batch None, expected the name of a column; name it")


def _check(wanted: Sequence[str], effort: Effort) -> None:
    unknown = [name for name in wanted if name not in STEPS]
    if unknown:
        raise UserError(f"unknown score: got {unknown[0]!r}, expected some of {', '.join(STEPS)}; correct wanted")
    scoring.check_effort(effort)


def _collected(
    prepared: Prepared, makers: dict[str, Callable[[], Collector]], left_out: dict[str, str]
) -> dict[str, Any]:
    """One pass over the similarities; a score that cannot be computed does not keep others from it."""
    collectors = {name: attempt(left_out, name, maker) for name, maker in makers.items()}
    collectors = {name: collector for name, collector in collectors.items() if collector is not None}
    kept = {name: Collector(collector.look, list) for name, collector in collectors.items()}
    parts = collect(prepared, kept)
    found = {name: attempt(left_out, name, collectors[name].finish, parts.pop(name)) for name in collectors}
    return {name: result for name, result in found.items() if result is not None}


def _whole(scores: Scores, name: str, compute: Callable, *args: Any) -> None:
    """Adds what a step finds, or, where it is left out, nothing of it: no score is there and not computed."""
    parts = scores.numbers, scores.intervals, scores.p_values, scores.per_row, scores.details
    before = [set(part) for part in parts]
    attempt(scores.left_out, name, compute, *args)
    if name in scores.left_out:
        for part, known in zip(parts, before, strict=True):
            for added in set(part) - known:
                del part[added]


def attempt(left_out: dict[str, str], name: str, compute: Callable, *args: Any) -> Any:
    """The result of a computation that rows may be missing for.

    Args:
        left_out: gets the reason where there is none.
        name: of what is computed.
        compute: may raise a UserError, which says what rows are missing. Any other is a defect and goes on.
        *args: of ``compute``.

    Returns:
        The result, or None.
    """
    try:
        return compute(*args)
    except UserError as error:
        left_out[name] = str(error)
        return None
