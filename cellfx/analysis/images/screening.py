"""How well scores tell usable images of single cells from others: ROC, a threshold, rates; and a linear baseline.

Positive is usable: a false positive is a bad image that is let through. An image is let through where its score
reaches the threshold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError

C_VALUES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that ``pixel_regression`` chooses from, for standardized pixels."""


class Roc(NamedTuple):
    """Rates at every threshold that tells apart two scores; T is at most N + 1.

    Attributes:
        thresholds: (T,) falling from infinity, which lets nothing through, to the lowest score.
        false_positive_rate: (T,) share of the unusable images that are let through, rising from 0 to 1.
        true_positive_rate: (T,) share of the usable ones, likewise.
        area: under the curve; .5 for guesses, 1 where some threshold makes no mistake.
    """

    thresholds: np.ndarray
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    area: float


class Screened(NamedTuple):
    """What a threshold makes of labeled images.

    Attributes:
        accuracy: share of right decisions.
        balanced_accuracy: mean of the shares of usable and of unusable images that are recognized.
        true_positive_rate: share of the usable images that are let through.
        false_positive_rate: share of the unusable ones.
        confusion: (2, 2) counts, [truly usable, let through].
    """

    accuracy: float
    balanced_accuracy: float
    true_positive_rate: float
    false_positive_rate: float
    confusion: np.ndarray


def roc(scores: np.ndarray, labels: np.ndarray) -> Roc:
    """Rates of a filter at all of its thresholds.

    Args:
        scores: (N,) larger is likelier usable; equal scores share one threshold.
        labels: (N,) bool, whether an image is usable.

    Raises:
        ValueError: scores and labels that do not fit, are not finite or not bool, or only one kind of image.
    """
    scores = _check_scores(scores)
    labels = check_labels(labels, len(scores))
    order = np.argsort(-scores, kind="stable")
    falling, usable = scores[order], labels[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    right, wrong = np.cumsum(usable)[last], np.cumsum(~usable)[last]
    thresholds = np.concatenate([[np.inf], falling[last]])
    rates = [np.concatenate([[0.0], count / count[-1]]) for count in (wrong, right)]
    return Roc(thresholds, *rates, float(np.trapezoid(rates[1], rates[0])))


def threshold_for(curve: Roc, max_false_positive_rate: float) -> float:
    """The lowest threshold, among the scores, that lets through at most a wanted share of the unusable images.

    It keeps the most usable images that the wanted rate allows.

    Args:
        curve: of labeled images that the filter was not trained on.
        max_false_positive_rate: in [0, 1]. At 1 everything is let through, so the threshold is the lowest score.

    Returns:
        The threshold. Infinity, which lets nothing through, where even the highest score has too many unusable images.

    Raises:
        ValueError: the rate is not in [0, 1].
    """
    if not 0 <= max_false_positive_rate <= 1:
        raise UserError(
            f"max_false_positive_rate is no rate: got {max_false_positive_rate}, expected a number in [0, 1]; 0.03 "
            "lets through 3 of 100 unusable images"
        )
    allowed = np.flatnonzero(curve.false_positive_rate <= max_false_positive_rate)
    return float(curve.thresholds[allowed[-1]])


def judge_screen(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Screened:
    """Judges a filter at one threshold; a gate's decisions are judged as scores 0 and 1 at threshold .5.

    Args:
        scores: (N,) larger is likelier usable.
        labels: (N,) bool, whether an image is usable.
        threshold: the lowest score that is let through.

    Raises:
        ValueError: as ``roc``, or a threshold that is no number.
    """
    scores = _check_scores(scores)
    labels = check_labels(labels, len(scores))
    if np.isnan(threshold):
        raise UserError(
            f"threshold is no number: got {threshold}, expected a score or infinity; take one from threshold_for"
        )
    confusion = np.bincount(2 * labels + (scores >= threshold), minlength=4).reshape(2, 2)
    false_positive, true_positive = confusion[:, 1] / confusion.sum(axis=1)
    balanced = (true_positive + 1 - false_positive) / 2
    accuracy = np.trace(confusion) / len(labels)
    return Screened(float(accuracy), float(balanced), float(true_positive), float(false_positive), confusion)


def pixel_regression(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    c_values: Sequence[float] = C_VALUES,
    seed: int = 0,
) -> np.ndarray:
    """The linear baseline: logistic regression on pixels.

    Isaksson 2018, section 4.2. Pixels are standardized by the training images; one that is the same in all of them
    has no say. Where several penalties are given, a fifth of each kind of training image is held out, the penalty with
    the largest area under the ROC is chosen, and a last regression learns from all.

    Differs from the paper: it names no penalty.

    Args:
        train_images: (N, H, W, C) in [0, 1].
        train_labels: (N,) bool, whether an image is usable.
        test_images: (M, H, W, C).
        c_values: inverse strengths of the penalty on squared weights; larger ones fit closer.
        seed: of the choice of images to hold out.

    Returns:
        (M,) float64, probability that an image is usable.

    Raises:
        ValueError: images of different sizes, labels that do not fit, or fewer than two images of one kind.
    """
    labels = check_labels(train_labels, len(train_images))
    _check_images(train_images, labels, test_images, c_values)
    train, test = (np.reshape(x, (len(x), -1)).astype(np.float32) for x in (train_images, test_images))
    centre, scale = train.mean(axis=0), train.std(axis=0)
    # Not zero but what rounding leaves of it: a pixel that never varies would count as noise of deviation 1.
    varies = scale > 1e-6
    train, test = ((x[:, varies] - centre[varies]) / scale[varies] for x in (train, test))
    c = c_values[0] if len(c_values) == 1 else _best_c(train, labels, c_values, seed)
    return _regress(train, labels, test, c)


def check_labels(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Labels (N,) as bool.

    Raises:
        ValueError: not one for each image, or not both usable and unusable ones.
    """
    labels = np.asarray(labels)
    if labels.shape != (num_images,):
        raise UserError(
            f"labels and images do not belong together: got labels of shape {labels.shape} for {num_images} images, "
            f"expected ({num_images},); give one label per image"
        )
    kinds = np.unique(labels)
    if not np.array_equal(kinds, [0, 1]):
        raise UserError(
            f"labels must name usable and unusable images: got the labels {kinds[:5].tolist()}, expected both True "
            "and False; label some images of each kind"
        )
    return labels.astype(bool)


def _check_scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise UserError(
            f"scores that are none: got shape {scores.shape} with {int(np.sum(~np.isfinite(scores)))} that are not "
            "finite, expected (N,) finite numbers; train the filter anew"
        )
    return scores


def _best_c(train: np.ndarray, labels: np.ndarray, c_values: Sequence[float], seed: int) -> float:
    held_out = np.zeros(len(labels), bool)
    rng = np.random.default_rng(seed)
    for kind in (False, True):
        members = rng.permutation(np.flatnonzero(labels == kind))
        held_out[members[: max(len(members) // 5, 1)]] = True
    known, truth = labels[~held_out], labels[held_out]
    areas = [roc(_regress(train[~held_out], known, train[held_out], c), truth).area for c in c_values]
    return c_values[int(np.argmax(areas))]


def _regress(train: np.ndarray, labels: np.ndarray, test: np.ndarray, c: float) -> np.ndarray:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        # With a weak penalty and separable images there is no end to reach; stopping early is one more penalty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=c, max_iter=300).fit(train, labels).predict_proba(test)[:, 1].astype(np.float64)


def _check_images(train: np.ndarray, labels: np.ndarray, test: np.ndarray, c_values: Sequence[float]) -> None:
    if np.ndim(train) != 4 or np.ndim(test) != 4 or train.shape[1:] != test.shape[1:] or not len(test):
        raise UserError(
            f"images that cannot be compared: got shapes {np.shape(train)} to train on and {np.shape(test)} to test, "
            "expected (N, H, W, C) and (M, H, W, C) with M of 1 or more; bring them to one size"
        )
    counts = np.bincount(labels, minlength=2)
    if min(counts) < 2:
        raise UserError(
            f"too few images to learn from: got {counts[1]} usable and {counts[0]} unusable, expected 2 or more of "
            "each; label more images"
        )
    if not c_values or not all(0 < c < np.inf for c in c_values):
        raise UserError(
            f"c_values are no penalties: got {tuple(c_values)}, expected one positive number or more; keep the default"
        )
