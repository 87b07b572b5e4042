"""Compounds of several doses: whether any dose's replicates are retrieved, and which, corrected in two steps."""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.chance.hierarchical import Hierarchy, hierarchical
from cellfx.profiles.scores.mean_average_precision import MeanAveragePrecision
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.rules import encode

NAME = "fraction of compounds retrieved"
LEVEL = 0.05
"""Below it a corrected p-value means that a compound, or a dose, is retrieved, as in ``mean_average_precision``."""


class Doses(NamedTuple):
    """What the doses of compounds say together.

    Attributes:
        hierarchy: of the treatments, in families of one compound; codes are places in ``compounds``.
        compounds: F rows, a column of compounds.
        compound: (T,) int, the family of each treatment.
    """

    hierarchy: Hierarchy
    compounds: pl.DataFrame
    compound: np.ndarray

    @property
    def retrieved(self) -> np.ndarray:
        """(F,) bool, compounds of which a dose is retrieved."""
        return self.hierarchy.corrected_families < LEVEL

    def of_treatments(self) -> dict[str, np.ndarray]:
        """Columns (T,) of the table of treatments."""
        corrected = self.hierarchy.corrected
        return {
            "hierarchical_p_value_vs_controls": corrected,
            "hierarchically_retrieved_vs_controls": corrected < LEVEL,
        }

    def of_compounds(self) -> dict[str, np.ndarray]:
        """Columns (F,) of the table of compounds."""
        found = self.hierarchy
        return {
            "num_tested_vs_controls": found.num_tests,
            "num_retrieved_vs_controls": np.bincount(
                self.compound, found.corrected < LEVEL, len(found.families)
            ).astype(np.int64),
            "simes_p_value_vs_controls": found.simes,
            "corrected_simes_p_value_vs_controls": found.corrected_families,
            "hierarchically_retrieved_vs_controls": self.retrieved,
        }


def correct(result: MeanAveragePrecision, metadata: pl.DataFrame, columns: Columns) -> Doses | None:
    """Corrects the p-values of treatments by ``hierarchical``: compounds, then their doses.

    Args:
        result: of T treatments.
        metadata: of the wells.
        columns: of it.

    Returns:
        None where no compound has two treatments. A treatment without a compound is a family of its own.
    """
    by = list(columns.treatment)
    groups = result.groups
    if columns.compound not in by:
        known = metadata.select(*by, columns.compound).unique(by, maintain_order=True, keep="first")
        groups = groups.join(known, by, "left", nulls_equal=True, maintain_order="left")
    compound = encode(groups, [columns.compound]).astype(np.int64)
    alone = compound < 0
    compound[alone] = compound.max(initial=-1) + 1 + np.arange(alone.sum())
    _, first, compound = np.unique(compound, return_index=True, return_inverse=True)
    if len(first) == len(compound):
        return None
    return Doses(hierarchical(result.p_value, compound), groups.select(columns.compound)[first], compound)
