"""Rows of images with words below each: what an attack changed, and what is made of odd images."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.report.charts.style import (
    CELL_PX,
    DPI,
    FADED,
    INK,
    LABEL_POINTS,
    MARGIN,
    MUTED,
    canvas,
    composite,
    place,
    style,
)

RIGHT, WRONG = INK, "#b3261e"
LETTER, LINE = 0.057, 0.125


class Row(NamedTuple):
    """A row of a gallery.

    Attributes:
        name: at its left.
        images: (N, H, W, 3) in [0, 1], or None for words alone.
        words: below each image; none or (N,).
        right: (N,) whether the words are true.
    """

    name: str
    images: np.ndarray | None
    words: Sequence[str] = ()
    right: Sequence[bool] = ()


def attack_pictures(
    originals: np.ndarray,
    truth: Sequence[str],
    attacked: Mapping[str, np.ndarray],
    answers: Mapping[str, Sequence[str]],
    note: str = "",
    title: str = "What an attack changes",
) -> Any:
    """Images, and below them for every classifier the image made to fool it, its answer, and what was changed.

    Args:
        originals: (N, H, W, C) in [0, 1]: images, or decoded codes where codes are attacked.
        truth: (N,) name of the true class.
        attacked: classifier -> (N, H, W, C).
        answers: classifier -> (N,) what it says to them.
        note: of the attack, such as its norm and size.
        title: of the figure.

    Returns:
        Figure; a change is red where the image was made brighter, blue where darker, averaged over channels.
    """
    gray = np.asarray(originals, np.float64).mean(axis=-1)
    changes = {name: np.asarray(images, np.float64).mean(axis=-1) - gray for name, images in attacked.items()}
    largest = max((float(np.abs(change).max()) for change in changes.values()), default=0.0) or 1.0
    rows = [Row("image", composite(originals), truth, [True] * len(truth))]
    for name, images in attacked.items():
        right = [answer == true for answer, true in zip(answers[name], truth, strict=True)]
        rows.append(Row(name, composite(images), answers[name], right))
        rows.append(Row("change", _diverging(changes[name] / largest)))
    key = f"Red answers are wrong. Change: red is brighter, blue darker, by up to {largest:.2g} of full scale."
    return _gallery(rows, title, f"{note} {key}".strip())


def odd_images(
    images: Mapping[str, np.ndarray], reconstructed: Mapping[str, np.ndarray], answers: Mapping[str, Sequence[str]]
) -> Any:
    """Images unlike any that was trained on, what the encoder keeps of them, and what classifiers say.

    Args:
        images: kind, such as "blank" -> (H, W, C) in [0, 1].
        reconstructed: kind -> (H, W, C) in [0, 1].
        answers: classifier -> (kinds,) what it says to each, in the order of ``images``.

    Returns:
        Figure.
    """
    kinds = list(images)
    rows = [
        Row("image", composite(np.stack([images[kind] for kind in kinds])), kinds, [True] * len(kinds)),
        Row("reconstruction", composite(np.stack([reconstructed[kind] for kind in kinds]))),
        *(Row(name, None, words, [True] * len(kinds)) for name, words in answers.items()),
    ]
    note = "Images as a failing microscope makes them, what the model keeps of them, and what each classifier says."
    return _gallery(rows, "Odd images", note)


def _gallery(rows: Sequence[Row], title: str, note: str) -> Any:
    """A figure of rows, the first of which has images; all have the same number of columns."""
    columns, height, width = rows[0].images.shape[:3]
    scale = max(round(CELL_PX / max(height, width)), 1)
    high, wide = height * scale / DPI, width * scale / DPI
    lines = [[_broken(word) for word in row.words] for row in rows]
    longest = max((len(line) for row in lines for word in row for line in word), default=0)
    pitch = max(wide + 0.06, 0.1 + LETTER * longest)
    left = 0.15 + 0.063 * max(len(row.name) for row in rows)
    tops, below = [], 0.0
    for index, (row, words) in enumerate(zip(rows, lines, strict=True)):
        # What belongs to the row above stands closer to it than the next picture does.
        below += 0.0 if index == 0 else 0.14 if row.words and row.images is not None else 0.06
        tops.append(below)
        below += (0.1 if row.images is None else high + 0.05) + LINE * max(map(len, words), default=0)
    with style():
        on = canvas(max(left + pitch * columns, 5.0), below, title, note)
        for row, words, top in zip(rows, lines, tops, strict=True):
            inner, middle = (0.0, 0.06 + LINE / 2) if row.images is None else (high, high / 2)
            where = {"ha": "right", "va": "center"}
            _write(on, left - 0.1, top + middle, row.name, color=INK if row.words else MUTED, **where)
            for column in range(columns):
                centre = left + (column + 0.5) * pitch
                if row.images is not None:
                    image = row.images[column].repeat(scale, 0).repeat(scale, 1)
                    _show(place(on, centre - wide / 2, top, wide, high), image)
                if words:
                    look = {"color": RIGHT if row.right[column] else WRONG, "ha": "center", "va": "top"}
                    _write(on, centre, top + inner + 0.06, "\n".join(words[column]), **look)
    return on.figure


def _show(axes: Any, image: np.ndarray) -> None:
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FADED, linewidth=0.5)


def _write(on: Any, left: float, top: float, text: str, **look: Any) -> None:
    x, y = (MARGIN + left) / on.width, 1 - (on.top + top) / on.height
    on.figure.text(x, y, text, fontsize=LABEL_POINTS - 0.5, linespacing=1.1, **look)


def _broken(word: str) -> list[str]:
    """A name in lines of few letters, broken at spaces and inside of CamelCase."""
    pieces = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", word).split()
    target = max(len(word) // 2, *(map(len, pieces)), 9) if pieces else 9
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > target:
            lines.append("")
        lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


def _diverging(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] -> colors (..., 3): blue, white, red; the root keeps faint changes visible."""
    strength = np.sqrt(np.abs(np.clip(values, -1, 1)))[..., None]
    red, blue = np.array([0.70, 0.09, 0.17]), np.array([0.02, 0.32, 0.61])
    return 1 - strength * (1 - np.where(values[..., None] > 0, red, blue))
