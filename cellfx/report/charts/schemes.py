"""Charts over many runs: how good each scheme is against its size, and which latents the runs rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
    ACCENT,
    CLASS_COLORS,
    DPI,
    HAIRLINE,
    INK,
    LABEL_POINTS,
    MUTED,
    PAPER,
    canvas,
    composite,
    logarithmic,
    place,
    style,
)

WIDTH = 7.0
APART = 0.09


def schemes(sizes: Mapping[str, np.ndarray], accuracies: Mapping[str, np.ndarray], score: str = "accuracy") -> Any:
    """Accuracy of classifiers against the length of the expression they amount to.

    Args:
        sizes: name -> (R,) nodes of the expression, by seed.
        accuracies: name -> (R,) in [0, 1], by seed.
        score: what is counted as accuracy.

    Returns:
        Figure; a faint dot per seed, mean and standard deviation strong.
    """
    with style():
        note = "Faint: every seed. Strong: mean and standard deviation over the seeds. Further left is easier to read."
        on = canvas(WIDTH, max(2.85, 0.42 * len(sizes) + 0.1), "Accuracy against size", note)
        axes = place(on, 0.62, 0.05, 3.6, 2.35)
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
        taken: list[float] = []
        for index, name in enumerate(sizes):
            size, accuracy = (np.asarray(part[name], np.float64) for part in (sizes, accuracies))
            color, centre = CLASS_COLORS[index % len(CLASS_COLORS)], float(np.log10(size).mean())
            # Means that would lie on each other stand beside each other.
            while any(abs(centre - other) < APART for other in taken):
                centre += APART
            taken.append(centre)
            axes.scatter(size, accuracy, s=12, alpha=0.35, linewidths=0, color=color)
            spread = accuracy.std(ddof=1) if len(accuracy) > 1 else None
            bar = {"capsize": 3.5, "elinewidth": 1.4, "capthick": 1.4, "markersize": 7.5, "markeredgecolor": PAPER}
            look = {"marker": "o", "linestyle": "", "color": color, "zorder": 3}
            text = f"{name}\n{_percent(accuracy.mean(), spread)}, {_nodes(size)}"
            axes.errorbar(10**centre, accuracy.mean(), spread, label=text, **bar, **look)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 5), max(high, 1e3))
        axes.set(xlabel="nodes of the expression  (log scale)", ylabel=score)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        axes.grid(axis="y", color=HAIRLINE)
        axes.tick_params(which="both", length=0)
        handles = [container.lines[0] for container in axes.containers]
        texts = [container.get_label() for container in axes.containers]
        where = {"loc": "upper left", "bbox_to_anchor": (1.06, 1.0), "borderaxespad": 0}
        axes.legend(handles, texts, labelspacing=0.9, handletextpad=0.4, labelcolor=INK, **where)
    return on.figure


def latents_chosen(
    counts: np.ndarray,
    num_runs: int,
    names: Sequence[str],
    images: np.ndarray | None = None,
    values: np.ndarray | None = None,
) -> Any:
    """How many runs rest on each latent, most first, and beside it what the latent does.

    Args:
        counts: (L',) runs that chose it.
        num_runs: of all.
        names: (L',) such as "z17 · elongation".
        images: (L', S, H, W, C) in [0, 1], see ``cellfx.analysis.latents.traversal.traverse``; None leaves them out.
        values: (L', S) of the moving latent, whose ends are written at the strip's sides.

    Returns:
        Figure.
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    left, bar, row = 0.15 + 0.062 * max((len(name) for name in names), default=0), 1.5, 0.34
    strips = None
    if images is not None:
        scale = max(round(112 / max(images.shape[2:4])), 1)
        strips = [composite(np.concatenate(list(strip), axis=1)).repeat(scale, 0).repeat(scale, 1) for strip in images]
        row = strips[0].shape[0] / DPI + 0.07
    start, across = left + bar + 0.75 + 0.45, 0.0 if strips is None else strips[0].shape[1] / DPI
    with style():
        note = f"Runs, of {num_runs}, whose classifier kept the latent." + (
            " Beside it, the decoded image while this latent alone moves." if strips else ""
        )
        width = max(start + across + 0.45, 5.0) if strips else max(left + bar + 0.9, 5.0)
        on = canvas(width, max(row * len(order), 0.3), "Latents that were chosen", note)
        for at, index in enumerate(order):
            axes = place(on, left, at * row + 0.5 * (row - 0.2), bar, 0.2)
            _share(axes, int(counts[index]), num_runs, names[index])
            if strips:
                axes = place(on, start, at * row, across, row - 0.07)
                axes.imshow(strips[index], interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                ends = ("", "") if values is None else (_signed(values[index][0]), _signed(values[index][-1]))
                text = {"transform": axes.transAxes, "va": "center", "fontsize": LABEL_POINTS - 1, "color": MUTED}
                axes.text(-0.06 / across, 0.5, ends[0], ha="right", **text)
                axes.text(1 + 0.06 / across, 0.5, ends[1], ha="left", **text)
    return on.figure


def _share(axes: Any, count: int, num_runs: int, name: str) -> None:
    axes.barh(0, num_runs, height=1, color=HAIRLINE)
    axes.barh(0, count, height=1, color=ACCENT)
    axes.set(xlim=(0, max(num_runs, 1)), ylim=(-0.5, 0.5))
    axes.set_axis_off()
    text = {"va": "center", "fontsize": LABEL_POINTS}
    axes.text(-0.06 * num_runs, 0, name, ha="right", color=INK, **text)
    axes.text(1.05 * num_runs, 0, f"{count} of {num_runs}", ha="left", color=MUTED, **text)


def _percent(mean: float, spread: float | None) -> str:
    return f"{100 * mean:.1f} %" if spread is None else f"{100 * mean:.1f} ± {100 * spread:.1f} %"


def _nodes(size: np.ndarray) -> str:
    low, high = int(size.min()), int(size.max())
    return f"{low:,} nodes" if low == high else f"{low:,} to {high:,} nodes"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}").replace("+0.0", "0")
