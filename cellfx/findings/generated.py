"""How good the images are that a model draws from nothing, beside those of the split that is judged."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.analysis.images import morphology
from cellfx.analysis.images.image_quality import leakage
from cellfx.data.input.device import device
from cellfx.data.source import Split, to_float
from cellfx.findings.subject import Subject, judged_name, judged_split
from cellfx.models.pooling_cnn import pooling_cnn
from cellfx.training import parallel
from cellfx.training.optimizers import adam
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.types import Spec

MAX_IMAGES = 4_000
"""Of each kind that the classifier of real and generated images learns from."""
EPOCHS, BATCH_SIZE, STEPS_PER_CALL = 10, 100, 20
CLASSIFIER = {"filters": (16, 32), "hidden": 64, "dropout": 0.2}
SETTINGS = f"{CLASSIFIER}, {EPOCHS} epochs of at most {MAX_IMAGES} images of each kind, batches of {BATCH_SIZE}"


def judge_generated(subject: Subject, seed: int) -> dict[str, Any] | None:
    """Judges a model with ``sample``; None for data that is only streamed.

    A classifier trained afterwards tells real from generated: .5 where it cannot, 1 where it always can. Where the
    factors of the images are known, sizes, brightnesses and eccentricities are measured in real and generated images
    alike: a model that draws few kinds of images has a small spread of these.

    Args:
        subject: the model and its data.
        seed: of the codes and of the classifier.

    Returns:
        For scores.json.
    """
    test, train = judged_split(subject.source), subject.source.splits["train"]
    if test.arrays is None or train.arrays is None:
        return None
    real = test.arrays["x"]
    known = train.arrays["x"][:MAX_IMAGES]
    drawn = _stored(draw(subject.sample, len(known) + len(real), seed), real.dtype)
    learnt, judged = drawn[: len(known)], drawn[len(known) :]
    near = leakage(*(to_float(some).reshape(len(some), -1) for some in (known, judged, real)))
    scores: dict[str, Any] = {
        "judged_on": judged_name(subject.source),
        "images": len(judged),
        "real_or_fake": {"accuracy": real_or_fake(known, learnt, real, judged, seed), "classifier": SETTINGS},
        "nearest": {"ratio": near.ratio, "too_near_rate": near.too_near_rate, "distance": "Euclidean, of pixels"},
    }
    if subject.source.factor_names:
        measured = (morphology.measure(some) for some in (to_float(real), to_float(judged)))
        scores["spread"] = morphology.spread_ratios(*measured)
    return scores


def draw(sample: Callable[[Any, int], tuple[Any, Any]], count: int, seed: int, batch_size: int = 500) -> np.ndarray:
    """``count`` images of a model's ``sample``, (count, H, W, C) in [0, 1]."""
    keys = jax.random.split(jax.random.key(seed), -(-count // batch_size))
    return np.concatenate([np.asarray(sample(key, batch_size)[0]) for key in keys])[:count]


def real_or_fake(
    real_train: np.ndarray, fake_train: np.ndarray, real_test: np.ndarray, fake_test: np.ndarray, seed: int
) -> float:
    """Trains a small CNN to tell real from generated images and returns its accuracy on others, balanced.

    Args:
        real_train: (N, H, W, C) as stored.
        fake_train: (M, H, W, C) of the same type.
        real_test: images that the generator did not learn from.
        fake_test: generated ones that the classifier did not.
        seed: of the classifier.
    """
    image = np.concatenate([real_train, fake_train])
    label = np.repeat(np.array([1, 0], np.int32), [len(real_train), len(fake_train)])
    model = pooling_cnn(Spec(image.shape[1:], 2, len(image)), **CLASSIFIER)
    batch_size = min(BATCH_SIZE, len(image))
    feed = device(Split(len(image), {"x": image, "label": label}), batch_size, STEPS_PER_CALL, seed)
    num_steps = EPOCHS * feed.steps_per_epoch
    optimizers = {player: adam(num_steps, 1e-3, decay="cosine") for player in model.losses}
    devices = jax.local_devices()[:1]
    program = parallel.mapped(train_step(model, optimizers), feed.read, STEPS_PER_CALL, devices, None)
    state = parallel.place(create_state(model, optimizers, jax.random.key(seed)), devices)
    resident = parallel.place(feed.resident, devices)
    for start in range(0, num_steps, STEPS_PER_CALL):
        state, _ = program(state, resident, {}, min(STEPS_PER_CALL, num_steps - start))
    predict = jax.jit(lambda x: model.predict(state.params, state.extra, x).argmax(axis=1))
    right = [
        np.mean(np.concatenate([np.asarray(predict(jnp.asarray(to_float(part)))) for part in _batches(images)]) == kind)
        for kind, images in ((1, real_test), (0, fake_test))
    ]
    return float(np.mean(right))


def describe(scores: Mapping[str, Any]) -> list[str]:
    """The scores as lines of text."""
    lines = [f"real or generated: a classifier tells with accuracy {scores['real_or_fake']['accuracy']:.4f}"]
    if "spread" in scores:
        spreads = ", ".join(f"{name} {value:.2f}" for name, value in scores["spread"].items())
        lines.append(f"spread of generated against real images: {spreads}")
    return lines


def _batches(images: np.ndarray, size: int = 500) -> list[np.ndarray]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def _stored(images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Images in [0, 1] in the steps of a stored type."""
    return np.rint(images * np.iinfo(dtype).max).astype(dtype) if np.issubdtype(dtype, np.integer) else images
