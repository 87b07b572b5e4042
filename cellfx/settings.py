"""Config sections: checked, kept in the workdir, and handed whole to the one factory that each belongs to."""

import contextlib
import difflib
import fcntl
import importlib
import importlib.util
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_type_hints

import jax

Config = Mapping[str, Any]
SECTIONS = ("data", "input", "model", "optim", "train")
OPTIONAL_SECTIONS = ("probe", "repeats", "tune")
"""``tune`` is read by bin/tune alone."""


class Training(NamedTuple):
    """The config section ``train``.

    Attributes:
        num_epochs: passes over the training split.
        seed: of the parameters, the order of the data, the augmentation and the noise.
        steps_per_call: K, optimiser steps per dispatch.
        log_every: steps between lines of metrics.jsonl.
        eval_every: steps between evaluations on the validation split.
        save_every: steps between checkpoints.
        keep: checkpoints kept.
        compute_dtype: of activations, ``float32`` or ``bfloat16``; parameters are float32 always.
        num_devices: devices to use; None for all.
    """

    num_epochs: int = 5
    seed: int = 0
    steps_per_call: int = 10
    log_every: int = 10
    eval_every: int = 100
    save_every: int = 100
    keep: int = 2
    compute_dtype: str = "float32"
    num_devices: int | None = None

    def check(self) -> None:
        """Raises a ValueError for a number below 1."""
        for name in ("num_epochs", "steps_per_call", "log_every", "eval_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is too small: got {getattr(self, name)}, expected 1 or more; raise it")


def to_dict(config: Config) -> dict[str, Any]:
    """A plain dictionary, the same whether the config comes from a file or from config.json."""
    return json.loads(json.dumps(config.to_dict() if hasattr(config, "to_dict") else dict(config)))


def named(package: str, section: str, settings: Mapping[str, Any], *arguments: Any, name_key: str = "name") -> Any:
    """Calls ``cellfx.<package>.<name>.<name>`` with a config section, its name taken off."""
    rest = {key: value for key, value in settings.items() if key != name_key}
    return call(factory_of(package, section, settings, name_key), section, rest, *arguments)


def factory_of(package: str, section: str, settings: Mapping[str, Any], name_key: str = "name") -> Callable[..., Any]:
    """``cellfx.<package>.<name>.<name>`` for the name in a config section.

    Raises:
        ValueError: no name, or nothing is called so.
    """
    if name_key not in settings:
        raise ValueError(f"config section {section} has no {name_key}; expected the name of one of cellfx/{package}")
    name = settings[name_key]
    spec = importlib.util.find_spec(f"cellfx.{package}.{name}") if str(name).isidentifier() else None
    factory = getattr(importlib.import_module(f"cellfx.{package}.{name}"), name, None) if spec else None
    if factory is None:
        raise ValueError(f"unknown {section}.{name_key} {name!r}; {nearest(name, _factories(package))}")
    return factory


def _factories(package: str) -> list[str]:
    folder = Path(importlib.import_module(f"cellfx.{package}").__file__).parent
    names = [path.stem for path in folder.glob("*.py") if f"\ndef {path.stem}(" in path.read_text()]
    return sorted(names)


def call(factory: Callable[..., Any], section: str, settings: Mapping[str, Any], *arguments: Any) -> Any:
    """The factory's result for a config section as keyword arguments, behind some positional ones.

    Raises:
        ValueError: see ``check_call``.
    """
    check_call(factory, section, settings, len(arguments))
    return factory(*arguments, **settings)


def check_call(factory: Callable[..., Any], section: str, settings: Mapping[str, Any], num_arguments: int = 0) -> None:
    """Makes sure that a factory can be called with a config section, behind ``num_arguments`` positional arguments.

    Raises:
        ValueError: a key that the factory does not take, the message names the nearest one it does; a key that is
            missing and has no default; or a value of the wrong type.
    """
    parameters = dict([*inspect.signature(factory).parameters.items()][num_arguments:])
    known = list(parameters)
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"unknown config key {section}.{unknown[0]}; {nearest(unknown[0], known)}")
    missing = [name for name in known if parameters[name].default is inspect.Parameter.empty and name not in settings]
    if missing:
        raise ValueError(f"config key {section}.{missing[0]} is missing; expected a value, it has no default")
    annotations = get_type_hints(factory)
    for name, value in settings.items():
        _check_type(f"{section}.{name}", value, annotations.get(name, Any))


def _check_type(key: str, value: Any, annotation: Any) -> None:
    """Raises a ValueError where a number, text or switch was expected and something else was got."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    plain = {bool: (bool,), int: (int,), float: (int, float), str: (str,), type(None): (type(None),)}
    if not all(kind in plain for kind in kinds):
        return
    if type(value) not in [accepted for kind in kinds for accepted in plain[kind]]:
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"wrong type for config key {key}: got {value!r}, expected {names}; correct it")


def check_sections(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for a section that is missing or that nothing would read."""
    known = [*SECTIONS, *OPTIONAL_SECTIONS]
    for name in settings:
        if name not in known:
            raise ValueError(f"unknown config section {name}; {nearest(name, known)}")
    missing = [name for name in SECTIONS if name not in settings]
    if missing:
        raise ValueError(f"config section {missing[0]} is missing; expected {', '.join(SECTIONS)}")


def nearest(name: str, known: list[str]) -> str:
    """Advice for a wrong name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(str(name), known, 1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def check_owner(workdir: Path, config: Config) -> None:
    """Makes sure that a workdir is new or was started with the same config.

    Raises:
        ValueError: the workdir belongs to another config; the message names what differs.
    """
    new = dict(_flat(_trained_by(to_dict(config))))
    old = dict(_flat(_trained_by(read(workdir)))) if (workdir / "config.json").exists() else new
    changed = [f"{k}: {old.get(k)!r} -> {new.get(k)!r}" for k in sorted(old | new) if old.get(k) != new.get(k)]
    if changed:
        raise ValueError(
            f"{workdir} belongs to another config: got {'; '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}, "
            f"expected the config it was started with; choose another --workdir"
        )


def _trained_by(settings: Config) -> Config:
    """The settings without those that only say how a trained model is measured, or how others are looked for."""
    return {name: section for name, section in settings.items() if name not in ("probe", "tune")}


def claim(workdir: Path, config: Config) -> None:
    """Makes the workdir and writes its config.json; see ``check_owner``."""
    check_owner(workdir, config)
    if jax.process_index() == 0:
        write_whole(workdir / "config.json", json.dumps(to_dict(config), indent=2).encode())


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other processes from training in the same workdir; the lock ends with the process, however it ends.

    Raises:
        ValueError: another process holds it.
    """
    if jax.process_index():
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{workdir} is in use: got a lock held by another process, expected none; wait for it, or choose "
                f"another --workdir"
            ) from None
        yield


def read(workdir: Path) -> dict[str, Any]:
    """The config of a workdir.

    Raises:
        FileNotFoundError: it is no workdir.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} is no workdir: it has no config.json; expected the folder of a bin/train run"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: got {error}, expected JSON; restore it or use a new workdir") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
