"""How well classes are told apart on the test split: by a small classifier on the latents, or by the model itself."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis import probe
from cellfx.data.source import Split
from cellfx.subject import Subject, batches, judged_name, judged_split

MAX_PROBE_TRAIN, MAX_PROBE_TEST = 1_000, 2_000
"""Images that the probe learns from and is judged on: it is a small classifier, trained in seconds."""


class Probed(NamedTuple):
    """What the classifier made of the test images.

    Attributes:
        names: K classes that it tells apart.
        confusion: (K, K) counts, [true, predicted].
        scores: for scores.json.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    scores: dict[str, Any]


def probe_latents(
    subject: Subject, classes: Mapping[str, Sequence[str]] | None, head: str, symmetries: bool, seed: int
) -> Probed:
    """Trains a classifier on the latents of training and validation images and judges it on the test images.

    Args:
        subject: the model and its data.
        classes: see ``findings.measure``.
        head: see ``analysis.probe``.
        symmetries: see ``findings.measure``.
        seed: of the classifier and of the choice of images.

    Raises:
        ValueError: an unknown class or head, or no image of the classes.
    """
    source = subject.source
    classes = {name: (name,) for name in source.class_names} if classes is None else classes
    check_classes(classes, source.class_names)
    judged_on = judged_name(source)
    learnt = [source.splits[name] for name in ("train", "valid") if name in source.splits and name != judged_on]
    train_codes, train_labels = _labelled(subject, learnt, classes, symmetries, MAX_PROBE_TRAIN, seed)
    test_codes, test_labels = _labelled(subject, [judged_split(source)], classes, symmetries, MAX_PROBE_TEST, seed)
    judged = probe.probe(train_codes, train_labels, test_codes, test_labels, head, seed)
    scores = {
        "head": head,
        "judged_on": judged_on,
        "views": len(train_codes),
        "classes": {name: list(members) for name, members in classes.items()},
        "train_images": len(train_labels),
        "test_images": len(test_labels),
        "balanced_accuracy": judged.balanced_accuracy,
        "accuracy": judged.accuracy,
        "confusion": judged.confusion.tolist(),
    }
    return Probed(tuple(classes), judged.confusion, scores)


def judge_classifier(subject: Subject, classes: Mapping[str, Sequence[str]] | None, symmetries: bool) -> Probed:
    """Judges a model that predicts classes itself; probabilities are averaged over the symmetries where asked.

    Args:
        subject: a model with ``predict`` and its data.
        classes: see ``findings.Options``; the probabilities of classes that count as one are added up.
        symmetries: see ``findings.Options``.

    Raises:
        ValueError: an unknown class, or no image of the classes.
    """
    source = subject.source
    classes = {name: (name,) for name in source.class_names} if classes is None else classes
    check_classes(classes, source.class_names)
    belongs = np.array([[name in members for members in classes.values()] for name in source.class_names])
    scores, labels, views = [], [], 0
    for batch in batches(judged_split(source)):
        wanted = belongs[batch["label"]].any(axis=1) & (batch["mask"] > 0)
        seen = symmetric_views(batch["image"]) if symmetries else [batch["image"]]
        views = len(seen)
        told = np.mean([_softmax(np.asarray(subject.predict(view), np.float64)) for view in seen], axis=0)
        scores.append(told[wanted] @ belongs)
        labels.append(belongs[batch["label"]].argmax(axis=1)[wanted])
    label = np.concatenate(labels)
    if not len(label):
        raise ValueError(
            f"no image to judge: got none of the classes {list(classes)}, expected some; change probe.classes"
        )
    judged = probe.judge(np.concatenate(scores), label)
    found = {
        "judged_on": judged_name(source),
        "views": views,
        "classes": {name: list(members) for name, members in classes.items()},
        "test_images": len(label),
        "balanced_accuracy": judged.balanced_accuracy,
        "accuracy": judged.accuracy,
        "confusion": judged.confusion.tolist(),
    }
    return Probed(tuple(classes), judged.confusion, found)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _labelled(
    subject: Subject,
    splits: Sequence[Split],
    classes: Mapping[str, Sequence[str]],
    symmetries: bool,
    limit: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (V, N, L) and labels (N,) of at most about ``limit`` images of the wanted classes."""
    names = subject.source.class_names
    label_of = np.full(len(names), -1)
    for label, members in enumerate(classes.values()):
        label_of[[names.index(member) for member in members]] = label
    codes, labels = [], []
    total = max(sum(split.num_examples for split in splits), 1)
    for split in splits:
        count = -(-limit * split.num_examples // total)
        for batch in batches(_some_of(split, label_of, count, seed)):
            wanted = (label_of[batch["label"]] >= 0) & (batch["mask"] > 0)
            if wanted.any():
                views = symmetric_views(batch["image"]) if symmetries else [batch["image"]]
                codes.append(np.stack([np.asarray(subject.encode(view)[0])[wanted] for view in views]))
                labels.append(label_of[batch["label"]][wanted])
    if not codes:
        raise ValueError(
            f"no image to probe: got none of the classes {list(classes)}, expected some; change probe.classes"
        )
    return np.concatenate(codes, axis=1), np.concatenate(labels)


def _some_of(split: Split, label_of: np.ndarray, count: int, seed: int) -> Split:
    """Randomly chosen images of each wanted class in turn; of a stream, which is mixed, the first ones of any class."""
    if split.arrays is None:
        return split._replace(num_examples=min(split.num_examples, count))
    order = np.random.default_rng(seed).permutation(split.num_examples)
    labels = label_of[split.arrays["label"]][order]
    # The n-th image of its class comes before the (n + 1)-th of any other, so that a rare class is not missed.
    turn = np.zeros(len(order), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.sum(labels == label))
    wanted = np.flatnonzero(labels >= 0)
    rows = np.sort(order[wanted[np.argsort(turn[wanted], kind="stable")[:count]]])
    return Split(len(rows), {key: split.arrays[key][rows] for key in ("image", "label")})


def check_classes(classes: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    """Makes sure that classes can be told apart.

    Raises:
        ValueError: a class that the data does not have; fewer than two to tell apart, an empty one, or a class of the
            data that counts as several: each of these would be scored as if it had been told.
    """
    unknown = [member for members in classes.values() for member in members if member not in known]
    if unknown:
        raise ValueError(
            f"unknown class in probe.classes: got {unknown[0]!r}, expected one of {', '.join(known)}; correct the name"
        )
    members = [member for names in classes.values() for member in names]
    if len(classes) < 2 or len(set(members)) < len(members) or not all(classes.values()):
        groups = "; ".join(f"{name} of {', '.join(names) or 'none'}" for name, names in classes.items())
        raise ValueError(
            f"probe.classes tells no classes apart: got {groups or 'none'}, expected two or more, each of classes of "
            "the data that no other has; correct it"
        )


def symmetric_views(images: np.ndarray, rotations: bool = True) -> list[np.ndarray]:
    """(B, H, W, C) -> its flips and, where it is square, its 90-degree rotations: 8 or 4 arrays of the same shape."""
    flipped = [images[:, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    if not rotations or images.shape[1] != images.shape[2]:
        return flipped
    return flipped + [view.swapaxes(1, 2) for view in flipped]
