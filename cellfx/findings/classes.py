"""How well classes are told apart on the test split: by a small classifier on the latents, or by the model itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.latents import probe
from cellfx.data.source import Split
from cellfx.findings.subject import Subject, batches, judged_name, judged_split

Tell = Callable[[list[np.ndarray]], np.ndarray]
"""Views of images, each (B, H, W, C) -> (B, K), larger is likelier."""


class Probed(NamedTuple):
    """What the classifier made of the images that judge it.

    Attributes:
        names: K classes that it tells apart.
        confusion: (K, K) counts, [true, predicted].
        scores: for scores.json.
        told: (N, K) of every image, larger is likelier; probabilities except for the head ``svm``.
        label: (N,) the true class; -1 where that is unknown or none of the K.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    scores: dict[str, Any]
    told: np.ndarray
    label: np.ndarray


def probe_latents(
    subject: Subject,
    classes: Mapping[str, Sequence[str]] | None,
    head: str,
    symmetries: bool,
    seed: int,
    train_images: int | None = None,
) -> Probed:
    """Trains a classifier on the latents of training and validation images and judges it on the test images.

    Args:
        subject: the model and its data.
        classes: see ``findings.measure.Options``.
        head: see ``analysis.latents.probe``.
        symmetries: see ``findings.measure.Options``.
        seed: of the classifier and of the choice of images.
        train_images: see ``findings.measure.Options``.

    Raises:
        ValueError: an unknown class or head, or no image of the classes.
    """
    source = subject.source
    classes, label_of = _numbered(source.class_names, classes)
    judged_on = judged_name(source)
    learnt = [source.splits[name] for name in ("train", "valid") if name in source.splits and name != judged_on]
    codes, labels = _learnt(subject, learnt, label_of, symmetries, train_images, seed)
    if not len(labels):
        raise ValueError(
            f"no image to probe: got none of the classes {list(classes)}, expected some; change probe.classes"
        )
    classify = probe.fitted(codes, labels, head, seed)
    num_learnt = int(labels.max()) + 1

    def tell(views: list[np.ndarray]) -> np.ndarray:
        told = classify(np.stack([np.asarray(subject.encode(view)[0]) for view in views]))
        return np.pad(told, ((0, 0), (0, len(classes) - num_learnt)))

    about = {"head": head, "train_images": len(labels)}
    found = _judged(subject, classes, label_of, tell, symmetries, about, "probe")
    if found.label.max() >= num_learnt:
        raise ValueError(
            f"training must see every class: got no training image of {found.names[found.label.max()]} of "
            f"{source.name}, expected some; take another fold, or leave it out of probe.classes"
        )
    return found


def judge_classifier(subject: Subject, classes: Mapping[str, Sequence[str]] | None, symmetries: bool) -> Probed:
    """Judges a model that predicts classes itself; probabilities are averaged over the symmetries where asked.

    Args:
        subject: a model with ``predict`` and its data.
        classes: see ``findings.measure.Options``; the probabilities of classes that count as one are added up.
        symmetries: see ``findings.measure.Options``.

    Raises:
        ValueError: an unknown class, or no image of the classes.
    """
    names = subject.source.class_names
    classes, label_of = _numbered(names, classes)
    belongs = np.array([[name in members for members in classes.values()] for name in names])

    def tell(views: list[np.ndarray]) -> np.ndarray:
        return np.mean([_softmax(np.asarray(subject.predict(view), np.float64)) for view in views], axis=0) @ belongs

    return _judged(subject, classes, label_of, tell, symmetries, {}, "judge")


def _numbered(
    names: Sequence[str], classes: Mapping[str, Sequence[str]] | None
) -> tuple[Mapping[str, Sequence[str]], np.ndarray]:
    """The classes to tell apart, and the number of that of every class of the data: (K + 1,), -1 for none.

    The last is that of label -1, an image whose class is unknown.
    """
    if classes is None:
        return {name: (name,) for name in names}, np.array([*range(len(names)), -1])
    check_classes(classes, names)
    label_of = np.full(len(names) + 1, -1)
    for label, members in enumerate(classes.values()):
        label_of[[names.index(member) for member in members]] = label
    return classes, label_of


def _judged(
    subject: Subject,
    classes: Mapping[str, Sequence[str]],
    label_of: np.ndarray,
    tell: Tell,
    symmetries: bool,
    about: Mapping[str, Any],
    verb: str,
) -> Probed:
    """What ``tell`` says of every image that is judged, counted over those whose class is known."""
    told, labels, num_views, known = [], [], 0, False
    for batch in batches(judged_split(subject.source, subject.max_images)):
        real = batch["mask"] > 0
        views = _views(batch["x"], symmetries)
        num_views = len(views)
        told.append(tell(views)[real])
        label = batch["label"][real] if "label" in batch else np.full(int(real.sum()), -1)
        labels.append(label_of[label])
        known |= bool(np.any(label >= 0))
    score, label = np.concatenate(told), np.concatenate(labels)
    wanted = label >= 0
    if known and not wanted.any():
        raise ValueError(
            f"no image to {verb}: got none of the classes {list(classes)}, expected some; change probe.classes"
        )
    found = {
        **about,
        "judged_on": judged_name(subject.source),
        "views": num_views,
        "classes": {name: list(members) for name, members in classes.items()},
        "test_images": int(wanted.sum()),
    }
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    if wanted.any():
        judged = probe.judge(score[wanted], label[wanted])
        confusion = judged.confusion
        found |= {"balanced_accuracy": judged.balanced_accuracy, "accuracy": judged.accuracy}
        found |= {"confusion": confusion.tolist()}
    return Probed(tuple(classes), confusion, found, score, label)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _views(images: np.ndarray, symmetries: bool) -> list[np.ndarray]:
    return symmetric_views(images) if symmetries else [images]


def _learnt(
    subject: Subject,
    splits: Sequence[Split],
    label_of: np.ndarray,
    symmetries: bool,
    limit: int | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (V, N, L) and labels (N,) of all images of the wanted classes, or of about ``limit``."""
    codes, labels = [], []
    total = max(sum(split.num_examples for split in splits), 1)
    for split in splits:
        if limit is not None:
            split = _some_of(split, label_of, -(-limit * split.num_examples // total), seed)
        for batch in batches(split):
            wanted = (label_of[batch["label"]] >= 0) & (batch["mask"] > 0)
            if wanted.any():
                views = _views(batch["x"], symmetries)
                codes.append(np.stack([np.asarray(subject.encode(view)[0])[wanted] for view in views]))
                labels.append(label_of[batch["label"]][wanted])
    if not codes:
        return np.zeros((1, 0, 0)), np.zeros(0, np.int64)
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
    return Split(len(rows), {key: split.arrays[key][rows] for key in ("x", "label")})


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
