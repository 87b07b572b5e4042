"""One profile for each compound that has a mechanism, whatever its number of rows: for tests of single compounds.

Rows of one compound are alike, so that another row ranks them as a clump. A test that takes them for independent
evidence finds mechanisms where there are none; with one row a compound, a mechanism that was given at random puts its
compounds in random places.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.screen.rules import ScreenRules
from cellfx.profiles.similarity.rules import Rule, of_rows
from cellfx.profiles.tables.table import Profiles


class UnitProfiles(NamedTuple):
    """U compounds that have a mechanism, in the order of their numbers in ``ScreenRules.units``.

    Attributes:
        profiles: U rows, the median of each compound's rows; metadata are those of its first row.
        codes: (U,) int these numbers.
        mechanism: pairs that share a mechanism.
        mechanisms: (U,) int mechanism of each.
        pooled: whether a compound has several rows.
    """

    profiles: Profiles
    codes: np.ndarray
    mechanism: Rule
    mechanisms: np.ndarray
    pooled: bool


def pooled_units(profiles: Profiles, rules: ScreenRules) -> UnitProfiles:
    """Pools the rows of each compound.

    Args:
        profiles: of N rows.
        rules: of the same.

    Raises:
        ValueError: no treated row with a mechanism.
    """
    rows = np.flatnonzero(rules.units >= 0)
    if not len(rows):
        raise UserError("no treated row with a mechanism: got 0, expected 2 or more; annotate the profiles")
    rows = rows[np.argsort(rules.units[rows], kind="stable")]
    codes, starts = np.unique(rules.units[rows], return_index=True)
    first = rows[starts]
    medians = np.stack([np.median(profiles.features[members], axis=0) for members in np.split(rows, starts[1:])])
    pooled = profiles._replace(features=medians, metadata=profiles.metadata[first])
    return UnitProfiles(pooled, codes, of_rows(rules.mechanism, first), rules.mechanisms[first], len(first) < len(rows))
