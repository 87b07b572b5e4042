"""What a screen's columns mean for its scores: which rows are compared, which belong together, what is drawn as one."""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.nearest import Exclusion
from cellfx.profiles.pairs import Rule, check_columns, encode, pair_rule


class Columns(NamedTuple):
    """Columns of metadata that scores need.

    Attributes:
        mechanism: of action, known for some rows.
        compound: the treatment; its rows are replicates.
        batch: None where there is none.
        multilabel: mechanisms are lists "a|b" that match where they share a label. Off, they match as they are, as
            published.
    """

    mechanism: str = "Metadata_MOA"
    compound: str = "Metadata_Compound"
    batch: str | None = "Metadata_Batch"
    multilabel: bool = False

    def exclusion(self, batch: bool) -> Exclusion:
        """What the nearest neighbour may not share: the compound, or the compound and the batch."""
        return Exclusion(self.mechanism, self.compound, self.batch if batch else None, self.multilabel)


class ScreenRules(NamedTuple):
    """Rules of N rows; rows that a score leaves out have a missing value in its rules.

    Attributes:
        known: N rows of metadata, compounds and mechanisms missing where the row is a control or has no mechanism.
        mechanism: pairs of treated rows that share a mechanism.
        across: pairs of treated rows with mechanisms and different compounds: what mechanism scores compare.
        mechanism_across: pairs of both.
        compound: pairs of treated rows of one compound.
        treated: pairs of treated rows.
        batch: pairs of controls of one batch; None without a column of batches.
        untreated: pairs of controls.
        units: (N,) compound of treated rows with a mechanism, else -1.
        compounds: (N,) compound of treated rows, else -1.
        mechanisms: (N,) mechanism of the same as ``units``, else -1.
    """

    known: pl.DataFrame
    mechanism: Rule
    across: Rule
    mechanism_across: Rule
    compound: Rule
    treated: Rule
    batch: Rule | None
    untreated: Rule
    units: np.ndarray
    compounds: np.ndarray
    mechanisms: np.ndarray


def screen_rules(metadata: pl.DataFrame, controls: np.ndarray, columns: Columns) -> ScreenRules:
    """Rules of a screen.

    Args:
        metadata: N rows.
        controls: (N,) bool.
        columns: of the metadata.

    Raises:
        ValueError: controls that do not fit, or no such column.
    """
    if controls.dtype != bool or controls.shape != (len(metadata),):
        raise ValueError(
            f"controls that cannot be told apart: got {controls.dtype} of shape {controls.shape}, expected bool of "
            f"shape ({len(metadata)},); say of every row whether it is a control"
        )
    check_columns(metadata, [name for name in columns[:3] if name])
    is_control = pl.Series(controls)
    has_mechanism = pl.Series(encode(metadata, [columns.mechanism]) >= 0)
    nothing = pl.lit(None)
    treated = metadata.with_columns(
        pl.when(~is_control).then(pl.col(name)).otherwise(nothing).alias(name)
        for name in (columns.compound, columns.mechanism)
    )
    known = treated.with_columns(
        pl.when(has_mechanism).then(pl.col(columns.compound)).otherwise(nothing).alias(columns.compound)
    )
    side = pl.DataFrame({"treated": pl.Series(controls).replace_strict({True: None, False: 1}, return_dtype=pl.Int8)})
    side = side.with_columns(untreated=pl.when(is_control).then(1).otherwise(nothing))
    batch = None
    if columns.batch:
        batches = metadata.select(pl.when(is_control).then(pl.col(columns.batch)).otherwise(nothing).alias("batch"))
        batch = pair_rule(batches, ["batch"])
    label = columns.mechanism if columns.multilabel else None
    return ScreenRules(
        known=known,
        mechanism=pair_rule(known, [columns.mechanism], multilabel=label),
        across=pair_rule(known, diffby=[columns.compound]),
        mechanism_across=pair_rule(known, [columns.mechanism], [columns.compound], label),
        compound=pair_rule(treated, [columns.compound]),
        treated=pair_rule(side, ["treated"]),
        batch=batch,
        untreated=pair_rule(side, ["untreated"]),
        units=encode(known, [columns.compound]),
        compounds=encode(treated, [columns.compound]),
        mechanisms=encode(known, [columns.mechanism]),
    )
