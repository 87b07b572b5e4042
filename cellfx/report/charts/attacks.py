"""Charts about what fools a classifier: accuracy under attack, and odd images on the training distribution."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.report.charts.style import (
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
MARKERS = "osD^vPX*"
FARTHEST = 8.0
HILL = 0.5


def accuracy_curves(
    attacks: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]],
    chance: float | None = None,
    published: Mapping[str, float] | None = None,
    score: str = "accuracy",
) -> Any:
    """Accuracy against the size of an attack, one small chart per attack, one line per classifier.

    Args:
        attacks: name, such as "FGSM, L∞, on images" -> sizes (E,) and, by classifier, accuracies (E,), or (R, E) of R
            seeds: their mean is drawn, and their standard deviation as a band.
        chance: accuracy of a guess, as a dotted line.
        published: name of an attack -> the size in the paper, as a thin line.
        score: what is counted as accuracy.

    Returns:
        Figure.
    """
    names = list(dict.fromkeys(name for _, curves in attacks.values() for name in curves))
    columns = min(len(attacks), 2)
    width, height = WIDTH / max(columns, 1), 2.25
    per_line = _per_line(names)
    feet = 0.02 + 0.19 * -(-len(names) // per_line)
    with style():
        many = any(np.ndim(values) == 2 for _, curves in attacks.values() for values in curves.values())
        note = "Lines: mean over the seeds; bands: their standard deviation. " if many else ""
        note += "Dotted: guessing. " if chance is not None else ""
        note += "Thin vertical line: the published size of the attack." if published else ""
        on = canvas(WIDTH, height * -(-len(attacks) // max(columns, 1)) + feet, "Accuracy under attack", note)
        for index, (attack, (sizes, curves)) in enumerate(attacks.items()):
            row, column = divmod(index, columns)
            axes = place(on, column * width + 0.55, row * height + 0.26, width - 0.75, height - 0.82)
            for name, values in curves.items():
                _accuracy(axes, sizes, np.atleast_2d(np.asarray(values, np.float64)), names.index(name), name)
            if chance is not None:
                axes.axhline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
            if published and attack in published:
                axes.axvline(published[attack], color=MUTED, linewidth=0.7, zorder=1)
            axes.set_title(attack, loc="left", fontsize=TEXT_POINTS, pad=7)
            axes.set(xlabel="size of the attack ε", ylabel=score if column == 0 else "", ylim=(-0.02, 1.03))
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            axes.grid(axis="y", color=HAIRLINE)
            axes.tick_params(length=0)
            axes.margins(x=0.02)
        _key(on, per_line)
    return on.figure


def placement(
    training: np.ndarray,
    placed: Mapping[str, np.ndarray],
    latents: Sequence[int],
    names: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> Any:
    """Where the latents of odd images lie on the distribution of the training images, one strip per latent.

    Args:
        training: (N, L) codes.
        placed: kind, such as "blank: Interphase" -> (L,) or (n, L) codes.
        latents: which to show, such as those of a formula.
        names: (L,) of all latents; None says z and their numbers.
        labels: (N,) int, index into ``class_names``, for a distribution per class; None shows one of all.
        class_names: (K,); more than eight are shown as one distribution.

    Returns:
        Figure; latents in standard deviations from their training mean, those farther off than eight at the edge.
    """
    names = names or [f"z{latent}" for latent in range(training.shape[1])]
    centre, scale = training.mean(axis=0), training.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    marks = {kind: np.clip((np.atleast_2d(z) - centre) / scale, -FARTHEST, FARTHEST) for kind, z in placed.items()}
    reach = max((float(np.abs(z[:, latents]).max()) for z in marks.values()), default=0.0)
    reach = max(reach, 3.2) + 0.3
    if labels is None or len(class_names) > len(CLASS_COLORS):
        labels, class_names = np.zeros(len(training), np.int64), ("training images",)
    left, lane = 0.2 + 0.063 * max(len(names[latent]) for latent in latents), 0.105
    row = HILL + lane * len(marks) + 0.1
    per_line = _per_line([*class_names, *placed])
    feet = 0.5 + 0.19 * -(-(len(class_names) + len(placed)) // per_line)
    with style():
        note = "Hills: how often the latent has a value among the training images. Marks: odd images."
        note += f" Those farther off than {FARTHEST:g} stand at {FARTHEST:g}." if reach > FARTHEST else ""
        on = canvas(WIDTH, row * len(latents) + feet, "Odd images on the training distribution", note)
        for index, latent in enumerate(latents):
            axes = place(on, left, index * row, WIDTH - left - 0.1, row - 0.1)
            _hills(axes, (training[:, latent] - centre[latent]) / scale[latent], labels, class_names, reach)
            axes.set_ylim(-lane * len(marks) / HILL - 0.02, 1.02)
            for number, (kind, z) in enumerate(marks.items()):
                look = {"marker": MARKERS[number % len(MARKERS)], "s": 28, "color": INK, "edgecolors": PAPER}
                height = np.full(len(z), -lane * (number + 0.6) / HILL)
                axes.scatter(z[:, latent], height, linewidths=0.6, zorder=4, label=kind, **look)
            axes.tick_params(length=0, labelbottom=index == len(latents) - 1)
            axes.annotate(names[latent], (-reach, 0), (-8, 0), textcoords="offset points", ha="right", va="center")
        axes.set_xlabel("standard deviations from the mean of the training images")
        _key(on, per_line)
    return on.figure


def _hills(axes: Any, values: np.ndarray, labels: np.ndarray, class_names: Sequence[str], reach: float) -> None:
    edges = np.linspace(-reach, reach, 91)
    window = np.hanning(9)
    counts = [np.histogram(values[labels == label], edges)[0] for label in range(len(class_names))]
    shares = [np.convolve(count / max(count.sum(), 1), window / window.sum(), mode="same") for count in counts]
    top = max(float(share.max()) for share in shares) or 1.0
    alone = len(class_names) == 1
    for label, (share, name) in enumerate(zip(shares, class_names, strict=True)):
        color = FADED if alone else CLASS_COLORS[label]
        height = np.where(share > 0.002 * top, share / top, np.nan)
        centres = (edges[:-1] + edges[1:]) / 2
        axes.fill_between(centres, height, color=color, alpha=0.6 if alone else 0.2, linewidth=0)
        axes.plot(centres, height, color=color, linewidth=1.1, label=name)
    axes.axhline(0, color=FADED, linewidth=0.8, zorder=1)
    axes.set(xlim=(-reach, reach), yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=HAIRLINE)


def _accuracy(axes: Any, sizes: np.ndarray, values: np.ndarray, index: int, name: str) -> None:
    color, mean = CLASS_COLORS[index % len(CLASS_COLORS)], values.mean(axis=0)
    mark = {"marker": MARKERS[index % len(MARKERS)], "markersize": 3.6}
    mark |= {"markeredgecolor": PAPER, "markeredgewidth": 0.4}
    axes.plot(sizes, mean, color=color, linewidth=1.5, label=name, zorder=3, **mark)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(sizes, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0, zorder=2)


def _per_line(texts: Sequence[str]) -> int:
    """Entries of a key that fit beside each other below a figure."""
    return int(np.clip(WIDTH // (0.5 + 0.065 * max(map(len, texts), default=1)), 1, max(len(texts), 1)))


def _key(on: Any, columns: int) -> None:
    handles, texts = on.figure.axes[0].get_legend_handles_labels()
    corner = {"loc": "lower left", "bbox_to_anchor": (0.1 / on.width, 0.12 / on.height), "ncols": columns}
    on.figure.legend(handles, texts, handletextpad=0.4, borderaxespad=0, labelcolor=MUTED, **corner)
