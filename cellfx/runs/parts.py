"""What the sections of a config stand for: data, model, feed and optimizer, each made by its factory."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import optax

from cellfx.checks import Count, Seed, check_value, is_path
from cellfx.data.input.feed import Feed
from cellfx.data.source import Source, check_groups, count_classes, grouped
from cellfx.data.splits import check_fold
from cellfx.settings import Config, Derived, call, check_call, check_section, chosen, named, nearest
from cellfx.types import Model, Spec

GROUPED = Mapping[str, Sequence[str]]
"""Of the key ``grouped`` of the section ``data``."""
PREPROCESSING = {"preprocessing": "it is fitted to the training images and kept with the run"}
FEED = {
    "steps_per_call": "train.steps_per_call sets it",
    "seed": "train.seed sets it",
    "axis_name": "train.num_devices sets it",
}
TOTAL_STEPS = "train.num_epochs and the data set it"
"""Why a section cannot set what follows from others."""
CACHE = "data_dir"
"""Key of the folder that data is prepared in: written as well as read."""
STEPS_UNKNOWN = 2**30
"""Of the schedule of optimizers that train nothing."""


class Training(NamedTuple):
    """The config section ``train``.

    Attributes:
        num_epochs: passes over the training split.
        seed: of the parameters, the order of the data, the augmentation and the noise.
        steps_per_call: K, optimizer steps per dispatch.
        log_every: steps between lines of metrics.jsonl.
        eval_every: steps between evaluations on the validation split.
        save_every: steps between checkpoints.
        keep: checkpoints kept.
        compute_dtype: of activations, ``float32`` or ``bfloat16``; parameters are float32 always.
        num_devices: devices to use; None for all.
    """

    num_epochs: Count = 5
    seed: Seed = 0
    steps_per_call: Count = 10
    log_every: Count = 10
    eval_every: Count = 100
    save_every: Count = 100
    keep: Count = 2
    compute_dtype: str = "float32"
    num_devices: int | None = None


def load_source(section: Mapping[str, Any], preprocessing: Mapping[str, Any] | None = None) -> Source:
    """The data of a config's section ``data``; its key ``grouped`` is for ``cellfx.data.source.grouped``.

    Args:
        section: of the config.
        preprocessing: ``Source.preprocessing`` of the same data when a model was trained on it; None fits it anew.
    """
    factory, settings = check_source(section)
    source = factory(**settings, **({"preprocessing": preprocessing} if preprocessing else {}))
    return source if section.get("grouped") is None else grouped(source, section["grouped"])


def check_source(section: Mapping[str, Any]) -> tuple[Callable[..., Source], dict[str, Any]]:
    """The factory of the data that a config's section ``data`` names, and its settings, checked; nothing is read.

    Raises:
        ValueError: a wrong key or value, or a fold that there is not.
    """
    check_section("data", section)
    check_value("data.grouped", section.get("grouped"), GROUPED | None)
    if section.get("grouped") is not None:
        check_groups(section["grouped"])
    factory, settings = chosen("data", "data", {key: value for key, value in section.items() if key != "grouped"})
    parameters = inspect.signature(factory).parameters
    check_call(factory, "data", settings, derived={k: v for k, v in PREPROCESSING.items() if k in parameters})
    fold, num_folds = (
        settings.get(name, getattr(parameters.get(name), "default", None)) for name in ("fold", "num_folds")
    )
    if fold is not None and num_folds is not None:
        check_fold(fold, num_folds)
    return factory, settings


def paths_of(section: Mapping[str, Any]) -> dict[str, Path]:
    """Files and folders that the data of a config's section ``data`` is read from, absolute, by their keys.

    Raises:
        ValueError: one that is no path.
    """
    factory, settings = chosen("data", "data", section)
    annotations = get_type_hints(factory)
    read = [name for name in settings if is_path(annotations.get(name)) and name != CACHE]
    for name in read:
        check_value(f"data.{name}", settings[name], annotations[name])
    return {name: Path(settings[name]).expanduser().absolute() for name in read if settings[name] is not None}


def moved(section: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``data`` of a finished run whose data lies elsewhere now.

    Args:
        section: of the run.
        place: its keys that name files and folders -> where these are now.

    Raises:
        ValueError: a key that names none.
    """
    factory, _ = chosen("data", "data", section)
    paths = [name for name, annotation in get_type_hints(factory).items() if is_path(annotation) and name != "return"]
    for name in place:
        if name not in paths:
            raise ValueError(
                f"config key data.{name} of a finished run cannot be set: got {place[name]!r}, expected only "
                f"{', '.join(paths) or 'nothing'}, where its data lies elsewhere now; leave it out"
            )
    return {**section, **{name: str(Path(path).expanduser().absolute()) for name, path in place.items()}}


def split_at_chance(settings: Config) -> dict[str, Any] | None:
    """The config with splits that leave the shares of the classes to chance, as older versions made them.

    None where the data was never split so, or the config says how it is.
    """
    section = settings["data"]
    factory, rest = chosen("data", "data", section)
    takes = "by_class" in inspect.signature(factory).parameters and "by_class" not in rest
    if not takes or rest.get("group") is not None:
        return None
    return {**settings, "data": {**section, "by_class": False}}


def load_source_and_model(
    settings: Config, axis_name: str | None, preprocessing: Mapping[str, Any] | None = None
) -> tuple[Source, Model, Spec]:
    """Data and model of a config, and what the model was told of the data; ``preprocessing`` as for ``load_source``.

    Raises:
        ValueError: there is nothing to train on, or a section is wrong.
    """
    source = load_source(settings["data"], preprocessing)
    split = source.splits["train"]
    if not split.num_examples:
        raise ValueError(
            f"nothing to train on: {source.name} has no training image, expected some; change section data"
        )
    num_classes = len(source.class_names)
    spec = Spec(source.shape, num_classes, split.num_examples, axis_name, count_classes(split, num_classes))
    return source, make_model(settings["model"], spec), spec


def make_model(section: Mapping[str, Any], spec: Spec) -> Model:
    """The model of a config's section ``model``, for data like ``spec``."""
    return named("models", "model", section, spec)


def check_feed(section: Mapping[str, Any]) -> None:
    """Raises a ValueError for a wrong key or value of a config's section ``input``."""
    factory, settings = chosen("data.input", "input", section, "pipeline")
    check_call(factory, "input", settings, 1, FEED)


def make_feed(source: Source, section: Mapping[str, Any], training: Training, axis_name: str | None) -> Feed:
    """Training batches as a config's section ``input`` says."""
    values = {"steps_per_call": training.steps_per_call, "seed": training.seed, "axis_name": axis_name}
    derived = {name: Derived(value, FEED[name]) for name, value in values.items()}
    return named("data.input", "input", section, source.splits["train"], name_key="pipeline", derived=derived)


def make_optimizers(
    section: Mapping[str, Any], num_steps: int, players: Iterable[str]
) -> dict[str, optax.GradientTransformation]:
    """The optimizers of a config's section ``optim`` by player, for a run of ``num_steps`` steps.

    All players have the same settings but for those that the section's ``players`` gives one of them by its name:
    ``{"generator": {"learning_rate": 1e-4, "every": 2}}``.

    Raises:
        ValueError: an unknown optimizer or player, or a setting out of its range.
    """
    shared = {key: value for key, value in section.items() if key != "players"}
    own = section.get("players") or {}
    check_section("optim.players", own)
    known = list(players)
    for name in own:
        if name not in known:
            raise ValueError(f"unknown player in optim.players: got {name!r}; {nearest(name, known)}")
        check_section(f"optim.players.{name}", own[name])
        _optimizer({"name": shared.get("name"), **own[name]}, f"optim.players.{name}", num_steps)
    return {player: _optimizer({**shared, **own.get(player, {})}, "optim", num_steps) for player in known}


def _optimizer(section: Mapping[str, Any], where: str, num_steps: int) -> optax.GradientTransformation:
    optimizers = importlib.import_module("cellfx.training.optimizers")
    settings = dict(section)
    name = settings.pop("name", None)
    if name not in optimizers.NAMES:
        raise ValueError(
            f"unknown optimizer: got {name!r}, expected one of {', '.join(optimizers.NAMES)}; correct {where}.name"
        )
    derived = {"total_steps": Derived(num_steps, TOTAL_STEPS)}
    return call(getattr(optimizers, name), where, settings, derived=derived)
