"""What a trained model turns out to have learnt: numbers and arrays, nothing drawn or written."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.disentanglement import supervised
from cellfx.analysis.disentanglement.factor_vae import factor_vae
from cellfx.analysis.disentanglement.factors import rank_correlation
from cellfx.analysis.latents import encoding
from cellfx.analysis.latents.probe import HEADS
from cellfx.data.source import Source, Split, to_float
from cellfx.findings import generated as generating
from cellfx.findings.channels import Translated, describe, judge_translation
from cellfx.findings.classes import Probed, judge_classifier, probe_latents
from cellfx.findings.subject import Subject, batches, judged_by_validation, judged_name, judged_split

NUM_SHOWN = 20
FACTOR_BINS = 10
JUDGES = ("test", "valid")
"""Splits that can judge a model."""
MIN_FACTOR_IMAGES = 100
"""Images from which scores of disentanglement are given; they count images by factor and by latent."""


class Found(NamedTuple):
    """What ``measure`` found.

    Attributes:
        subject: the model.
        images: (n, H, W, C) some images of the split that is judged, in [0, 1]; in turn of the classes that are told
            apart.
        shown: (n,) their rows in that split.
        scores: everything that goes to scores.json.
        codes: of all images of the split; None, as for the next two, where the model has no latents.
        reconstructions: (n, H, W, C) of the images.
        errors: (N,) mean squared error per pixel of every image's reconstruction.
        kl: (L,) nats per example.
        probed: what a classifier made of the latents; None without labels.
        judged: how the model itself tells the classes apart; None where it does not.
        translated: what it made of the channels that it predicts; None where it predicts none.
    """

    subject: Subject
    images: np.ndarray
    shown: np.ndarray
    scores: dict[str, Any]
    codes: encoding.Latents | None = None
    reconstructions: np.ndarray | None = None
    errors: np.ndarray | None = None
    kl: np.ndarray | None = None
    probed: Probed | None = None
    judged: Probed | None = None
    translated: Translated | None = None


class Options(NamedTuple):
    """The config section ``probe``.

    Attributes:
        classes: name -> classes of the source that count as one; None takes the source's own. Images of classes that
            are not named are left out.
        head: classifier on the latents, one of ``analysis.latents.probe.HEADS``.
        symmetries: the classifier, on the latents or on images, sees all flips and 90-degree rotations of an image and
            its answers are averaged over them.
        train_images: about how many training and validation images the classifier on the latents learns from, of each
            class as many as of any other as far as they go; None for all.
        factor_votes: votes that the FactorVAE score learns from; half as many judge it.
        generated: whether images that the model draws from nothing are judged too; it takes half a minute.
        split: the images that everything is measured on, one of ``JUDGES``: ``valid`` keeps the test images unseen
            while a setting is chosen, as ``bin/tune`` does.
    """

    classes: Mapping[str, Sequence[str]] | None = None
    head: str = "mlp"
    symmetries: bool = True
    train_images: int | None = None
    factor_votes: int = 800
    generated: bool = False
    split: str = "test"

    def check(self) -> None:
        """Raises a ValueError for an unknown head or split, or a number below 1."""
        for name, known in (("head", HEADS), ("split", JUDGES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown probe.{name}: got {getattr(self, name)!r}, expected one of {', '.join(known)}; correct it"
                )
        for name, value in (("factor_votes", self.factor_votes), ("train_images", self.train_images)):
            if value is not None and value < 1:
                raise ValueError(f"probe.{name} is too small: got {value}, expected 1 or more; raise it")


def measure(subject: Subject, seed: int, options: Options) -> Found:
    """Measures a model on the test split, or on the validation split where that is asked for or there is no other.

    Args:
        subject: the model and its data.
        seed: of every random choice.
        options: what to measure.
    """
    if options.split == "valid":
        subject = subject._replace(source=judged_by_validation(subject.source))
    split = judged_split(subject.source, subject.max_images)
    rows = _shown(subject.source, split, options.classes, seed)
    images = _images(split, rows)
    judged_on = judged_name(subject.source)
    scores = {"step": subject.step, "judged_on": judged_on, "judged_images": split.num_examples}
    found = Found(subject, images, rows[: len(images)], scores)
    if subject.encode is not None:
        found = _with_latents(found, split, seed, options)
    if subject.predict is not None and judged_on != "train":
        judged = judge_classifier(subject, options.classes, options.symmetries)
        found = found._replace(judged=judged, scores={**found.scores, "classifier": judged.scores})
    if subject.sample is not None and options.generated:
        generated = generating.judge_generated(subject, seed)
        if generated is not None:
            found = found._replace(scores={**found.scores, "generated": generated})
    if subject.translate is not None:
        translated = judge_translation(subject, images)
        found = found._replace(translated=translated, scores={**found.scores, "translation": translated.scores})
    return found


def summary(scores: Mapping[str, Any]) -> str:
    """The scores as a few lines of text."""
    place = scores.get("folder") or f"the {scores['judged_on']} split"
    lines = [f"{scores['judged_images']:,} images of {place}"]
    if "kl" in scores:
        lines += [
            f"reconstruction error {scores['reconstruction_mse']:.5f} per pixel (mean squared)",
            f"KL {scores['kl']:.2f} nats in {scores['active_latents']} active latents",
        ]
    for name, part in scores.get("disentanglement", {}).items():
        lines.append(f"{name} {part['score']:.3f}")
    for name in ("probe", "classifier"):
        part = scores.get(name, {})
        if "accuracy" in part:
            by = f"{part['head']} on latents" if name == "probe" else "the model itself"
            lines += [
                f"{kind} of {by} {part[kind.replace(' ', '_')]:.4f}" for kind in ("balanced accuracy", "accuracy")
            ]
    lines += generating.describe(scores["generated"]) if "generated" in scores else []
    lines += describe(scores["translation"]) if "translation" in scores else []
    return "\n".join(lines)


def _with_latents(found: Found, split: Split, seed: int, options: Options) -> Found:
    """What there is to say of a model with latents."""
    subject = found.subject
    codes = encoding.encode_batches(subject.encode, batches(split))
    kl = encoding.kl_per_latent(codes.mean, codes.logvar)
    errors = _squared_errors(subject, split)
    scores = found.scores | {
        "judged_images": len(codes.mean),
        "reconstruction_mse": float(errors.mean()),
        "kl": float(kl.sum()),
        "active_latents": len(encoding.active_latents(kl)),
        "kl_per_latent": [float(value) for value in kl],
    }
    if codes.factors is not None and len(codes.mean) >= MIN_FACTOR_IMAGES:
        scores["disentanglement"] = _disentanglement(subject, split, codes, seed, options.factor_votes)
        scores["captured"] = _captured(codes, subject.source.factor_names)
    probed = None
    labeled = codes.label is not None and len(subject.source.class_names) > 1
    if labeled and judged_name(subject.source) != "train":
        probed = probe_latents(subject, options.classes, options.head, options.symmetries, seed, options.train_images)
        scores["probe"] = probed.scores
    reconstructed = np.asarray(subject.decode(codes.mean[found.shown]))
    return found._replace(
        codes=codes, reconstructions=reconstructed, errors=errors, kl=kl, scores=scores, probed=probed
    )


def _captured(codes: encoding.Latents, factor_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Factor -> the latent that follows it best, and how well: the size of Spearman's correlation."""
    strength = np.abs(rank_correlation(codes.mean, codes.factors))
    best = strength.argmax(axis=0)
    return {
        name: {"latent": int(latent), "rank_correlation": float(strength[latent, factor])}
        for factor, (name, latent) in enumerate(zip(factor_names, best, strict=True))
    }


def _shown(source: Source, split: Split, classes: Mapping[str, Sequence[str]] | None, seed: int) -> np.ndarray:
    """Rows of images for the figures: random, one of each of the probe's classes in turn; of a stream the first."""
    if split.arrays is None:
        return np.arange(NUM_SHOWN)
    order = np.random.default_rng(seed).permutation(split.num_examples)
    labels = split.arrays.get("label")
    if labels is None or not source.class_names:
        return order[:NUM_SHOWN]
    wanted = {name: (name,) for name in source.class_names} if classes is None else classes
    members = [[source.class_names.index(m) for m in names if m in source.class_names] for names in wanted.values()]
    queues = [order[np.isin(labels[order], known)] for known in members]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues, fillvalue=-1))
    rows = np.fromiter(itertools.islice((row for row in turns if row >= 0), NUM_SHOWN), np.int64)
    return rows if len(rows) else order[:NUM_SHOWN]


def _images(split: Split, rows: np.ndarray) -> np.ndarray:
    if split.arrays is not None:
        return to_float(split.arrays["x"][rows])
    return next(batches(split))["x"][: min(len(rows), split.num_examples)]


def _squared_errors(subject: Subject, split: Split) -> np.ndarray:
    """Mean squared error per pixel of every image, (N,) float64."""
    errors = []
    for batch in batches(split):
        decoded = np.asarray(subject.decode(subject.encode(batch["x"])[0]))
        some = np.mean(np.square(decoded - batch["x"]), axis=(1, 2, 3), dtype=np.float64)
        errors.append(some[batch["mask"] > 0])
    return np.concatenate(errors)


def _disentanglement(
    subject: Subject, split: Split, codes: encoding.Latents, seed: int, factor_votes: int
) -> dict[str, dict[str, Any]]:
    """MIG, DCI, SAP and FactorVAE scores with their protocols."""
    mean, factors = codes.mean, codes.factors
    mig = supervised.mig(mean, factors, "mean", factor_bins=FACTOR_BINS)
    dci = supervised.dci(mean, factors, "mean", factor_bins=FACTOR_BINS, seed=seed)
    sap = supervised.sap(mean, factors, "mean", factor_bins=FACTOR_BINS, seed=seed)
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
        sample, count = _sampler(split.arrays["x"][: len(mean)], factors)
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
