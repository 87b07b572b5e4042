"""Charts of an imaging cytometer's intensities, in the house style of ``figures``; they return matplotlib Figures."""

from typing import Any

import numpy as np

from cellfx.preprocess.mixture import component_densities
from cellfx.preprocess.normalisation import CLIP, Fluorescence
from cellfx.report.charts.style import (
    ACCENT,
    CLASS_COLORS,
    FADED,
    HAIRLINE,
    INK,
    LABEL_POINTS,
    MUTED,
    canvas,
    place,
    style,
)

WIDTH = 7.0


def pixel_mixture(log_pixels: np.ndarray, channel: Fluorescence, name: str, bins: int = 120) -> Any:
    """Histogram of log intensities, the mixture that was fitted to it, and what it makes 0 and 1.

    Args:
        log_pixels: (n,) natural logs of stored intensities, see ``cellfx.preprocess.mixture.sample_log_pixels``.
        channel: as fitted.
        name: of the channel.
        bins: bars at most, of equal width where whole intensities lie close enough.
    """
    _, means, deviations, num_pixels = channel.mixture
    low, high = (means[-1] + deviations[-1] * distance for distance in (channel.low, CLIP))
    edges = _edges(log_pixels, bins)
    share = np.histogram(log_pixels, edges)[0] / (len(log_pixels) * np.diff(edges))
    values = np.linspace(edges[0], edges[-1], 800)
    densities = component_densities(channel.mixture, values)
    with style():
        chosen = "the brightest component" if len(means) > 1 else "the bright pixels"
        note = (
            f"{len(log_pixels):,} pixels shown, {num_pixels:,} fitted. Standardized by {chosen}, mean {means[-1]:.2f}, "
            f"deviation {deviations[-1]:.2f}; gray areas become 0 and 1. Heights on a square-root scale."
        )
        on = canvas(WIDTH, 2.75, f"Log intensities of {name}", note)
        axes = place(on, 0.45, 0.25, WIDTH - 0.55, 2.1)
        top = 1.08 * _height(share, densities)
        for start, stop in ((edges[0], low), (high, edges[-1])):
            if start < stop:
                axes.axvspan(start, stop, color=HAIRLINE, alpha=0.6, linewidth=0)
        axes.stairs(share, edges, fill=True, color=FADED, label="pixels")
        for index, density in enumerate(densities):
            is_last = index == len(densities) - 1
            color = CLASS_COLORS[1] if is_last else ACCENT
            label = chosen if is_last else "other components" if index == 0 else None
            axes.plot(values, density, color=color, linewidth=1.5 if is_last else 1.0, label=label)
        if len(densities) > 1:
            axes.plot(
                values, densities.sum(axis=0), color=INK, linewidth=0.8, linestyle=(0, (3, 2)), label="all of them"
            )
        axes.set_yscale("function", functions=(lambda height: np.sqrt(np.maximum(height, 0)), np.square))
        axes.set(xlabel="log intensity as stored", ylabel="density", xlim=(edges[0], edges[-1]), ylim=(0, top))
        axes.tick_params(length=0)
        _intensities(axes, edges[0], edges[-1])
        axes.legend(loc="upper right", labelcolor=MUTED, borderaxespad=0.2)
    return on.figure


def _edges(log_pixels: np.ndarray, bins: int) -> np.ndarray:
    """Edges halfway between whole intensities: others would leave empty bars between the logs of small ones."""
    low, high = np.exp(log_pixels.min()), np.exp(log_pixels.max())
    wanted = np.exp(np.linspace(np.log(low), np.log(high + 1), bins + 1))
    between = np.unique(np.round(wanted)) - 0.5
    return np.log(between if len(between) > 1 else np.array([low - 0.5, low + 0.5]))


def _height(share: np.ndarray, densities: np.ndarray) -> float:
    """Of the histogram, and of the mixture where it is not a spike many times as high."""
    return float(max(share.max(), min(densities.sum(axis=0).max(), 1.5 * share.max())))


def _intensities(axes: Any, low: float, high: float) -> None:
    """A second scale above the chart, in stored intensities."""
    values = [value for power in range(5) for value in (10**power, 3 * 10**power) if low <= np.log(value) <= high]
    upper = axes.secondary_xaxis("top")
    upper.set_xticks(np.log(values), [f"{value:,}" for value in values], fontsize=LABEL_POINTS)
    upper.tick_params(length=0)
    upper.spines["top"].set_visible(False)
