"""The channels of an image: what they are called, which of them are taken, and which of them are bright field.

Names are compared without regard to case, spaces, underscores and hyphens: ``Side Scatter`` is ``side_scatter``.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from cellfx.preprocess.kinds import KINDS

_BRIGHT_FIELD, _FLUORESCENCE = KINDS


def canonical(name: str) -> str:
    """The name as it is compared."""
    return re.sub(r"[\s_-]", "", name).casefold()


def name_channels(
    own: Sequence[str], count: int, channel_names: Sequence[str] | None, file_names: Sequence[str], path: Path
) -> tuple[str, ...]:
    """Names of all channels of an image.

    Args:
        own: C names that the file gives its channels; empty if it gives none.
        count: C.
        channel_names: C names for channels without; None for none.
        file_names: C names told by the names of an object's files, where each holds a channel; otherwise empty.
        path: for the errors.

    Returns:
        ``own``, else ``channel_names``, else ``file_names``, else Ch1, Ch2 and so on.

    Raises:
        ValueError: ``channel_names`` are needed and too few or too many.
    """
    if own:
        return tuple(own)
    if channel_names is not None and len(channel_names) != count:
        raise ValueError(
            f"{path} has {count} channels; got channel_names {', '.join(channel_names)}; expected a name for each; "
            "correct channel_names"
        )
    return tuple(channel_names or file_names or (f"Ch{number}" for number in range(1, count + 1)))


def choose(
    wanted: Sequence[str | int] | str | int | None, names: Sequence[str], path: Path, argument: str = "channels"
) -> tuple[int, ...]:
    """Indices of the wanted channels, in the order wanted.

    Args:
        wanted: names or indices from 0; None for all.
        names: of the channels that there are.
        path: of an image that has them, for the errors.
        argument: what the choice is called, for the errors.

    Raises:
        ValueError: none wanted, one wanted twice, one that there is not, or a name that two channels share.
    """
    if wanted is None:
        return tuple(range(len(names)))
    items = [wanted] if isinstance(wanted, str | int) else list(wanted)
    indices = [_index(item, names, path, argument) for item in items]
    if not indices or len(set(indices)) < len(indices):
        raise ValueError(
            f"{argument} must be different, at least one; got {', '.join(map(str, items)) or 'none'}; expected some of "
            f"{', '.join(names)}; correct {argument}"
        )
    return tuple(indices)


def kinds_of(brightfield: Sequence[str | int] | str | int | None, names: Sequence[str], path: Path) -> tuple[str, ...]:
    """Kind of every channel, ``brightfield`` or ``fluorescence``; dark field and scatter count as fluorescence.

    Args:
        brightfield: names or indices of the bright field channels, possibly none; None takes those whose name contains
            ``bright`` or ``bf``.
        names: of all channels.
        path: of an image that has them, for the errors.

    Raises:
        ValueError: see ``choose``.
    """
    if brightfield is None:
        chosen = [index for index, name in enumerate(names) if re.search("bright|bf", canonical(name))]
    else:
        chosen = [] if brightfield in ((), []) else choose(brightfield, names, path, "brightfield")
    return tuple(_BRIGHT_FIELD if index in chosen else _FLUORESCENCE for index in range(len(names)))


def align(names: Sequence[str], expected: Sequence[str], path: Path, root: Path) -> tuple[int, ...]:
    """Indices that bring the channels of an image into the order of those of the first.

    Args:
        names: of the image.
        expected: of the first image.
        path: of the image.
        root: of all.

    Raises:
        ValueError: other channels.
    """
    found, wanted = [canonical(name) for name in names], [canonical(name) for name in expected]
    if found == wanted:
        return tuple(range(len(names)))
    if sorted(found) == sorted(wanted) and len(set(found)) == len(found):
        return tuple(found.index(name) for name in wanted)
    missing = [name for name in expected if canonical(name) not in found]
    reason = f"it has no channel {missing[0]!r}, the nearest is {_nearest(missing[0], names)!r}; " if missing else ""
    raise ValueError(
        f"{path} has the channels {', '.join(names)}; expected {', '.join(expected)}, as the first image of {root} "
        f"has; {reason}convert or remove it"
    )


def _index(item: str | int, names: Sequence[str], path: Path, argument: str) -> int:
    if isinstance(item, str):
        found = [index for index, name in enumerate(names) if canonical(name) == canonical(item)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"{path} has {len(found)} channels called {item!r}; expected one; give an index in {argument}, one of "
                f"{', '.join(map(str, found))}"
            )
        hint = f"did you mean {_nearest(item, names)!r}?"
        if all(re.fullmatch("ch[0-9]+", canonical(name)) for name in names) and not re.search("[0-9]", item):
            hint = "the file names no channels, channel_names does"
        raise ValueError(
            f"{path} has no channel {item!r}; got the channels {', '.join(names)}; expected one of these or an index; "
            f"correct {argument}: {hint}"
        )
    if not 0 <= item < len(names):
        raise ValueError(
            f"{path} has no channel {item}; got the channels {', '.join(names)}; expected 0 to {len(names) - 1} or a "
            f"name; correct {argument}"
        )
    return item


def _nearest(name: str, names: Sequence[str]) -> str:
    known = {canonical(other): other for other in names}
    return known[difflib.get_close_matches(canonical(name), known, n=1, cutoff=0.0)[0]]
