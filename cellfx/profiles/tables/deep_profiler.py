"""What DeepProfiler wrote: one ``.npz`` for each field of view, with features and places of its cells.

The files hold a pickled description besides. It could run any code when it is opened and is not: plate, well and site
are taken from the path.
"""

import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.files import text_tables
from cellfx.profiles.tables.table import METADATA

_DAMAGED = (
    *(KeyError, AttributeError, TypeError, ValueError, OSError),
    *(RuntimeError, zipfile.BadZipFile, *text_tables.DAMAGED),
)
"""What NumPy and zipfile raise for a file that is not what it was."""


def read_tree(folder: Path) -> pl.DataFrame:
    """Cells of all fields of view below a folder, in the order of their paths.

    Args:
        folder: holds ``<plate>/<well>/<site>.npz`` or ``<plate>/<well>_<site>.npz``, at any depth. Each file has the
            arrays ``features`` (cells, D) and, if it is of numbers, ``locations`` (cells, 2 or more): x, y.

    Returns:
        ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_Site``, all text, ``Metadata_Location_X`` and ``_Y`` in pixels
        where they are known, ``DP_0`` to ``DP_<D - 1>`` Float64.

    Raises:
        ValueError: a file of another form, or not as many features in all of them.
    """
    parts = [_read(path, folder) for path in sorted(folder.rglob("*.npz"))]
    widths = {sum(name.startswith("DP_") for name in part.columns) for part in parts}
    if len(widths) > 1:
        raise UserError(
            f"fields of view with different features: got {sorted(widths)} of them below {folder}, expected one "
            "number; keep what different models made in different folders"
        )
    return pl.concat(parts, how="diagonal")


def _read(path: Path, folder: Path) -> pl.DataFrame:
    plate, well, site = _place(path, folder)
    try:
        with np.load(path, allow_pickle=False) as file:
            features = file["features"].astype(np.float64)
            locations = _numbers(file, "locations")
    except _DAMAGED as error:
        raise UserError(
            f"not what DeepProfiler writes: got {path}, expected a .npz with numbers in the array 'features'; take the "
            "file out of the folder"
        ) from error
    if features.ndim != 2:
        raise UserError(
            f"not features of cells: got an array of shape {features.shape} in {path}, expected (cells, D); export "
            "one vector for each cell"
        )
    columns = {"Plate": plate, "Well": well, "Site": site}
    frame = {METADATA + name: pl.Series([value] * len(features), dtype=pl.String) for name, value in columns.items()}
    if locations is not None and locations.ndim == 2 and len(locations) == len(features) and locations.shape[1] >= 2:
        frame |= {f"{METADATA}Location_X": locations[:, 0], f"{METADATA}Location_Y": locations[:, 1]}
    return pl.DataFrame({**frame, **{f"DP_{i}": column for i, column in enumerate(features.T)}})


def _numbers(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray | None:
    """An array that needs no pickle, or None."""
    if name not in file.files:
        return None
    try:
        return file[name].astype(np.float64)
    except ValueError:
        return None


def _place(path: Path, folder: Path) -> tuple[str, str, str]:
    """Plate, well and site."""
    parts = (*path.relative_to(folder).parts[:-1], path.stem)
    well, _, site = path.stem.rpartition("_")
    if well and len(parts) >= 2:
        return parts[-2], well, site
    if len(parts) >= 3:
        return parts[-3], parts[-2], parts[-1]
    raise UserError(
        f"no plate, well and site in the path: got {path.relative_to(folder)} below {folder}, expected "
        "<plate>/<well>/<site>.npz or <plate>/<well>_<site>.npz; name the folder that holds the plates"
    )
