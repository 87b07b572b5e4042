"""A config tried out without its data: every section is checked, model and optimizers are built for made-up images.

What only the data can tell, such as the names of its classes where the config does not say them, is checked when the
data is there, by ``runs.experiment.build``.
"""

import inspect
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax

from cellfx.data.input import augment
from cellfx.findings import measure
from cellfx.findings.classes import check_classes
from cellfx.runs.parts import STEPS_UNKNOWN, Training, check_feed, check_source, make_model, make_optimizers
from cellfx.settings import Config, call, check_sections, to_dict
from cellfx.training import parallel
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.types import Model, Spec, TrainState

ANY_SIZE, ANY_CHANNELS, ANY_CLASSES = 64, 64, 2
"""Of made-up images where the config does not say what the data is like: more channels than any model is asked for."""


class Rehearsed(NamedTuple):
    """What a config says apart from data, model and optimizers.

    Attributes:
        training: the section ``train``.
        options: the section ``probe``.
        devices: of all hosts.
        batch_size: of the global batch.
        spec: of the made-up images.
        num_classes: K, as far as the config tells it; else None.
        model: for them.
        shapes: of the state that the training would start from.
    """

    training: Training
    options: measure.Options
    devices: tuple[jax.Device, ...]
    batch_size: int
    spec: Spec
    num_classes: int | None
    model: Model
    shapes: TrainState


def rehearse(config: Config) -> Rehearsed:
    """Checks all of a config that can be checked without reading its data.

    Raises:
        ValueError: an unknown key, name or value; settings that make no model or optimizer; or a batch that the devices
            do not divide.
    """
    settings = to_dict(config)
    check_sections(settings)
    training = call(Training, "train", settings["train"])
    options = call(measure.Options, "probe", settings.get("probe", {}))
    options.check()
    devices = parallel.chosen_devices(training.num_devices)
    batch_size = settings["input"].get("batch_size")
    if type(batch_size) is not int:
        raise ValueError(f"input.batch_size is no number: got {batch_size!r}, expected a whole number; set it")
    parallel.local_batch_size(batch_size, len(devices))
    check_source(settings["data"])
    check_feed(settings["input"])
    spec = stand_in(settings["data"], batch_size)
    _check_augmentation(spec, settings["input"])
    known = _classes(settings["data"])
    if options.classes is not None and known:
        check_classes(options.classes, known)
    model = make_model(settings["model"], spec)
    optimizers = make_optimizers(settings["optim"], STEPS_UNKNOWN, model.losses)
    train_step(model, optimizers, None, training.compute_dtype)
    shapes = state_shapes(model, optimizers)
    return Rehearsed(training, options, devices, batch_size, spec, len(known) or None, model, shapes)


def stand_in(section: Mapping[str, Any], num_examples: int) -> Spec:
    """What the data of a config's section ``data`` would be like, as far as the section says so."""
    factory, settings = check_source(section)
    parameters = inspect.signature(factory).parameters
    size = settings.get("image_size", getattr(parameters.get("image_size"), "default", ANY_SIZE))
    drawn = 1 if "folder" not in parameters else ANY_CHANNELS
    channels = len(settings.get("channels") or ()) or drawn
    classes = len(_classes(section)) or ANY_CLASSES
    return Spec((size, size, channels), classes, num_examples, None, (1,) * classes)


def num_latents(rehearsed: Rehearsed) -> int | None:
    """L of a model; None where it has no latents."""
    if rehearsed.model.encode is None:
        return None
    image = jax.ShapeDtypeStruct((1, *rehearsed.spec.shape), "float32")
    state = rehearsed.shapes
    return jax.eval_shape(rehearsed.model.encode, state.params, state.extra, image)[0].shape[1]


def state_shapes(model: Model, optimizers: Mapping[str, optax.GradientTransformation]) -> TrainState:
    """Shapes of the state that a training starts from; what makes no parameters is refused here."""
    return jax.eval_shape(lambda key: create_state(model, optimizers, key), jax.random.key(0))


def _classes(section: Mapping[str, Any]) -> tuple[str, ...]:
    """Classes of the data as far as a section ``data`` tells them; else none."""
    factory, settings = check_source(section)
    drawn = getattr(sys.modules[factory.__module__], "CLASS_NAMES", ())
    return tuple(section.get("grouped") or settings.get("classes") or drawn)


def _check_augmentation(spec: Spec, section: Mapping[str, Any]) -> None:
    names = list(inspect.signature(augment.check).parameters)[1:]
    augment.check(spec.shape, **{name: section[name] for name in names if name in section})
