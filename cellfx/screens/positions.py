"""Whether replicates find each other for what they do, or for where they stand on their plates."""

from typing import Any

import numpy as np

from cellfx.profiles.screen import positions
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort
from cellfx.profiles.tables.table import Profiles

NAME, BEYOND = "mAP of control positions", "mAP beyond position"
KEPT = "replicate average precision, positions kept"


def score(
    wells: Profiles,
    controls: np.ndarray,
    columns: Columns,
    kernel: str,
    effort: Effort,
) -> dict[str, dict[str, Any]]:
    """Scores of positions, by their names, as ``screens.scores.score`` has them.

    Where most treatments always stand in one position, they are compared with control wells of one position; else wells
    of one position exchange their treatments.

    Raises:
        UserError: as ``positions.beyond`` or ``positions.kept_in_place``.
    """
    fixed, several = positions.fixed(wells.metadata, controls, columns)
    settings = wells, controls, columns, kernel, effort.num_permutations, effort.seed
    if 2 * fixed <= several:
        value, p_value = positions.kept_in_place(*settings, effort.ties)
        return {KEPT: {"level": "wells", "value": value, "p_value": p_value}}
    found = positions.beyond(*settings)
    return {
        NAME: {"level": "wells", "value": found.of_positions},
        BEYOND: {"level": "wells", "value": found.difference, "p_value": found.p_value},
    }


def notice(wells: Profiles, controls: np.ndarray, columns: Columns) -> list[str]:
    """Treatments that always stand in one position."""
    if columns.well not in wells.metadata.columns:
        return []
    fixed, several = positions.fixed(wells.metadata, controls, columns)
    if not fixed:
        return []
    text = (
        f"{fixed:,} of {several:,} treatments with several wells always stand in one position of their plates: what "
        f"the position does cannot be told from what they do; {BEYOND} compares them with control wells of one "
        "position; place treatments anew on each plate"
    )
    return [text]
