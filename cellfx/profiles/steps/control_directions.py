"""How much of treated wells lies where no negative control varied, before and after spherizing.

Spherizing divides by the spread of controls. Where these do not vary, the spread is not known, and what treated wells
have there may become most of a profile. Two things make such directions: no more controls than features, and what was
done before, for instance a standardization by the controls of each plate, behind which those of every plate add up to
nothing; of k controls on each of p plates, p (k - 1) differences are left.
"""

from typing import NamedTuple

import numpy as np

from cellfx.profiles.steps.control_variances import Principal, principal
from cellfx.profiles.steps.spherize import Spherizing
from cellfx.profiles.tables.table import Profiles, groups

STILL = 0.01
"""Controls hardly vary in a direction in which their variance is below this share of the mean over all directions."""


class Stillness(NamedTuple):
    """What controls do not vary in; the worst of the groups that spherizing was fitted to.

    Attributes:
        row: first row of that group.
        num_controls: that it was fitted to.
        num_features: D.
        num_unseen: directions in which no control varies.
        num_small: directions in which they hardly do.
        before: share of the squared norm of a treated well that lies in both, the mean over those of the group; in the
            features that are spherized, centered, and standardized where the method does so.
        after: the same behind it.
    """

    row: int
    num_controls: int
    num_features: int
    num_unseen: int
    num_small: int
    before: float
    after: float


def stillness(
    spherizing: Spherizing, before: Profiles, after: Profiles, controls: np.ndarray, treated: np.ndarray
) -> Stillness | None:
    """Of the group of whose treated wells most lies there behind spherizing.

    Args:
        spherizing: fitted to ``before``.
        before: N rows.
        after: the same, spherized.
        controls: (N,) bool, that it was fitted to.
        treated: (N,) bool.

    Returns:
        None where controls of all groups vary in all directions, or there are no treated wells in the others.
    """
    found = []
    for rows in groups(before.metadata, spherizing.by):
        wells, fitted = rows[treated[rows]], rows[controls[rows]]
        if not len(wells):
            continue
        known = principal(before, fitted, spherizing.method)
        rank, num_features = len(known.variances), len(before.names)
        varied = int(np.sum(known.variances >= STILL * known.variances.sum() / num_features))
        if varied == num_features:
            continue
        shares = _shares(known, varied, before.features[wells], after.features[wells], spherizing.method)
        found.append(Stillness(int(rows[0]), len(fitted), num_features, num_features - rank, rank - varied, *shares))
    return max(found, key=lambda one: one.after, default=None)


def _shares(known: Principal, varied: int, before: np.ndarray, after: np.ndarray, method: str) -> tuple[float, float]:
    """Of (n, D) and (n, K), what is not in the first axes."""
    axes = known.axes[:, :varied]
    standard = (before - known.centre) / known.scale
    inside = after[:, :varied] if method.startswith("PCA") else after @ axes
    return _outside(standard, standard @ axes), _outside(after, inside)


def _outside(whole: np.ndarray, inside: np.ndarray) -> float:
    """Mean over rows."""
    total = np.sum(whole**2, axis=1)
    shares = 1 - np.sum(inside**2, axis=1)[total > 0] / total[total > 0]
    return float(np.maximum(shares, 0).mean()) if len(shares) else 0.0
