"""The way from one code to another, decoded."""

from collections.abc import Callable

import numpy as np

from cellfx.analysis.latents.encoding import Decode
from cellfx.checks import UserError

Path = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(start (P, L), end (P, L), fractions (S,)) -> codes (P, S, L)."""

SMALLEST_SINE = 1e-4


def linear_path(start: np.ndarray, end: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Straight line between codes: (P, L), (P, L), (S,) -> (P, S, L)."""
    weight = fractions[None, :, None]
    return (1 - weight) * start[:, None, :] + weight * end[:, None, :]


def spherical_path(start: np.ndarray, end: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Great circle between codes, which keeps the typical norm of prior samples: (P, L), (P, L), (S,) -> (P, S, L).

    White 2016, arXiv:1609.04468, section 2.1. Differs from the paper: codes on one line through the origin, between
    which no great circle is singled out, are joined by that line.
    """
    norms = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
    cosine = np.sum(start * end, axis=1) / np.where(norms > 0, norms, 1.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None]
    sine = np.where((norms[:, None] > 0) & (np.sin(angle) > SMALLEST_SINE), np.sin(angle), 0.0)
    divisor = np.where(sine > 0, sine, 1.0)
    start_weight = np.where(sine > 0, np.sin((1 - fractions) * angle) / divisor, 1 - fractions)
    end_weight = np.where(sine > 0, np.sin(fractions * angle) / divisor, fractions)
    return start_weight[..., None] * start[:, None, :] + end_weight[..., None] * end[:, None, :]


def interpolate(
    decode: Decode, start: np.ndarray, end: np.ndarray, num_steps: int = 9, path: Path = linear_path
) -> np.ndarray:
    """Images on the way from one code to another.

    Args:
        decode: z -> x; called once, with all codes.
        start: (P, L) first codes.
        end: (P, L) last codes.
        num_steps: S, both ends included, at least 2.
        path: ``linear_path`` or ``spherical_path``.

    Returns:
        (P, S, H, W, C) images in [0, 1].

    Raises:
        ValueError: the codes do not form pairs, or there are fewer than two steps.
    """
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    if start.ndim != 2 or start.shape != end.shape:
        raise UserError(
            f"codes to interpolate do not form pairs: got {start.shape} and {end.shape}, expected (P, L) twice; "
            "give a single pair as z[None]"
        )
    if num_steps < 2:
        raise UserError(
            f"an interpolation needs both its ends: got num_steps={num_steps}, expected 2 or more; raise num_steps"
        )
    codes = path(start, end, np.linspace(0, 1, num_steps, dtype=np.float32)).astype(np.float32)
    images = np.asarray(decode(codes.reshape(-1, start.shape[1])))
    return images.reshape(len(start), num_steps, *images.shape[1:])
