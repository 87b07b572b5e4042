"""Images unlike any that a model learnt from, and where the codes of such images lie among those of its training."""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError

DEFOCUS_PX = 4.0


class Placed(NamedTuple):
    """Where codes lie on the training distribution of each latent by itself.

    Attributes:
        quantile: (n, L) in [0, 1], fraction of the training codes below; those that are equal count half.
        z_score: (n, L) distance from the training mean in training standard deviations.
    """

    quantile: np.ndarray
    z_score: np.ndarray


def blank(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) of as many black frames: the shutter stayed closed, the lamp was off."""
    return np.zeros_like(images)


def saturated(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) of as many white frames: every pixel of the camera is full."""
    return np.ones_like(images)


def shuffled(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Images (n, H, W, C) with their pixels in random places: all intensities are kept, and no shape.

    Args:
        images: (n, H, W, C).
        seed: of the places, other ones for every image; the channels of a pixel stay together.
    """
    count, height, width, channels = images.shape
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(height * width) for _ in range(count)])
    pixels = images.reshape(count, height * width, channels)
    return np.take_along_axis(pixels, order[:, :, None], axis=1).reshape(images.shape)


def out_of_focus(images: np.ndarray, defocus_px: float = DEFOCUS_PX) -> np.ndarray:
    """Images (n, H, W, C) blurred by a Gaussian; beyond the border the outermost pixels go on.

    Args:
        images: (n, H, W, C) float.
        defocus_px: standard deviation of the blur.

    Raises:
        ValueError: the width is not positive.
    """
    if not defocus_px > 0:
        raise UserError(
            f"defocus_px is no width: got {defocus_px}, expected a number of pixels above 0; raise defocus_px"
        )
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0.0, defocus_px, defocus_px, 0.0), mode="nearest")


def make_oddities(images: np.ndarray, seed: int = 0, defocus_px: float = DEFOCUS_PX) -> dict[str, np.ndarray]:
    """Every kind of odd image by name, each (n, H, W, C), made from images (n, H, W, C) in [0, 1]."""
    return {
        "blank": blank(images),
        "saturated": saturated(images),
        "shuffled": shuffled(images, seed),
        "out of focus": out_of_focus(images, defocus_px),
    }


def placed(codes: np.ndarray, training_codes: np.ndarray) -> Placed:
    """Where codes lie on the training distribution of each latent.

    Args:
        codes: (n, L).
        training_codes: (N, L).

    Raises:
        ValueError: a different number of latents, no training code, a code that is not finite, or a latent that is
            the same for all training images.
    """
    codes, known = np.asarray(codes, np.float64), np.asarray(training_codes, np.float64)
    if codes.ndim != 2 or known.ndim != 2 or codes.shape[1] != known.shape[1] or not len(known):
        raise UserError(
            f"codes that cannot be compared: got shapes {codes.shape} and {known.shape} of the training codes, "
            f"expected (n, L) and (N, L) with N of 1 or more; encode both with the same model"
        )
    if not (np.isfinite(codes).all() and np.isfinite(known).all()):
        raise UserError(
            "codes that are no numbers: got infinite or undefined latents, expected finite ones; train the encoder anew"
        )
    spread = known.std(axis=0)
    constant = np.flatnonzero(spread == 0)
    if len(constant):
        raise UserError(
            f"constant latents: got the same value of z{constant[0]} for all {len(known)} training images, expected "
            f"latents that vary; leave it out"
        )
    quantile = np.empty_like(codes)
    for latent, column in enumerate(np.sort(known, axis=0).T):
        below = [np.searchsorted(column, codes[:, latent], side) for side in ("left", "right")]
        quantile[:, latent] = np.mean(below, axis=0) / len(known)
    return Placed(quantile, (codes - known.mean(axis=0)) / spread)
