"""Single fields of a config that the command line sets: told from other options, and read as what they were."""

import ast
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

_WORDS = {"true": True, "false": False, "none": None}


def split_assignments(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Takes ``--config.key=text``, ``--config.key text`` and ``--config.flag`` (true) out of a command line.

    Returns:
        ((key, text) pairs in their order, all other arguments in theirs).
    """
    assignments, rest, queue = [], [], list(arguments)
    while queue:
        argument = queue.pop(0)
        if not argument.lstrip("-").startswith("config.") or not argument.startswith("-"):
            rest.append(argument)
            continue
        key, equals, text = argument.lstrip("-").removeprefix("config.").partition("=")
        if not equals:
            text = queue.pop(0) if queue and not queue[0].startswith("--") else "true"
        assignments.append((key, text))
    return assignments, rest


def assign(values: Any, known: Mapping[str, Any], key: str, text: str, known_sections: Collection[str]) -> None:
    """Sets one field.

    Args:
        values: the config, changed in place.
        known: its fields and their values before anything was set.
        key: ``section.field``.
        text: read as the type that the field had.
        known_sections: names of sections that the config may have.

    Raises:
        ValueError: an unknown key, a key of a section, or a value of another type.
    """
    inside = [name for name in known if name.startswith(f"{key}.")]
    if inside:
        raise ValueError(f"config key {key} is a section, got a value for it; expected one of {', '.join(inside)}")
    if key not in known:
        _check_unlisted(key, known, known_sections)
    *sections, name = key.split(".")
    for depth, section in enumerate(sections, 1):
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not hasattr(values, "items"):
            raise ValueError(
                f"unknown config key {key}; {'.'.join(sections[:depth])} is no section but has the value {values!r}"
            )
    values[name] = _read(text, known.get(key), key)


def _check_unlisted(key: str, known: Mapping[str, Any], sections: Collection[str]) -> None:
    """Refuses a key of a section that there cannot be, or that looks like a slip of one that the config has.

    Any other may be a parameter that the config leaves at its default; the factory of its section knows.
    """
    section, _, name = key.rpartition(".")
    beside = _inside(section, known)
    slip = difflib.get_close_matches(name, beside, 1, cutoff=0.8)
    if section and not slip and (beside or _can_be_new(section.split("."), known, sections)):
        return
    near = [f"{section}.{slip[0]}".removeprefix(".")] if slip else _elsewhere(section, name, known, sections)
    advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    raise ValueError(f"unknown config key {key}; {advice}")


def _inside(section: str, known: Iterable[str]) -> list[str]:
    """Names of the fields of a section, or of the whole config for an empty name."""
    return [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == section]


def _can_be_new(path: Sequence[str], known: Iterable[str], sections: Collection[str]) -> bool:
    """Whether a section that the config lacks may be made: below a known one, and no slip of what lies beside it."""
    if path[0] not in sections:
        return False
    for depth in range(1, len(path)):
        prefix = ".".join(path[:depth]) + "."
        beside = {other.removeprefix(prefix).partition(".")[0] for other in known if other.startswith(prefix)}
        if path[depth] not in beside:
            return not difflib.get_close_matches(path[depth], beside, 1, cutoff=0.8)
    return True


def _elsewhere(section: str, name: str, known: Mapping[str, Any], optional: Iterable[str]) -> list[str]:
    """What a key may have meant whose section the config lacks, or a key without a section."""
    sections = {other.rpartition(".")[0] for other in known} - {""} | {*optional}
    near = difflib.get_close_matches(section or name, sections, 1, cutoff=0.7)
    if near and section:
        beside = _inside(near[0], known)
        return [f"{near[0]}.{(difflib.get_close_matches(name, beside, 1, cutoff=0.8) or [name])[0]}"]
    return near or difflib.get_close_matches(f"{section}.{name}".removeprefix("."), known, 1, cutoff=0.7)


def fields(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name ``section.field`` and value of every field of a config."""
    for name, value in values.items():
        if hasattr(value, "items"):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read(text: str, old: Any, key: str) -> Any:
    """The text as a value of the type that the field had; a field that was None takes any, and all take None."""
    if isinstance(old, str):
        return None if text == "None" else text
    try:
        new = _WORDS[text.lower()] if text.lower() in _WORDS else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        new = text
    if isinstance(old, tuple | list) and isinstance(new, tuple | list):
        if old and not all(_fits(item, old[0]) or _is_index(item, old[0]) for item in new):
            raise _mismatch(key, text, old)
        return type(old)(new)
    if not _fits(new, old):
        raise _mismatch(key, text, old)
    return float(new) if isinstance(old, float) and new is not None else new


def _fits(new: Any, old: Any) -> bool:
    if old is None or new is None:
        return True
    if isinstance(old, float):
        return type(new) in (int, float)
    return type(new) is type(old)


def _is_index(new: Any, old: Any) -> bool:
    """Whether an item is a number where the config has a name, as channels have both."""
    return isinstance(old, str) and type(new) is int


def _mismatch(key: str, text: str, old: Any) -> ValueError:
    kind = type(old).__name__
    if isinstance(old, tuple | list) and old:
        kind += f" of {type(old[0]).__name__}"
    return ValueError(f"wrong type for config key {key}: got {text!r}; expected {kind}, such as {old!r}")
