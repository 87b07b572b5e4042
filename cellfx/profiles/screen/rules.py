"""What a screen's columns mean for its scores: which rows are compared, which belong together, what is drawn as one."""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.scores.nearest import Exclusion
from cellfx.profiles.similarity.rules import Rule, check_columns, encode, pair_rule
from cellfx.profiles.tables import plate_identity


class Columns(NamedTuple):
    """What columns of metadata are called; the config section ``columns`` of ``bin/profile``.

    Attributes:
        treatment: what replicates share: the compound, where doses differ also the dose.
        compound: what all doses of it share; mechanism scores never compare its rows with each other.
        mechanism: of action, known for some rows; None where none is.
        plate: barcode or number of a plate within its batch, see ``plate_identity``.
        well: such as B07; None where it is not known.
        batch: what was done together; None where there is one batch.
        dose: a number; None where every compound has one.
        multilabel: mechanisms are lists "a|b" that match where they share a label. Off, they match as they are, as
            published.
    """

    treatment: tuple[str, ...] | str
    compound: str
    mechanism: str | None = None
    plate: str = "Metadata_Plate"
    well: str | None = "Metadata_Well"
    batch: str | None = None
    dose: str | None = None
    multilabel: bool = False

    def described(self) -> list[str]:
        """The columns that belong to a treatment."""
        return list(dict.fromkeys([*self.treatment, self.compound, *filter(None, (self.mechanism, self.dose))]))

    def plate_identity(self) -> tuple[str, ...]:
        """The columns that tell plates."""
        return plate_identity.identity(self.batch, self.plate)

    def exclusion(self, batch: bool) -> Exclusion:
        """What the nearest neighbor may not share: the compound, or the compound and the batch."""
        return Exclusion(self.mechanism or NO_MECHANISM, self.compound, self.batch if batch else None, self.multilabel)


NO_MECHANISM = "cellfx_no_mechanism"
"""Takes the place of the column of mechanisms where there is none; nothing is known in it."""
USUAL = Columns(("Metadata_Compound",), "Metadata_Compound", "Metadata_MOA", batch="Metadata_Batch")
"""What they are called by ``simulated`` and in most tables."""


class ScreenRules(NamedTuple):
    """Rules of N rows; rows that a score leaves out have a missing value in its rules.

    Attributes:
        known: N rows of metadata, compounds and mechanisms missing where the row is a control or has no mechanism.
        mechanism: pairs of treated rows that share a mechanism.
        across: pairs of treated rows with mechanisms and different compounds: what mechanism scores compare.
        mechanism_across: pairs of both.
        treatment: pairs of treated rows of one treatment.
        treated: pairs of treated rows.
        batch: pairs of controls of one batch; None without a column of batches.
        untreated: pairs of controls.
        units: (N,) compound of treated rows with a mechanism, else -1.
        compounds: (N,) compound of treated rows, else -1.
        treatments: (N,) treatment of treated rows, else -1.
        mechanisms: (N,) mechanism of the same as ``units``, else -1.
        plates: (N,) plate of each row, by its batch; 0 for all without a column of plates.
    """

    known: pl.DataFrame
    mechanism: Rule
    across: Rule
    mechanism_across: Rule
    treatment: Rule
    treated: Rule
    batch: Rule | None
    untreated: Rule
    units: np.ndarray
    compounds: np.ndarray
    treatments: np.ndarray
    mechanisms: np.ndarray
    plates: np.ndarray


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
        raise UserError(
            f"controls that cannot be told apart: got {controls.dtype} of shape {controls.shape}, expected bool of "
            f"shape ({len(metadata)},); say of every row whether it is a control"
        )
    needed = dict.fromkeys((*columns.treatment, columns.compound, columns.mechanism, columns.batch))
    check_columns(metadata, [name for name in needed if name])
    mechanism = columns.mechanism or NO_MECHANISM
    if columns.mechanism is None:
        metadata = metadata.with_columns(pl.lit(None, pl.String).alias(mechanism))
    metadata = metadata.with_columns(
        _not_blank(metadata, name) for name in dict.fromkeys((mechanism, columns.compound))
    )
    is_control = pl.Series(controls)
    has_mechanism = pl.Series(encode(metadata, [mechanism]) >= 0)
    nothing = pl.lit(None)
    treated = metadata.with_columns(
        pl.when(~is_control).then(pl.col(name)).otherwise(nothing).alias(name)
        for name in dict.fromkeys((*columns.treatment, columns.compound, mechanism))
    )
    known = treated.with_columns(
        pl.when(has_mechanism).then(pl.col(columns.compound)).otherwise(nothing).alias(columns.compound)
    )
    is_treated = pl.Series(encode(treated, columns.treatment) >= 0)
    side = pl.DataFrame({"untreated": is_control, "treated": is_treated})
    side = side.select(pl.when(pl.col(name)).then(1).otherwise(nothing).alias(name) for name in side.columns)
    batch = None
    if columns.batch:
        batches = metadata.select(pl.when(is_control).then(pl.col(columns.batch)).otherwise(nothing).alias("batch"))
        batch = pair_rule(batches, ["batch"])
    label = mechanism if columns.multilabel else None
    return ScreenRules(
        known=known,
        mechanism=pair_rule(known, [mechanism], multilabel=label),
        across=pair_rule(known, diffby=[columns.compound]),
        mechanism_across=pair_rule(known, [mechanism], [columns.compound], label),
        treatment=pair_rule(treated, columns.treatment),
        treated=pair_rule(side, ["treated"]),
        batch=batch,
        untreated=pair_rule(side, ["untreated"]),
        units=encode(known, [columns.compound]),
        compounds=encode(treated, [columns.compound]),
        treatments=encode(treated, columns.treatment),
        mechanisms=encode(known, [mechanism]),
        plates=_plates(metadata, columns),
    )


def _not_blank(metadata: pl.DataFrame, name: str) -> pl.Expr:
    """A column in which blank texts are missing values."""
    column = pl.col(name)
    if metadata.schema[name] != pl.String:
        return column
    return pl.when(column.str.strip_chars() != "").then(column).alias(name)


def _plates(metadata: pl.DataFrame, columns: Columns) -> np.ndarray:
    if columns.plate not in metadata.columns:
        return np.zeros(len(metadata), int)
    known = [name for name in columns.plate_identity() if name in metadata.columns]
    return plate_identity.codes(metadata, known)
