"""How good generated images are: a kernel distance from real ones, and whether they are copies of training images.

Both are measured in the features of a network of our own, such as the last hidden layer of a classifier trained on the
same kind of cells; no weights are downloaded. So numbers compare generators that were judged by one network, and are
not those of the literature, whose features are of a network trained on photographs. Features are standardized by the
real ones, which takes away the scale that such a network happens to have chosen; a feature that is the same for all
real images keeps its own.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError


class KernelDistance(NamedTuple):
    """Squared distance of two distributions.

    Attributes:
        mean: over the subsets; 0 for the same distribution up to chance, which may leave it below 0.
        deviation: standard deviation over the subsets; 0 for a single one.
    """

    mean: float
    deviation: float


class Leakage(NamedTuple):
    """How near generated images come to training images, against real images that were held out.

    Attributes:
        fake_distance: (M,) of every generated image to its nearest training image, in standardized features.
        held_out_distance: (T,) of every held-out image, likewise.
        ratio: of the medians; about 1 for new images of the same distribution, near 0 for copies.
        too_near_rate: share of generated images nearer than the 1st percentile of held-out ones; about .01 for new
            images.
    """

    fake_distance: np.ndarray
    held_out_distance: np.ndarray
    ratio: float
    too_near_rate: float


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel inception-style distance of generated from real images.

    Binkowski et al. 2018, arXiv:1801.01401, section 4: the unbiased estimate of the squared maximum mean discrepancy
    (Gretton et al. 2012, JMLR 13, equation 3) with the kernel (x.y / D + 1)^3, averaged over random subsets.

    Differs from the paper: features are of our own network and standardized, see the module.

    Args:
        real: (N, D) features of real images.
        fake: (M, D) of generated ones.
        num_subsets: how often to draw.
        subset_size: examples drawn of both without replacement.
        seed: of the draws.

    Raises:
        ValueError: features that do not fit or are not finite, no subset, or one that is smaller than 2 or larger
            than there are examples.
    """
    real, fake = _standardise(real, {"generated": fake})
    if num_subsets < 1:
        raise UserError(f"nothing to average: got num_subsets={num_subsets}, expected 1 or more; raise num_subsets")
    fewest = min(len(real), len(fake))
    if not 2 <= subset_size <= fewest:
        raise UserError(
            f"subset_size out of range: got {subset_size} and features of {len(real)} real and {len(fake)} generated "
            f"images, expected 2 to {fewest}; change subset_size or take more images"
        )
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(num_subsets):
        x, y = (z[rng.choice(len(z), subset_size, replace=False)] for z in (real, fake))
        distances.append(_squared_mmd(x, y))
    return KernelDistance(float(np.mean(distances)), float(np.std(distances, ddof=1)) if num_subsets > 1 else 0.0)


def leakage(train: np.ndarray, fake: np.ndarray, held_out: np.ndarray, block_size: int = 1024) -> Leakage:
    """Compares the distance of generated images to their nearest training image with that of unseen real images.

    Args:
        train: (N, D) features of the images that the generator was trained on.
        fake: (M, D) of generated ones.
        held_out: (T, D) of real images that it was not trained on.
        block_size: images that are compared with all training images at once; memory is ``block_size`` x N.

    Raises:
        ValueError: features that do not fit or are not finite, a block of nothing, or held-out images half of which
            are training images.
    """
    if block_size < 1:
        raise UserError(f"nothing to compare at once: got block_size={block_size}, expected 1 or more; raise it")
    train, fake, held_out = _standardise(train, {"generated": fake, "held-out": held_out})
    near, usual = (_nearest(z, train, block_size) for z in (fake, held_out))
    if np.median(usual) == 0:
        raise UserError(
            f"held-out images are copies of training images: got {np.mean(usual == 0):.0%} at distance 0, expected "
            "images that were not trained on; split the data anew"
        )
    ratio = float(np.median(near) / np.median(usual))
    return Leakage(near, usual, ratio, float(np.mean(near < np.quantile(usual, 0.01))))


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    count, num_features = x.shape
    within = [np.power(z @ z.T / num_features + 1.0, 3) for z in (x, y)]
    between = np.power(x @ y.T / num_features + 1.0, 3)
    pairs = sum(float(kernel.sum() - np.trace(kernel)) for kernel in within) / (count * (count - 1))
    return pairs - 2.0 * float(between.mean())


def _nearest(points: np.ndarray, known: np.ndarray, block_size: int) -> np.ndarray:
    """Euclidean distance of each of (M, D) to the nearest of (N, D): (M,)."""
    half_norm = 0.5 * np.einsum("nd,nd->n", known, known)
    distance = np.empty(len(points))
    for start in range(0, len(points), block_size):
        block = points[start : start + block_size]
        nearest = np.argmin(half_norm - block @ known.T, axis=1)
        # Anew from the difference: the expansion of the square would leave copies at a distance of rounding errors.
        distance[start : start + block_size] = np.linalg.norm(block - known[nearest], axis=1)
    return distance


def _standardise(real: np.ndarray, others: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Features of real images, then the others, float64, with mean 0 and deviation 1 over the real ones."""
    features = {"real": np.asarray(real, np.float64)}
    features |= {name: np.asarray(z, np.float64) for name, z in others.items()}
    for name, z in features.items():
        if z.ndim != 2 or not len(z) or z.shape[1:] != features["real"].shape[1:] or not z.shape[1]:
            raise UserError(
                f"features that cannot be compared: got shape {z.shape} of {name} and {features['real'].shape} of real "
                "images, expected (M, D) and (N, D); take both from the same network"
            )
        if not np.isfinite(z).all():
            raise UserError(
                f"features that are no numbers: got {int(np.sum(~np.isfinite(z)))} undefined or infinite ones of "
                f"{name} images, expected finite ones; look at these images"
            )
    centre, scale = features["real"].mean(axis=0), features["real"].std(axis=0)
    scale = np.where(scale > 1e-9 * np.abs(centre), scale, 1.0)
    return [(z - centre) / scale for z in features.values()]
