"""What the sections of a config stand for: data, model, feed and optimiser, each made by its factory."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import optax

from cellfx.data.feed import Feed
from cellfx.data.source import Source, count_classes, grouped
from cellfx.settings import Config, Training, call, named, nearest
from cellfx.types import Model, Spec


def load_source(section: Mapping[str, Any], preprocessing: Mapping[str, Any] | None = None) -> Source:
    """The data of a config's section ``data``; its key ``grouped`` is for ``cellfx.data.source.grouped``.

    Args:
        section: of the config.
        preprocessing: ``Source.preprocessing`` of the same data when a model was trained on it; None fits it anew.
    """
    settings = {key: value for key, value in section.items() if key != "grouped"}
    source = named("data", "data", settings | ({"preprocessing": preprocessing} if preprocessing else {}))
    return grouped(source, section["grouped"]) if section.get("grouped") is not None else source


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
    settings = {"steps_per_call": training.steps_per_call, "seed": training.seed, "axis_name": axis_name, **section}
    return named("data", "input", settings, source.splits["train"], name_key="pipeline")


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
    known = list(players)
    unknown = [name for name in own if name not in known]
    if unknown:
        raise ValueError(f"unknown player in optim.players: got {unknown[0]!r}; {nearest(unknown[0], known)}")
    return {player: _make_optimizer({**shared, **own.get(player, {})}, num_steps) for player in players}


def _make_optimizer(section: Mapping[str, Any], num_steps: int) -> optax.GradientTransformation:
    optimizers = importlib.import_module("cellfx.training.optimizers")
    settings = dict(section)
    name = settings.pop("name", None)
    if name not in optimizers.NAMES:
        raise ValueError(
            f"unknown optimiser: got {name!r}, expected one of {', '.join(optimizers.NAMES)}; correct optim.name"
        )
    return call(getattr(optimizers, name), "optim", {"total_steps": num_steps, **settings})
