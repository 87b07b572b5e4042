"""Several tests of one compound, such as its doses: first which compounds, then which of their doses.

Benjamini & Bogomolov 2014 (doi:10.1111/rssb.12028). The p-value of a family is that of Simes 1986
(doi:10.1093/biomet/73.3.751), which says whether any test of it has an effect. Families are selected by Benjamini and
Hochberg at level q. Where R of m are, the tests of each are judged by Benjamini and Hochberg at level R q / m. The
share of false discoveries, averaged over the selected families, is then at most q on average, for families that are
independent; correcting all tests at once bounds no such share of a compound. A selected family has at least one test
that is discovered.

Differs from the paper: each test has one adjusted p-value, the smallest level q at which it is discovered.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.chance.resampling import benjamini_hochberg


class Hierarchy(NamedTuple):
    """Adjusted p-values of T tests in F families.

    Attributes:
        families: (F,) int, their codes, rising.
        num_tests: (F,) int, tests of each.
        simes: (F,) Simes' p-value of each.
        corrected_families: (F,) the same after Benjamini and Hochberg: the smallest level that selects the family.
        corrected: (T,) the smallest level at which the test is discovered; 1 at most.
    """

    families: np.ndarray
    num_tests: np.ndarray
    simes: np.ndarray
    corrected_families: np.ndarray
    corrected: np.ndarray


def hierarchical(p_values: np.ndarray, families: np.ndarray) -> Hierarchy:
    """Corrects the p-values of families, and those of tests within them.

    Args:
        p_values: (T,) in [0, 1], independent or positively dependent within a family.
        families: (T,) int, the family of each.

    Raises:
        ValueError: no test, families that do not fit, or p-values that are none.
    """
    p_values, families = np.asarray(p_values, np.float64), np.asarray(families)
    if p_values.shape != families.shape or not len(families):
        raise UserError(
            f"tests without a family: got p-values of shape {p_values.shape} and families of shape {families.shape}, "
            "expected (T,) of both, one test or more; give the family of each test"
        )
    codes, member, sizes = np.unique(families, return_inverse=True, return_counts=True)
    within = np.empty(len(p_values))
    for rows in np.split(np.argsort(member, kind="stable"), np.cumsum(sizes)[:-1]):
        within[rows] = benjamini_hochberg(p_values[rows])
    simes = np.ones(len(codes))
    np.minimum.at(simes, member, within)
    selected = benjamini_hochberg(simes)
    # At level q the R(q) families whose corrected value is q or less are selected, and a test is discovered where its
    # value within the family is R(q) q / m or less. R only changes at the values of families.
    levels, counts = np.unique(selected, return_counts=True)
    counts = np.cumsum(counts)
    needed = len(codes) * within
    place = np.searchsorted(levels * counts, needed)
    at_step = np.append(levels, np.inf)[place]
    before = needed / np.append(0, counts)[place].clip(1)
    corrected = np.minimum(at_step, np.where(place > 0, before, np.inf))
    return Hierarchy(codes, sizes, simes, selected, np.minimum(corrected, 1.0))
