"""What a model that predicts channels from others made of them: images beside images, and intensities by class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
    ACCENT,
    CLASS_COLORS,
    FADED,
    HAIRLINE,
    MUTED,
    PAPER,
    TEXT_POINTS,
    canvas,
    gallery,
    place,
    style,
)

WIDTH = 7.0
SCATTERED = 3_000


def channel_pictures(images: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> Any:
    """Every channel of some cells; below each predicted one its prediction and how far this is off.

    Args:
        images: (N, H, W, C) in [0, 1].
        predicted: (N, H, W, C') in [0, 1], of the last C' channels.
        names: (C,) of the channels.

    Returns:
        Figure.
    """
    inputs = len(names) - predicted.shape[-1]
    rows = [images[..., channel : channel + 1] for channel in range(inputs)]
    captions = list(names[:inputs])
    for index, name in enumerate(names[inputs:]):
        target, drawn = (part[..., [channel]] for part, channel in ((images, inputs + index), (predicted, index)))
        rows += [target, drawn, np.abs(target - drawn)]
        captions += [name, f"{name}, predicted", "difference"]
    note = f"Predicted from {', '.join(names[:inputs])} alone. Black is 0 and white is 1 in every row."
    return gallery(rows, captions, "Channels and what is made of the others", note)


def total_intensities(
    target: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> Any:
    """Total intensity of every cell as it is against as it was predicted, one chart per channel.

    Args:
        target: (N, C') sums over pixels.
        predicted: (N, C').
        names: (C',) of the channels.
        labels: (N,) int, index into ``class_names``, for one color per class; None shows all alike.
        class_names: (K,); more than eight are shown alike.

    Returns:
        Figure, of at most ``SCATTERED`` cells, evenly spread.
    """
    rows = np.linspace(0, len(target) - 1, min(len(target), SCATTERED)).astype(np.int64)
    rows = np.random.default_rng(0).permutation(rows)
    if labels is None or len(class_names) > len(CLASS_COLORS):
        labels, class_names = np.zeros(len(target), np.int64), ()
    colors = np.array(CLASS_COLORS if class_names else (ACCENT,))[labels[rows]]
    columns = min(len(names), 2)
    size = WIDTH / columns if columns == 2 else 4.2
    per_line, keys = (4 if columns == 2 else 2), len(np.unique(labels)) if class_names else 0
    with style():
        note = f"{len(rows):,} cells, sums over pixels. Line: where the prediction is exact."
        high = size * -(-len(names) // columns) + 0.19 * -(-keys // per_line)
        on = canvas(size * columns, high, "Total intensity", note)
        for index, name in enumerate(names):
            row, column = divmod(index, columns)
            axes = place(on, column * size + 0.5, row * size + 0.26, size - 0.65, size - 0.76)
            both = target[rows, index], predicted[rows, index]
            ends = [min(map(np.min, both)), max(map(np.max, both))]
            axes.plot(ends, ends, color=FADED, linewidth=1.0, zorder=1)
            axes.scatter(*both, s=11, c=colors, alpha=0.75, edgecolors=PAPER, linewidths=0.3)
            axes.set_title(name, loc="left", fontsize=TEXT_POINTS, pad=7)
            axes.set(xlabel="as it is", ylabel="predicted" if column == 0 else "")
            axes.grid(color=HAIRLINE)
            axes.tick_params(length=0)
        _key(on, np.bincount(labels, minlength=len(class_names)), class_names, per_line)
    return on.figure


def _key(on: Any, counts: np.ndarray, class_names: Sequence[str], per_line: int) -> None:
    """The classes that occur and their number of cells, below the charts."""
    axes = on.figure.axes[0]
    present = [label for label in range(len(class_names)) if counts[label]]
    look = {"s": 22, "edgecolors": PAPER, "linewidths": 0.3}
    handles = [axes.scatter([], [], color=CLASS_COLORS[label], **look) for label in present]
    texts = [f"{class_names[label]}  {counts[label]:,}" for label in present]
    corner = {"loc": "lower left", "bbox_to_anchor": (0.1 / on.width, 0.1 / on.height)}
    on.figure.legend(handles, texts, ncols=per_line, handletextpad=0.2, borderaxespad=0, labelcolor=MUTED, **corner)
