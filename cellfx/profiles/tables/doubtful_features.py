"""Features whose names say that they hardly are any: counters, places, leftovers of a merge, unmarked metadata."""

import re
from collections.abc import Sequence

from cellfx.profiles.tables.table import METADATA, few

_AGAIN = r"(_[xy]|\.\d+|_duplicated_\d+)?"
NO_FEATURE = re.compile(
    r"(^|_)((Image|Object|Table)Number|Number_Object_Number|id)$|ClosestObjectNumber_\w+$|Index$"
    r"|^(Unnamed: \d+(\.\d+|_level_\d+)*|__index_level_\d+__|level_\d+|)$".replace("$", f"{_AGAIN}$"),
    re.IGNORECASE,
)
"""Names of columns that count or identify: CellProfiler's numbers of images, objects and tables, ids, indices of
pandas; also where a merge or a second column of one name put something behind them."""
PLACE = re.compile(r"(^|_)(Location|Parent|Children|Number)_|BoundingBox|_Center_[XYZ]$")
"""Names that CellProfiler gives to where an object lies, and to which others belong to it."""
METADATA_NAME = re.compile("Dose|Dose_um|Concentration|Plate|Well|Batch|Site|Row|Column|Replicate", re.IGNORECASE)
"""Names of usual metadata that lack the prefix."""


def told(names: Sequence[str]) -> list[str]:
    """A line for each kind of features that hardly are any.

    Args:
        names: of all features.
    """
    counters = [name for name in names if NO_FEATURE.search(name)]
    places = [name for name in names if PLACE.search(name) and name not in counters]
    known = set(names)
    merged = [name for name in names if _other(name) in known or re.search(r"_duplicated_\d+$", name)]
    merged = [name for name in merged if name not in counters]
    kinds = {
        "named like a counter or an id": counters,
        "named like a place or a count of objects, which say where a cell lay": places,
        "named like what a merge left of a column that both tables have": merged,
    }
    found = [
        f"{_count(some, names)} {kind}: {_spoken(some)}; leave them out with "
        "profiles.features, a regular expression that only features match, or begin their names with Metadata_"
        for kind, some in kinds.items()
        if some
    ]
    if some := [name for name in names if METADATA_NAME.fullmatch(name)]:
        found.append(
            f"{_count(some, names)} named like metadata: {few(some)}; call "
            f"{'it' if len(some) == 1 else 'them'} {', '.join(METADATA + name for name in some)} if "
            f"{'it is no feature' if len(some) == 1 else 'they are no features'}"
        )
    return found


def _count(some: Sequence[str], names: Sequence[str]) -> str:
    return f"{len(some):,} feature{'' if len(some) == 1 else 's'} of {len(names):,}"


def _spoken(names: Sequence[str]) -> str:
    """The first names, of which one may be empty."""
    named = [name for name in names if name]
    return ", ".join(["a column without a name"] * (len(named) < len(names)) + ([few(named)] if named else []))


def _other(name: str) -> str | None:
    """The column that another would be the second of, as pandas and Polars name it."""
    if name.endswith(("_x", "_y")):
        return name[:-1] + {"x": "y", "y": "x"}[name[-1]]
    match = re.fullmatch(r"(.+)\.\d+", name)
    return match[1] if match else None
