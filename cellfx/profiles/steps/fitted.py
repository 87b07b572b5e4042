"""What is fitted to some rows of profiles, group by group, and applied to others: which rows, and how it is kept."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles, groups, whole

Label = tuple[str | None, ...]
"""Values of the columns that define a group, as text; () where all rows are one group."""

_DESCRIPTION = "description"


def columns(by: Sequence[str] | str) -> tuple[str, ...]:
    """Names of columns, where a text is one name."""
    return (by,) if isinstance(by, str) else tuple(by)


def reference(
    profiles: Profiles, by: Sequence[str], controls: np.ndarray | None
) -> tuple[tuple[Label, ...], list[np.ndarray]]:
    """The rows of each group that something is fitted to.

    Args:
        profiles: N rows.
        by: metadata columns that define the groups, for instance the plate; none: all rows are one group.
        controls: (N,) bool, the rows to fit to. None: all.

    Returns:
        Labels of the G groups in the order of their first rows, and their rows, each (n,) int.

    Raises:
        ValueError: an infinite feature, controls that do not fit, or a group with fewer than two rows to fit to.
    """
    infinite = np.isinf(profiles.features)
    if infinite.any():
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise UserError(
            f"infinite features have no scale: got {profiles.features[row, column]} in feature "
            f"{profiles.names[column]!r} of row {row}, expected finite or missing numbers; make them NaN or take them "
            "out"
        )
    if controls is not None and (controls.dtype != bool or controls.shape != (len(profiles.metadata),)):
        raise UserError(
            f"controls do not fit the profiles: got {controls.dtype} of shape {controls.shape}, expected bool of shape "
            f"({len(profiles.metadata)},); make one mask for all rows"
        )
    members = groups(profiles.metadata, by)
    labels = _labels(profiles, by, members)
    rows = members if controls is None else [group[controls[group]] for group in members]
    for label, group in zip(labels, rows, strict=True):
        if len(group) < 2:
            what = "rows" if controls is None else "controls"
            raise UserError(
                f"too few {what} to fit to: got {len(group)} in {spoken(by, label)}, expected 2 or more; leave it "
                f"out, or fit all {'groups' if by else 'rows'} together"
            )
    return labels, rows


def assign(profiles: Profiles, by: Sequence[str], labels: Sequence[Label]) -> list[tuple[int, np.ndarray]]:
    """Which fit belongs to which rows.

    Args:
        profiles: N rows to apply something to.
        by: as it was fitted.
        labels: of the G groups that it was fitted to.

    Returns:
        (place among the labels, (n,) int rows), which together are all rows.

    Raises:
        ValueError: a group that nothing was fitted to.
    """
    members, places = groups(profiles.metadata, by), {label: i for i, label in enumerate(labels)}
    found = _labels(profiles, by, members)
    for label in found:
        if label not in places:
            raise UserError(
                f"nothing was fitted to this group: got {spoken(by, label)}, expected one of "
                f"{', '.join(spoken(by, known) for known in labels[:5])}{' ...' if len(labels) > 5 else ''}; fit it, "
                "or fit without groups to apply it anywhere"
            )
    return [(places[label], rows) for label, rows in zip(found, members, strict=True)]


def aligned(profiles: Profiles, names: Sequence[str]) -> np.ndarray:
    """Features in the order in which something was fitted to them.

    Returns:
        (N, D) float64.

    Raises:
        ValueError: they are not the features it was fitted to.
    """
    if profiles.names == tuple(names):
        return profiles.features
    missing, unknown = set(names) - set(profiles.names), set(profiles.names) - set(names)
    if missing or unknown:
        raise UserError(
            f"other features than it was fitted to: got {len(profiles.names)}, of which {len(unknown)} are new "
            f"{sorted(unknown)[:3]}, expected the same {len(names)}, of which {len(missing)} are missing "
            f"{sorted(missing)[:3]}; select the same features"
        )
    places = {name: i for i, name in enumerate(profiles.names)}
    return profiles.features[:, [places[name] for name in names]]


def save(path: Path | str, kind: str, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes arrays and what describes them to one ``.npz``, under a temporary name first; nothing is pickled."""
    with whole(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays, **{_DESCRIPTION: np.array(json.dumps({"kind": kind, **description}))})


def load(path: Path | str, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what ``save`` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        description = json.loads(str(arrays.pop(_DESCRIPTION)))
    except (KeyError, AttributeError, TypeError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(
            f"no saved {kind}: got {path}, expected a .npz that was written by save; name another file"
        ) from error
    if description.pop("kind") != kind:
        raise UserError(f"no saved {kind}: got another kind in {path}, expected a {kind}; name another file")
    return arrays, description


def _labels(profiles: Profiles, by: Sequence[str], members: Sequence[np.ndarray]) -> tuple[Label, ...]:
    if not by:
        return ((),)
    first = profiles.metadata[[int(rows[0]) for rows in members]]
    return tuple(zip(*(first[name].cast(str).to_list() for name in by), strict=True))


def spoken(by: Sequence[str], label: Label) -> str:
    """A group in words."""
    return ", ".join(f"{name} {value!r}" for name, value in zip(by, label, strict=True)) or "all rows together"
