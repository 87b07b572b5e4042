"""Figures and report.html of a run, from what was found; the files of a workdir are written here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import cellfx
from cellfx.analysis.disentanglement.factors import rank_correlation
from cellfx.analysis.latents import encoding, interpolation, traversal
from cellfx.analysis.latents.density import class_densities
from cellfx.files.whole import write_whole
from cellfx.findings.headlines import key_numbers, score_tables
from cellfx.findings.measure import NUM_SHOWN, Found
from cellfx.findings.subject import Decode, judged_split
from cellfx.report.charts import densities as density_charts
from cellfx.report.charts import latents, style, translation
from cellfx.report.page import Picture, Section, Table, report

MAX_TRAVERSED = 12
ALIKE = 1e-3
"""Images of intensities in [0, 1] that differ by less are the same."""
SCATTERED = 3_000
SHOWN = 10
MAX_DENSITIES = 32
UNITS = {
    "vae/loss": "nats",
    "reconstruction": "nats",
    "kl": "nats",
    "total_correlation": "nats",
    "real_loss": "nats",
    "fake_loss": "nats",
    "generator_loss": "nats",
    "mutual_information": "nats",
    "penalty": "squared norm",
    "classifier/loss": "nats",
    "accuracy": "fraction",
}


class Figure(NamedTuple):
    """A figure of the report.

    Attributes:
        name: of its file, without suffix.
        drawn: matplotlib figure.
        alt: what a reader who cannot see it should know.
        caption: shown below it.
    """

    name: str
    drawn: Any
    alt: str
    caption: str = ""


def write(
    found: Found,
    workdir: Path,
    rows: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
) -> None:
    """Writes scores.json, figures/*.png and report.html, each whole or not at all.

    Args:
        found: what was measured.
        workdir: of the run.
        rows: of metrics.jsonl.
        config: of the run.
    """
    write_whole(workdir / "scores.json", json.dumps(found.scores, indent=2, default=float).encode())
    parts = {"Classes": _of_classes(found), "Channels": _of_channels(found)}
    parts |= {"Images": [], "Latents": [], "Training": _of_training(rows)}
    if found.codes is not None:
        parts |= {"Images": _of_images(found), "Latents": _of_latents(found)}
    sections = [Section(title, TEXTS[title], save(drawn, workdir)) for title, drawn in parts.items() if drawn]
    if notices := [(line,) for line in found.subject.source.notices]:
        sections.append(Section("Data", TEXTS["Data"], [Table(("notice",), notices)]))
    sections += score_tables(found.scores)
    page = report(
        f"{config['model']['name']} on {found.subject.source.name}",
        sections,
        key_numbers(found.scores, rows),
        subtitle=f"{workdir.name} · {found.scores['judged_images']:,} {found.scores['judged_on']} images",
        config=config,
        versions=versions(),
    )
    write_whole(workdir / "report.html", page.encode())


TEXTS = {
    "Classes": "How the model itself tells the classes apart, on images that it did not learn from.",
    "Channels": "What the model makes of the channels that it predicts, on images that it did not learn from, and how "
    "much of a cell's total intensity it knows.",
    "Images": "What the model keeps of an image, and what it draws from nothing. A traversal decodes the same code "
    "with one latent moved: a row shows what that latent stands for.",
    "Latents": "How much each latent says about an image, and how the classes and known factors lie in them.",
    "Data": "What is to be known of the images before any of this is believed.",
    "Training": "How the loss and its terms went. A total correlation and its companions have the estimator's constant "
    "subtracted: independent latents read 0.",
}


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the devices it was computed on."""
    from importlib.metadata import version

    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    kinds = sorted({device.device_kind for device in jax.devices()})
    found = {name: version(name) for name in names}
    return {"cellfx": cellfx.__version__, **found, "devices": f"{jax.device_count()} x {', '.join(kinds)}"}


def traversal_figures(decode: Decode, codes: encoding.Latents) -> list[Figure]:
    """What each of the most informative latents does, around the prior mean and around a typical image's code.

    Around the mean it is left out where only the direction of a code counts, as with an InfoGAN's codes of one length:
    the mean has none.

    Args:
        decode: z -> x.
        codes: of images, which tell how much each latent says.
    """
    kl = encoding.kl_per_latent(codes.mean, codes.logvar)
    order = encoding.order_by_kl(kl)[:MAX_TRAVERSED]
    names = [f"z{latent} · {kl[latent]:.2f} nats" for latent in order]
    alt = f"Decoded images while one of the latents {_listed(order)} moves at a time"
    prior, seen = traversal.prior_values(len(kl)), traversal.data_values(codes.mean)
    around_prior = traversal.traverse(decode, np.zeros(len(kl), np.float32), prior, order)
    typical_row = np.argmin(np.sum(np.square(codes.mean - codes.mean.mean(axis=0)), axis=1))
    single = traversal.traverse(decode, codes.mean[typical_row], seen, order)
    note = "Values run from the 2nd to the 98th percentile of the images' codes."
    drawn = style.traversals(single, seen[order], names, "a typical cell's code", note)
    of_cell = Figure("traversals_of_a_cell", drawn, alt)
    middle, near, far = (around_prior[:, step] for step in (prior.shape[1] // 2, prior.shape[1] // 2 + 1, -1))
    if np.abs(far - near).max() < ALIKE < np.abs(far - middle).max():
        return [of_cell]
    return [Figure("traversals", style.traversals(around_prior, prior[order], names), alt), of_cell]


def _of_classes(found: Found) -> list[Figure]:
    if found.judged is None:
        return []
    accuracy = found.scores["classifier"]["balanced_accuracy"]
    drawn = [
        Figure(
            "classifier_confusion",
            latents.confusion(found.judged.confusion, found.judged.names),
            f"Confusion matrix of the model, balanced accuracy {accuracy:.3f}",
        )
    ]
    split = judged_split(found.subject.source)
    if split.arrays is not None:
        labels = split.arrays["label"][found.shown]
        names = {label: found.subject.source.class_names[label] for label in np.unique(labels)}
        rows = [found.images[labels == label] for label in names]
        shown = style.gallery(rows, list(names.values()), "What is told apart", "Some of the images, by true class.")
        drawn.append(Figure("classes", shown, f"Images of the classes {', '.join(names.values())}"))
    return drawn


def _of_channels(found: Found) -> list[Figure]:
    translated, source = found.translated, found.subject.source
    if translated is None:
        return []
    known, names = translated.explained, translated.names[-translated.predicted.shape[-1] :]
    pictures = translation.channel_pictures(found.images[:SHOWN], translated.predicted[:SHOWN], translated.names)
    totals = (known.target_totals, known.predicted_totals, names, translated.label, source.class_names)
    return [
        Figure("channels", pictures, f"Channels of some cells, with {', '.join(names)} as predicted from the others"),
        Figure(
            "total_intensities",
            translation.total_intensities(*totals),
            f"Total intensity of every cell in {', '.join(names)}, as it is against as predicted",
        ),
    ]


def _of_images(found: Found) -> list[Figure]:
    decode, imagined = found.subject.decode, np.asarray(found.subject.sample(jax.random.key(0), NUM_SHOWN)[0])
    pairs = min(len(found.shown) // 2, 4)
    start, end = found.codes.mean[found.shown[: 2 * pairs : 2]], found.codes.mean[found.shown[1 : 2 * pairs : 2]]
    drawn = [
        Figure(
            "reconstructions",
            style.reconstructions(found.images, found.reconstructions),
            "Images above their reconstructions",
        ),
        *traversal_figures(decode, found.codes),
    ]
    if pairs:
        between = interpolation.interpolate(decode, start, end)
        drawn.append(Figure("interpolation", style.interpolations(between), "Decoded images between pairs of cells"))
    beside = style.samples(imagined, found.images)
    return [*drawn, Figure("samples", beside, "Real images above images decoded from random codes")]


def _of_latents(found: Found) -> list[Figure]:
    source, codes, order = found.subject.source, found.codes, encoding.order_by_kl(found.kl)
    drawn = [
        Figure("kl", latents.kl_bars(found.kl), f"KL of every latent; {found.scores['active_latents']} are active")
    ]
    if codes.factors is not None:
        shown = order[:MAX_TRAVERSED]
        correlation = rank_correlation(codes.mean[:, shown], codes.factors)
        drawn.append(
            Figure(
                "factors",
                latents.factor_correlations(correlation, shown, source.factor_names),
                f"Rank correlation of the latents {_listed(shown)} with the factors {', '.join(source.factor_names)}",
            )
        )
    if codes.label is not None and source.class_names and len(found.kl) > 1:
        some = order[:MAX_DENSITIES]
        densities = class_densities(codes.mean[:, some], codes.label, num_classes=len(source.class_names))
        names = [f"z{latent}" for latent in some]
        chart = density_charts.density_grid(densities, source.class_names, names)
        drawn.append(Figure("densities", chart, f"Density of every class along the latents {', '.join(names)}"))
        first, second = _separating(codes.mean, codes.label)
        some = slice(SCATTERED)
        drawn.append(
            Figure(
                "scatter",
                latents.latent_scatter(codes.mean[some], (first, second), codes.label[some], source.class_names),
                f"Images in the plane of latents z{first} and z{second}, colored by class",
            )
        )
    if found.probed is not None:
        drawn.append(
            Figure(
                "confusion",
                latents.confusion(found.probed.confusion, found.probed.names),
                "Confusion matrix of a small "
                f"classifier on the latents, balanced accuracy {found.scores['probe']['balanced_accuracy']:.3f}",
            )
        )
    return drawn


def _of_training(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {"train": {}, "valid": {}}
    for kind, found in curves.items():
        for name in UNITS:
            points = [(row["step"], row[f"{kind}/{name}"]) for row in rows if f"{kind}/{name}" in row]
            if points:
                found[name] = tuple(np.array(column, np.float64) for column in zip(*points, strict=True))
    if not curves["train"]:
        return []
    units = {name: UNITS[name] for name in curves["train"]}
    return [
        Figure(
            "curves",
            latents.learning_curves(curves["train"], curves["valid"], units),
            f"Learning curves of {', '.join(curves['train'])}",
        )
    ]


def save(drawn: Sequence[Figure], workdir: Path) -> list[Picture]:
    """Writes figures/<name>.png of a workdir and gives the same pictures for its report."""
    pictures = []
    for figure in drawn:
        png = style.to_png(figure.drawn)
        write_whole(workdir / "figures" / f"{figure.name}.png", png)
        pictures.append(Picture(png, figure.alt, figure.caption))
    return pictures


def _separating(codes: np.ndarray, label: np.ndarray) -> tuple[int, int]:
    """The two latents whose class means lie furthest apart, in units of their spread."""
    means = np.stack([codes[label == value].mean(axis=0) for value in np.unique(label)])
    spread = means.std(axis=0) / np.maximum(codes.std(axis=0), 1e-12)
    first, second = np.argsort(-spread)[:2]
    return int(first), int(second)


def _listed(order: np.ndarray) -> str:
    return ", ".join(f"z{latent}" for latent in order)
