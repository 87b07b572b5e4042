"""How much of some channels a prediction of them explains."""

from typing import NamedTuple

import numpy as np

from cellfx.analysis.disentanglement.factors import rank_correlation
from cellfx.checks import UserError


class Explained(NamedTuple):
    """What a prediction explains of N images of C' channels; NaN where there is nothing to explain.

    Attributes:
        pixels: (C',) 1 - sum (t - p)^2 / sum (t - m)^2 over all pixels of all images, with m the mean image of the
            targets: 1 is a perfect prediction, 0 the mean image, and a worse one is negative.
        totals: (C',) the same of every image's total intensity.
        total_rank: (C',) Spearman correlation of the total intensities, 0 where one side is constant.
        class_correlation: (K, C') Pearson correlation of the total intensities among the images of a class: what is
            known beyond the class. NaN also for a class without two images.
        target_totals: (N, C') the sum over the pixels of every image.
        predicted_totals: (N, C').
    """

    pixels: np.ndarray
    totals: np.ndarray
    total_rank: np.ndarray
    class_correlation: np.ndarray
    target_totals: np.ndarray
    predicted_totals: np.ndarray


class Comparison:
    """Targets and predictions, added batch by batch; of an image only its total intensities are kept."""

    def __init__(self) -> None:
        self._origin: np.ndarray | None = None
        self._errors = np.zeros(())
        self._sums = np.zeros(())
        self._squares = np.zeros(())
        self._totals: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, target: np.ndarray, predicted: np.ndarray) -> None:
        """Adds the images of a batch.

        Args:
            target: (B, H, W, C'), real examples only.
            predicted: (B, H, W, C').

        Raises:
            ValueError: shapes that differ, from each other or from those before.
        """
        target, predicted = np.asarray(target, np.float64), np.asarray(predicted, np.float64)
        expected = target.shape if self._origin is None else (len(target), *self._origin.shape)
        if not predicted.shape == target.shape == expected or target.ndim != 4:
            raise UserError(
                f"channels and their prediction do not belong together: got {target.shape} and {predicted.shape}, "
                f"expected (B, H, W, C') twice, of one size throughout; compare the channels that were predicted"
            )
        if not len(target):
            return
        if self._origin is None:
            self._origin = target[0]
        # Sums of what is far from zero would lose a small variance; a constant channel gives zero and nothing else.
        moved = target - self._origin
        self._errors = self._errors + np.sum(np.square(target - predicted), axis=(0, 1, 2))
        self._sums = self._sums + np.sum(moved, axis=0)
        self._squares = self._squares + np.sum(np.square(moved), axis=0)
        self._totals.append((target.sum(axis=(1, 2)), predicted.sum(axis=(1, 2))))

    def result(self, label: np.ndarray | None = None, num_classes: int = 0) -> Explained:
        """What all images that were added say.

        Args:
            label: (N,) int in the order of the images; None where they have none.
            num_classes: K.

        Raises:
            ValueError: no image was added, or there are more or fewer labels than images.
        """
        count = sum(len(totals) for totals, _ in self._totals)
        if not count or (label is not None and len(label) != count):
            raise UserError(
                f"nothing to compare: got {count} images{'' if label is None else f' and {len(label)} labels'}, "
                f"expected one or more images and as many labels; check the split that was chosen"
            )
        target, predicted = (np.concatenate(part) for part in zip(*self._totals, strict=True))
        members = [np.zeros(0, np.int64) if label is None else np.flatnonzero(label == k) for k in range(num_classes)]
        by_class = [_correlation(target[rows], predicted[rows]) for rows in members]
        return Explained(
            pixels=_share(self._errors, np.sum(self._squares - np.square(self._sums) / count, axis=(0, 1))),
            totals=_share(np.sum(np.square(target - predicted), axis=0), np.sum(np.square(_centred(target)), axis=0)),
            total_rank=np.diag(rank_correlation(target, predicted)),
            class_correlation=np.reshape(by_class, (len(by_class), target.shape[1])),
            target_totals=target,
            predicted_totals=predicted,
        )


def explained(
    target: np.ndarray, predicted: np.ndarray, label: np.ndarray | None = None, num_classes: int = 0
) -> Explained:
    """What a prediction explains of images that are all in memory.

    Args:
        target: (N, H, W, C').
        predicted: (N, H, W, C').
        label: (N,) int; None where the images have no classes.
        num_classes: K.

    Raises:
        ValueError: see ``Comparison``.
    """
    comparison = Comparison()
    comparison.add(target, predicted)
    return comparison.result(label, num_classes)


def _share(errors: np.ndarray, variation: np.ndarray) -> np.ndarray:
    """1 - errors / variation, NaN where nothing varies; all (C',)."""
    varies = variation > 0
    return np.where(varies, 1.0 - errors / np.where(varies, variation, 1.0), np.nan)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation of columns (n, C'), NaN where one is constant or shorter than 2."""
    if len(first) < 2:
        return np.full(first.shape[1], np.nan)
    first, second = _centred(first), _centred(second)
    scale = np.sqrt(np.sum(np.square(first), axis=0) * np.sum(np.square(second), axis=0))
    return np.where(scale > 0, np.sum(first * second, axis=0) / np.where(scale > 0, scale, 1.0), np.nan)


def _centred(values: np.ndarray) -> np.ndarray:
    """Columns (n, C') less their mean; exactly 0 where they are constant."""
    moved = values - values[0]
    return moved - moved.mean(axis=0)
