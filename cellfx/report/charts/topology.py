"""Pictures of a sparse network: every unit and connection that is left, in the house style of ``figures``."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.report.charts.style import ACCENT, INK, LABEL_POINTS, MUTED, PAPER, TEXT_POINTS, canvas, place, style
from cellfx.sparsity.compact import Compact

WIDTH = 7.0
POSITIVE, NEGATIVE = ACCENT, "#c43c39"
LINE_POINTS = (0.35, 3.4)
SWEEPS = 12
SLANT = 35


class Look(NamedTuple):
    """How a network is drawn.

    Attributes:
        points: size of letters.
        unit_points: diameter of a unit.
        strongest: magnitude of a weight that gets the widest line.
        line_points: width of the widest line.
    """

    points: float
    unit_points: float
    strongest: float
    line_points: float


def topology(network: Compact, input_names: Sequence[str], class_names: Sequence[str]) -> Any:
    """One network from its inputs, above, to its classes, below.

    Args:
        network: a kernel's zeros are connections that are not there.
        input_names: of ``network.inputs``, in their order.
        class_names: (K,).

    Returns:
        Figure; blue connections have positive weights, red ones negative, width goes with magnitude.

    Raises:
        ValueError: not one name for every input and class.
    """
    kernels = _kernels(network, input_names, class_names)
    strongest, connections = _strongest([kernels]), sum(np.count_nonzero(kernel) for kernel in kernels)
    left, row = 1.05, 0.74
    widest = WIDTH - left
    heads, feet = (_labels(names, widest, LABEL_POINTS) for names in (input_names, class_names))
    width = widest - max(heads[2], feet[2])
    height = heads[1] + row * len(kernels) + feet[1]
    with style():
        count = f"{len(input_names)} latent{'s' * (len(input_names) != 1)}"
        note = f"{connections} connections, the thickest has weight {strongest:.2g}. Units that lost theirs are gone."
        note = note if connections else "No connection is left: the answer is the same for every cell."
        on = canvas(WIDTH, height + 0.1, f"How the classifier reads {count}", note)
        axes = place(on, left, heads[1], width, row * len(kernels))
        look = Look(LABEL_POINTS, 11.0, strongest, LINE_POINTS[1])
        tops = _network(axes, kernels, look)
        _name(axes, tops[0], input_names, heads[0], look, above=True)
        _name(axes, tops[-1], class_names, feet[0], look, above=False)
        for index, xs in enumerate(tops):
            inner = f"{len(xs)} unit{'s' * (len(xs) != 1)}"
            text = "latents" if index == 0 else "classes" if index == len(kernels) else inner
            axes.text(-left / width, index, text, transform=axes.get_yaxis_transform(), va="center", color=MUTED)
        _key(on)
    return on.figure


def topologies(
    networks: Sequence[Compact],
    titles: Sequence[str],
    class_names: Sequence[str],
    input_names: Sequence[Sequence[str]] | None = None,
) -> Any:
    """Several networks side by side, such as those of ten seeds; line widths can be compared between them.

    Args:
        networks: as in ``topology``; their depths may differ.
        titles: one for every network, such as "seed 3 · 97.4 %".
        class_names: (K,) of all of them.
        input_names: for every network the names of its inputs; None says z and the number of the latent.

    Returns:
        Figure.

    Raises:
        ValueError: not one name for every input and class.
    """
    names = input_names or [[f"z{latent}" for latent in network.inputs] for network in networks]
    all_kernels = [_kernels(network, name, class_names) for network, name in zip(networks, names, strict=True)]
    points, numbers = LABEL_POINTS - 1, [str(i + 1) for i in range(len(class_names))]
    texts = [*names, numbers, *([f"{title}    "] for title in titles)]
    columns = next((c for c in (5, 4, 3, 2) if all(_fits(text, WIDTH / c - 0.2, points) for text in texts)), 1)
    columns = min(columns, max(len(networks), 1))
    width = WIDTH / columns
    labels = [_labels(name, width - 0.2, points) for name in names]
    head, inner = 0.24 + max(label[1] for label in labels), width - 0.2 - max(label[2] for label in labels)
    row, depth = 0.42, max(map(len, all_kernels))
    height = head + row * depth + 0.42
    classes = ", ".join(f"{number}\N{NO-BREAK SPACE}{name}" for number, name in zip(numbers, class_names, strict=True))
    with style():
        note = f"Latents above, classes below: {classes}. Line widths share one scale."
        on = canvas(WIDTH, height * -(-len(networks) // columns) - 0.1, "How each classifier reads its latents", note)
        look = Look(points, 6.0, _strongest(all_kernels), 2.6)
        for index, (kernels, title) in enumerate(zip(all_kernels, titles, strict=True)):
            (at, column), deep = divmod(index, columns), len(kernels)
            axes = place(on, column * width + 0.05, at * height + head, inner, row * deep)
            tops = _network(axes, kernels, look)
            _name(axes, tops[0], names[index], labels[index][0], look, above=True)
            _name(axes, tops[-1], numbers, False, look, above=False)
            edge = {"transform": axes.transAxes, "va": "bottom", "fontsize": TEXT_POINTS}
            axes.text(0, 1 + (head - 0.22) / (row * deep), title, **edge)
        _key(on)
    return on.figure


def arrange(kernels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Where units stand from left to right so that few connections cross.

    Inputs and outputs keep their order. Hidden units are sorted again and again by the mean place of what they are
    connected with, weighted by magnitude: the barycentre rule of Sugiyama, Tagawa & Toda 1981
    (doi:10.1109/TSMC.1981.4308636). Differs from the paper: both neighboring layers pull at once.

    Args:
        kernels: of shape (in, out), layer after layer.

    Returns:
        For every layer, inputs first, the place of each unit in (0, 1).
    """
    sizes = [kernels[0].shape[0], *(kernel.shape[1] for kernel in kernels)]
    places = [(np.arange(size) + 0.5) / max(size, 1) for size in sizes]
    pulls = [np.abs(np.asarray(kernel, np.float64)) for kernel in kernels]
    for _ in range(SWEEPS):
        for index in range(1, len(sizes) - 1):
            pull = places[index - 1] @ pulls[index - 1] + pulls[index] @ places[index + 1]
            weight = pulls[index - 1].sum(axis=0) + pulls[index].sum(axis=1)
            centre = np.where(weight > 0, pull / np.where(weight > 0, weight, 1), places[index])
            places[index] = (np.argsort(np.argsort(centre, kind="stable")) + 0.5) / sizes[index]
    return places


def _kernels(network: Compact, input_names: Sequence[str], class_names: Sequence[str]) -> list[np.ndarray]:
    kernels = [np.asarray(kernel, np.float64) for kernel, _ in network.layers]
    expected = (len(network.inputs), kernels[-1].shape[1])
    if (len(input_names), len(class_names)) != expected:
        raise UserError(
            f"names do not fit the network: got {len(input_names)} for inputs and {len(class_names)} for classes, "
            f"expected {expected[0]} and {expected[1]}; give one name for each"
        )
    return kernels


def _strongest(networks: Sequence[Sequence[np.ndarray]]) -> float:
    return max((float(np.abs(kernel).max()) for kernels in networks for kernel in kernels if kernel.size), default=1.0)


def _network(axes: Any, kernels: Sequence[np.ndarray], look: Look) -> list[np.ndarray]:
    """Draws connections and units: places from left to right in (0, 1), layers at 0, 1, ... from above."""
    places = arrange(kernels)
    axes.set(xlim=(0, 1), ylim=(len(kernels), 0))
    axes.set_axis_off()
    for layer, kernel in enumerate(kernels):
        for i, j in np.argwhere(kernel):
            share = abs(kernel[i, j]) / look.strongest
            axes.plot(
                [places[layer][i], places[layer + 1][j]],
                [layer, layer + 1],
                color=POSITIVE if kernel[i, j] > 0 else NEGATIVE,
                linewidth=LINE_POINTS[0] + share * (look.line_points - LINE_POINTS[0]),
                alpha=0.45 + 0.5 * share,
                solid_capstyle="round",
                clip_on=False,
                zorder=1 + share,
            )
    for layer, xs in enumerate(places):
        ends = layer in (0, len(kernels))
        size = look.unit_points * (1.0 if ends else 0.75)
        if layer == 0 and not len(xs):
            axes.text(0.5, layer, "no latent left", ha="center", va="center", fontsize=look.points, color=MUTED)
        fill = {"facecolors": INK if ends else PAPER, "edgecolors": INK, "linewidths": look.unit_points / 10}
        axes.scatter(xs, np.full(len(xs), layer), s=size**2, clip_on=False, zorder=3, **fill)
    return places


def _letters_inches(text: str, points: float) -> float:
    return 0.0079 * points * len(text)


def _fits(names: Sequence[str], width: float, points: float) -> bool:
    return max((_letters_inches(name, points) for name in names), default=0.0) + 0.06 <= width / max(len(names), 1)


def _labels(names: Sequence[str], width: float, points: float) -> tuple[bool, float, float]:
    """Whether names along a width must be slanted, the height they take, and what they need to the right of it."""
    if _fits(names, width, points):
        return False, 0.32, 0.0
    longest = max(_letters_inches(name, points) for name in names)
    overhang = max(longest * np.cos(np.radians(SLANT)) - 0.5 * width / len(names), 0.0)
    return True, 0.26 + longest * np.sin(np.radians(SLANT)), overhang


def _name(axes: Any, xs: np.ndarray, names: Sequence[str], slanted: bool, look: Look, above: bool) -> None:
    offset = (1 if above else -1) * (look.unit_points / 2 + 3)
    turn = {"ha": "center", "va": "bottom" if above else "top"}
    if slanted:
        turn = {"rotation": SLANT if above else -SLANT, "rotation_mode": "anchor", "ha": "left", "va": turn["va"]}
    for x, name in zip(xs, names, strict=True):
        where = {"xy": (x, 1.0 if above else 0.0), "xycoords": "axes fraction", "xytext": (0, offset)}
        axes.annotate(name, **where, textcoords="offset points", fontsize=look.points, color=INK, **turn)


def _key(on: Any) -> None:
    axes = on.figure.axes[0]
    handles = [axes.plot([], [], color=color, linewidth=2)[0] for color in (POSITIVE, NEGATIVE)]
    edge = (1 - 0.18 / on.width, 1 - 0.12 / on.height)
    place_at = {"loc": "upper right", "bbox_to_anchor": edge, "ncols": 2, "borderaxespad": 0, "handlelength": 1.4}
    on.figure.legend(handles, ["positive weight", "negative weight"], **place_at)
