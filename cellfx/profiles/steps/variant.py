"""A variant: the steps that wells go through one after another, kept so that the wells of new plates go the same way.

    wells = variant.apply("runs/jump/profiles/spherized", reading.read("new_plate.parquet"))

What was fitted to all plates together, or to batches, is applied as it is. What was fitted plate by plate is fitted
anew, to the new plates themselves: that is what a step by plate means. Negative controls of the new plates are needed
for steps by plate that fit on controls, and for no others.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.steps import fitted, normalize, select, spherize
from cellfx.profiles.steps.control_directions import Stillness, stillness
from cellfx.profiles.steps.control_variances import FLOOR, REGULARIZATION
from cellfx.profiles.steps.normalize import Normalization
from cellfx.profiles.steps.select import Selection
from cellfx.profiles.steps.spherize import Spherizing
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import METADATA, Profiles, few, level_path, take_features, whole, write

KINDS = (*normalize.METHODS, "select", "spherize")
HELD_OUT = f"{METADATA}Held_Out"
"""Column of booleans, where there is one: true for wells that nothing is fitted to, see ``screens.controls``."""
SCREEN = "screen"
"""What the files of profiles are called, before the suffix of their level."""
STEPS = "steps.json"
"""File in the folder of a variant: its steps, and the files that hold what they fitted."""


class Step(NamedTuple):
    """One step of a variant.

    Attributes:
        kind: one of ``KINDS``.
        settings: arguments of ``select.select``, ``normalization`` or ``spherize.fit``.
    """

    kind: str
    settings: Mapping[str, Any]


class Fit(NamedTuple):
    """What became of wells.

    Attributes:
        wells: N rows, behind the last step.
        fitted: by each step.
        steps: that fitted it.
        still: (place of a spherizing among them, what its controls do not vary in), where there is anything.
    """

    wells: Profiles
    fitted: tuple[Selection | Normalization | Spherizing, ...]
    steps: tuple[Step, ...] = ()
    still: tuple[tuple[int, Stillness], ...] = ()


def levels(found: Fit) -> list[str]:
    """The levels that were written, in the order of the steps."""
    return [_LEVELS[type(part)] for part in found.fitted]


def fit(wells: Profiles, controls: np.ndarray, steps: Sequence[Step], plate: Sequence[str] | str, folder: Path) -> Fit:
    """Takes wells through steps; writes each level, the last one of its kind, what was fitted, and ``STEPS``.

    Args:
        wells: N rows; those of ``HELD_OUT`` are fitted to by no normalization and no spherizing. ``select`` sees them.
        controls: (N,) bool, negative controls to fit to.
        steps: in order. One that groups by the plate's name groups by all of ``plate``.
        plate: columns that tell plates, see ``plate_identity``, or the only one.
        folder: of the variant.

    Raises:
        ValueError: see the functions of the steps; the message names the step.
    """
    done, files, parts, dropped, still = [], [], [], {}, []
    names, plate = wells.names, fitted.columns(plate)
    # Steps say what they do by themselves, so that another default is not taken for theirs one day.
    usual = {"regularization": REGULARIZATION, "floor": FLOOR}
    steps = [step._replace(settings={**usual, **step.settings}) if step.kind == "spherize" else step for step in steps]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STEPS).unlink(missing_ok=True)
    for step in steps:
        with told(f"step {len(done) + 1}, {step.kind}"):
            part = _fitted(step, wells, controls, plate)
            before, wells = wells, _applied(part, wells)
        if isinstance(part, Spherizing) and (found := _still(part, before, wells, controls)):
            still.append((len(parts), found))
        done.append(step)
        parts.append(part)
        count = [each.kind for each in done].count(step.kind)
        files.append(f"{step.kind}.npz" if count == 1 else f"{step.kind}_{count}.npz")
        _MODULES[type(part)].save(part, folder / files[-1])
        if isinstance(part, Selection):
            dropped |= part.dropped
            _write(folder / "dropped_features.json", dropped)
        write(wells, level_path(folder, SCREEN, _LEVELS[type(part)]))
    if parts and isinstance(parts[0], Selection):
        names = parts[0].kept
    described = [{**step._asdict(), "file": file} for step, file in zip(done, files, strict=True)]
    _write(folder / STEPS, {"plate": plate, "features": names, "steps": described})
    return Fit(wells, tuple(parts), tuple(done), tuple(still))


def apply(folder: Path | str, wells: Profiles, controls: np.ndarray | None = None) -> Profiles:
    """Takes new wells through the steps of a variant of a finished run.

    Args:
        folder: of the variant, ``<workdir>/profiles/<variant>``.
        wells: N rows as they were read, with the features that the run read; others are left out. Where they have the
            column ``HELD_OUT``, it counts as in ``fit``.
        controls: (N,) bool, negative controls among them; needed where a step fits to controls plate by plate.

    Returns:
        N rows as the variant makes them. The wells of the run itself come out as they did there.

    Raises:
        ValueError: no variant in the folder, a feature that is missing, no controls where they are needed, a batch that
            nothing was fitted to, or as the functions of the steps.
    """
    folder = Path(folder)
    described = _read(folder)
    plate = fitted.columns(described["plate"])
    with told(f"variant of {folder}"):
        wells = _chosen(wells, described["features"])
        for number, given in enumerate(described["steps"], 1):
            step = Step(given["kind"], {**_EARLIER.get(given["kind"], {}), **given["settings"]})
            with told(f"step {number}, {step.kind}"):
                if plate[-1] in _by(step, plate):
                    _check_controls(step, controls)
                    part = _fitted(step, wells, controls, plate)
                else:
                    part = _MODULES_OF_KINDS[step.kind].load(folder / Path(given["file"]).name)
                wells = _applied(part, wells)
    return wells


def normalization(
    wells: Profiles,
    method: str,
    controls: np.ndarray | None,
    by: Sequence[str] | str | None = None,
    on: str = "wells",
    epsilon: float = 1e-18,
    percentiles: Sequence[float] = (1.0, 99.0),
) -> Normalization:
    """A step that normalizes, see ``normalize.fit``.

    Args:
        wells: N rows.
        method: one of ``normalize.METHODS``.
        controls: (N,) bool.
        by: see ``normalize.fit``.
        on: "wells", which are all that are not held out, or "controls".
        epsilon: see ``normalize.fit``.
        percentiles: see ``normalize.fit``.

    Raises:
        ValueError: ``on`` is neither, or as ``normalize.fit``.
    """
    if on not in ("wells", "controls"):
        raise UserError(f"fitted on nothing known: got on={on!r}, expected wells or controls; correct the step")
    rows = controls if on == "controls" else _not_held_out(wells)
    return normalize.fit(wells, method, by, rows, epsilon, percentiles)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Puts what was being done before the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error


_MODULES = {Selection: select, Normalization: normalize, Spherizing: spherize}
_MODULES_OF_KINDS = {**dict.fromkeys(normalize.METHODS, normalize), "select": select, "spherize": spherize}
_EARLIER = {"spherize": {"regularization": "pycytominer"}}
"""Settings by kind that runs had before there was a choice, and that their files do not name."""
_LEVELS = {Selection: "selected", Normalization: "normalized", Spherizing: "spherized"}


def _fitted(step: Step, wells: Profiles, controls: np.ndarray | None, plate: Sequence[str]) -> Any:
    if step.kind == "select":
        return select.select(wells, **step.settings)[1]
    kept = _not_held_out(wells)
    if controls is not None and kept is not None:
        controls = controls & kept
    settings = {**step.settings, "by": _by(step, plate)}
    if step.kind == "spherize":
        return spherize.fit(wells, controls, **settings)
    return normalization(wells, step.kind, controls, **settings)


def _still(part: Spherizing, before: Profiles, after: Profiles, controls: np.ndarray) -> Stillness | None:
    kept = _not_held_out(before)
    treated = ~controls if kept is None else ~controls & kept
    return stillness(part, before, after, controls if kept is None else controls & kept, treated)


def _applied(part: Any, wells: Profiles) -> Profiles:
    return _chosen(wells, part.kept) if isinstance(part, Selection) else _MODULES[type(part)].apply(part, wells)


def _by(step: Step, plate: Sequence[str]) -> tuple[str, ...]:
    """The columns that a step groups by; the plate's where a normalization names none."""
    by = step.settings.get("by")
    if by is None:
        return tuple(plate) if step.kind in normalize.METHODS else ()
    return plate_identity.completed(fitted.columns(by), plate)


def _check_controls(step: Step, controls: np.ndarray | None) -> None:
    if controls is None and (step.kind == "spherize" or step.settings.get("on") == "controls"):
        raise UserError(
            "no negative controls to fit to: got controls None, expected one bool for each of the wells, since it is "
            "fitted to the controls of every plate; say which wells are controls"
        )


def _not_held_out(wells: Profiles) -> np.ndarray | None:
    """(N,) bool; None for all."""
    if HELD_OUT not in wells.metadata.columns:
        return None
    return ~wells.metadata[HELD_OUT].fill_null(False).to_numpy()


def _chosen(wells: Profiles, names: Sequence[str]) -> Profiles:
    known = set(wells.names)
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"features that are missing: got {len(wells.names)} without {few(missing)}, expected all {len(names)} that "
            "it was fitted to; read the wells as the run did"
        )
    return take_features(wells, names)


def _write(path: Path, content: Any) -> None:
    with whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / STEPS).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"no variant: got {folder} without a {STEPS} that can be read, expected the folder of a variant that "
            "bin/profile finished; name <workdir>/profiles/<variant>, or profile again"
        ) from error
