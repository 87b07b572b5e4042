"""Treatments in another batch: a profile for each treatment and batch, and whether its neighbors elsewhere are right.

NSCB, not same compound or batch, as Ando et al. 2017 (doi:10.1101/161422) have it, is a score of treatments. Where a
treatment was repeated in several batches, each batch gives it a profile of its own: pooled over batches, a profile
would share a batch with almost every other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.screen import score as library
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Scores
from cellfx.profiles.steps.consensus import consensus
from cellfx.profiles.tables.table import Profiles, take
from cellfx.screens.setting import Asked

NSCB = "NSCB of treatments"
"""What the score is called beside that of wells."""


def by_batch(wells: Profiles, treated: Profiles, how: Mapping[str, Any], batch: str | None) -> Profiles | None:
    """Treatments that are compared, pooled in each batch by itself.

    Args:
        wells: N rows, without controls.
        treated: T treatments.
        how: arguments of ``consensus.consensus`` that pooled them.
        batch: column of batches.

    Returns:
        A row for each treatment and batch it is in; None where there are no two batches.
    """
    if batch is None or wells.metadata[batch].drop_nulls().n_unique() < 2:
        return None
    pooled = consensus(wells, **{**how, "by": [*dict.fromkeys([*how["by"], batch])]})
    rows = pooled.metadata.with_row_index("cellfx_row")
    rows = rows.join(treated.metadata, list(how["by"]), "semi", nulls_equal=True, maintain_order="left")
    return take(pooled, rows["cellfx_row"].to_numpy().astype(np.int64))


def score(treated: Profiles | None, columns: Columns, question: Asked) -> Scores:
    """The score ``NSCB`` of profiles by treatment and batch.

    Raises:
        ValueError: there are none, or as ``profiles.screen.score.score``.
    """
    if treated is None:
        raise UserError(
            f"no two batches: got columns.batch {columns.batch}, expected a column with two values or more; name it"
        )
    found = library.score(treated, None, columns, question.similarity, question.effort, ("NSCB",))
    named = {
        part: {name.replace("NSCB", NSCB): one for name, one in getattr(found, part).items()}
        for part in ("numbers", "intervals", "p_values", "left_out")
    }
    return found._replace(**named)
