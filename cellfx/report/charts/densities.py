"""How the classes lie along every latent, as one small chart per latent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.analysis.latents.density import Densities
from cellfx.checks import UserError
from cellfx.report.charts.style import CLASS_COLORS, FADED, LABEL_POINTS, MUTED, TEXT_POINTS, canvas, place, style

WIDTH, COLUMNS, ROW = 7.0, 4, 1.08
LETTER, LINE = 0.068, 0.175
LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
TALLEST = 4.0


def density_grid(densities: Densities, class_names: Sequence[str], latent_names: Sequence[str] | None = None) -> Any:
    """Density of every latent by class.

    Isaksson 2018, section 6.2, shows the same by class for every latent.

    Args:
        densities: of L latents and K classes; made for up to 32 latents and 8 classes, more classes are dashed.
        class_names: (K,).
        latent_names: (L,) such as "z3 · elongation"; None says z and their numbers.

    Returns:
        Figure; every class has the same area. Where a class is far narrower than the others its peak is cut off.

    Raises:
        ValueError: as many names as classes, or as latents, are not given.
    """
    num_classes, num_latents = densities.density.shape[:2]
    names = [f"z{latent}" for latent in range(num_latents)] if latent_names is None else latent_names
    if len(class_names) != num_classes or len(names) != num_latents:
        raise UserError(
            f"names do not fit the densities: got {len(class_names)} classes and {len(names)} latents, expected "
            f"{num_classes} and {num_latents}; name every one"
        )
    per_line = int(np.clip(WIDTH // (0.5 + LETTER * max(map(len, class_names))), 1, num_classes))
    head = LINE * -(-num_classes // per_line) + 0.1
    width = WIDTH / COLUMNS
    with style():
        note = (
            f"Every class fills the same area, whatever its size. Peaks over {TALLEST:g} times the usual are cut off."
        )
        on = canvas(WIDTH, head + ROW * -(-num_latents // COLUMNS), "Every latent by class", note)
        for latent, name in enumerate(names):
            row, column = divmod(latent, COLUMNS)
            axes = place(on, column * width + 0.05, head + 0.22 + row * ROW, width - 0.2, ROW - 0.5)
            _hills(axes, densities.grid[latent], densities.density[:, latent], class_names)
            axes.set_title(name, loc="left", fontsize=TEXT_POINTS, pad=3)
        handles, texts = on.figure.axes[0].get_legend_handles_labels()
        corner = ((0.18 + 0.05) / on.width, 1 - on.top / on.height)
        look = {"ncols": per_line, "handlelength": 1.5, "handletextpad": 0.5, "labelcolor": MUTED, "borderaxespad": 0}
        on.figure.legend(handles, texts, loc="upper left", bbox_to_anchor=corner, borderpad=0, **look)
    return on.figure


def _hills(axes: Any, grid: np.ndarray, density: np.ndarray, class_names: Sequence[str]) -> None:
    for label, (curve, name) in enumerate(zip(density, class_names, strict=True)):
        color, dash = CLASS_COLORS[label % len(CLASS_COLORS)], LINES[label // len(CLASS_COLORS) % len(LINES)]
        # A class without examples stays in the key, and has no line at 0.
        shown = np.where(curve.any(), curve, np.nan)
        axes.fill_between(grid, shown, color=color, alpha=0.12, linewidth=0)
        axes.plot(grid, shown, color=color, linewidth=1.1, linestyle=dash, label=name)
    peaks = np.sort(density.max(axis=1)[density.any(axis=1)])
    usual = peaks[(len(peaks) - 1) // 2] if len(peaks) else 1.0
    axes.set(xlim=(grid[0], grid[-1]), ylim=(0, 1.06 * min(peaks[-1] if len(peaks) else 1.0, TALLEST * usual)))
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    if max(len(_number(value)) for value in axes.get_xticks()) > 5:
        axes.locator_params(axis="x", nbins=3, prune="both")
    axes.xaxis.set_major_formatter(lambda value, _: _number(value))
    axes.tick_params(length=2, labelsize=LABEL_POINTS - 1, color=FADED)
    axes.spines["left"].set_visible(False)


def _number(value: float) -> str:
    text = f"{value:.7g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"
    return text.replace("e+0", "e").replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")
