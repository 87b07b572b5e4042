"""Supervised scores of disentanglement, each returned together with the protocol it was measured under.

Public implementations of one score differ by orders of magnitude, so a value without its protocol means nothing.
Common to all scores here: codes (N, L) are posterior means or one sample each, which the caller says; a factor whose
values are more than ``factor_bins`` is continuous and cut into that many bins of equal count; a factor with a single
value has no information to find and is left out.
"""

from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.disentanglement.factors import (
    Protocol,
    bins_of_equal_width,
    hold_out,
    is_continuous,
    mutual_information,
    prepare,
)

DEPTHS = (4, 8, 16)
SMALLEST_VARIANCE = 1e-12


class Mig(NamedTuple):
    """Mutual information gap.

    Attributes:
        score: mean gap over factors, in [0, 1].
        gaps: (F,) gap of each factor over its entropy; nan for a factor left out.
        information: (L, F) mutual information in nats.
        protocol: how it was measured.
    """

    score: float
    gaps: np.ndarray
    information: np.ndarray
    protocol: Protocol


class Dci(NamedTuple):
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: how far each latent serves one factor only, in [0, 1].
        completeness: how far each factor is served by one latent only, in [0, 1].
        informativeness: accuracy on held-out examples, mean over factors.
        importance: (L, kept factors), columns sum to 1.
        protocol: how it was measured.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: np.ndarray
    protocol: Protocol


class Sap(NamedTuple):
    """Separated attribute predictability.

    Attributes:
        score: mean over factors of the lead of the best latent over the second best.
        leads: (kept factors,).
        predictability: (L, kept factors): R^2 of a continuous factor, balanced accuracy of a discrete one.
        protocol: how it was measured.
    """

    score: float
    leads: np.ndarray
    predictability: np.ndarray
    protocol: Protocol


def mig(
    codes: np.ndarray,
    factors: np.ndarray,
    code_kind: str,
    code_bins: int = 20,
    factor_bins: int | None = None,
    count_constant: bool = False,
) -> Mig:
    """Mutual information gap, by histograms.

    Chen et al. 2018, arXiv:1802.04942, eq. 6, with the estimator of Locatello et al. 2019, arXiv:1811.12359: 20 bins
    of equal width per latent over its own range. The estimate is biased upwards by about (bins of the code - 1) x
    (values of the factor - 1) / 2N nats.

    Args:
        codes: (N, L).
        factors: (N, F).
        code_kind: what the codes are, "mean" or "sampled"; goes into the protocol.
        code_bins: bins of equal width per latent.
        factor_bins: bins of equal count of a continuous factor; None where all factors are discrete.
        count_constant: a factor with a single value counts as a gap of 0 instead of being left out.
    """
    classes, protocol = prepare(codes, factors, code_kind, factor_bins)
    binned = bins_of_equal_width(codes, code_bins)
    information = np.array([[mutual_information(z, v) for v in classes.T] for z in binned.T])
    entropy = np.array([mutual_information(v, v) for v in classes.T])
    ordered = np.sort(np.pad(information, ((1, 0), (0, 0))), axis=0)
    constant = np.ptp(classes, axis=0) == 0
    gaps = np.where(constant, 0.0 if count_constant else np.nan, 0.0)
    gaps[~constant] = (ordered[-1] - ordered[-2])[~constant] / entropy[~constant]
    protocol |= {
        "source": "arXiv:1802.04942 eq. 6; histograms as in arXiv:1811.12359",
        "code_bins": f"{code_bins} of equal width",
        "constant_factors": "count as 0" if count_constant else "left out",
    }
    return Mig(float(np.nanmean(gaps)), gaps, information, protocol)


def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    code_kind: str,
    factor_bins: int | None = None,
    test_rate: float = 1 / 3,
    num_trees: int = 10,
    seed: int = 0,
) -> Dci:
    """Disentanglement, completeness and informativeness by random forests.

    Eastwood and Williams 2018 (ICLR, "A framework for the quantitative evaluation of disentangled representations"),
    section 2. Importances are the mean decrease of Gini impurity, every split sees all latents, and the depth of each
    forest is chosen on a fifth of the training examples, as the paper chooses it by cross-validation. Differs from the
    paper: factors are predicted as classes and informativeness is held-out accuracy, as in arXiv:1811.12359, whose
    boosted trees take minutes per factor where these take seconds.

    Args:
        codes: (N, L).
        factors: (N, F).
        code_kind: what the codes are, "mean" or "sampled"; goes into the protocol.
        factor_bins: bins of equal count of a continuous factor; None where all factors are discrete.
        test_rate: fraction of the examples held out for the accuracy.
        num_trees: trees per forest.
        seed: of the held-out examples and the forests.
    """
    classes, protocol = prepare(codes, factors, code_kind, factor_bins)
    kept = classes[:, np.ptp(classes, axis=0) > 0]
    train, test = hold_out(len(codes), test_rate, seed)
    fitted = [_forest(codes[train], v[train], num_trees, seed) for v in kept.T]
    importance = np.stack([forest.feature_importances_ for forest in fitted], axis=1)
    accuracy = [np.mean(forest.predict(codes[test]) == v[test]) for forest, v in zip(fitted, kept.T, strict=True)]
    disentanglement, completeness = dci_from_importance(importance)
    protocol |= {
        "source": "Eastwood and Williams 2018, section 2",
        "predictor": f"random forest, {num_trees} trees, depth of {DEPTHS} by validation",
        "num_train": len(train),
        "num_test": len(test),
        "seed": seed,
    }
    return Dci(disentanglement, completeness, float(np.mean(accuracy)), importance, protocol)


def dci_from_importance(importance: np.ndarray) -> tuple[float, float]:
    """Disentanglement and completeness of an importance matrix (L, F), Eastwood and Williams 2018, section 2.

    A latent of no importance weighs nothing; one latent or one factor alone is complete or disentangled by definition.
    """
    total = importance.sum()
    if total == 0:
        return 0.0, 0.0
    by_latent, by_factor = importance.sum(axis=1), importance.sum(axis=0)
    disentanglement = np.sum(by_latent / total * (1 - _relative_entropy(importance)))
    completeness = np.sum(by_factor / total * (1 - _relative_entropy(importance.T)))
    return float(disentanglement), float(completeness)


def sap(
    codes: np.ndarray,
    factors: np.ndarray,
    code_kind: str,
    factor_bins: int | None = None,
    test_rate: float = 1 / 3,
    seed: int = 0,
) -> Sap:
    """Separated attribute predictability.

    Kumar et al. 2018, arXiv:1711.00848, section 3: squared correlation of a latent with a continuous factor, balanced
    accuracy of a classifier on one latent for a discrete factor, 0 for a constant latent. Differs from the paper: the
    classifier is a linear support vector machine (C = 0.01, classes balanced) judged on held-out examples, as in
    arXiv:1811.12359, instead of thresholds fitted to the test examples.

    Args:
        codes: (N, L), L at least 1; a single latent leads over 0.
        factors: (N, F).
        code_kind: what the codes are, "mean" or "sampled"; goes into the protocol.
        factor_bins: a factor with more values than this is continuous; None where all factors are discrete.
        test_rate: fraction of the examples held out for the accuracy.
        seed: of the held-out examples and the classifiers.
    """
    classes, protocol = prepare(codes, factors, code_kind, factor_bins)
    train, test = hold_out(len(codes), test_rate, seed)
    columns = []
    for index in np.flatnonzero(np.ptp(classes, axis=0) > 0):
        if is_continuous(factors[:, index], factor_bins):
            columns.append([_squared_correlation(z, factors[:, index]) for z in codes.T])
        else:
            columns.append([_svm_accuracy(z, classes[:, index], train, test, seed) for z in codes.T])
    predictability = np.array(columns).T
    ordered = np.sort(np.pad(predictability, ((1, 0), (0, 0))), axis=0)
    leads = ordered[-1] - ordered[-2]
    protocol |= {
        "source": "arXiv:1711.00848 section 3; classifier as in arXiv:1811.12359",
        "predictor": "R^2 for continuous factors, linear SVM (C=0.01, balanced) for discrete ones",
        "num_train": len(train),
        "num_test": len(test),
        "seed": seed,
    }
    return Sap(float(np.mean(leads)), leads, predictability, protocol)


def _relative_entropy(importance: np.ndarray) -> np.ndarray:
    """Entropy of every row over that of the uniform distribution, in [0, 1]."""
    totals = importance.sum(axis=1, keepdims=True)
    share = importance / np.where(totals > 0, totals, 1.0)
    logs = np.log(np.where(share > 0, share, 1.0))
    return -np.sum(share * logs, axis=1) / np.log(max(importance.shape[1], 2))


def _forest(codes: np.ndarray, classes: np.ndarray, num_trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    def fitted(depth: int, rows: slice) -> RandomForestClassifier:
        forest = RandomForestClassifier(num_trees, max_depth=depth, max_features=None, random_state=seed)
        return forest.fit(codes[rows], classes[rows])

    check = slice(0, max(len(codes) // 5, 1))
    rest = slice(check.stop, None)
    scores = [fitted(depth, rest).score(codes[check], classes[check]) for depth in DEPTHS]
    return fitted(DEPTHS[int(np.argmax(scores))], slice(None))


def _squared_correlation(code: np.ndarray, factor: np.ndarray) -> float:
    if np.var(code) < SMALLEST_VARIANCE:
        return 0.0
    return float(np.corrcoef(np.asarray(code, np.float64), np.asarray(factor, np.float64))[0, 1] ** 2)


def _svm_accuracy(code: np.ndarray, classes: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> float:
    from sklearn.svm import LinearSVC

    if np.var(code) < SMALLEST_VARIANCE:
        return 0.0
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed).fit(code[train, None], classes[train])
    right = machine.predict(code[test, None]) == classes[test]
    return float(np.mean([right[classes[test] == label].mean() for label in np.unique(classes[test])]))
