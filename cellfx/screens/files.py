"""Levels of profiles in other formats than Parquet: the config section ``files`` of ``bin/profile``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.steps.variant import SCREEN
from cellfx.profiles.tables.table import from_frame, level_path
from cellfx.profiles.tables.writing import FORMATS, write_as
from cellfx.settings import call, nearest

CONSENSUS = "consensus"
"""The level of treatments; all others are of wells."""


class Files(NamedTuple):
    """The config section ``files``.

    Attributes:
        formats: "csv", "h5ad" (AnnData) or "gct" (GCT 1.3), written beside the Parquet file of every level.
    """

    formats: tuple[str, ...] = ()


def files(settings: Mapping[str, Any]) -> Files:
    """The config section ``files``.

    Raises:
        ValueError: a key that is none, or an unknown format.
    """
    found = call(Files, "files", settings)
    known = [suffix.removeprefix(".") for suffix in FORMATS]
    unknown = [name for name in found.formats if name not in known]
    if unknown:
        raise UserError(f"unknown format in files.formats: got {unknown[0]!r}; {nearest(str(unknown[0]), known)}")
    return found


def write(folder: Path, levels: Sequence[str], wanted: Files, columns: Columns) -> None:
    """Writes the levels that lie in a folder as Parquet in other formats too, and removes those of an earlier run.

    Args:
        folder: of a variant.
        levels: some of ``table.SUFFIXES``.
        wanted: which formats.
        columns: of the metadata: wells are named by plate and well, treatments by what tells them.

    Raises:
        OSError: the disk is full.
    """
    for level in dict.fromkeys(levels):
        path = level_path(folder, SCREEN, level)
        profiles = from_frame(pl.read_parquet(path)) if wanted.formats else None
        place = [*columns.plate_identity(), *([columns.well] if columns.well else [])]
        for suffix in FORMATS:
            if profiles is not None and suffix.removeprefix(".") in wanted.formats:
                write_as(profiles, path.with_suffix(suffix), columns.treatment if level == CONSENSUS else place)
            else:
                path.with_suffix(suffix).unlink(missing_ok=True)
