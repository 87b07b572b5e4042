"""Config files by name, and single fields of them set on the command line."""

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cellfx
from cellfx.cli.assignments import assign, fields

_PACKAGE = Path(cellfx.__file__).resolve().parent
_ROOTS = (_PACKAGE.parent, _PACKAGE)  # a clone has configs/ beside the package, an installed cellfx inside it


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
    known = dict(fields(values))  # what is new on the command line is no slip of what else is new there
    sections = {*optional, *values}
    if hasattr(values, "unlock"):
        values.unlock()
    for key, text in assignments:
        assign(values, known, key, text, sections)
    return Loaded(f"{file.stem}_{size}" if size else file.stem, values)


def read_fields(values: Mapping[str, Any], assignments: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Section -> field -> value of fields that the command line sets, read as ``load`` reads them.

    Args:
        values: the config of a run, which may lack an optional section.
        assignments: see ``load``.

    Raises:
        ValueError: see ``load``.
    """
    from cellfx.settings import OPTIONAL_SECTIONS, with_home

    known, found = dict(fields(values)), {}
    for key, text in assignments:
        assign(found, known, key, text, {*OPTIONAL_SECTIONS, *values})
    return with_home(found, "")


def read_place(values: Mapping[str, Any], assignments: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Where the data of a finished run is now, as the command line says; see ``runs.parts.moved``."""
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
