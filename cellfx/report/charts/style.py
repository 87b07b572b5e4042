"""House style and pictures of images; with ``charts``, which builds on it, all there is to see in a report.

The only module that imports matplotlib: when a figure is made, with a canvas of its own and without changing settings
of anyone else. Every figure carries a title that says what is seen. Lengths are inches; images are shown with black at
0 and white at 1, several channels as one composite, and every pixel of an image covers a whole number of pixels.
"""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

DPI = 200
INK, MUTED, HAIRLINE, PAPER, ACCENT, FADED = "#1b2430", "#667085", "#e4e7ec", "#ffffff", "#0b6fa4", "#cbd5e1"
CLASS_COLORS = ("#0b6fa4", "#d55e00", "#009e73", "#a6569d", "#e69f00", "#56b4e9", "#7a5c3e", "#4b5563")
"""After Okabe and Ito 2008, whose colors stay apart for color-blind readers; darkened for thin lines on white."""

TITLE_POINTS, TEXT_POINTS, LABEL_POINTS = 11.5, 8.5, 8.0
MARGIN, GAP_PX, CELL_PX = 0.18, 6, 128
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_POINTS,
    "text.color": INK,
    "axes.edgecolor": FADED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": LABEL_POINTS,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.8,
    "xtick.color": FADED,
    "ytick.color": FADED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": LABEL_POINTS,
    "ytick.labelsize": LABEL_POINTS,
    "legend.frameon": False,
    "legend.fontsize": LABEL_POINTS,
    "text.parse_math": False,
}
"""Names of treatments and mechanisms are text as they stand, also where they have dollar signs."""


class Canvas(NamedTuple):
    """A figure with its title, and a place to draw below it.

    Attributes:
        figure: matplotlib Figure.
        width: of the figure.
        height: of the figure.
        top: where the place to draw begins, from the upper edge.
    """

    figure: Any
    width: float
    height: float
    top: float


@contextmanager
def style() -> Iterator[None]:
    """The house style, within a ``with`` block only."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(width: float, height: float, title: str, subtitle: str = "") -> Canvas:
    """An empty figure with a title, room of ``width`` x ``height`` below it, and margins around both."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = textwrap.wrap(title, int(width * 9.6)) or [""]
    notes = textwrap.wrap(subtitle, int(width * 15.0))
    top = MARGIN + 0.23 * len(titles) + 0.17 * len(notes) + 0.14
    full = (width + 2 * MARGIN, height + top + MARGIN)
    figure = Figure(figsize=full, dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    edge = {"x": MARGIN / full[0], "ha": "left", "va": "top"}
    figure.text(
        y=1 - MARGIN / full[1], s="\n".join(titles), fontsize=TITLE_POINTS, fontweight="bold", linespacing=1.25, **edge
    )
    below = 1 - (MARGIN + 0.23 * len(titles) + 0.02) / full[1]
    figure.text(y=below, s="\n".join(notes), fontsize=TEXT_POINTS, color=MUTED, linespacing=1.3, **edge)
    return Canvas(figure, *full, top)


def place(on: Canvas, left: float, top: float, width: float, height: float, **settings: Any) -> Any:
    """Axes at a place given in inches from the upper left corner of the room to draw in."""
    bottom = on.height - on.top - top - height
    box = [(MARGIN + left) / on.width, bottom / on.height, width / on.width, height / on.height]
    return on.figure.add_axes(box, **settings)


def to_png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def logarithmic(axis: Any) -> None:
    """Plain numbers on an axis (of Matplotlib) whose scale is logarithmic; its own are mathematical text."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def composite(images: np.ndarray) -> np.ndarray:
    """Channels as one color image.

    Args:
        images: (..., H, W, C) in [0, 1]; values outside are clipped. One channel is gray, two are green and magenta,
            more are added up in the colors of ``CLASS_COLORS``.

    Returns:
        (..., H, W, 3) float32 in [0, 1].
    """
    images = np.clip(np.nan_to_num(np.asarray(images, np.float32)), 0.0, 1.0)
    channels = images.shape[-1]
    if channels == 1:
        return np.repeat(images, 3, axis=-1)
    hues = np.array([[0, 1, 0], [1, 0, 1]] if channels == 2 else [_bright(i) for i in range(channels)], np.float32)
    return np.minimum(images @ hues, 1.0)


def reconstructions(originals: np.ndarray, reconstructed: np.ndarray, columns: int = 10) -> Any:
    """Originals above their reconstructions: (N, H, W, C) twice, in [0, 1] -> Figure."""
    blocks = []
    for start in range(0, len(originals), columns):
        blocks += [originals[start : start + columns], reconstructed[start : start + columns]]
    names = ["image", "reconstruction"] * (len(blocks) // 2)
    error = float(np.mean(np.square(np.asarray(originals, np.float64) - reconstructed)))
    note = f"{len(originals)} images, each above its reconstruction. Mean squared error per pixel {error:.2g}."
    return _grid(blocks, names, "Images and what the model makes of them", note, extra_gap_every=2)


def samples(images: np.ndarray, real: np.ndarray | None = None, columns: int = 10) -> Any:
    """Images decoded from codes drawn from the prior, below real ones where these are given.

    Args:
        images: (N, H, W, C) in [0, 1].
        real: (M, H, W, C) in [0, 1]; none of them has to do with the one below it.
        columns: images in a row.
    """
    kinds = {"generated": images} if real is None else {"real": real, "generated": images}
    rows, names = [], []
    for name, some in kinds.items():
        starts = range(0, len(some), columns)
        rows += [some[start : start + columns] for start in starts]
        names += [name if real is not None and not start else "" for start in starts]
    note = f"{len(images)} codes drawn from the prior, decoded; no real image is involved in them."
    return _grid(rows, names, "What the model imagines", note)


def traversals(
    images: np.ndarray, values: np.ndarray, names: Sequence[str], start: str = "the prior mean", note: str = ""
) -> Any:
    """One row per latent, which alone moves.

    Args:
        images: (L', S, H, W, C), see ``cellfx.analysis.latents.traversal.traverse``.
        values: (L', S) of the moving latent.
        names: (L',) what is written beside a row, such as "z3 · 1.20 nats".
        start: what the other latents stay at.
        note: a further sentence for the subtitle.

    Returns:
        Figure; the values head the columns where all rows share them, else they flank each row.
    """
    shared = np.allclose(values, values[:1])
    heads = [_signed(v) for v in values[0]] if shared else None
    ends = None if shared else [f"{_signed(row[0])} to {_signed(row[-1])}" for row in values]
    text = f"Each row moves one latent and keeps the others at {start}. {note}".strip()
    return _grid(list(images), list(names), "What each latent does", text, heads=heads, ends=ends)


def interpolations(images: np.ndarray, path: str = "straight lines") -> Any:
    """Rows of images on the way from one code to another: (P, S, H, W, C) in [0, 1] -> Figure."""
    heads = [f"{fraction:.0%}" for fraction in np.linspace(0, 1, images.shape[1])]
    note = f"First and last column are reconstructions of two images; between them codes on {path}, decoded."
    return _grid(list(images), [""] * len(images), "From one image to another", note, heads=heads)


def gallery(
    rows: Sequence[np.ndarray], names: Sequence[str], title: str, note: str = "", ends: Sequence[str] | None = None
) -> Any:
    """Rows of images (n, H, W, C) in [0, 1], each with a name on its left, and words on its right if given.

    Rows may differ in length.
    """
    return _grid(rows, names, title, note, ends=ends)


def _bright(index: int) -> list[float]:
    color = CLASS_COLORS[index % len(CLASS_COLORS)]
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return list(rgb / rgb.max())


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}").replace("+0.0", "0")


def _grid(
    rows: Sequence[np.ndarray],
    names: Sequence[str],
    title: str,
    note: str,
    heads: Sequence[str] | None = None,
    ends: Sequence[str] | None = None,
    extra_gap_every: int = 0,
) -> Any:
    """Rows of (S, H, W, C) images with names on their left, heads above and ends on their right."""
    height, width = rows[0].shape[1:3]
    scale = max(round(CELL_PX / max(height, width)), 1)
    columns = max(len(row) for row in rows)
    cell = ((height * scale + GAP_PX) / DPI, (width * scale + GAP_PX) / DPI)
    tops = [i * cell[0] + (i // extra_gap_every * 0.1 if extra_gap_every else 0.0) for i in range(len(rows))]
    left = 0.12 + 0.059 * max(len(name) for name in names) if any(names) else 0.0
    right = 0.12 + 0.062 * max(len(end) for end in ends) if ends else 0.0
    head = 0.2 if heads else 0.0
    room = (max(left + columns * cell[1] + right, 4.6), head + tops[-1] + cell[0])
    with style():
        on = canvas(*room, title, note)
        for index, (row, top) in enumerate(zip(rows, tops, strict=True)):
            strip = _strip(row, scale)
            axes = place(on, left, head + top, strip.shape[1] / DPI, strip.shape[0] / DPI)
            axes.imshow(strip, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            text = {"transform": axes.transAxes, "va": "center", "fontsize": LABEL_POINTS, "color": MUTED}
            axes.text(-0.1 * DPI / strip.shape[1], 0.5, names[index], ha="right", **text)
            if ends:
                axes.text(1 + 0.08 * DPI / strip.shape[1], 0.5, ends[index], ha="left", **text)
            if heads and index == 0:
                for column, label in enumerate(heads):
                    centre = (column * cell[1] * DPI + width * scale / 2) / strip.shape[1]
                    axes.text(centre, 1 + 0.11 * DPI / strip.shape[0], label, ha="center", **text)
    return on.figure


def _strip(row: np.ndarray, scale: int) -> np.ndarray:
    """A row of images (S, H, W, C) as one color picture, enlarged by whole pixels, white between images."""
    images = composite(row).repeat(scale, axis=1).repeat(scale, axis=2)
    framed = np.pad(images, ((0, 0), (0, 0), (0, GAP_PX), (0, 0)), constant_values=1.0)
    return np.concatenate(list(framed), axis=1)[:, :-GAP_PX]
