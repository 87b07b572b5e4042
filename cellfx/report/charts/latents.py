"""Charts in the house style of ``figures``: curves, bars, clouds and matrices. Functions return matplotlib Figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
    ACCENT,
    CLASS_COLORS,
    FADED,
    HAIRLINE,
    INK,
    LABEL_POINTS,
    MUTED,
    PAPER,
    TEXT_POINTS,
    canvas,
    place,
    style,
)

Curve = tuple[np.ndarray, np.ndarray]
"""(steps (N,), values (N,))."""

WIDTH, PAGE = 7.0, 8.6
"""Of most figures; of those that a page shows at full width."""
MANY_CLASSES = 12


def learning_curves(train: Mapping[str, Curve], valid: Mapping[str, Curve], units: Mapping[str, str]) -> Any:
    """One small chart per metric over training steps.

    Args:
        train: metric -> curve over training; long ones are shown faint with their running mean on top.
        valid: metric -> curve on the validation split.
        units: metric -> unit, where it has one.
    """
    names = list(dict.fromkeys([*train, *valid]))
    columns = 2 if len(names) in (2, 4) else min(len(names), 3)
    width, height = WIDTH / columns, 1.85
    with style():
        note = "Logged batches faint, their running mean strong; the highest 2 % of a long run may lie above the edge."
        on = canvas(WIDTH, height * -(-len(names) // columns), "How training went", note)
        for index, name in enumerate(names):
            row, column = divmod(index, columns)
            axes = place(on, column * width + 0.42, row * height + 0.24, width - 0.62, height - 0.72)
            _curve(axes, train.get(name), valid.get(name))
            unit = f"  ({units[name]})" if name in units else ""
            axes.set_title(name + unit, loc="left", fontsize=TEXT_POINTS, color=INK, pad=7)
            axes.set_xlabel("step")
            axes.margins(x=0.02)
        handles = [h for h in on.figure.axes[0].get_lines() if not h.get_label().startswith("_")]
        if len(handles) > 1:
            edge = (1 - 0.18 / on.width, 1 - 0.12 / on.height)
            on.figure.legend(handles=handles, loc="upper right", bbox_to_anchor=edge, ncols=2, borderaxespad=0)
    return on.figure


def kl_bars(kl: np.ndarray, threshold: float = 0.01) -> Any:
    """Divergence of every latent, largest first.

    Args:
        kl: (L,) nats per example.
        threshold: nats above which a latent counts as active.
    """
    order = np.argsort(-kl, kind="stable")
    active = int(np.sum(kl > threshold))
    with style():
        note = f"Together {kl.sum():.1f} nats per image. Gray: at most {threshold:g} nats, unused by the model."
        on = canvas(WIDTH, 2.15, f"{active} of {len(kl)} latents carry information", note)
        axes = place(on, 0.45, 0.05, WIDTH - 0.5, 1.75)
        axes.bar(range(len(kl)), kl[order], width=0.72, color=[ACCENT if kl[i] > threshold else FADED for i in order])
        axes.set_xticks(range(len(kl)), [str(i) for i in order], fontsize=LABEL_POINTS if len(kl) <= 32 else 5)
        axes.tick_params(length=0)
        axes.set_xlim(-0.7, len(kl) - 0.3)
        axes.set(xlabel="latent, most informative first", ylabel="divergence from the prior  (nats)")
        axes.grid(axis="y")
    return on.figure


def latent_scatter(
    codes: np.ndarray, latents: tuple[int, int], labels: np.ndarray | None = None, class_names: Sequence[str] = ()
) -> Any:
    """Where images lie along two latents.

    Args:
        codes: (N, L).
        latents: which two.
        labels: (N,) int, index into ``class_names``.
        class_names: (K,).
    """
    first, second = codes[:, latents[0]], codes[:, latents[1]]
    with style():
        on = canvas(5.4, 4.0, f"Images along latents {latents[0]} and {latents[1]}", f"{len(codes)} images.")
        axes = place(on, 0.42, 0.0, 3.6, 3.6)
        shuffled = np.random.default_rng(0).permutation(len(codes))
        colors = np.array([ACCENT] if labels is None else [_color(i) for i in labels[shuffled]])
        axes.scatter(first[shuffled], second[shuffled], s=11, c=colors, alpha=0.75, edgecolors=PAPER, linewidths=0.3)
        axes.set(xlabel=f"z{latents[0]}", ylabel=f"z{latents[1]}")
        axes.grid()
        axes.tick_params(length=0)
        if labels is not None:
            _legend(axes, class_names, np.bincount(labels, minlength=len(class_names)))
    return on.figure


def factor_correlations(correlation: np.ndarray, latents: Sequence[int], factor_names: Sequence[str]) -> Any:
    """Rank correlation of latents with known factors.

    Args:
        correlation: (L', F) in [-1, 1].
        latents: (L',) index of every row.
        factor_names: (F,).
    """
    names = [f"z{latent}" for latent in latents]
    note = "Rank correlation over the images. A disentangled code has one strong cell in every row and column."
    texts = [[f"{v:.2f}".replace("-", "\N{MINUS SIGN}") if abs(v) >= 0.2 else "" for v in row] for row in correlation]
    return _matrix(
        correlation, texts, names, factor_names, ("RdBu_r", -1, 1), "Which latent follows which factor", note
    )


def confusion(
    counts: np.ndarray, class_names: Sequence[str], title: str = "Predicted against true class", unit: str = "images"
) -> Any:
    """Confusion matrix: color is the share of the true class; many classes show numbers only, to stay readable.

    Args:
        counts: (K, K), [true, predicted].
        class_names: (K,).
        title: what is seen.
        unit: what is counted.
    """
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    if len(counts) > MANY_CLASSES:
        texts = [[f"{c:d}" if c else "" for c in row] for row in counts]
        note = f"Rows are the true class, columns the predicted one: number of {unit}; color is the share of the row."
    else:
        texts = [[f"{s:.0%}\n{c:d}" for s, c in zip(*pair, strict=True)] for pair in zip(share, counts, strict=True)]
        note = f"Rows are the true class, columns the predicted one: share of the row, number of {unit}."
    return _matrix(share, texts, class_names, class_names, ("Blues", 0, 1), title, note)


def _matrix(
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    colors: tuple[str, float, float],
    title: str,
    note: str,
) -> Any:
    tall = any("\n" in text for row in texts for text in row)
    height, most, least = (0.62, 0.92, 0.5) if tall else (0.27, 0.52, 0.27)
    longest, left = 0.063 * max(map(len, column_names)), 0.12 + 0.063 * max(map(len, row_names))
    right = max(0.83 * longest - least / 2, 0.4)
    # A figure that is wider than a page is shown smaller.
    cell = (height, min(most, max((PAGE - left - right) / values.shape[1], least)))
    flat = longest < cell[1]
    head = 0.24 if flat else 0.15 + 0.6 * longest
    height, width = cell[0] * values.shape[0], cell[1] * values.shape[1]
    with style():
        on = canvas(max(left + width + (0.4 if flat else right), 5.4), head + height, title, note)
        axes = place(on, left, head, width, height)
        axes.imshow(values, cmap=colors[0], vmin=colors[1], vmax=colors[2], aspect="auto")
        turn = {} if flat else {"rotation": 35, "ha": "left", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(column_names)), column_names, **turn)
        axes.set_yticks(range(len(row_names)), row_names)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(1, values.shape[1]) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, values.shape[0]) - 0.5, minor=True)
        axes.grid(which="minor", color=PAPER, linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for (i, j), value in np.ndenumerate(values):
            ink = PAPER if abs(value) > 0.55 * colors[2] else INK
            axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=LABEL_POINTS - 0.5, color=ink)
    return on.figure


def _curve(axes: Any, train: Curve | None, valid: Curve | None) -> None:
    if train is not None:
        steps, values = (np.asarray(part, np.float64) for part in train)
        window = max(len(values) // 40, 1)
        mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
        if window > 1:
            axes.plot(steps, values, color=ACCENT, alpha=0.22, linewidth=0.7)
            # The first steps of a long run are so high that what follows would look flat; validation is never cut.
            low, high = np.quantile(values, [0.0, 0.98])
            if valid is not None:
                low, high = min(low, np.min(valid[1])), max(high, np.max(valid[1]))
            room = 0.06 * (high - low) or 1.0
            axes.set_ylim(low - room, high + room)
        centres = steps[window // 2 : window // 2 + len(mean)]
        axes.plot(centres, mean, color=ACCENT, linewidth=1.5, label="training")
    if valid is not None:
        marks = {"marker": "o", "markersize": 3, "markeredgecolor": PAPER, "markeredgewidth": 0.5}
        axes.plot(*valid, color=CLASS_COLORS[1], linewidth=1.2, label="validation", **marks)
    axes.grid(axis="y", color=HAIRLINE)
    axes.tick_params(length=0)
    axes.locator_params(nbins=4)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    text = f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _color(label: int) -> str:
    return CLASS_COLORS[int(label) % len(CLASS_COLORS)]


def _legend(axes: Any, class_names: Sequence[str], counts: np.ndarray) -> None:
    for index, name in enumerate(class_names):
        axes.scatter([], [], s=26, color=_color(index), label=f"{name}  {counts[index]}")
    where = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)}
    axes.legend(handletextpad=0.2, borderaxespad=0, labelcolor=MUTED, **where)
