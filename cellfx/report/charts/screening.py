"""What a filter of images does: its rates at all thresholds, and the images that it keeps and rejects."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellfx.analysis.images.screening import Roc
from cellfx.checks import UserError
from cellfx.report.charts.style import (
    CLASS_COLORS,
    FADED,
    HAIRLINE,
    INK,
    MUTED,
    PAPER,
    TEXT_POINTS,
    canvas,
    gallery,
    place,
    style,
)

SIDE = 2.45
FEW = 0.1
MARKERS = "sD^vPX*o"


def roc_curves(
    curves: Mapping[str, Roc],
    points: Mapping[str, tuple[float, float]] | None = None,
    wanted: float | None = None,
) -> Any:
    """Usable images that are kept against unusable ones that are let through, for several filters.

    Args:
        curves: name of a filter that gives scores -> its rates.
        points: name of a filter that only decides, such as the size gate, or of a threshold that was chosen -> (false
            positive rate, true positive rate). A point with the name of a curve is drawn on it in its color.
        wanted: highest false-positive rate that was asked for, as a thin line.

    Returns:
        Figure; the whole curves, and beside them the part where few unusable images are let through.
    """
    points = points or {}
    names = list(dict.fromkeys([*curves, *points]))
    with style():
        note = f"A guess follows the gray diagonal. Right: the same where at most {100 * FEW:g} % pass by mistake."
        note += f" Thin vertical line: the wanted rate, {100 * wanted:g} %." if wanted is not None else ""
        feet = 0.54 + 0.19 * len(names)
        on = canvas(2 * SIDE + 1.65, SIDE + 0.22 + feet, "How well each filter tells usable images from others", note)
        for index, (title, reach) in enumerate((("All thresholds", 1.0), ("Few unusable images", FEW))):
            axes = place(on, 0.62 + index * (SIDE + 0.8), 0.22, SIDE, SIDE)
            axes.plot([0, 1], [0, 1], color=FADED, linewidth=0.9)
            for name, curve in curves.items():
                rates = (curve.false_positive_rate, curve.true_positive_rate)
                text = f"{name}  ·  area {curve.area:.3f}"
                text += f"  ·  dot: {_rates(points[name])}" if name in points else ""
                axes.plot(*rates, color=_color(names, name), linewidth=1.5, label=text, zorder=3)
            for name, point in points.items():
                _point(axes, name, point, names, name in curves)
            if wanted is not None:
                axes.axvline(wanted, color=MUTED, linewidth=0.7, zorder=1)
            _frame(axes, title, reach)
        axes = on.figure.axes[0]
        axes.set_ylabel("usable images kept")
        corner = {"loc": "lower left", "bbox_to_anchor": (0.68 / on.width, 0.16 / on.height)}
        handles, texts = axes.get_legend_handles_labels()
        on.figure.legend(handles, texts, handletextpad=0.6, borderaxespad=0, labelcolor=INK, **corner)
    return on.figure


def screened(groups: Mapping[str, np.ndarray], note: str = "", columns: int = 10) -> Any:
    """The first images of every group, such as those that a filter kept and rejected, rightly and wrongly.

    Args:
        groups: name -> (n, H, W, C) in [0, 1]; a group without images is left out.
        note: a sentence for the subtitle, such as the threshold.
        columns: images shown of each group at most.

    Returns:
        Figure; the number of images of a group is written beside its name.

    Raises:
        ValueError: no group has an image.
    """
    filled = {name: images for name, images in groups.items() if len(images)}
    if not filled:
        raise UserError(
            f"nothing to show: got no image in any of the groups {list(groups)}, expected one or more; screen some "
            "images first"
        )
    names = [f"{name} · {len(images):,}" for name, images in filled.items()]
    rows = [images[:columns] for images in filled.values()]
    return gallery(rows, names, "What the filter keeps and what it rejects", note)


def _color(names: list[str], name: str) -> str:
    return CLASS_COLORS[names.index(name) % len(CLASS_COLORS)]


def _rates(point: tuple[float, float]) -> str:
    return f"keeps {100 * point[1]:.1f} %, lets through {100 * point[0]:.1f} %"


def _point(axes: Any, name: str, point: tuple[float, float], names: list[str], on_curve: bool) -> None:
    marker = "o" if on_curve else MARKERS[names.index(name) % len(MARKERS)]
    look = {"marker": marker, "s": 42, "color": _color(names, name), "edgecolors": PAPER, "linewidths": 0.7}
    label = None if on_curve else f"{name}  ·  {_rates(point)}"
    axes.scatter(*point, zorder=4, label=label, **look)


def _frame(axes: Any, title: str, reach: float) -> None:
    axes.set_title(title, loc="left", fontsize=TEXT_POINTS, pad=7)
    axes.set(xlim=(-0.015 * reach, 1.015 * reach), ylim=(-0.015, 1.015), xlabel="unusable images let through")
    axes.set_xticks(np.linspace(0, reach, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.grid(color=HAIRLINE)
    axes.tick_params(length=0)
