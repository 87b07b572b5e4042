"""What a user can get wrong: the error for it, and the kinds and ranges of values that annotations of parameters state.

``beta: Weight = 1.0`` is a number of 0 or more. Settings are held against these annotations before a factory is called
with them, and ``checked`` factories hold everybody's arguments against the ranges.
"""

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

Factory = TypeVar("Factory", bound=Callable[..., Any])


class UserError(ValueError):
    """Settings or data that do not fit: the message says what was wrong, what was got, what was expected, what to do.

    Where a part of a result may be missing, such as a score or a picture, this error leaves it out; any other is a
    defect and is shown as one.
    """


class Range(NamedTuple):
    """Numbers that a parameter may have.

    Attributes:
        least: the smallest.
        most: the largest.
        above: whether ``least`` itself is too small.
        below: whether ``most`` itself is too large.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies inside; nan and infinity never do."""
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        """In words."""
        least = f"above {self.least:.10g}" if self.above else f"{self.least:.10g} or more"
        if math.isinf(self.most):
            return "a finite number" if math.isinf(self.least) else least
        if self.above or self.below:
            return f"{least} and {f'below {self.most:.10g}' if self.below else f'{self.most:.10g} at most'}"
        return f"{self.least:.10g} to {self.most:.10g}"


ANY_NUMBER = Range()
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""NumPy takes no negative seed, JAX none that needs more than 32 bits."""
Count = Annotated[int, Range(1)]
Number = Annotated[int, Range(0)]
Folds = Annotated[int, Range(2)]
Pixels = Annotated[int, Range(8)]
"""Of a side of a drawn image: in a smaller one no nucleus can be seen."""
Weight = Annotated[float, Range(0)]
Width = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Rate = Annotated[float, Range(0, 1, below=True)]


def check_value(key: str, value: Any, annotation: Any) -> None:
    """Makes sure that a value is of the kind and in the range that an annotation says, and so are the parts of it.

    Args:
        key: what messages call it.
        value: as a config has it: numbers, texts, None, sequences and mappings of these.
        annotation: of a parameter; one that says nothing of such values lets everything pass.

    Raises:
        ValueError: it is not; the message names the key, or the part of it that is wrong.
    """
    kinds = _alternatives(annotation)
    fitting = [kind for kind in kinds if _is_of(value, kind)]
    if not fitting:
        names = " or ".join(dict.fromkeys(_describe(kind) for kind in kinds))
        raise UserError(f"wrong type for config key {key}: got {value!r}, expected {names}; correct it")
    kind, allowed = _bare(fitting[0])
    if type(value) in (int, float) and kind in (int, float):
        _check_range(key, value, allowed)
    elif isinstance(value, list | tuple):
        for i, (item, expected) in enumerate(zip(value, _items(kind, len(value)), strict=True)):
            check_value(f"{key}[{i}]", item, expected)
    elif isinstance(value, Mapping) and len(get_args(kind)) == 2:
        names, values = get_args(kind)
        for name, item in value.items():
            check_value(f"{key}.{name}", name, names)
            check_value(f"{key}.{name}", item, values)


def marked(key: str, value: Any, annotation: Any, mark: Any) -> Iterator[tuple[str, Any]]:
    """Keys and values of the parts of a value whose annotation carries a mark, as in ``Annotated[str, mark]``."""
    kind = next((kind for kind in _alternatives(annotation) if value is not None and _is_of(value, kind)), None)
    bare = _bare(kind)[0]
    if get_origin(kind) is Annotated and mark in get_args(kind)[1:]:
        yield key, value
    elif isinstance(value, list | tuple):
        for i, (item, expected) in enumerate(zip(value, _items(bare, len(value)), strict=True)):
            yield from marked(f"{key}[{i}]", item, expected, mark)
    elif isinstance(value, Mapping) and len(get_args(bare)) == 2:
        names, values = get_args(bare)
        for name, item in value.items():
            yield from marked(f"{key}.{name}", name, names, mark)
            yield from marked(f"{key}.{name}", item, values, mark)


def is_path(annotation: Any) -> bool:
    """Whether a parameter takes paths."""
    return any((get_origin(kind) or kind) is os.PathLike for kind in _alternatives(annotation))


def checked(section: str) -> Callable[[Factory], Factory]:
    """Decorates a factory: numbers out of the ranges of its annotations are refused at once.

    Args:
        section: of the config that the factory belongs to, for the messages.
    """

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory)

        @functools.wraps(factory)
        def call(*arguments: Any, **settings: Any) -> Any:
            annotations = get_type_hints(factory, include_extras=True)
            for name, value in signature.bind(*arguments, **settings).arguments.items():
                for kind in _alternatives(annotations.get(name, Any)):
                    bare, allowed = _bare(kind)
                    if bare in (int, float) and isinstance(value, int | float):
                        _check_range(f"{section}.{name}", value, allowed)
            return factory(*arguments, **settings)

        return call

    return decorate


def _check_range(key: str, value: float, allowed: Range) -> None:
    if not allowed.holds(value):
        raise UserError(f"number out of range: got {key}={value}, expected {allowed}; correct it")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for each in get_args(annotation) for kind in _alternatives(each))
    return (annotation,)


def _bare(kind: Any) -> tuple[Any, Range]:
    """The kind without what is annotated, and the range."""
    if get_origin(kind) is not Annotated:
        return kind, ANY_NUMBER
    bare, *notes = get_args(kind)
    return bare, next((note for note in notes if isinstance(note, Range)), ANY_NUMBER)


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, whatever it is made of; True where the kind is none that a config has."""
    kind, _ = _bare(kind)
    origin = get_origin(kind) or kind
    if kind is None or kind is type(None):
        return value is None
    if kind in (bool, int, float, str):
        return type(value) in ((int, float) if kind is float else (kind,))
    if origin is Literal:
        return value in get_args(kind)
    if origin is os.PathLike:
        return isinstance(value, os.PathLike)
    if origin in (Sequence, tuple, list):
        return isinstance(value, list | tuple) and _items(kind, len(value)) is not None
    if origin in (Mapping, dict):
        return isinstance(value, Mapping)
    return True


def _items(kind: Any, count: int) -> Sequence[Any] | None:
    """Annotations of the items of a sequence; None where it should have another number of items."""
    inside = get_args(kind)
    if get_origin(kind) is tuple and inside[-1:] != (Ellipsis,):
        return inside if len(inside) == count else None
    return (inside[0] if inside else Any,) * count


def _describe(kind: Any) -> str:
    kind, _ = _bare(kind)
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if kind is None or kind is type(None):
        return "None"
    if origin is Literal:
        return " or ".join(map(repr, inside))
    if origin is os.PathLike:
        return "path"
    if origin in (Mapping, dict):
        return "mapping" + (f" of {_each(inside[0])} to {_each(inside[1])}" if inside else "")
    if origin is tuple and inside[-1:] != (Ellipsis,):
        return f"sequence of {len(inside)}: {', '.join(map(_each, inside))}"
    if origin in (Sequence, tuple, list):
        return "sequence" + (f" of {_each(inside[0])}" if inside else "")
    return getattr(kind, "__name__", str(kind))


def _each(annotation: Any) -> str:
    return " or ".join(dict.fromkeys(_describe(kind) for kind in _alternatives(annotation)))
