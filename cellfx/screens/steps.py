"""Variants and their steps: the config section ``variants`` of ``bin/profile``."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.steps import normalize, select, spherize, variant
from cellfx.profiles.steps.variant import KINDS, Step, told
from cellfx.settings import check_call, nearest

EXAMPLE = "(('raw', ()), ('spherized', ('spherize',)))"


class Planned(NamedTuple):
    """A variant of the config.

    Attributes:
        name: as the config calls it.
        folder: what its folder is called.
        steps: in order.
    """

    name: str
    folder: str
    steps: tuple[Step, ...]


def variants(given: Any) -> list[Planned]:
    """Reads the section.

    Args:
        given: pairs of a name and steps. A step is a name, or a mapping with its name and settings; a single one may
            stand for itself.

    Raises:
        ValueError: no pairs, two variants of one name or folder, an unknown step, or settings it does not take.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise UserError(
            f"no variants to compare: got {given!r}, expected a tuple of pairs of a name and steps, such as {EXAMPLE}; "
            "correct variants"
        )
    for pair in given:
        _check_pair(pair)
    names = [name for name, _ in given]
    folders = [name.replace("/", "_") for name in names]
    for what, values in (("name", names), ("folder", folders)):
        twice = [i for i, value in enumerate(values) if value in values[:i]]
        if twice:
            first, second = values.index(values[twice[0]]), twice[0]
            raise UserError(
                f"variants of one {what}: got {names[first]!r} and {names[second]!r}, expected a {what} of its own for "
                f"each{', where / becomes _' if what == 'folder' else ''}; rename one of them"
            )
    planned = []
    for (name, steps), folder in zip(given, folders, strict=True):
        with told(f"variant {name!r}"):
            planned.append(Planned(name, folder, tuple(_step(step) for step in _listed(steps))))
    return planned


def check_controls(planned: Sequence[Planned], controls: np.ndarray) -> None:
    """Looks whether there are negative controls where steps need them.

    Args:
        planned: variants.
        controls: (N,) bool.

    Raises:
        ValueError: none of the wells is a control, and a step is fitted on controls.
    """
    if controls.any():
        return
    for one in planned:
        for number, step in enumerate(one.steps, 1):
            if on_controls(step):
                raise UserError(
                    f"variant {one.name!r}: step {number}, {step.kind}: no negative controls to fit on: got none of "
                    f"{len(controls):,} wells, expected some; tell them by the section controls, or leave the step out"
                )


def on_controls(step: Step) -> bool:
    """Whether a step is fitted on negative controls."""
    return step.kind == "spherize" or step.settings.get("on") == "controls"


def _check_pair(pair: Any) -> None:
    is_pair = isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str)
    if not is_pair or isinstance(pair, str) or not isinstance(pair[1], Sequence | Mapping):
        raise UserError(
            f"a variant that is no pair: got {pair!r}, expected a name and steps, all pairs in a tuple, such as "
            f"{EXAMPLE}; correct variants"
        )
    if pair[0] in ("", ".", ".."):
        raise UserError(
            f"a variant without a name for its folder: got {pair[0]!r}, expected a name such as 'raw'; rename it"
        )


def _listed(steps: str | Mapping[str, Any] | Sequence[Any]) -> Sequence[Any]:
    return [steps] if isinstance(steps, str | Mapping) else steps


def _step(step: str | Mapping[str, Any]) -> Step:
    if not isinstance(step, str | Mapping):
        raise UserError(
            f"a step that is none: got {step!r}, expected a name, or a mapping with its name and settings; correct it"
        )
    given = {"name": step} if isinstance(step, str) else dict(step)
    name = given.pop("name", None)
    if name not in KINDS:
        raise UserError(f"unknown step of a variant: got {name!r}; {nearest(str(name), list(KINDS))}")
    if name in normalize.METHODS:
        check_call(variant.normalization, name, given, 3)
    else:
        check_call(*((select.select, name, given, 1) if name == "select" else (spherize.fit, name, given, 2)))
    return Step(name, given)
