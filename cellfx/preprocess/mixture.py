"""Fluorescence as a mixture of normal distributions of its log intensities: background, cell, bright spots.

Source: S. Isaksson, "Deeper Understanding of Autophagy and pseudo-Autophagy through Latent-Space Analysis", 2018,
section 3.2.2. The component with the largest mean, "the brightest", is what images are standardized by, so it has to
be a real one: not a spike, not a handful of pixels, and what the brightest pixels belong to. Where the last is not so,
a narrow background has moved above the mean of a component that spreads to both of its sides. Then fewer components
are fitted, and that is said.

Differs from the paper: fitted on a sample of the pixels, and zeros, which have no logarithm, are left out of it.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np

NUM_COMPONENTS = 3
MIN_DEVIATION, MIN_WEIGHT = 0.02, 0.001
"""Of the brightest component, below which it counts as collapsed: it spans 2 % of its intensity, or holds one pixel in
a thousand."""

BRIGHT_RATE = 0.001
"""Share of the pixels, the brightest ones, that have to belong to the brightest component."""

# Of the mean log likelihood. Tighter ones cost minutes on 200,000 pixels and move the means by a tenth of a deviation.
_TOLERANCE, _MAX_ITERATIONS = 1e-4, 1000


class Mixture(NamedTuple):
    """A mixture of normal distributions over log intensities, dimmest component first.

    Attributes:
        weights: (K,) share of the pixels; their sum is 1, or less where only the bright pixels were used.
        means: (K,) in natural logs of stored intensities, rising.
        deviations: (K,) standard deviations, above 0.
        num_pixels: on how many pixels it was fitted.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    num_pixels: int


def to_log(pixels: np.ndarray) -> np.ndarray:
    """Natural logs of stored intensities, any shape, float64; 0, which has no logarithm, is taken for 1."""
    return np.log(np.maximum(pixels, 1).astype(np.float64))


def sample_log_pixels(images: np.ndarray, max_pixels: int, seed: int) -> np.ndarray:
    """Log intensities of random pixels, each taken at most once; zeros among them are left out.

    A zero has no logarithm, and the many that some instruments send would claim a component of their own.

    Args:
        images: (N, H, W), one channel as stored.
        max_pixels: how many; where there are fewer, all of them.
        seed: of the choice.

    Returns:
        (n,) float64; where there is nothing but zeros, these as 0.
    """
    pixels = images
    if images.size > max_pixels:
        chosen = np.random.default_rng(seed).choice(images.size, max_pixels, replace=False, shuffle=False)
        pixels = images[np.unravel_index(chosen, images.shape)]
    pixels = pixels.reshape(-1)
    return to_log(pixels[pixels > 0] if pixels.any() else pixels)


def fit_mixture(log_pixels: np.ndarray, seed: int = 0) -> tuple[Mixture, tuple[str, ...]]:
    """Three components by expectation-maximization, or fewer where three collapse.

    Where two collapse as well, a single normal distribution is taken: mean and deviation of the bright pixels, which
    lie above the median by more than 3 deviations, estimated by 1.4826 times the median absolute deviation. Where
    there are none, or all are alike, it is that of all pixels.

    Args:
        log_pixels: (n,) float64, n at least 1.
        seed: of where the fit begins.

    Returns:
        The mixture, and a sentence for everything that did not go as published.
    """
    num_distinct = len(np.unique(log_pixels))
    high = np.quantile(log_pixels, [1.0 - BRIGHT_RATE])
    notices = []
    for count in range(NUM_COMPONENTS, 1, -1):
        if num_distinct < count:
            notices.append(f"too few different intensities ({num_distinct}) for {count} components")
            continue
        mixture, converged = _fit(log_pixels, count, seed)
        if not converged:
            notices.append(f"{count} components had not settled after {_MAX_ITERATIONS} iterations")
        weight, mean, deviation = (part[-1] for part in mixture[:3])
        brightest = (
            f"the brightest of {count} components (weight {weight:.2g}, mean {mean:.3g}, deviation {deviation:.2g})"
        )
        if deviation < MIN_DEVIATION or weight < MIN_WEIGHT:
            notices.append(f"{brightest} collapsed")
        elif component_densities(mixture, high)[:, 0].argmax() < count - 1:
            notices.append(f"{brightest} does not hold the brightest pixels")
        else:
            return mixture, _said(notices, mixture)
    mixture = _bright_pixels(log_pixels)
    return mixture, _said(notices, mixture)


def component_densities(mixture: Mixture, log_pixels: np.ndarray) -> np.ndarray:
    """Density of each component times its weight at the values (n,) -> (K, n); their sum is the mixture's."""
    weights, means, deviations = (np.array(part)[:, None] for part in mixture[:3])
    distance = (np.asarray(log_pixels, np.float64)[None, :] - means) / deviations
    return weights / (deviations * math.sqrt(2 * math.pi)) * np.exp(-0.5 * distance**2)


def _fit(log_pixels: np.ndarray, count: int, seed: int) -> tuple[Mixture, bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(count, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(log_pixels[:, None])
    order = np.argsort(model.means_[:, 0], kind="stable")
    parts = model.weights_, model.means_[:, 0], np.sqrt(model.covariances_[:, 0, 0])
    return Mixture(*(tuple(part[order].tolist()) for part in parts), len(log_pixels)), model.converged_


def _bright_pixels(log_pixels: np.ndarray) -> Mixture:
    middle = np.median(log_pixels)
    # 1.4826 median absolute deviations of a normal distribution are its standard deviation.
    bright = log_pixels[log_pixels > middle + 3 * 1.4826 * np.median(np.abs(log_pixels - middle))]
    for pixels in (bright, log_pixels):
        if len(pixels) and pixels.std() >= MIN_DEVIATION:
            share = len(pixels) / len(log_pixels)
            return Mixture((share,), (float(pixels.mean()),), (float(pixels.std()),), len(log_pixels))
    # All are nearly alike and there is no scale: a factor of e counts as one deviation.
    return Mixture((1.0,), (float(middle),), (1.0,), len(log_pixels))


def _said(notices: list[str], mixture: Mixture) -> tuple[str, ...]:
    if len(mixture.means) == NUM_COMPONENTS:
        return tuple(notices)
    used = f"{len(mixture.means)} components were used" if len(mixture.means) > 1 else "the bright pixels were used"
    last = f"{used}: mean {mixture.means[-1]:.3g}, deviation {mixture.deviations[-1]:.3g} of the log intensities"
    return ("; ".join([*notices, last]),)
