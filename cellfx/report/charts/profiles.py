"""Charts of treatment profiles: scores as curves, plates as maps, batches as points, treatments as a tree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
    CLASS_COLORS,
    HAIRLINE,
    LABEL_POINTS,
    MUTED,
    PAPER,
    canvas,
    logarithmic,
    place,
    style,
)

WIDTH, HEIGHT = 7.0, 2.6
MAX_NAMED, LETTERS = 100, 44
"""Treatments whose names can still be read in a clustering map, and how much of a name is written."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))


def curves(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    note: str,
    x_name: str,
    y_name: str,
    level: float | None = None,
    log_y: bool = False,
) -> Any:
    """One line per variant; earlier ones are thicker, so that they show where a later one covers them.

    Args:
        lines: name -> x (P,) and y (P,); infinite y are triangles on the upper edge, and the note says so.
        title: what is seen.
        note: how to read it.
        x_name: of the horizontal axis.
        y_name: of the vertical axis.
        level: what chance gives, as a dashed line.
        log_y: a logarithmic vertical axis; values that are not positive are left out.

    Returns:
        Figure.
    """
    values = {name: np.asarray(y, np.float64) for name, (_, y) in lines.items()}
    if any(np.isposinf(y).any() for y in values.values()):
        note = f"{note} Triangles on the upper edge: infinite.".strip()
    with style():
        on = canvas(WIDTH, HEIGHT + 0.45, title, note)
        axes = place(on, 0.62, 0.05, 4.2, HEIGHT - 0.1)
        for index, (name, y) in enumerate(values.items()):
            x, look = np.asarray(lines[name][0]), _look(index)
            over = min(len(lines) - 1 - index, 4)
            marks = {"marker": "o", "markersize": 3 + 0.9 * over} if len(y) <= 12 else {}
            shown = np.where(np.isfinite(y) & ((y > 0) | (not log_y)), y, np.nan)
            axes.plot(x, shown, label=name, linewidth=1.3 + 0.4 * over, alpha=0.85, **look, **marks)
            edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": look["color"], "zorder": 3}
            beyond = x[np.isposinf(y)]
            axes.scatter(beyond, np.ones(len(beyond)), s=22 + 12 * over, marker="^", **edge)
            # Matplotlib looks at neither NaN nor what is placed on an edge when it chooses where an axis ends.
            axes.update_datalim(np.stack([beyond, np.ones(len(beyond))], axis=1), updatey=False)
        if level is not None:
            axes.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
        if log_y:
            axes.set_yscale("log")
            logarithmic(axes.yaxis)
        if not any(np.isfinite(y).any() for y in values.values()):
            middle = level or 1.0
            axes.set_ylim((middle / 10, middle * 10) if log_y else (0, 2 * middle))
        axes.set(xlabel=x_name, ylabel=y_name)
        axes.grid(axis="y", color=HAIRLINE)
        axes.tick_params(which="both", length=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), borderaxespad=0, labelcolor=MUTED)
    return on.figure


def components(projected: np.ndarray, explained: np.ndarray, groups: Sequence[str], title: str, note: str = "") -> Any:
    """Profiles on their first two principal components, colored by batch or whatever else they are grouped by.

    Args:
        projected: (N, 2).
        explained: (2,) share of the variance, 0 to 1.
        groups: (N,).
        title: what is seen.
        note: how to read it.

    Returns:
        Figure.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(projected))
    number = {name: index for index, name in enumerate(names)}
    with style():
        on = canvas(WIDTH, 3.7, title, note)
        axes = place(on, 0.62, 0.05, 3.9, 3.2)
        colors = np.array([CLASS_COLORS[number[group] % len(CLASS_COLORS)] for group in groups])
        x, y = projected[order].T
        axes.scatter(x, y, s=9, alpha=0.7, color=colors[order], edgecolors=PAPER, linewidths=0.2)
        for name in names[:20]:
            axes.scatter([], [], s=22, color=CLASS_COLORS[number[name] % len(CLASS_COLORS)], label=name)
        axes.set(xlabel=f"component 1  ({explained[0]:.1%})", ylabel=f"component 2  ({explained[1]:.1%})")
        axes.grid(color=HAIRLINE)
        axes.tick_params(length=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), borderaxespad=0, labelcolor=MUTED, handletextpad=0.2)
    return on.figure


def heatmap(values: np.ndarray, row_names: Sequence[str], column_names: Sequence[str], title: str, note: str) -> Any:
    """Correlations as colors: (R, C) in [-1, 1], with the names of rows and columns -> Figure.

    The scale ends at the largest absolute value, so that weak correlations show too, and the note says where.
    """
    row_names, column_names = ([short(name, LETTERS) for name in names] for names in (row_names, column_names))
    cell, largest = 0.155, float(np.abs(values).max(initial=0)) or 1.0
    left, below = 0.1 + 0.056 * max(map(len, row_names)), 0.1 + 0.052 * max(map(len, column_names))
    width, height = cell * len(column_names), cell * len(row_names)
    with style():
        on = canvas(max(left + width + 0.9, 5.0), height + below, title, f"{note} Colors end at {largest:.2f}.")
        axes = place(on, left, 0.0, width, height)
        shown = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
        axes.set_xticks(range(len(column_names)), column_names, rotation=90, fontsize=LABEL_POINTS - 2)
        axes.set_yticks(range(len(row_names)), row_names, fontsize=LABEL_POINTS - 2)
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set_visible(False)
        bar = place(on, left + width + 0.15, 0.0, 0.1, min(height, 1.8))
        on.figure.colorbar(shown, cax=bar).outline.set_visible(False)
    return on.figure


def clustering(similarity: np.ndarray, names: Sequence[str], title: str, note: str) -> Any:
    """Similarity of treatments, ordered by average-linkage clustering, under its tree.

    The scale ends at the largest similarity of two treatments, and the note says where.

    Args:
        similarity: (N, N) symmetric, in [-1, 1].
        names: (N,) of the treatments; of more than ``MAX_NAMED`` they are left out, and the note says so.
        title: what is seen.
        note: how to read it.

    Returns:
        Figure.
    """
    from scipy.cluster.hierarchy import dendrogram, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=len(names) <= 500)
    names = [short(name, LETTERS) for name in names] if len(names) <= MAX_NAMED else []
    largest = float(np.abs(similarity[~np.eye(len(similarity), dtype=bool)]).max(initial=0)) or 1.0
    note = f"{note} Colors end at {largest:.2f}."
    note += "" if names else f" Names are left out, as there are more than {MAX_NAMED} treatments."
    right = max([1.5, *(0.1 + 0.058 * len(name) for name in names)])
    width, height = (5.6, max(4.4, 0.125 * len(names)) if names else 5.6)
    with style():
        on = canvas(width + right, height + 0.75, title, note)
        above = place(on, 0.0, 0.0, width, 0.65)
        order = dendrogram(tree, ax=above, no_labels=True, link_color_func=lambda _: MUTED)["leaves"]
        above.set_axis_off()
        axes = place(on, 0.0, 0.68, width, height)
        ends = {"vmin": -largest, "vmax": largest}
        shown = axes.imshow(similarity[np.ix_(order, order)], cmap="RdBu_r", aspect="auto", **ends)
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.set_yticks(range(len(names)), [names[i] for i in order[: len(names)]], fontsize=LABEL_POINTS - 0.8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = place(on, width + 0.15, 0.25, 1.2, 0.1)
        on.figure.colorbar(shown, cax=bar, orientation="horizontal").outline.set_visible(False)
        bar.set_xticks([-largest, 0, largest], [f"\N{MINUS SIGN}{largest:.2f}", "0", f"{largest:.2f}"])
        bar.tick_params(length=0, labelsize=LABEL_POINTS - 1)
    return on.figure


def short(name: str, letters: int) -> str:
    """A name, or as much of it as goes into so many letters, with an ellipsis."""
    return name if len(name) <= letters else f"{name[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"


def _look(index: int) -> dict[str, Any]:
    turn, color = divmod(index, len(CLASS_COLORS))
    return {"color": CLASS_COLORS[color], "linestyle": _DASHES[(index + turn) % len(_DASHES)]}
