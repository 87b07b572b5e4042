"""What fools the four schemes: adversarial changes of images and of latents, and images from a failing microscope."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis.attacks import attacks
from cellfx.analysis.latents import oddities
from cellfx.checks import Count, Number, Weight
from cellfx.data.source import Split, to_float
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.page import Figure, save
from cellfx.findings.subject import judged_split
from cellfx.heads import codes
from cellfx.report.charts import attacks as attack_charts
from cellfx.report.charts import galleries
from cellfx.runs import experiment
from cellfx.runs.experiment import Trained
from cellfx.studies.attacked import Schemes, schemes_of
from cellfx.studies.stages import InputStage
from cellfx.studies.stages.distill import read_run
from cellfx.studies.stages.heads import code_files
from cellfx.studies.stages.train import run_folders

IMAGE, LATENT = "images", "latents"
NUM_PICTURES = 6


def attack(
    folder: Path,
    inputs: Mapping[str, Path],
    train: InputStage = "train",
    cnn: InputStage = "cnn",
    embed: InputStage = "embed",
    heads: InputStage = "heads",
    distill: InputStage = "distill",
    run: str | None = None,
    seed: Number | None = None,
    num_images: Count = 200,
    num_steps: Count = 20,
    epsilons_image: Sequence[Weight] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    epsilons_image_l2: Sequence[Weight] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
    epsilons_latent: Sequence[Weight] = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0),
) -> None:
    """Writes scores.json and figures for all encoders and all seeds of their heads and formulas.

    Single images, and what odd ones are taken for, are shown for the first of them.

    Args:
        folder: of the stage; ``<run>.json`` keeps the curves of an encoder.
        inputs: the stages that the next five name.
        train: stage with the encoders.
        cnn: stage with scheme 1; its runs belong to the encoders where they are as many, as with folds. Else all of
            them are attacked.
        embed: stage with the codes.
        heads: stage with schemes 2 and 3.
        distill: stage with scheme 4.
        run: which encoder; None for all.
        seed: which of the heads and formulas; None for all that have a formula.
        num_images: test images that are attacked.
        num_steps: of projected gradient ascent.
        epsilons_image: sizes of L-infinity attacks on images, of the full intensity range; .5 is published. Empty, as
            for the next two, leaves these attacks out.
        epsilons_image_l2: sizes of L2 attacks on images.
        epsilons_latent: sizes of attacks on latents, in units of the latents, L2 and L-infinity; 1 is published.

    Raises:
        ValueError: no such encoder or seed.
    """
    encoders, networks = run_folders(inputs[train]), run_folders(inputs[cnn])
    chosen = list(encoders) if run is None else [run]
    if chosen[0] not in encoders:
        raise ValueError(f"no such encoder: got run={run!r}, expected one of {', '.join(encoders)}; correct it")
    sizes = {
        (IMAGE, "linf"): epsilons_image,
        (IMAGE, "l2"): epsilons_image_l2,
        (LATENT, "linf"): epsilons_latent,
        (LATENT, "l2"): epsilons_latent,
    }
    parts, seeds, shown = [], {}, None
    for name in chosen:
        seeds[name] = _seeds(inputs[distill] / name, seed)
        kept = folder / f"{name}.json"
        if kept.exists() and shown is not None:
            parts.append(json.loads(kept.read_text()))
            continue
        encoder = experiment.restore(encoders[name])
        own = [networks[name]] if set(networks) == set(encoders) else list(networks.values())
        classifiers = [experiment.restore(path) for path in own]
        schemes = schemes_of(encoder, classifiers, inputs[heads] / name, inputs[distill] / name, seeds[name])
        tested = _test_images(classifiers[0], num_images)
        shown = shown or (schemes, *tested, codes.load(code_files(inputs[embed])[name]))
        if not kept.exists():
            found = _curves(schemes, *tested[:2], sizes, num_steps, name)
            write_whole(kept, json.dumps(found).encode())
        parts.append(json.loads(kept.read_text()))
    curves = _joined(parts)
    schemes, images, labels, names, encoded = shown
    figures = [_curve_figure(curves, names), *_pictures(schemes, images, labels, names, num_steps)]
    odd, odd_figures = _odd(schemes, images, labels, names, encoded)
    save([*figures, *odd_figures], folder)
    shown_of = {"run": chosen[0], "seed": seeds[chosen[0]][0]}
    scores = {"seeds": seeds, "shown": shown_of, "images": len(labels), "curves": curves, "odd_images": odd}
    write_whole(folder / "scores.json", json.dumps(scores, indent=1).encode())


def check(inputs: Mapping[str, Any], train: str = "train", cnn: str = "cnn", **others: Any) -> None:
    """Raises a ValueError for stages whose models cannot be attacked so."""
    del others
    for stage, ability in ((train, "encode"), (train, "decode"), (cnn, "predict")):
        if inputs[stage] is not None and getattr(inputs[stage].model, ability) is None:
            raise ValueError(
                f"nothing to attack: got stage {stage!r}, whose model has no {ability}, expected an autoencoder and a "
                f"classifier of images; name other stages"
            )


def _seeds(distill: Path, seed: int | None) -> list[int]:
    """Seeds of an encoder's formulas, or the one that is asked for."""
    known = [content["seed"] for content in read_run(distill)]
    if seed is not None and seed not in known:
        raise ValueError(f"no such seed: got seed={seed}, expected one of {', '.join(map(str, known))}; correct it")
    return known if seed is None else [seed]


def title(kind: str, norm: str, method: str) -> str:
    """How an attack is called in charts and tables."""
    return f"{method.upper()}, {'L∞' if norm == 'linf' else 'L2'}, on {kind}"


def _test_images(classifier: Trained, count: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (N, H, W, C) and labels (N,) of the classes in turn, and the names of the classes."""
    split: Split = judged_split(classifier.source)
    labels = split.arrays["label"]
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.sum(labels == label))
    rows = np.argsort(turn, kind="stable")[:count]
    return to_float(split.arrays["x"][rows]), labels[rows], classifier.source.class_names


def _curves(
    schemes: Schemes,
    images: np.ndarray,
    labels: np.ndarray,
    sizes: Mapping[tuple[str, str], Sequence[float]],
    num_steps: int,
    run: str,
) -> dict[str, dict[str, Any]]:
    """Title of an attack -> its sizes, and by scheme and seed the accuracies under it."""
    latents, found = np.asarray(schemes.encode(images)), {}
    for (kind, norm), epsilons in sizes.items():
        if not epsilons:
            continue
        scores, x, bounds = (
            (schemes.on_images, images, (0.0, 1.0)) if kind == IMAGE else (schemes.on_latents, latents, None)
        )
        for method in attacks.ATTACKS:
            accuracies = {
                name: [
                    attacks.accuracy_under_attack(
                        score, x, labels, epsilons, method, norm, num_steps, None, bounds
                    ).tolist()
                    for score in of_seeds
                ]
                for name, of_seeds in scores.items()
            }
            found[title(kind, norm, method)] = {"epsilons": list(epsilons), "by_seed": accuracies}
            left = ", ".join(f"{name} {np.mean(values, axis=0)[-1]:.2f}" for name, values in accuracies.items())
            say(f"{run}: {title(kind, norm, method)}: {left}")
    return found


def _joined(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The curves of all encoders together, with their means over encoders and seeds."""
    joined = {}
    for attack, first in parts[0].items():
        by_seed = {name: [row for part in parts for row in part[attack]["by_seed"][name]] for name in first["by_seed"]}
        mean = {name: np.mean(rows, axis=0).tolist() for name, rows in by_seed.items()}
        joined[attack] = {"epsilons": first["epsilons"], "accuracy": mean, "by_seed": by_seed}
    return joined


def _curve_figure(curves: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Figure:
    drawn = {
        attack: (np.array(part["epsilons"]), {name: np.array(values) for name, values in part["by_seed"].items()})
        for attack, part in curves.items()
    }
    published = {attack: attacks.EPSILON_IMAGES if IMAGE in attack else attacks.EPSILON_LATENTS for attack in curves}
    chart = attack_charts.accuracy_curves(drawn, chance=1 / len(names), published=published)
    alt = f"Accuracy of four schemes, over all encoders and seeds, under the attacks {', '.join(curves)}"
    return Figure("accuracy_under_attack", chart, alt)


def _pictures(
    schemes: Schemes, images: np.ndarray, labels: np.ndarray, names: Sequence[str], num_steps: int
) -> list[Figure]:
    """Attacks of published size by projected gradient ascent: L2 on single images, L-infinity on their latents."""
    images, labels = images[:NUM_PICTURES], labels[:NUM_PICTURES]
    truth, drawn = [names[label] for label in labels], []
    latents = np.asarray(schemes.encode(images))
    for kind, x, scores, size, bounds, norm in (
        (IMAGE, images, schemes.on_images, attacks.EPSILON_IMAGES, (0.0, 1.0), "l2"),
        (LATENT, latents, schemes.on_latents, attacks.EPSILON_LATENTS, None, "linf"),
    ):
        shown, answers = {}, {}
        for name, (score, *_) in scores.items():
            changed = attacks.pgd(score, x, labels, size, norm, num_steps, bounds=bounds)
            answers[name] = [names[i] for i in np.asarray(score(changed)).argmax(axis=1)]
            shown[name] = np.asarray(changed if kind == IMAGE else schemes.decode(changed))
        original = images if kind == IMAGE else np.asarray(schemes.decode(latents))
        note = f"{title(kind, norm, 'pgd')}, size {size:g}."
        chart = galleries.attack_pictures(original, truth, shown, answers, note, f"What an attack on {kind} changes")
        drawn.append(Figure(f"attacked_{kind}", chart, f"Cells before and after an attack on {kind}, for each scheme"))
    return drawn


def _odd(
    schemes: Schemes, images: np.ndarray, labels: np.ndarray, names: Sequence[str], encoded: codes.Codes
) -> tuple[dict[str, Any], list[Figure]]:
    """Answers to odd images, and where their latents lie on the training distribution."""
    first = images[:1]
    shown = {f"a {names[labels[0]]}": first, **oddities.make_oddities(first)}
    stack = np.concatenate(list(shown.values()))
    latents = np.asarray(schemes.encode(stack))
    training = codes.of_split(encoded, "train")[0][0]
    varying = np.flatnonzero(training.std(axis=0) > 0)
    place = oddities.placed(latents[:, varying], training[:, varying])
    logits = {name: np.asarray(score(stack)) for name, (score, *_) in schemes.on_images.items()}
    answers = {name: [names[i] for i in values.argmax(axis=1)] for name, values in logits.items()}
    found = {
        kind: {
            "answers": {name: answers[name][i] for name in answers},
            "latents": {f"z{latent}": float(latents[i, latent]) for latent in varying},
            "quantiles": {f"z{latent}": float(place.quantile[i, j]) for j, latent in enumerate(varying)},
        }
        for i, kind in enumerate(shown)
    }
    pictures = dict(zip(shown, stack, strict=True))
    redrawn = dict(zip(shown, np.asarray(schemes.decode(latents)), strict=True))
    gallery = galleries.odd_images(pictures, redrawn, answers)
    kinds = dict(zip(shown, latents, strict=True))
    used = varying[np.argsort(-training[:, varying].std(axis=0))][:8]
    chart = attack_charts.placement(training, kinds, sorted(int(latent) for latent in used))
    return found, [
        Figure("odd_images", gallery, "Odd images, their reconstructions and the answers of every scheme"),
        Figure("odd_latents", chart, "Latents of odd images on the distribution of the training images"),
    ]
