"""What the sections of a config stand for: data, model, feed and optimiser, each made by its factory."""

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optax

from cellfx.annotations import check_value
from cellfx.data.feed import Feed
from cellfx.data.source import Source, count_classes, grouped
from cellfx.settings import Config, Derived, Training, call, check_section, chosen, named, nearest
from cellfx.types import Model, Spec

PREPROCESSING = "it is fitted to the training images and kept with the run"
GROUPED = Mapping[str, Sequence[str]]
"""Of the key ``grouped`` of the section ``data``."""


def load_source(section: Mapping[str, Any], preprocessing: Mapping[str, Any] | None = None) -> Source:
    """The data of a config's section ``data``; its key ``grouped`` is for ``cellfx.data.source.grouped``.

    Args:
        section: of the config.
        preprocessing: ``Source.preprocessing`` of the same data when a model was trained on it; None fits it anew.
    """
    check_section("data", section)
    settings = {key: value for key, value in section.items() if key != "grouped"}
    classes = section.get("grouped")
    check_value("data.grouped", classes, GROUPED | None)
    kept = {"preprocessing": Derived(preprocessing, PREPROCESSING)}
    factory, rest = chosen("data", "data", settings)
    takes = "preprocessing" in inspect.signature(factory).parameters
    source = call(factory, "data", rest, derived=kept if takes else None)
    return source if classes is None else grouped(source, classes)


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
    spec = Spec(source.image_shape, num_classes, split.num_examples, axis_name, count_classes(split, num_classes))
    return source, named("models", "model", settings["model"], spec), spec


def make_feed(source: Source, section: Mapping[str, Any], training: Training, axis_name: str | None) -> Feed:
    """Training batches as a config's section ``input`` says."""
    derived = {
        "steps_per_call": Derived(training.steps_per_call, "train.steps_per_call sets it"),
        "seed": Derived(training.seed, "train.seed sets it"),
        "axis_name": Derived(axis_name, "train.num_devices sets it"),
    }
    return named("data", "input", section, source.splits["train"], name_key="pipeline", derived=derived)


def make_optimizers(
    section: Mapping[str, Any], num_steps: int, players: Iterable[str]
) -> dict[str, optax.GradientTransformation]:
    """The optimisers of a config's section ``optim`` by player, for a run of ``num_steps`` steps.

    All players have the same settings but for those that the section's ``players`` gives one of them by its name:
    ``{"generator": {"learning_rate": 1e-4, "every": 2}}``.

    Raises:
        ValueError: an unknown optimiser or player, or a setting out of its range.
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
            f"unknown optimiser: got {name!r}, expected one of {', '.join(optimizers.NAMES)}; correct {where}.name"
        )
    derived = {"total_steps": Derived(num_steps, "train.num_epochs and the data set it")}
    return call(getattr(optimizers, name), where, settings, derived=derived)
