"""Small classifiers on latents: how much a code tells of the class."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError

HEADS = ("logistic", "mlp", "mlp2", "svm")
NUM_NETWORKS = 5


class Probe(NamedTuple):
    """What a classifier made of held-out examples.

    Attributes:
        balanced_accuracy: mean recall over the classes that occur in the test examples.
        accuracy: fraction of right predictions.
        confusion: (K, K) counts, [true class, predicted class].
        scores: (N, K) of the test examples, larger is likelier; probabilities except for "svm".
    """

    balanced_accuracy: float
    accuracy: float
    confusion: np.ndarray
    scores: np.ndarray


def probe(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    head: str = "mlp",
    seed: int = 0,
    balanced: bool = True,
) -> Probe:
    """Trains a small classifier on some codes and judges it on others.

    Codes are standardized by the training codes. Codes may be given for
    several views of every image, (V, N, L), for instance its flips and rotations: training sees every view as an
    example, and the scores of a test example are averaged over its views.

    Args:
        train_codes: (N, L) or (V, N, L).
        train_labels: (N,) int in [0, K).
        test_codes: (M, L) or (V, M, L).
        test_labels: (M,) int.
        head: "logistic" (linear), "mlp" (five networks of 64 hidden units, probabilities averaged), "mlp2" (the same
            with two hidden layers) or "svm" (radial basis functions).
        seed: of the networks; the same seed gives the same numbers.
        balanced: every class weighs the same in training, however many examples it has.

    Raises:
        ValueError: an unknown head, codes without labels, or a class to be told that training never sees.
    """
    train_codes, test_codes = _as_views(train_codes), _as_views(test_codes)
    _check(train_codes, train_labels, test_codes, test_labels, head)
    return judge(fitted(train_codes, train_labels, head, seed, balanced)(test_codes), test_labels)


def fitted(
    codes: np.ndarray, labels: np.ndarray, head: str = "mlp", seed: int = 0, balanced: bool = True
) -> Callable[[np.ndarray], np.ndarray]:
    """Trains a small classifier on codes, for codes that nobody has labeled; arguments as ``probe``.

    Returns:
        Codes (M, L) or (V, M, L) -> scores (M, K), as in ``Probe``; a code's scores depend on no other code.

    Raises:
        ValueError: an unknown head, codes without labels, or a gap in the numbers of the classes.
    """
    codes = _as_views(codes)
    _check(codes, labels, codes, labels, head)
    centre, scale = codes.mean(axis=(0, 1)), codes.std(axis=(0, 1))
    scale = np.where(scale > 0, scale, 1.0)
    rows, tiled = ((codes - centre) / scale).reshape(-1, codes.shape[-1]), np.tile(labels, len(codes))
    members = _fit(rows, tiled, head, seed, balanced)
    return lambda others: _scores(members, (_as_views(others) - centre) / scale)


def cross_probe(codes: np.ndarray, labels: np.ndarray, folds: np.ndarray, head: str = "mlp", seed: int = 0) -> Probe:
    """Predicts every fold from all others, with folds that keep groups together, and judges all predictions at once.

    Args:
        codes: (N, L) or (V, N, L), see ``probe``.
        labels: (N,) int in [0, K).
        folds: (N,) int, the fold in which an example is tested.
        head: see ``probe``.
        seed: see ``probe``.

    Raises:
        ValueError: as ``probe``, or there is only one fold.
    """
    codes, names = _as_views(codes), np.unique(folds)
    if len(names) < 2:
        raise UserError(
            f"cross-validation has nothing to train on: got {len(names)} fold, expected 2 or more; make the folds with "
            "cellfx.data.splits"
        )
    scores = np.zeros((len(labels), int(np.max(labels)) + 1))
    for name in names:
        train, test = folds != name, folds == name
        fold = probe(codes[:, train], labels[train], codes[:, test], labels[test], head, seed)
        scores[test] = fold.scores
    return judge(scores, labels)


def judge(scores: np.ndarray, labels: np.ndarray) -> Probe:
    """Compares the class of the largest score with the true one.

    Args:
        scores: (N, K), larger is likelier.
        labels: (N,) int in [0, K).
    """
    num_classes, predicted = scores.shape[1], np.argmax(scores, axis=1)
    confusion = np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, -1)
    totals = confusion.sum(axis=1)
    recall = np.diag(confusion)[totals > 0] / totals[totals > 0]
    return Probe(float(recall.mean()), float(np.mean(predicted == labels)), confusion, scores)


def _as_views(codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes, np.float64)
    return codes if codes.ndim == 3 else codes[None]


def _fit(rows: np.ndarray, labels: np.ndarray, head: str, seed: int, balanced: bool) -> list[Any]:
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    weights = (len(labels) / np.maximum(np.bincount(labels), 1))[labels] if balanced else np.ones(len(labels))
    # Products of these sizes lose by threads, and on a busy machine by a factor of 30.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Stopping a network after a fixed number of iterations is regularization here, not a failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [member.fit(rows, labels, sample_weight=weights / weights.mean()) for member in _members(head, seed)]


def _members(head: str, seed: int) -> list[Any]:
    """Settings chosen on principal components of 670 MitoCheck nuclei, 5 folds by plate: linear .86, these .96-.97."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    if head == "logistic":
        return [LogisticRegression(max_iter=1000)]
    if head == "svm":
        return [SVC(C=3.0, decision_function_shape="ovr")]
    hidden = (64, 64) if head == "mlp2" else (64,)
    settings = {"hidden_layer_sizes": hidden, "alpha": 3.0, "solver": "lbfgs", "max_iter": 200}
    return [MLPClassifier(random_state=NUM_NETWORKS * seed + member, **settings) for member in range(NUM_NETWORKS)]


def _scores(members: list[Any], views: np.ndarray) -> np.ndarray:
    return np.mean([_score(member, view) for member in members for view in views], axis=0)


def _score(member: Any, rows: np.ndarray) -> np.ndarray:
    if hasattr(member, "predict_proba"):
        return member.predict_proba(rows)
    score = member.decision_function(rows)
    return score if score.ndim == 2 else np.stack([-score, score], axis=1)


def _check(
    train_codes: np.ndarray, train_labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray, head: str
) -> None:
    if head not in HEADS:
        raise UserError(f"unknown head: got {head!r}, expected one of {HEADS}; choose one of them")
    for name, codes, labels in (("training", train_codes, train_labels), ("test", test_codes, test_labels)):
        if codes.shape[1] != len(labels) or len(labels) == 0:
            raise UserError(
                f"{name} codes and labels do not belong together: got {codes.shape[1]} codes and {len(labels)} labels, "
                "expected as many of both and at least one; encode the labeled examples"
            )
    seen = np.unique(train_labels)
    if len(seen) < 2 or not np.array_equal(seen, np.arange(len(seen))) or np.max(test_labels) >= len(seen):
        raise UserError(
            f"training must see every class: got training classes {seen.tolist()} and test classes "
            f"{np.unique(test_labels).tolist()}, expected 0, 1, ... without gaps; number the classes anew or choose "
            "other folds"
        )
