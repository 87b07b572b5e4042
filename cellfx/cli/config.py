"""Config files by name, and single fields of them set on the command line."""

import ast
import difflib
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cellfx

_PACKAGE = Path(cellfx.__file__).resolve().parent
_ROOTS = (_PACKAGE.parent, _PACKAGE)  # a clone has configs/ beside the package, an installed cellfx inside it
_WORDS = {"true": True, "false": False, "none": None}


class Loaded(NamedTuple):
    """A config and what its runs are called.

    Attributes:
        name: file name without its suffix, with ``_size`` where a size was asked for.
        values: what the file's ``get_config`` returned, with the fields set on the command line.
    """

    name: str
    values: Any


def load(spec: str | None, assignments: Iterable[tuple[str, str]] = (), optional: Iterable[str] = ()) -> Loaded:
    """The config that ``get_config`` of a file returns, with single fields replaced.

    Args:
        spec: ``path`` or ``path:size``. A relative path is looked for here, then beside and inside the package.
        assignments: (``section.field``, text) pairs; a text is read as the type that the field has.
        optional: sections that the file may lack and the command line may set all the same.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is no config, or a field or its type is wrong.
    """
    if not spec:
        raise ValueError(f"--config is missing; expected one of {', '.join(_available())} or a file of your own")
    path, _, size = spec.partition(":")
    file = _find(path)
    values = _get_config(file, size)
    known = dict(_fields(values))  # what is new on the command line is no slip of what else is new there
    sections = {*optional, *values}
    if hasattr(values, "unlock"):
        values.unlock()
    for key, text in assignments:
        _assign(values, known, key, text, sections)
    return Loaded(f"{file.stem}_{size}" if size else file.stem, values)


def read_fields(values: Mapping[str, Any], assignments: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Section -> field -> value of fields that the command line sets, read as ``load`` reads them.

    Args:
        values: a config.
        assignments: see ``load``.

    Raises:
        ValueError: see ``load``.
    """
    from cellfx.settings import with_home

    known, found = dict(_fields(values)), {}
    for key, text in assignments:
        _assign(found, known, key, text, set(values))
    return with_home(found, "")


def read_place(values: Mapping[str, Any], assignments: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Where the data of a finished run is now, as the command line says; see ``parts.moved``."""
    return read_fields(values, assignments).get("data", {})


def _available() -> list[str]:
    return sorted({str(file.relative_to(root)) for root in _ROOTS for file in (root / "configs").glob("[!_]*.py")})


def _find(path: str) -> Path:
    for file in (Path(path).expanduser(), *(root / path for root in _ROOTS)):
        if file.is_file():
            return file
    stems = {Path(name).stem: name for name in _available()}
    near = difflib.get_close_matches(Path(path).stem, stems, 1, cutoff=0.75)
    advice = (
        f"did you mean {stems[near[0]]}?"
        if near
        else f"expected one of {', '.join(_available())} or a file of your own"
    )
    raise FileNotFoundError(f"no config file {path}; {advice}")


def _get_config(file: Path, size: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{file.stem}_config", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no config; expected a Python file (.py) with get_config(size)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        values = module.get_config(*([size] if size else []))
    except (ValueError, ImportError):
        raise
    except Exception as error:
        raise ValueError(
            f"config file {file} failed with {type(error).__name__}: {error}; --debug shows the line"
        ) from error
    if not isinstance(values, Mapping) and not hasattr(values, "items"):
        raise ValueError(f"get_config of {file} returned {type(values).__name__}; expected a ConfigDict")
    return values


def _assign(values: Any, known: Mapping[str, Any], key: str, text: str, known_sections: Collection[str]) -> None:
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


def _fields(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if hasattr(value, "items"):
            yield from _fields(value, f"{prefix}{name}.")
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
