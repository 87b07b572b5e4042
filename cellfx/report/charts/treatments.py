"""Charts of treatments: all of them on a map, coloured by what is known of them."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import CLASS_COLOURS, FADED, MUTED, PAPER, canvas, place, style

MAX_COLOURED = 12
"""Groups that can be told apart: as many colours as there are, then these again with another mark."""
MARKS = "o^"
SIDE, LEGEND, LETTERS = 4.2, 3.1, 42


def treatment_map(places: np.ndarray, groups: Sequence[str | None], title: str, note: str = "") -> Any:
    """Treatments as points; the largest groups in colours, all others grey.

    Args:
        places: (N, 2), such as of t-SNE.
        groups: (N,) names, such as of mechanisms; None where it is not known.
        title: what is seen.
        note: how to read it.

    Returns:
        Figure; of equally large groups the first by name is coloured.
    """
    counts = Counter(group for group in groups if group is not None)
    coloured = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_COLOURED]
    of_group = {name: np.array([group == name for group in groups]) for name in coloured}
    others = ~np.any([np.zeros(len(groups), bool), *of_group.values()], axis=0)
    with style():
        on = canvas(SIDE + LEGEND, SIDE, title, note)
        axes = place(on, 0.0, 0.0, SIDE, SIDE)
        named = f"{'others' if coloured else 'treatments'}  {int(others.sum())}"
        axes.scatter(*places[others].T, s=11, color=FADED, edgecolors=PAPER, linewidths=0.2, label=named)
        for index, (name, rows) in enumerate(of_group.items()):
            turn, colour = divmod(index, len(CLASS_COLOURS))
            look = {"color": CLASS_COLOURS[colour], "marker": MARKS[turn], "s": 24, "linewidths": 0.4}
            text = f"{textwrap.shorten(name, LETTERS, placeholder=' …')}  {counts[name]}"
            axes.scatter(*places[rows].T, edgecolors=PAPER, label=text, **look)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[:].set_visible(True)
        handles, texts = axes.get_legend_handles_labels()
        order = [*range(1, len(handles)), 0] if others.any() else range(1, len(handles))
        where = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0, "handletextpad": 0.2}
        axes.legend([handles[i] for i in order], [texts[i] for i in order], labelcolor=MUTED, **where)
    return on.figure
