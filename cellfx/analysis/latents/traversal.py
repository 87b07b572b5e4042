"""What an image does when one latent moves and the others stay."""

from collections.abc import Sequence

import numpy as np

from cellfx.analysis.latents.encoding import Decode
from cellfx.checks import UserError


def prior_values(num_latents: int, num_steps: int = 9, extent: float = 2.0) -> np.ndarray:
    """Equally spaced values of every latent under the standard normal prior.

    Args:
        num_latents: L.
        num_steps: S; an odd number shows the mean itself.
        extent: the values run from -extent to +extent, in standard deviations of the prior.

    Returns:
        (L, S) float32.
    """
    return np.tile(np.linspace(-extent, extent, num_steps, dtype=np.float32), (num_latents, 1))


def data_values(mean: np.ndarray, num_steps: int = 9, low: float = 0.02, high: float = 0.98) -> np.ndarray:
    """Equally spaced values of every latent over the range that real images use.

    Args:
        mean: (N, L) codes of images.
        num_steps: S.
        low: quantile at which a latent's range begins.
        high: quantile at which it ends.

    Returns:
        (L, S) float32.

    Raises:
        ValueError: the quantiles are not 0 <= low < high <= 1.
    """
    if not 0 <= low < high <= 1:
        raise UserError(
            f"quantiles of a traversal are out of order: got low={low} and high={high}, "
            "expected 0 <= low < high <= 1; give the smaller one first"
        )
    start, stop = np.quantile(np.asarray(mean, np.float64), [low, high], axis=0)
    return np.linspace(start, stop, num_steps, axis=1).astype(np.float32)


def traverse(
    decode: Decode, code: np.ndarray, values: np.ndarray, latents: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Decodes a code with one latent at a time replaced by each of its values.

    Args:
        decode: z -> x; called once, with all codes.
        code: (L,) the code to start from: zeros for the prior mean, or the code of an image.
        values: (L, S), see ``prior_values`` and ``data_values``.
        latents: which latents to move, one row of the result each; all of them by default.

    Returns:
        (number of latents, S, H, W, C) images in [0, 1].

    Raises:
        ValueError: ``values`` does not have one row per latent, or a latent does not exist.
    """
    code, values = np.asarray(code, np.float32), np.asarray(values, np.float32)
    if code.ndim != 1 or values.ndim != 2 or len(values) != len(code):
        raise UserError(
            f"traversal values do not fit the code: got values {values.shape} for a code {code.shape}, expected "
            "(L, S) for (L,); make them with prior_values or data_values"
        )
    rows = np.arange(len(code)) if latents is None else np.asarray(latents, np.int64)
    if rows.size == 0 or rows.min() < 0 or rows.max() >= len(code):
        raise UserError(
            f"latents to traverse do not exist: got {rows.tolist()}, expected at least one of 0..{len(code) - 1}; "
            "take them from active_latents"
        )
    codes = np.tile(code, (len(rows), values.shape[1], 1))
    codes[np.arange(len(rows)), :, rows] = values[rows]
    images = np.asarray(decode(codes.reshape(-1, len(code))))
    return images.reshape(len(rows), values.shape[1], *images.shape[1:])
