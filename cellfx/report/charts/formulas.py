"""Charts about formulas: what a longer one gains, and where one draws the line between classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
    ACCENT,
    CLASS_COLORS,
    FADED,
    HAIRLINE,
    INK,
    MUTED,
    PAPER,
    TEXT_POINTS,
    canvas,
    place,
    style,
)

WIDTH = 7.0
MARKERS = "o^sD"
SHOWN_CELLS = 1_000
RASTER = 200


def undominated(complexity: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Which points are on the Pareto front: none is as simple with less loss, and none simpler with as little.

    Args:
        complexity: (P,).
        loss: (P,); NaN is never on the front.

    Returns:
        (P,) bool; of equal points the first.
    """
    order = np.lexsort((loss, complexity))
    kept, best = np.zeros(len(loss), bool), np.inf
    for index in order:
        kept[index] = loss[index] < best
        best = loss[index] if kept[index] else best
    return kept


def pareto_front(
    complexity: np.ndarray, loss: np.ndarray, accuracy: np.ndarray, chosen: int, loss_name: str = "validation loss"
) -> Any:
    """Loss and accuracy of formulas against their complexity; the front is drawn, what it dominates is faint.

    Args:
        complexity: (P,) of every formula, of all seeds.
        loss: (P,) on the validation split.
        accuracy: (P,) in [0, 1], on the validation split.
        chosen: index of the formula that was taken.
        loss_name: what the loss is, below its chart's title.

    Returns:
        Figure.
    """
    front = undominated(complexity, loss)
    order = np.flatnonzero(front)[np.argsort(complexity[front], kind="stable")]
    with style():
        note = f"{len(loss)} formulas, {len(order)} of which no other beats in both. Complexity counts their symbols."
        on = canvas(WIDTH, 2.75, "What a longer formula gains", note)
        for column, (values, name) in enumerate(((loss, loss_name), (accuracy, "validation accuracy"))):
            axes = place(on, 0.5 + column * 3.55, 0.28, 2.9, 2.05)
            axes.scatter(complexity, values, s=11, color=FADED, linewidths=0, label="formula")
            axes.plot(complexity[order], values[order], color=ACCENT, linewidth=1.3, drawstyle="steps-post")
            axes.scatter(
                complexity[order], values[order], s=24, color=ACCENT, edgecolors=PAPER, zorder=3, label="front"
            )
            taken = {"s": 95, "facecolors": "none", "edgecolors": CLASS_COLORS[1], "linewidths": 1.8, "zorder": 4}
            axes.scatter(complexity[chosen], values[chosen], **taken, label="chosen")
            axes.set_title(name, loc="left", fontsize=TEXT_POINTS, pad=7)
            axes.set_xlabel("complexity")
            axes.set_ylim(*_range(values, order, upper=column == 0))
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y", color=HAIRLINE)
            axes.tick_params(length=0)
        on.figure.axes[1].yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        said = f"complexity {complexity[chosen]:g}: {100 * accuracy[chosen]:.1f} %"
        _legend_above(on, {"chosen": f"chosen, {said}"})
    return on.figure


def decision_surface(
    score: Callable[[np.ndarray], np.ndarray],
    codes: np.ndarray,
    labels: np.ndarray,
    latents: tuple[int, int],
    class_names: Sequence[str],
    third: int | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """Where a formula decides for which class, along two latents, and how that moves with a third.

    Args:
        score: (N, L) -> (N,), whose sign decides between two classes, positive for the second; or -> logits (N, K).
        codes: (N, L).
        labels: (N,) int, index into ``class_names``.
        latents: along which.
        class_names: (K,).
        third: latent by which the cells are parted into thirds, from left to right; None shows all of them at once.
        names: (L,) of all latents; None says z and their numbers.

    Returns:
        Figure; the ground has the color of the decided class, dots that of the true one.
    """
    names = names or [f"z{latent}" for latent in range(codes.shape[1])]
    sides = [_span(codes[:, latent]) for latent in latents]
    parts = [np.arange(len(codes))] if third is None else np.array_split(np.argsort(codes[:, third]), 3)
    side, pitch = (3.6, 3.6) if third is None else (2.15, 2.3)
    width = max(0.5 + pitch * len(parts), 4.6)
    counts = np.bincount(labels, minlength=len(class_names))
    texts = [f"{name}  {count:,}" for name, count in zip(class_names, counts, strict=True)]
    columns = int(np.clip(width // (0.35 + 0.065 * max(map(len, texts))), 1, len(texts)))
    head, feet = 0.0 if third is None else 0.2, 0.5 + 0.19 * -(-len(texts) // columns)
    with style():
        note = "Ground: the class it decides for, other latents at their median. Dots: the true class of each cell."
        on = canvas(width, head + side + feet, "Where the formula draws the line", note)
        for column, part in enumerate(parts):
            axes = place(on, 0.5 + pitch * column, head, side, side)
            shown = np.random.default_rng(0).permutation(part)[: SHOWN_CELLS // len(parts)]
            _ground(axes, score, np.median(codes[part], axis=0), latents, sides, len(class_names))
            _cells(axes, codes[np.ix_(shown, latents)], labels[shown], texts)
            axes.set(xlabel=names[latents[0]], xlim=sides[0], ylim=sides[1])
            axes.tick_params(length=0, labelleft=column == 0)
            if third is not None:
                axes.set_title(f"{names[third]}: {('low', 'medium', 'high')[column]}", loc="left", fontsize=TEXT_POINTS)
        on.figure.axes[0].set_ylabel(names[latents[1]])
        handles, texts = on.figure.axes[0].get_legend_handles_labels()
        corner = {"loc": "lower left", "bbox_to_anchor": (0.1 / on.width, 0.12 / on.height), "ncols": columns}
        on.figure.legend(handles, texts, handletextpad=0.2, borderaxespad=0, labelcolor=MUTED, **corner)
    return on.figure


def _cells(axes: Any, points: np.ndarray, labels: np.ndarray, texts: Sequence[str]) -> None:
    for label, text in enumerate(texts):
        mine = points[labels == label]
        look = {"marker": MARKERS[label // len(CLASS_COLORS) % len(MARKERS)], "color": _color(label)}
        look |= {"edgecolors": PAPER, "linewidths": 0.4}
        axes.scatter(mine[:, 0], mine[:, 1], s=12, alpha=0.85, zorder=3, **look)
        axes.scatter([], [], s=30, label=text, **look)


def _ground(
    axes: Any, score: Callable, centre: np.ndarray, latents: tuple[int, int], sides: Sequence[tuple], count: int
) -> None:
    """Colors of the decided class, and a line where two classes meet; ``centre`` (L,) is where other latents stay."""
    first, second = (np.linspace(*side, RASTER) for side in sides)
    raster = np.tile(centre, (RASTER * RASTER, 1))
    raster[:, latents[0]], raster[:, latents[1]] = np.tile(first, RASTER), np.repeat(second, RASTER)
    values = np.asarray(score(raster), np.float64)
    logits = np.stack([-values, values], axis=1) if values.ndim == 1 else values
    decided = np.argmax(logits, axis=1).reshape(RASTER, RASTER)
    hues = np.array([[int(_color(i)[at : at + 2], 16) / 255 for at in (1, 3, 5)] for i in range(count)])
    # Classes past the palette's end share its colors; their ground is fainter, as their dots have another shape.
    strength = np.where(np.arange(count) < len(CLASS_COLORS), 0.26, 0.12)[:, None]
    box = {"extent": (*sides[0], *sides[1]), "origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    axes.imshow((1 - strength * (1 - hues))[decided], zorder=0, **box)
    ranked = np.sort(logits, axis=1)
    for label in np.unique(decided)[1:]:
        rival = np.where(np.argmax(logits, axis=1) == label, ranked[:, -2], ranked[:, -1])
        lead = (logits[:, label] - rival).reshape(RASTER, RASTER)
        axes.contour(first, second, lead, [0.0], colors=INK, linewidths=1.1, zorder=4)


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.005, 0.995])
    room = 0.06 * (high - low) or 1.0
    return float(low - room), float(high + room)


def _range(values: np.ndarray, front: np.ndarray, upper: bool) -> tuple[float, float]:
    """Limits that show the front and most of what it dominates; a few hopeless formulas would flatten it."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.0, 0.95] if upper else [0.05, 1.0])
    low, high = min(low, values[front].min()), max(high, values[front].max())
    room = 0.07 * (high - low) or 0.05
    return low - room, high + room


def _legend_above(on: Any, texts: Mapping[str, str]) -> None:
    handles, labels = on.figure.axes[0].get_legend_handles_labels()
    edge = (1 - 0.18 / on.width, 1 - 0.12 / on.height)
    labels = [texts.get(label, label) for label in labels]
    where = {"loc": "upper right", "bbox_to_anchor": edge, "ncols": 3, "borderaxespad": 0}
    on.figure.legend(handles, labels, handletextpad=0.2, columnspacing=1.2, labelcolor=MUTED, **where)


def _color(index: int) -> str:
    return CLASS_COLORS[int(index) % len(CLASS_COLORS)]
