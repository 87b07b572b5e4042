"""Charts of treatments: all of them on a map, colored by what is known of them."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import CLASS_COLORS, FADED, MUTED, PAPER, canvas, place, style

MAX_COLORED = 12
"""Groups that can be told apart: as many colors as there are, then these again with another mark."""
MARKS = "o^"
SIDE, LEGEND, LETTERS = 4.2, 3.1, 42


def treatment_map(places: np.ndarray, groups: Sequence[str | None], title: str, note: str = "") -> Any:
    """Treatments as points; the largest groups in colors, all others gray.

    Args:
        places: (N, 2), such as of t-SNE.
        groups: (N,) names, such as of mechanisms; None where it is not known.
        title: what is seen.
        note: how to read it.

    Returns:
        Figure; of equally large groups the first by name is colored.
    """
    counts = Counter(group for group in groups if group is not None)
    colored = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_COLORED]
    of_group = {name: np.array([group == name for group in groups]) for name in colored}
    others = ~np.any([np.zeros(len(groups), bool), *of_group.values()], axis=0)
    with style():
        on = canvas(SIDE + LEGEND, SIDE, title, note)
        axes = place(on, 0.0, 0.0, SIDE, SIDE)
        named = f"{'others' if colored else 'treatments'}  {int(others.sum())}"
        axes.scatter(*places[others].T, s=11, color=FADED, edgecolors=PAPER, linewidths=0.2, label=named)
        for index, (name, rows) in enumerate(of_group.items()):
            turn, color = divmod(index, len(CLASS_COLORS))
            look = {"color": CLASS_COLORS[color], "marker": MARKS[turn], "s": 24, "linewidths": 0.4}
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
