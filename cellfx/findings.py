"""What a trained model turns out to have learnt: numbers and arrays, nothing drawn or written."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis import disentanglement, latents, probe
from cellfx.analysis.factor_vae import factor_vae
from cellfx.data.source import Source, Split, iterate, to_float

Encode = Callable[[np.ndarray], tuple[Any, Any]]
Decode = Callable[[np.ndarray], Any]

BATCH_SIZE = 256
MAX_IMAGES = 20_000
"""Images of a split that are looked at; more would not change a figure, and codes of billions would not fit."""
MAX_PROBE_TRAIN, MAX_PROBE_TEST = 1_000, 2_000
"""Images that the probe learns from and is judged on: it is a small classifier, trained in seconds."""
FACTOR_BINS = 10
MIN_FACTOR_IMAGES = 100
"""Images from which scores of disentanglement are given; they count images by factor and by latent."""


class Subject(NamedTuple):
    """A trained model and the data it was trained for.

    Attributes:
        source: the data.
        encode: x (B, H, W, C) float32 -> (mean, logvar), each (B, L).
        decode: z (B, L) -> x.
        step: training steps that it has behind it.
    """

    source: Source
    encode: Encode
    decode: Decode
    step: int


class Found(NamedTuple):
    """What ``measure`` found.

    Attributes:
        subject: the model.
        codes: of the images that the figures are about, those of the test split.
        images: (n, H, W, C) the first of them, in [0, 1].
        reconstructions: (n, H, W, C) of the same.
        kl: (L,) nats per example.
        scores: everything that goes to scores.json.
        probe_names: classes that the probe tells apart; empty without labels.
        confusion: (K, K) counts of the probe; None without labels.
    """

    subject: Subject
    codes: latents.Latents
    images: np.ndarray
    reconstructions: np.ndarray
    kl: np.ndarray
    scores: dict[str, Any]
    probe_names: tuple[str, ...] = ()
    confusion: np.ndarray | None = None


def measure(
    subject: Subject,
    seed: int,
    classes: Mapping[str, Sequence[str]] | None = None,
    head: str = "mlp",
    symmetries: bool = True,
    factor_votes: int = 800,
) -> Found:
    """Measures a model on the test split; the arguments after ``seed`` are the config section ``probe``.

    Args:
        subject: the model and its data.
        seed: of every random choice.
        classes: name -> classes of the source that the probe counts as one; None takes the source's own. Images of
            classes that are not named are left out.
        head: classifier on the latents, see ``analysis.probe``.
        symmetries: the probe sees the latents of all flips and 90-degree rotations of an image and averages over them.
        factor_votes: votes of the FactorVAE score.
    """
    split = _judged(subject.source)
    codes = latents.encode_batches(subject.encode, _batches(split))
    images = np.concatenate([batch["image"] for batch in itertools.islice(_batches(split), 1)])[:20]
    images = images[: min(len(images), split.num_examples)]
    reconstructed = np.asarray(subject.decode(codes.mean[: len(images)]))
    kl = latents.kl_per_latent(codes.mean, codes.logvar)
    scores: dict[str, Any] = {
        "step": subject.step,
        "test_images": len(codes.mean),
        "reconstruction_mse": _mean_squared_error(subject, split),
        "kl": float(kl.sum()),
        "active_latents": len(latents.active_latents(kl)),
        "kl_per_latent": [float(value) for value in kl],
    }
    found = Found(subject, codes, images, reconstructed, kl, scores)
    if codes.factors is not None and len(codes.mean) >= MIN_FACTOR_IMAGES:
        scores["disentanglement"] = _disentanglement(subject, split, codes, seed, factor_votes)
    if codes.label is not None and len(subject.source.class_names) > 1:
        return _probed(found, classes, head, symmetries, seed)
    return found


def summary(scores: Mapping[str, Any]) -> str:
    """The scores as a few lines of text."""
    lines = [
        f"images {scores['test_images']:,}",
        f"reconstruction error {scores['reconstruction_mse']:.5f} per pixel (mean squared)",
        f"KL {scores['kl']:.2f} nats in {scores['active_latents']} active latents",
    ]
    for name, part in scores.get("disentanglement", {}).items():
        lines.append(f"{name} {part['score']:.3f}")
    if "probe" in scores:
        part = scores["probe"]
        lines.append(f"balanced accuracy of {part['head']} on latents {part['balanced_accuracy']:.4f}")
    return "\n".join(lines)


def symmetric_views(images: np.ndarray) -> list[np.ndarray]:
    """(B, H, W, C) -> its flips and, where it is square, its 90-degree rotations: 8 or 4 arrays of the same shape."""
    flipped = [images[:, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    if images.shape[1] != images.shape[2]:
        return flipped
    return flipped + [view.swapaxes(1, 2) for view in flipped]


def judged_batches(source: Source, count: int) -> list[dict[str, np.ndarray]]:
    """About the first ``count`` images of the split that a model is judged on, in batches with images in [0, 1]."""
    return list(itertools.islice(_batches(_judged(source)), -(-count // BATCH_SIZE)))


def _judged(source: Source) -> Split:
    """The test split, or where it is empty the newest thing to it."""
    splits = (source.splits.get(name) for name in ("test", "valid", "train"))
    return next(split for split in splits if split is not None and split.num_examples)


def _batches(split: Split) -> Iterator[dict[str, np.ndarray]]:
    for batch in itertools.islice(iterate(split, BATCH_SIZE), -(-MAX_IMAGES // BATCH_SIZE)):
        yield {**batch, "image": to_float(batch["image"])}


def _mean_squared_error(subject: Subject, split: Split) -> float:
    total, count = 0.0, 0
    for batch in _batches(split):
        decoded = np.asarray(subject.decode(subject.encode(batch["image"])[0]))
        errors = np.mean(np.square(decoded - batch["image"]), axis=(1, 2, 3), dtype=np.float64)
        total, count = total + float(np.sum(errors * batch["mask"])), count + int(batch["mask"].sum())
    return total / count


def _disentanglement(
    subject: Subject, split: Split, codes: latents.Latents, seed: int, factor_votes: int
) -> dict[str, dict[str, Any]]:
    """MIG, DCI, SAP and FactorVAE scores with their protocols."""
    mean, factors = codes.mean, codes.factors
    mig = disentanglement.mig(mean, factors, "mean", factor_bins=FACTOR_BINS)
    dci = disentanglement.dci(mean, factors, "mean", factor_bins=FACTOR_BINS, seed=seed)
    sap = disentanglement.sap(mean, factors, "mean", factor_bins=FACTOR_BINS, seed=seed)
    scores = {
        "MIG": {"score": mig.score, "protocol": mig.protocol},
        "DCI": {
            "score": dci.disentanglement,
            "completeness": dci.completeness,
            "informativeness": dci.informativeness,
            "protocol": dci.protocol,
        },
        "SAP": {"score": sap.score, "protocol": sap.protocol},
    }
    if split.arrays is not None:
        sample, count = _sampler(split.arrays["image"][: len(mean)], factors)
        voted = factor_vae(subject.encode, sample, count, mean, num_votes=factor_votes, seed=seed)
        protocol = {**voted.protocol, "images": "those of the split that share a factor's value, or its tenth"}
        scores["FactorVAE"] = {"score": voted.score, "protocol": protocol}
    return scores


def _sampler(
    images: np.ndarray, factors: np.ndarray
) -> tuple[Callable[[np.random.Generator, int, int], np.ndarray], int]:
    """Function (rng, factor, count) -> images that share one value (or quantile bin) of a factor; number of factors."""
    varying = [column for column in factors.T if len(np.unique(column)) > 1]
    members = []
    for column in varying:
        if len(np.unique(column)) > FACTOR_BINS * 10:
            column = np.searchsorted(np.quantile(column, np.linspace(0, 1, FACTOR_BINS + 1)[1:-1]), column)
        members.append([np.flatnonzero(column == value) for value in np.unique(column)])

    def sample(rng: np.random.Generator, factor: int, count: int) -> np.ndarray:
        rows = members[factor][rng.integers(len(members[factor]))]
        return to_float(images[rng.choice(rows, count)])

    return sample, len(varying)


def _probed(found: Found, classes: Mapping[str, Sequence[str]] | None, head: str, symmetries: bool, seed: int) -> Found:
    """Adds what a small classifier on the latents, trained on the training and validation splits, makes of the test."""
    source = found.subject.source
    classes = {name: (name,) for name in source.class_names} if classes is None else classes
    _check_classes(classes, source.class_names)
    learnt = [source.splits[name] for name in ("train", "valid") if name in source.splits]
    train_codes, train_labels = _labelled(found.subject, learnt, classes, symmetries, MAX_PROBE_TRAIN, seed)
    test_codes, test_labels = _labelled(found.subject, [_judged(source)], classes, symmetries, MAX_PROBE_TEST, seed)
    judged = probe.probe(train_codes, train_labels, test_codes, test_labels, head, seed)
    scores = {
        **found.scores,
        "probe": {
            "head": head,
            "views": len(train_codes),
            "classes": {name: list(members) for name, members in classes.items()},
            "train_images": len(train_labels),
            "test_images": len(test_labels),
            "balanced_accuracy": judged.balanced_accuracy,
            "accuracy": judged.accuracy,
            "confusion": judged.confusion.tolist(),
        },
    }
    return found._replace(scores=scores, probe_names=tuple(classes), confusion=judged.confusion)


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
    total = sum(split.num_examples for split in splits)
    for split in splits:
        count = -(-limit * split.num_examples // total)
        for batch in _batches(_some_of(split, label_of, count, seed)):
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
    """Randomly chosen images of the wanted classes; of a stream, which is mixed, the first ones of any class."""
    if split.arrays is None:
        return split._replace(num_examples=min(split.num_examples, count))
    rows = np.flatnonzero(label_of[split.arrays["label"]] >= 0)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:count])
    return Split(len(rows), {key: split.arrays[key][rows] for key in ("image", "label")})


def _check_classes(classes: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    unknown = [member for members in classes.values() for member in members if member not in known]
    if unknown:
        raise ValueError(
            f"unknown class in probe.classes: got {unknown[0]!r}, expected one of {', '.join(known)}; correct the name"
        )
