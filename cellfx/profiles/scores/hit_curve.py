"""Hits at k as pictures have them: a histogram of the ranks of all hits, and how it rises above that of noise.

Bornholdt 2021, section 3.4.3, and cytominer-eval's ``hitk``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.scores.retrieval import Hits


class HitCurve(NamedTuple):
    """Cumulative hits above what ranks without meaning would give.

    Attributes:
        shares: (P,) of the list of neighbors, in (0, 1].
        found: (P,) share of all hits within these.
        gain: (P,) ``found`` less ``shares``: 0 for noise at every share and 0 at the end for all, at most 1.
        area: mean of the gain over all shares, in [-.5, .5]; the single number that the thesis' outlook asks for.
    """

    shares: np.ndarray
    found: np.ndarray
    gain: np.ndarray
    area: float


def hit_histogram(hits: Hits, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Counts hits by rank.

    Args:
        hits: of N rows.
        width: ranks in a bin.

    Returns:
        counts: (W,) hits in each bin; the first holds the ranks 0 to width - 1.
        edges: (W + 1,) ranks.

    Raises:
        ValueError: the width is not 1 or more.
    """
    if width < 1 or width != int(width):
        raise UserError(f"no width of bins: got {width}, expected a whole number of ranks from 1; the thesis takes 5")
    num_bins = -(-int(hits.num_candidates.max()) // width)
    return np.bincount(hits.ranks // width, minlength=num_bins), width * np.arange(num_bins + 1)


def hit_curve(hits: Hits, percents: Sequence[float] = tuple(range(1, 101))) -> HitCurve:
    """Share of the hits within the nearest x percent of the candidates, less x percent.

    Differs from the thesis: it is a share of all hits, not their number, so that screens of different size compare;
    and each rank is taken relative to its own row's number of candidates. A hit at rank r of n is spread over the
    interval from r / n to (r + 1) / n, so that noise gives 0 for few candidates too. ``percent_scores`` has
    cytominer-eval's counts.

    Args:
        hits: of N rows.
        percents: of the list of neighbors.

    Raises:
        ValueError: percents outside (0, 100].
    """
    _check_percents(percents)
    shares = np.asarray(percents, np.float64) / 100
    candidates = np.repeat(hits.num_candidates, hits.num_positives)
    # Ranks of rows with equally many candidates are alike: few distinct pairs are left of many hits.
    ranks, counts = np.unique(np.stack([hits.ranks, candidates]), axis=1, return_counts=True)
    within = np.array([np.sum(counts * np.clip(share * ranks[1] - ranks[0], 0, 1)) for share in shares])
    found = within / len(hits.ranks)
    area = 0.5 - float(np.mean((hits.ranks + 0.5) / candidates))
    return HitCurve(shares, found, found - shares, area)


def percent_scores(hits: Hits, percents: Sequence[float], num_groups: int | None = None) -> np.ndarray:
    """Hits within the nearest x percent, less those of noise, counted as cytominer-eval does.

    It counts ranks up to and with x percent of the number of groups, and rounds the expectation down, so that noise
    scores a little above 0.

    Args:
        hits: of N rows.
        percents: in (0, 100].
        num_groups: what 100 percent are; by default N, each row being a group.

    Returns:
        (P,) float64, in hits.

    Raises:
        ValueError: percents outside (0, 100].
    """
    _check_percents(percents)
    num_groups = len(hits.num_positives) if num_groups is None else num_groups
    counted = np.cumsum(np.bincount(hits.ranks))
    last = np.floor(np.asarray(percents, np.float64) * num_groups / 100).astype(np.int64)
    expected = np.floor(np.asarray(percents, np.float64) * len(hits.ranks) / 100)
    return counted[np.minimum(last, len(counted) - 1)] - expected


def rank_scores(hits: Hits) -> np.ndarray:
    """Normalized accumulated scores at every rank: hits up to it, less as many as each of the N ranks would get.

    Returns:
        (N,) float64, in hits; the last is 0. What cytominer-eval returns for "all".
    """
    num_rows = len(hits.num_positives)
    counts = np.bincount(hits.ranks, minlength=num_rows)
    return np.cumsum(counts - len(hits.ranks) / num_rows)


def _check_percents(percents: Sequence[float]) -> None:
    wrong = [percent for percent in percents if not 0 < percent <= 100]
    if wrong or not len(percents):
        raise UserError(
            f"no percents of the neighbors: got {list(percents)[:5]}, expected one or more in (0, 100]; 1 means the "
            "nearest hundredth"
        )
