"""All scores of a screen from one computation of its similarities, with intervals and with what chance would give.

    scores = score(profiles, controls)
    scores.numbers["precision@R"], scores.intervals["precision@R"], scores.p_values["precision@R"]

Mechanism scores compare treated rows with a known mechanism and leave out pairs of one compound, which are alike
whatever the mechanism is. With one row a compound, as published, no pair is left out. A score that a screen has no
rows for, such as grit without controls, is named with the reason in ``Scores.left_out``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from cellfx.profiles import scoring
from cellfx.profiles.collecting import Collector, collect
from cellfx.profiles.grit import grit_collector
from cellfx.profiles.nearest import neighbours_collector
from cellfx.profiles.replicates import reproduced
from cellfx.profiles.retrieval import hits_collector, macro_mean
from cellfx.profiles.scoring import HEADLINE, Effort, Scores
from cellfx.profiles.screen_rules import Columns, ScreenRules, screen_rules
from cellfx.profiles.similarity import Prepared, prepare
from cellfx.profiles.table import Profiles
from cellfx.profiles.tail import Wanted, tail_collector

LARGEST_R = 256
"""Up to as many nearest rows are kept for the null of precision@R."""


def score(
    profiles: Profiles,
    controls: np.ndarray | None = None,
    columns: Columns | None = None,
    kernel: str = "pearson",
    effort: Effort | None = None,
) -> Scores:
    """Computes every score that a screen has rows for.

    Args:
        profiles: of N rows, wells or treatments.
        controls: (N,) bool, negative controls; none by default.
        columns: of the metadata.
        kernel: see ``similarity.KERNELS``.
        effort: how much is computed.

    Raises:
        ValueError: controls or columns that do not fit, or as ``similarity.prepare``.
    """
    columns, effort = columns or Columns(), effort or Effort()
    controls = np.zeros(len(profiles.features), bool) if controls is None else np.asarray(controls)
    rules, prepared = screen_rules(profiles.metadata, controls, columns), prepare(profiles, kernel)
    scores = Scores({}, {}, {}, {}, {}, {})
    found = _collected(prepared, _collectors(prepared, rules, controls, columns, effort), scores.left_out)
    steps: dict[str, Callable[[Any], None]] = {
        "retrieval": lambda hits: scoring.add_retrieval(scores, hits, rules, effort),
        "enrichment": lambda tail: scoring.add_enrichment(scores, tail, rules, effort),
        "replicates": lambda hits: scoring.add_replicates(scores, hits, rules, effort),
        "reproducibility": lambda tail: scores.numbers.update(reproducibility=reproduced(tail)),
        "grit": lambda result: scoring.add_grit(scores, result, rules, effort),
        "NSC": lambda near: scoring.add_nearest(scores, "NSC", near, rules, columns, effort),
        "NSCB": lambda near: scoring.add_nearest(scores, "NSCB", near, rules, columns, effort),
        "batch enrichment": lambda tail: scoring.add_batches(scores, tail, rules, effort),
    }
    for name, result in found.items():
        _attempt(scores.left_out, name, steps[name], result)
    left_out = scores.left_out
    _attempt(left_out, "percent replicating", scoring.add_replicating, scores, prepared, rules, effort)
    _attempt(left_out, "percent matching", scoring.add_matching, scores, profiles, kernel, rules, effort)
    _attempt(left_out, "mp-values", scoring.add_mp_values, scores, profiles, rules, controls, effort)
    return scores


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
    largest = int(np.bincount(rules.mechanisms[rules.mechanisms >= 0], minlength=1).max())
    largest = LARGEST_R if columns.multilabel else min(largest, LARGEST_R)
    num_top = max(*effort.ks, largest)
    percentiles = tuple(dict.fromkeys((*effort.percentiles, HEADLINE)))
    headline = Wanted((HEADLINE,), listed=HEADLINE)
    makers: dict[str, Callable[[], Collector]] = {
        "retrieval": lambda: hits_collector(prepared, rules.mechanism, rules.across, num_top),
        "enrichment": lambda: tail_collector(
            prepared, rules.mechanism, Wanted(percentiles, listed=HEADLINE), rules.across
        ),
        "replicates": lambda: hits_collector(prepared, rules.compound, rules.treated),
        "reproducibility": lambda: tail_collector(prepared, rules.compound, Wanted(of_others=(0.95,)), rules.treated),
        "grit": lambda: grit_collector(prepared, rules.mechanism_across, controls),
        "NSC": lambda: neighbours_collector(prepared, rules.known, columns.exclusion(False)),
    }
    if rules.batch is not None:
        makers["NSCB"] = lambda: neighbours_collector(prepared, rules.known, columns.exclusion(True))
        makers["batch enrichment"] = lambda: tail_collector(prepared, rules.batch, headline, rules.untreated)
    return makers


def _collected(
    prepared: Prepared, makers: dict[str, Callable[[], Collector]], left_out: dict[str, str]
) -> dict[str, Any]:
    """One pass over the similarities; a score that cannot be computed does not keep others from it."""
    collectors = {name: _attempt(left_out, name, maker) for name, maker in makers.items()}
    collectors = {name: collector for name, collector in collectors.items() if collector is not None}
    kept = {name: Collector(collector.look, list) for name, collector in collectors.items()}
    parts = collect(prepared, kept)
    found = {name: _attempt(left_out, name, collectors[name].finish, parts.pop(name)) for name in collectors}
    return {name: result for name, result in found.items() if result is not None}


def _attempt(left_out: dict[str, str], name: str, compute: Callable, *args: Any) -> Any:
    """The result, or None and the reason in ``left_out``; what is no message of ours is a defect and goes on."""
    try:
        return compute(*args)
    except ValueError as error:
        if ": got " not in str(error):
            raise
        left_out[name] = str(error)
        return None
