"""Which wells are negative controls, and which of them judge alone: the config section ``controls`` of ``bin/profile``.

What is fitted on controls suits them better than wells it has not seen. Spherized by few of them, the controls lie
where no other untreated well would, and treatments are told from them whatever they do. Controls that are held out, as
test images are from training, show what is left of it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.steps import fitted
from cellfx.profiles.steps.variant import HELD_OUT
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import Profiles, few
from cellfx.profiles.tables.text_values import is_missing, number


class Controls(NamedTuple):
    """Negative controls among N wells.

    Attributes:
        fitted: (N,) bool, those that normalizations and spherizing are fitted on.
        judged: (N,) bool, those that scores compare with; the same ones where none are held out. Those that are held
            out are fitted on by no normalization, also where it is on wells; a selection of features sees them.
    """

    fitted: np.ndarray
    judged: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """(N,) bool."""
        return self.fitted | self.judged

    @property
    def held_out(self) -> np.ndarray:
        """(N,) bool, those that judge and do not fit."""
        return self.judged & ~self.fitted

    @property
    def scored(self) -> np.ndarray:
        """(N,) bool, wells that are scored: all but the controls that only fit."""
        return self.judged | ~self.fitted


def find(
    metadata: pl.DataFrame, plate: Sequence[str] | str, column: str, values: Any, held_out: float = 0.0, seed: int = 0
) -> Controls:
    """Tells controls by a column, and holds some of every plate out.

    Args:
        metadata: of N wells.
        plate: columns that tell plates, see ``plate_identity``, or the only one.
        column: that tells controls.
        values: that controls have in it, or the only one. Numbers are compared as numbers, others as text; None and
            "" stand for a missing value or a word for it, see ``text_values.MISSING``.
        held_out: share of the controls of every plate that judge and do not fit, rounded; 0 for all to do both.
        seed: of the choice.

    Raises:
        ValueError: no such column, no control, or a share that leaves none of a plate to fit or to judge.
    """
    known = metadata.columns
    if column not in known:
        raise UserError(
            f"no column of controls: got {column!r}, expected one of {', '.join(known)}; correct controls.column"
        )
    wanted = values if isinstance(values, list | tuple) else [values]
    controls = np.logical_or.reduce([_has(metadata[column], value) for value in wanted])
    if not controls.any():
        there = metadata[column].cast(pl.String).unique().sort().to_list()
        plain = {_plain(value) for value in wanted} - {""}
        near = [value for value in there if value is not None and _plain(value) in plain]
        advice = f"did you mean {few(near)}?" if near else f"there are {', '.join(map(_shown, there[:5]))};"
        raise UserError(
            f"no negative controls: got no well whose {column} is {' or '.join(map(_shown, wanted))}, expected one or "
            f"more; {advice} correct controls.values, in which None stands for wells without a value"
        )
    if held_out == 0:
        return Controls(controls, controls)
    return _divided(metadata, fitted.columns(plate), controls, held_out, seed)


def none(metadata: pl.DataFrame) -> Controls:
    """No control among N wells."""
    nothing = np.zeros(len(metadata), bool)
    return Controls(nothing, nothing)


def mark(wells: Profiles, controls: Controls) -> Profiles:
    """Adds the column ``HELD_OUT`` where controls are held out, and takes an older one away where none are."""
    if controls.held_out.any():
        return wells._replace(metadata=wells.metadata.with_columns(pl.Series(HELD_OUT, controls.held_out)))
    return wells._replace(metadata=wells.metadata.drop(HELD_OUT, strict=False))


def _has(column: pl.Series, wanted: Any) -> np.ndarray:
    """(N,) bool, where a column has a value."""
    text = pl.lit(column.cast(pl.String))
    if wanted is None or str(wanted).strip() == "":
        found = is_missing(text)
    elif isinstance(wanted, bool):
        found = text.str.to_lowercase() == str(wanted).lower()
    elif isinstance(wanted, int | float):
        found = number(text) == wanted
    else:
        found = text == str(wanted)
        if column.dtype.is_numeric():
            found = found | (number(text) == number(pl.lit(str(wanted))))
    return pl.select(found.fill_null(False)).to_series().to_numpy()


def _plain(value: Any) -> str:
    """In small letters and without spaces."""
    return "" if value is None else "".join(str(value).split()).casefold()


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "(missing)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _divided(
    metadata: pl.DataFrame, plate: Sequence[str], controls: np.ndarray, held_out: float, seed: int
) -> Controls:
    rng, judged = np.random.default_rng(seed), np.zeros(len(metadata), bool)
    for name, rows in plate_identity.named(metadata, plate):
        rows = rows[controls[rows]]
        count = round(held_out * len(rows))
        if len(rows) and not 0 < count < len(rows):
            raise UserError(
                f"controls that cannot be held out: got controls.held_out={held_out} of {len(rows)} on plate "
                f"{name}, expected a share that leaves one or more to fit and to judge; 0.5 halves them"
            )
        judged[rng.permutation(rows)[:count]] = True
    return Controls(controls & ~judged, judged)
