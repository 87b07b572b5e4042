"""What fools the four schemes: adversarial changes of images and of latents, and images from a failing microscope."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx import codes, experiment
from cellfx.analysis import attack_charts, attacks, galleries, oddities
from cellfx.annotations import Count, Number, Weight
from cellfx.data.source import Split, to_float
from cellfx.distill.export import to_jax
from cellfx.experiment import Trained, say
from cellfx.presentation import Figure, save
from cellfx.settings import write_whole
from cellfx.sparsity import compact
from cellfx.stages import InputStage
from cellfx.stages.distill import expressions_of, read_run
from cellfx.stages.heads import code_files, head_function
from cellfx.stages.train import run_folders
from cellfx.subject import judged_split

SCHEMES = ("1 CNN", "2 dense head", "3 sparse head", "4 formula")
IMAGE, LATENT = "images", "latents"
NUM_PICTURES = 6


class Schemes(NamedTuple):
    """The four classifiers of one run, as functions that can be differentiated.

    Attributes:
        on_images: scheme -> (x (B, H, W, C) -> logits (B, K)).
        on_latents: scheme -> (z (B, L) -> logits (B, K)); scheme 1 sees the decoded latents.
        encode: x -> z, the means.
        decode: z -> x, of the size that scheme 1 sees.
    """

    on_images: dict[str, attacks.Score]
    on_latents: dict[str, attacks.Score]
    encode: Any
    decode: Any


def attack(
    folder: Path,
    inputs: Mapping[str, Path],
    train: InputStage = "train",
    cnn: InputStage = "cnn",
    embed: InputStage = "embed",
    heads: InputStage = "heads",
    distill: InputStage = "distill",
    run: str = "run0",
    seed: Number = 0,
    num_images: Count = 200,
    num_steps: Count = 20,
    epsilons_image: Sequence[Weight] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    epsilons_image_l2: Sequence[Weight] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
    epsilons_latent: Sequence[Weight] = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0),
) -> None:
    """Writes scores.json and figures for one encoder and one seed of its heads and formulas.

    Args:
        folder: of the stage.
        inputs: the stages that the next five name.
        train: stage with the encoder.
        cnn: stage with scheme 1.
        embed: stage with the codes.
        heads: stage with schemes 2 and 3.
        distill: stage with scheme 4.
        run: which encoder.
        seed: which of its heads and formulas.
        num_images: test images that are attacked.
        num_steps: of projected gradient ascent.
        epsilons_image: sizes of L-infinity attacks on images, of the full intensity range; .5 is published. Empty, as
            for the next two, leaves these attacks out.
        epsilons_image_l2: sizes of L2 attacks on images.
        epsilons_latent: sizes of attacks on latents, in units of the latents, L2 and L-infinity; 1 is published.
    """
    encoder = experiment.restore(run_folders(inputs[train])[run])
    classifier = experiment.restore(_same_run(run_folders(inputs[cnn]), run))
    encoded = codes.load(code_files(inputs[embed])[run])
    schemes = _schemes(encoder, classifier, inputs[heads] / run, inputs[distill] / run, seed)
    images, labels, names = _test_images(classifier, num_images)
    sizes = {
        (IMAGE, "linf"): epsilons_image,
        (IMAGE, "l2"): epsilons_image_l2,
        (LATENT, "linf"): epsilons_latent,
        (LATENT, "l2"): epsilons_latent,
    }
    curves = _curves(schemes, images, labels, sizes, num_steps)
    figures = [_curve_figure(curves, names), *_pictures(schemes, images, labels, names, num_steps)]
    odd, odd_figures = _odd(schemes, images, labels, names, encoded)
    save([*figures, *odd_figures], folder)
    scores = {"run": run, "seed": seed, "images": len(labels), "curves": curves, "odd_images": odd}
    write_whole(folder / "scores.json", json.dumps(scores, indent=1).encode())


def title(kind: str, norm: str, method: str) -> str:
    """How an attack is called in charts and tables."""
    return f"{method.upper()}, {'L∞' if norm == 'linf' else 'L2'}, on {kind}"


def _same_run(folders: Mapping[str, Path], run: str) -> Path:
    """A classifier trained on the same fold, or where it was repeated over seeds alone, any."""
    return folders.get(run) or next(iter(folders.values()))


def _schemes(encoder: Trained, classifier: Trained, heads: Path, distill: Path, seed: int) -> Schemes:
    networks = json.loads((heads / "sparse.json").read_text())["networks"]
    functions = [to_jax(expression) for expression in expressions_of(read_run(distill)[seed])]
    on_latents = {
        SCHEMES[1]: head_function(heads / "dense.npz", seed),
        SCHEMES[2]: compact.apply(compact.from_json(networks[seed])),
        SCHEMES[3]: attacks.two_classes(functions[0]) if len(functions) == 1 else _one_vs_rest(functions),
    }
    params, extra = jax.device_put((encoder.state.params, encoder.state.extra), jax.local_devices()[0])
    own_params, own_extra = jax.device_put((classifier.state.params, classifier.state.extra), jax.local_devices()[0])

    seen, whole = encoder.source.image_shape, classifier.source.image_shape

    def encode(x: jax.Array) -> jax.Array:
        return encoder.model.encode(params, extra, centred(x, seen))[0]

    def decode(z: jax.Array) -> jax.Array:
        return centred(encoder.model.decode(params, extra, z), whole)

    def network(x: jax.Array) -> jax.Array:
        return classifier.model.predict(own_params, own_extra, x)

    on_images = {SCHEMES[0]: network, **{name: _after(score, encode) for name, score in on_latents.items()}}
    return Schemes(on_images, {SCHEMES[0]: _after(network, decode), **on_latents}, jax.jit(encode), jax.jit(decode))


def centred(x: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Images (B, H, W, C) cropped about their centre to a shape, or padded with black: two models may see more or less.

    Data sources crop in the same way, so an image cropped twice is the image that the smaller model was trained on.
    """
    for axis, size in ((1, shape[0]), (2, shape[1])):
        more = size - x.shape[axis]
        before = abs(more) // 2
        if more < 0:
            x = jax.lax.slice_in_dim(x, before, before + size, axis=axis)
        elif more > 0:
            pads = [(0, 0)] * x.ndim
            pads[axis] = (before, more - before)
            x = jnp.pad(x, pads)
    return x


def _one_vs_rest(functions: Sequence[Any]) -> attacks.Score:
    return lambda z: jnp.stack([function(z) for function in functions], axis=1)


def _after(score: attacks.Score, first: Any) -> attacks.Score:
    return lambda x: score(first(x))


def _test_images(classifier: Trained, count: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (N, H, W, C) and labels (N,) of the classes in turn, and the names of the classes."""
    split: Split = judged_split(classifier.source)
    labels = split.arrays["label"]
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.sum(labels == label))
    rows = np.argsort(turn, kind="stable")[:count]
    return to_float(split.arrays["image"][rows]), labels[rows], classifier.source.class_names


def _curves(
    schemes: Schemes,
    images: np.ndarray,
    labels: np.ndarray,
    sizes: Mapping[tuple[str, str], Sequence[float]],
    num_steps: Count,
) -> dict[str, dict[str, Any]]:
    """Title of an attack -> its sizes, and by scheme the accuracies under it."""
    latents, found = np.asarray(schemes.encode(images)), {}
    for (kind, norm), epsilons in sizes.items():
        if not epsilons:
            continue
        scores, x, bounds = (
            (schemes.on_images, images, (0.0, 1.0)) if kind == IMAGE else (schemes.on_latents, latents, None)
        )
        for method in attacks.ATTACKS:
            accuracies = {
                name: attacks.accuracy_under_attack(
                    score, x, labels, epsilons, method, norm, num_steps, None, bounds
                ).tolist()
                for name, score in scores.items()
            }
            found[title(kind, norm, method)] = {"epsilons": list(epsilons), "accuracy": accuracies}
            say(f"{title(kind, norm, method)}: " + ", ".join(f"{k} {v[-1]:.2f}" for k, v in accuracies.items()))
    return found


def _curve_figure(curves: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Figure:
    drawn = {
        attack: (np.array(part["epsilons"]), {name: np.array(values) for name, values in part["accuracy"].items()})
        for attack, part in curves.items()
    }
    published = {attack: attacks.EPSILON_IMAGES if IMAGE in attack else attacks.EPSILON_LATENTS for attack in curves}
    chart = attack_charts.accuracy_curves(drawn, chance=1 / len(names), published=published)
    return Figure("accuracy_under_attack", chart, f"Accuracy of four schemes under the attacks {', '.join(curves)}")


def _pictures(
    schemes: Schemes, images: np.ndarray, labels: np.ndarray, names: Sequence[str], num_steps: int
) -> list[Figure]:
    """Attacks of published size on single images and on their latents, by projected gradient ascent, L-infinity."""
    images, labels = images[:NUM_PICTURES], labels[:NUM_PICTURES]
    truth, drawn = [names[label] for label in labels], []
    latents = np.asarray(schemes.encode(images))
    for kind, x, scores, size, bounds, norm in (
        (IMAGE, images, schemes.on_images, attacks.EPSILON_IMAGES, (0.0, 1.0), "l2"),
        (LATENT, latents, schemes.on_latents, attacks.EPSILON_LATENTS, None, "linf"),
    ):
        shown, answers = {}, {}
        for name, score in scores.items():
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
    logits = {name: np.asarray(score(stack)) for name, score in schemes.on_images.items()}
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
