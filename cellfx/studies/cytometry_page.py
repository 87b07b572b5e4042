"""The sections of the page that tells a study of cells in flow, from the numbers and pictures of its stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.files.workdir import read_config
from cellfx.findings.page import Figure, save
from cellfx.findings.subject import read_preprocessing
from cellfx.preprocess.cytometry import from_json
from cellfx.preprocess.mixture import sample_log_pixels
from cellfx.report.charts import cytometry, latents
from cellfx.report.page import Card, Picture, Section, Table
from cellfx.runs.parts import load_source
from cellfx.studies.stages.screen import CNN, GATE, REGRESSION

MAX_PIXELS = 200_000

TEXTS = {
    "filter": "Is this one whole cell, in focus? Three filters learnt from the same frames, judged on others. At "
    "the threshold, chosen on validation frames, at most the wanted share of bad frames should pass.",
    "preprocessing": "Fluorescence is read on a logarithmic scale. A mixture of three normal densities is fitted to "
    "the pixels of the training cells; the brightest of them sets what 0 and 1 mean in the images that models see. The "
    "bright field is levelled by each image's own background and cell.",
    "classifiers": "The same network was trained on each set of channels, over stratified folds; mean and standard "
    "deviation. Beside it what intensities alone tell: ten statistics of every channel and logistic regression.",
    "latents": "Two models learnt to draw these cells without being told a class. How much of the class is in their "
    "codes? A network with two hidden layers, for which every class weighs the same, reads it from the codes of the "
    "training cells and is judged on test cells.",
    "images": "Real cells and cells that the models draw from nothing, then cells and what is left of them after they "
    "went through the codes.",
    "quality": "Distance of generated images from the training cells in the features of the classifier of the same "
    "channels (squared maximum mean discrepancy, a kernel inception-style distance; our own network, so the numbers "
    "compare only with each other), beside that of the test cells. Nearest: distance to the nearest training cell, "
    "relative to that of test cells; near 0 would mean copies.",
    "densities": "How each class lies along every code.",
    "training": "The two players' losses, or the autoencoder's.",
    "translation": "How much of a stain is in the images that need none? A U-Net predicts it from the other channels.",
}


def filter_section(name: str, scores: Mapping[str, Any], stage: Path) -> Section:
    """Three filters on one kind of frames."""
    rows = []
    for kind in (CNN, REGRESSION, GATE):
        part = scores[kind]
        at = part.get("at_threshold", part)
        row = (kind, part["accuracy"], part["balanced_accuracy"], part.get("area", ""))
        rows.append((*row, at["false_positive_rate"], at["true_positive_rate"]))
    columns = ("filter", "accuracy", "balanced accuracy", "area under ROC")
    columns += ("bad frames that pass at the threshold", "good ones that do")
    counts = ", ".join(f"{count:,} {part}" for part, count in scores["images"].items())
    caption = f"{counts} frames; wanted share of bad frames that pass: {scores['wanted']:.0%}."
    source = f"{stage.name}/run0/scores.json"
    pictures = _figures(stage / "run0", {"roc": "ROC curves", "screened": "Frames by what the filter made of them"})
    return Section(f"Cell filter: {name}", TEXTS["filter"], [Table(columns, rows, caption, source), *pictures])


def preprocessing_section(run: Path, folder: Path) -> Section:
    """The mixtures that the first classifier's images were normalized by, over raw pixels of its training cells."""
    kept, data = read_preprocessing(run), read_config(run)["data"]
    source = load_source({**data, "normalise": False})
    images, normalisation = source.splits["train"].arrays["x"], from_json(kept["normalisation"])
    figures = []
    for i, (name, kind) in enumerate(zip(source.channel_names, kept["kinds"], strict=True)):
        if kind == "fluorescence":
            pixels = sample_log_pixels(images[..., i], MAX_PIXELS, 0)
            drawn = cytometry.pixel_mixture(pixels, normalisation.channels[i], name)
            figures.append(
                Figure(f"pixels_{i}", drawn, f"Logarithms of the pixels of {name} and the mixture fitted to them")
            )
    notices = [(notice,) for notice in normalisation.notices]
    parts: list[Any] = [*save(figures, folder), *_figures(run, {"classes": "Normalized cells by class"})]
    return Section(
        "Preprocessing", TEXTS["preprocessing"], [*parts, *([Table(("noticed",), notices)] if notices else [])]
    )


def classifiers_section(found: Mapping[str, Mapping[str, Any]], folder: Path) -> Section:
    """Classifiers by channels."""
    columns = ["channels", "accuracy", "balanced accuracy", "folds"]
    has_baseline = all("baseline" in part for part in found.values())
    columns += ["accuracy, intensities alone", "balanced accuracy, intensities alone"] if has_baseline else []
    rows = []
    for name, part in found.items():
        row = [name, _mean(part["accuracy"]), _mean(part["balanced_accuracy"]), len(part["accuracy"])]
        row += [_mean(part["baseline"][score]) for score in ("accuracy", "balanced_accuracy")] if has_baseline else []
        rows.append(row)
    pictures = _confusions("classifier", found, folder)
    return Section("Classes from images", TEXTS["classifiers"], [Table(columns, rows, "", "tables.json"), *pictures])


def latents_section(tables: Mapping[str, Any], folder: Path) -> Section:
    """Classifiers on codes, by model and channels."""
    found, classified = tables["latents"], tables["classifiers"]
    channels = list(dict.fromkeys(name for each in found.values() for name in each))
    parts: list[Any] = []
    for score in ("accuracy", "balanced_accuracy"):
        rows = [
            (model, *(each[name][score] if name in each else "" for name in channels)) for model, each in found.items()
        ]
        if classified:
            means = [float(np.mean(classified[name][score])) if name in classified else "" for name in channels]
            rows.append(("classifier of images", *means))
        parts.append(Table((score.replace("_", " "), *channels), rows, "", "tables.json"))
    for model, each in found.items():
        parts += _confusions(model, each, folder)
    return Section("Classes from codes", TEXTS["latents"], parts)


def _confusions(kind: str, found: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Picture]:
    figures = []
    for i, (name, part) in enumerate(found.items()):
        chart = latents.confusion(np.array(part["confusion"]), list(part["classes"]), f"{kind}: {name}")
        figures.append(Figure(f"confusion_{kind}_{i}", chart, f"Confusion matrix of {kind} on {name}"))
    return save(figures, folder)


def pictures(runs: Mapping[str, Path], shown: str) -> list[Section]:
    """What the models of some channels draw, how the classes lie in their codes, and how they were trained.

    Args:
        runs: model -> folder of its run.
        shown: the channels.
    """
    kinds = {
        "images": {"samples": "Real and generated cells", "reconstructions": "Cells and their reconstructions"},
        "densities": {"densities": "Density of every class along each code"},
        "training": {"curves": "Learning curves"},
    }
    titles = {"images": "What the models draw", "densities": "Codes by class", "training": "Training"}
    sections = []
    for kind, names in kinds.items():
        found = []
        for model, run in runs.items():
            found += _figures(run, {name: f"{text}: {model}, {shown}" for name, text in names.items()})
        sections.append(Section(titles[kind], TEXTS[kind], found))
    return sections


def quality_section(found: Mapping[str, Any]) -> Section:
    """Distances of drawn cells from real ones."""
    columns = ("model and channels", "kernel distance", "of test cells", "nearest, ratio", "too near")
    rows = []
    for name, part in found.items():
        generated, held_out = (part["kernel_distance"][key]["mean"] for key in ("generated", "held_out"))
        rows.append((name, generated, held_out, part["nearest"]["ratio"], part["nearest"]["too_near_rate"]))
    caption = "Too near: share of generated images nearer to a training cell than the nearest 1 % of test cells."
    return Section("How good the drawn cells are", TEXTS["quality"], [Table(columns, rows, caption, "tables.json")])


def translation_section(name: str, scores: Mapping[str, Any], run: Path) -> Section:
    """What a model that predicts channels explains of them."""
    kinds = {
        "explained": "pixels",
        "total_explained": "total intensity",
        "total_rank_correlation": "rank correlation of total intensity",
    }
    rows = [(channel, *(part[kind] for kind in kinds)) for channel, part in scores["channels"].items()]
    table = Table(
        ("channel", *kinds.values()), rows, f"Share explained by {', '.join(scores['inputs'])}.", "tables.json"
    )
    names = {"channels": "Channels as they are and as predicted", "total_intensities": "Total intensities"}
    return Section(f"A stain from {name}", TEXTS["translation"], [table, *_figures(run, names)])


def _figures(run: Path, names: Mapping[str, str]) -> list[Picture]:
    """Pictures that a run left, those that there are."""
    paths = {run / "figures" / f"{name}.png": alt for name, alt in names.items()}
    return [Picture(path.read_bytes(), alt, alt) for path, alt in paths.items() if path.is_file()]


def cards(tables: Mapping[str, Any], shown: str | None) -> list[Card]:
    """Key numbers of the study."""
    cards, best = [], tables["classifiers"].get(shown)
    if best is not None:
        folds = f"accuracy from {shown}, {len(best['accuracy'])} folds"
        cards.append(Card("Classifier", f"{np.mean(best['accuracy']):.1%}", folds))
        cards.append(Card("Balanced", f"{np.mean(best['balanced_accuracy']):.1%}", "every class weighs the same"))
    for model, each in tables["latents"].items():
        if shown in each:
            cards.append(Card(model, f"{each[shown]['accuracy']:.1%}", f"accuracy from codes of {shown}"))
    for name, scores in tables["filter"].items():
        cards.append(Card("Filter", f"{scores[CNN]['accuracy']:.1%}", f"accuracy on {name}"))
    return cards


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
