"""Grit of treatments beside that of their rows: all rows of a treatment in one distribution, as cytominer-eval pools.

Way et al. 2022 (doi:10.1016/j.cels.2022.10.001) report one value for each perturbation.
"""

import numpy as np

from cellfx.profiles.chance.exchange import MAX_PAIRS
from cellfx.profiles.chance.permuted_labels import mean_null
from cellfx.profiles.chance.resampling import p_value
from cellfx.profiles.scores.grit import Grit, grit_of_perturbations, pooled_controls
from cellfx.profiles.scores.retrieval import macro_mean
from cellfx.profiles.screen.rules import ScreenRules
from cellfx.profiles.screen.scoring import Effort, Scores, add_interval
from cellfx.profiles.similarity.rules import of_rows

NAME = "grit of treatments"


def add_treatment_grit(
    scores: Scores, result: Grit, similarity: np.ndarray | None, rules: ScreenRules, effort: Effort
) -> None:
    """Adds the mean over treatments, its interval, in which mechanisms are drawn, and its p-value.

    Where compounds have unequal numbers of rows, these count for the score, as in cytominer-eval, and for the p-value
    each treatment of the others counts once: both sides of that comparison do.

    Args:
        scores: gets them, and (P,) values by the codes of ``rules.treatments`` as detail.
        result: grit of N rows.
        similarity: (N, U), summed over the rows of compounds; None: no p-value.
        rules: of the rows.
        effort: how much is computed.

    Raises:
        ValueError: no treatment has a value.
    """
    from scipy.sparse import csr_array

    values = grit_of_perturbations(result, rules.treatments)
    scores.details[NAME] = values
    scores.numbers[NAME] = macro_mean(values)
    rows = np.flatnonzero(rules.treatments >= 0)
    code, first, sizes = rules.treatments[rows], *_first_rows(rules.treatments)
    has = ~np.isnan(values)
    add_interval(scores, NAME, values[has], rules.mechanisms[first][has], effort)
    if similarity is None:  # why is said where it was not collected
        return
    mean, std = pooled_controls(result, rules.treatments)
    units = rules.units[first]
    names, num_rows = np.unique(rules.units[rules.units >= 0], return_counts=True)
    num_treatments = np.bincount(np.searchsorted(names, units[units >= 0]), minlength=len(names))
    pooling = csr_array((1 / sizes[code], (code, rows)), shape=(len(first), len(rules.units)))
    sums = (pooling @ similarity / num_rows - mean[:, None]) / np.where(std > 0, std, 1.0)[:, None]
    # Compounds none of whose rows is a treatment's have no column there.
    sums = (sums * num_treatments)[:, num_treatments > 0]
    matching = of_rows(rules.mechanism, first)
    null = mean_null(sums, matching, units, True, effort.num_permutations, effort.seed)
    if null is None:
        scores.left_out[f"p-value of {NAME}"] = f"too many matching pairs to list: got more than {MAX_PAIRS:,}"
    else:
        scores.p_values[NAME] = p_value(null[0], null[1:])


def _first_rows(treatments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each treatment, and how many it has: (P,) both."""
    codes, first, sizes = np.unique(treatments, return_index=True, return_counts=True)
    return first[codes >= 0], sizes[codes >= 0]
