"""Config sections: checked, kept in the workdir, and handed whole to the one factory that each belongs to."""

import difflib
import importlib
import importlib.util
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from cellfx.checks import UserError, check_value

Config = Mapping[str, Any]
SECTIONS = ("data", "input", "model", "optim", "train")
OPTIONAL_SECTIONS = ("probe", "repeats", "tune")
"""``tune`` is read by bin/tune alone."""


class Derived(NamedTuple):
    """An argument of a factory that follows from other settings, so that its own section must not set it.

    Attributes:
        value: of the argument.
        source: what sets it, for the message.
    """

    value: Any
    source: str


def to_dict(config: Config) -> dict[str, Any]:
    """A plain dictionary, the same whether the config comes from a file or from config.json.

    A ``~/`` or ``~name/`` that a text begins with is the home folder that a shell takes it for.

    Raises:
        ValueError: a value that no config.json can hold, or text that is not UTF-8; the message names its key.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    try:
        return with_home(json.loads(json.dumps(plain)), "")
    except (TypeError, ValueError):
        for key, value in flat(plain):
            _check_storable(key, value)
        raise


def with_home(value: Any, key: str) -> Any:
    """A value of a config, under ``key``, as ``to_dict`` has it: ``~/`` is the home folder, and text is UTF-8."""
    if isinstance(value, dict):
        return {name: with_home(each, f"{key}.{name}".removeprefix(".")) for name, each in value.items()}
    if isinstance(value, list):
        return [with_home(each, key) for each in value]
    if not isinstance(value, str):
        return value
    if not value.isascii() and (shown := value.encode(errors="replace").decode()) != value:
        raise UserError(f"config key {key} is not UTF-8: got {shown!r}, expected UTF-8; rename what it names")
    return os.path.expanduser(value) if value == "~" or (value.startswith("~") and "/" in value) else value


def _check_storable(key: str, value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise UserError(
            f"wrong type for config key {key}: got {value!r}, expected numbers, texts, True, False, None, or sequences "
            f"and mappings of these; correct it"
        ) from None


def named(
    package: str,
    section: str,
    settings: Mapping[str, Any],
    *arguments: Any,
    name_key: str = "name",
    derived: Mapping[str, Derived] | None = None,
) -> Any:
    """Calls ``cellfx.<package>.<name>.<name>`` with a config section, its name taken off; see ``call``."""
    factory, rest = chosen(package, section, settings, name_key)
    return call(factory, section, rest, *arguments, derived=derived)


def chosen(
    package: str, section: str, settings: Mapping[str, Any], name_key: str = "name"
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The factory that a config section names, and the section without the name; errors as ``factory_of``."""
    factory = factory_of(package, section, settings, name_key)
    return factory, {key: value for key, value in settings.items() if key != name_key}


def factory_of(package: str, section: str, settings: Mapping[str, Any], name_key: str = "name") -> Callable[..., Any]:
    """``cellfx.<package>.<name>.<name>`` for the name in a config section.

    Raises:
        ValueError: no name, or nothing is called so.
    """
    check_section(section, settings)
    if name_key not in settings:
        folder = f"cellfx/{package.replace('.', '/')}"
        raise UserError(f"config section {section} has no {name_key}; expected the name of one of {folder}")
    name = settings[name_key]
    spec = importlib.util.find_spec(f"cellfx.{package}.{name}") if str(name).isidentifier() else None
    factory = getattr(importlib.import_module(f"cellfx.{package}.{name}"), name, None) if spec else None
    if factory is None:
        raise UserError(f"unknown {section}.{name_key} {name!r}; {nearest(name, _factories(package))}")
    return factory


def _factories(package: str) -> list[str]:
    folder = Path(importlib.import_module(f"cellfx.{package}").__file__).parent
    names = [path.stem for path in folder.glob("*.py") if f"\ndef {path.stem}(" in path.read_text()]
    return sorted(names)


def call(
    factory: Callable[..., Any],
    section: str,
    settings: Mapping[str, Any],
    *arguments: Any,
    derived: Mapping[str, Derived] | None = None,
) -> Any:
    """The factory's result for a config section as keyword arguments, behind some positional ones.

    Args:
        factory: to call.
        section: what messages call the section.
        settings: the section.
        arguments: positional ones.
        derived: arguments that follow from other settings.

    Raises:
        ValueError: see ``check_call``.
    """
    derived = derived or {}
    check_call(factory, section, settings, len(arguments), {name: each.source for name, each in derived.items()})
    return factory(*arguments, **settings, **{name: each.value for name, each in derived.items()})


def check_call(
    factory: Callable[..., Any],
    section: str,
    settings: Mapping[str, Any],
    num_arguments: int = 0,
    derived: Mapping[str, str] | None = None,
) -> None:
    """Makes sure that a factory can be called with a config section, behind ``num_arguments`` positional arguments.

    Args:
        factory: to call.
        section: what messages call the section.
        settings: the section.
        num_arguments: positional ones.
        derived: what sets an argument that the section must not set, by its name.

    Raises:
        ValueError: a section that is none; a key that the factory does not take, the message names the nearest one it
            does; one that follows from other settings; one that is missing and has no default; or a value of the
            wrong kind or out of its range, see ``checks.check_value``.
    """
    check_section(section, settings)
    derived = derived or {}
    parameters = dict([*inspect.signature(factory).parameters.items()][num_arguments:])
    known = [name for name in parameters if name not in derived]
    for name in settings:
        if name in derived:
            raise UserError(
                f"config key {section}.{name} cannot be set: got {settings[name]!r}, expected no such key, because "
                f"{derived[name]}; leave it out"
            )
        if name not in known:
            raise UserError(f"unknown config key {section}.{name}; {nearest(name, known)}")
    missing = [name for name in known if parameters[name].default is inspect.Parameter.empty and name not in settings]
    if missing:
        raise UserError(f"config key {section}.{missing[0]} is missing; expected a value, it has no default")
    annotations = get_type_hints(factory, include_extras=True)
    for name, value in settings.items():
        check_value(f"{section}.{name}", value, annotations.get(name, Any))


def check_section(name: str, section: Any) -> None:
    """Raises a ValueError for a section that is no mapping."""
    if not isinstance(section, Mapping):
        raise UserError(f"config section {name} is no section: got {section!r}, expected keys with values; correct it")


def check_sections(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for a section that is missing or that nothing would read."""
    known = [*SECTIONS, *OPTIONAL_SECTIONS]
    for name in settings:
        if name not in known:
            raise UserError(f"unknown config section {name}; {nearest(name, known)}")
    missing = [name for name in SECTIONS if name not in settings]
    if missing:
        raise UserError(
            f"config section {missing[0]} is missing: got {', '.join(settings) or 'none'}, expected "
            f"{', '.join(SECTIONS)}; add it"
        )
    for name, section in settings.items():
        check_section(name, section)


def nearest(name: str, known: list[str]) -> str:
    """Advice for a wrong name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(str(name), known, 1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name ``section.field`` and value of every field of plain settings."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
