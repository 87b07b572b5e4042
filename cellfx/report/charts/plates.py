"""Plates as maps: where the name of a well says that it lies, and a value of every well there."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.checks import UserError
from cellfx.report.charts.style import FADED, LABEL_POINTS, canvas, place, style

ROWS, COLUMNS = 32, 48
"""Of the largest plate, that of 1,536 wells."""


def plate_map(
    wells: Sequence[str],
    values: np.ndarray,
    title: str,
    unit: str,
    symmetric: bool = False,
    limits: tuple[float, float] | None = None,
    note: str = "",
) -> Any:
    """A value of every well of a plate, where the well lies.

    Args:
        wells: (N,) such as "B07", see ``well_place``; those of several plates are averaged.
        values: (N,).
        title: what is seen.
        unit: what the colors mean.
        symmetric: about 0, for values that have a sign.
        limits: values at the ends of the colors, for several maps on one scale; the least and largest by default.
        note: a further sentence on how to read it.

    Returns:
        Figure; a place without a well, or without a value, is gray.

    Raises:
        ValueError: a name is no well.
    """
    grid = plate_grid(wells, values)
    low, high = limits or (float(np.nanmin(grid)), float(np.nanmax(grid)))
    if symmetric:
        high = max(-low, high) or 1.0
        low = -high
    cell = 0.235
    with style():
        note = f"Color: {unit}. Gray: no well, or none with a value. {note}"
        on = canvas(max(grid.shape[1] * cell + 1.5, 5.0), grid.shape[0] * cell + 0.3, title, note)
        axes = place(on, 0.3, 0.2, grid.shape[1] * cell, grid.shape[0] * cell)
        axes.set_facecolor(FADED)  # white is 0 where values have a sign
        shown = axes.imshow(grid, cmap="RdBu_r" if symmetric else "viridis", vmin=low, vmax=high, aspect="auto")
        axes.set_xticks(range(grid.shape[1]), [str(i + 1) for i in range(grid.shape[1])], fontsize=LABEL_POINTS - 1.5)
        axes.set_yticks(range(grid.shape[0]), [_letter(i) for i in range(grid.shape[0])], fontsize=LABEL_POINTS - 1.5)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        bar = place(on, 0.3 + grid.shape[1] * cell + 0.2, 0.2, 0.12, grid.shape[0] * cell)
        on.figure.colorbar(shown, cax=bar).outline.set_visible(False)
    return on.figure


def plate_grid(wells: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Values by row and column of the smallest standard plate that has all wells.

    Args:
        wells: (N,) such as "B07" or "AA12", see ``well_place``.
        values: (N,); those of one well are averaged.

    Returns:
        (8, 12), (16, 24) or (32, 48) float64; NaN where there is no well.

    Raises:
        ValueError: a name is no well of a plate with up to 1,536.
    """
    found = [well_place(name) for name in wells]
    if None in found:
        raise UserError(
            f"no name of a well: got {wells[found.index(None)]!r}, expected such as B07; correct the column of wells"
        )
    places = np.array(found).reshape(-1, 2)
    rows, columns = places.max(axis=0) + 1
    smaller = (size for size in ((8, 12), (16, 24)) if rows <= size[0] and columns <= size[1])
    shape = next(smaller, (ROWS, COLUMNS))
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, tuple(places.T), values)
    np.add.at(count, tuple(places.T), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def well_place(name: Any) -> tuple[int, int] | None:
    """Row and column, from 0, of a well on a plate of up to 1,536.

    B07, b7, B007, B-07, B_07 and r02c07 all name one well. A number alone names none: whether wells are counted along
    rows or columns, and of which plate, it does not say.

    Args:
        name: of the well.

    Returns:
        None where the name is no well.
    """
    text = str(name).strip().upper()
    if by_number := re.fullmatch(r"R(\d{1,2})[-_ ]?C(\d{1,2})", text):
        row, column = int(by_number[1]), int(by_number[2])
    elif by_letter := re.fullmatch(r"([A-Z]|A[A-F])[-_ ]?(\d{1,3})", text):
        row = sum(26**i * (ord(letter) - 64) for i, letter in enumerate(by_letter[1][::-1]))
        column = int(by_letter[2])
    else:
        return None
    return (row - 1, column - 1) if 1 <= row <= ROWS and 1 <= column <= COLUMNS else None


def has_place(names: Sequence[Any]) -> np.ndarray:
    """Which of some wells (N,) have a name that says where they lie, see ``well_place``: (N,) bool."""
    known = {name: well_place(name) is not None for name in dict.fromkeys(names)}
    return np.array([known[name] for name in names], bool)


def _letter(row: int) -> str:
    return chr(65 + row) if row < 26 else f"A{chr(65 + row - 26)}"
