"""What a trained model turns out to have learnt: numbers and arrays, nothing drawn or written."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis import disentanglement, latents
from cellfx.analysis.factor_vae import factor_vae
from cellfx.analysis.probe import HEADS
from cellfx.data.source import Source, Split, to_float
from cellfx.probing import Probed, probe_latents
from cellfx.subject import Subject, batches, judged_name, judged_split

NUM_SHOWN = 20
FACTOR_BINS = 10
MIN_FACTOR_IMAGES = 100
"""Images from which scores of disentanglement are given; they count images by factor and by latent."""


class Found(NamedTuple):
    """What ``measure`` found.

    Attributes:
        subject: the model.
        codes: of the images that the figures are about, those of the test split.
        images: (n, H, W, C) some of them, in [0, 1]; in turn of the classes that the probe tells apart.
        shown: (n,) their rows in ``codes``.
        reconstructions: (n, H, W, C) of the same.
        kl: (L,) nats per example.
        scores: everything that goes to scores.json.
        probed: what a classifier made of the latents; None without labels.
    """

    subject: Subject
    codes: latents.Latents
    images: np.ndarray
    shown: np.ndarray
    reconstructions: np.ndarray
    kl: np.ndarray
    scores: dict[str, Any]
    probed: Probed | None = None


class Options(NamedTuple):
    """The config section ``probe``.

    Attributes:
        classes: name -> classes of the source that the probe counts as one; None takes the source's own. Images of
            classes that are not named are left out.
        head: classifier on the latents, one of ``analysis.probe.HEADS``.
        symmetries: the probe sees the latents of all flips and 90-degree rotations of an image and averages over them.
        factor_votes: votes of the FactorVAE score.
    """

    classes: Mapping[str, Sequence[str]] | None = None
    head: str = "mlp"
    symmetries: bool = True
    factor_votes: int = 800

    def check(self) -> None:
        """Raises a ValueError for an unknown head or a number of votes below 1."""
        if self.head not in HEADS:
            raise ValueError(f"unknown probe.head: got {self.head!r}, expected one of {', '.join(HEADS)}; correct it")
        if self.factor_votes < 1:
            raise ValueError(f"probe.factor_votes is too small: got {self.factor_votes}, expected 1 or more; raise it")


def measure(subject: Subject, seed: int, options: Options) -> Found:
    """Measures a model on the test split, or where there is none on the validation split.

    Args:
        subject: the model and its data.
        seed: of every random choice.
        options: what to measure.
    """
    split = judged_split(subject.source)
    codes = latents.encode_batches(subject.encode, batches(split))
    rows = _shown(subject.source, codes, options.classes, seed) if split.arrays is not None else np.arange(NUM_SHOWN)
    images = _images(split, rows)
    rows = rows[: len(images)]
    reconstructed = np.asarray(subject.decode(codes.mean[rows]))
    kl = latents.kl_per_latent(codes.mean, codes.logvar)
    scores: dict[str, Any] = {
        "step": subject.step,
        "judged_on": judged_name(subject.source),
        "judged_images": len(codes.mean),
        "reconstruction_mse": _mean_squared_error(subject, split),
        "kl": float(kl.sum()),
        "active_latents": len(latents.active_latents(kl)),
        "kl_per_latent": [float(value) for value in kl],
    }
    found = Found(subject, codes, images, rows, reconstructed, kl, scores)
    if codes.factors is not None and len(codes.mean) >= MIN_FACTOR_IMAGES:
        scores["disentanglement"] = _disentanglement(subject, split, codes, seed, options.factor_votes)
    labelled = codes.label is not None and len(subject.source.class_names) > 1
    if labelled and judged_name(subject.source) != "train":
        probed = probe_latents(subject, options.classes, options.head, options.symmetries, seed)
        found = found._replace(probed=probed, scores={**scores, "probe": probed.scores})
    return found


def summary(scores: Mapping[str, Any]) -> str:
    """The scores as a few lines of text."""
    lines = [
        f"{scores['judged_images']:,} images of the {scores['judged_on']} split",
        f"reconstruction error {scores['reconstruction_mse']:.5f} per pixel (mean squared)",
        f"KL {scores['kl']:.2f} nats in {scores['active_latents']} active latents",
    ]
    for name, part in scores.get("disentanglement", {}).items():
        lines.append(f"{name} {part['score']:.3f}")
    if "probe" in scores:
        part = scores["probe"]
        lines.append(f"balanced accuracy of {part['head']} on latents {part['balanced_accuracy']:.4f}")
    return "\n".join(lines)


def _shown(
    source: Source, codes: latents.Latents, classes: Mapping[str, Sequence[str]] | None, seed: int
) -> np.ndarray:
    """Rows of images for the figures: random, one of each of the probe's classes in turn."""
    order = np.random.default_rng(seed).permutation(len(codes.mean))
    if codes.label is None or not source.class_names:
        return order[:NUM_SHOWN]
    wanted = {name: (name,) for name in source.class_names} if classes is None else classes
    members = [[source.class_names.index(m) for m in names if m in source.class_names] for names in wanted.values()]
    queues = [order[np.isin(codes.label[order], labels)] for labels in members]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues, fillvalue=-1))
    return np.fromiter(itertools.islice((row for row in turns if row >= 0), NUM_SHOWN), np.int64)


def _images(split: Split, rows: np.ndarray) -> np.ndarray:
    if split.arrays is not None:
        return to_float(split.arrays["image"][rows])
    return next(batches(split))["image"][: min(len(rows), split.num_examples)]


def _mean_squared_error(subject: Subject, split: Split) -> float:
    total, count = 0.0, 0
    for batch in batches(split):
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
