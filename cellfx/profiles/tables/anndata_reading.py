"""AnnData files without AnnData: X and obs of ``.h5ad`` through h5py and of ``.zarr`` through zarr.

The format is https://anndata.readthedocs.io/en/stable/fileformat-prose.html. Both libraries show a file as groups and
arrays with attributes, so that one reader does for both. Nothing is unpickled: h5py cannot, and zarr's codec for it is
refused.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.table import METADATA

INDEX = f"{METADATA}Index"
"""The names of the observations, unless the file calls them something else."""
_PICKLED = re.compile(r'"(id|name)"\s*:\s*"(numcodecs\.)?pickle"')


def read_h5ad(path: Path) -> pl.DataFrame:
    """Observations of an ``.h5ad``: their metadata, then the columns of X.

    Returns:
        N rows: obs with the prefix ``Metadata_`` before names that lack it, the index among them, and D features,
        Float64.

    Raises:
        ValueError: another kind of file, or parts in an encoding that is not known.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            return _table(file, path)
    except OSError as error:
        raise UserError(f"no AnnData: got {path} ({error}), expected an HDF5 file; write it again") from error


def read_zarr(path: Path) -> pl.DataFrame:
    """The same of a ``.zarr`` folder.

    Raises:
        ValueError: see ``read_h5ad``; zarr is not installed, or an array is pickled.
    """
    try:
        import zarr
    except ImportError as error:
        raise UserError(
            f"cannot read {path}: got no package zarr, expected it to be installed; pip install zarr, or write .h5ad"
        ) from error
    _check_not_pickled(path)
    try:
        group = zarr.open_group(path, mode="r")
    except (FileNotFoundError, KeyError, zarr.errors.GroupNotFoundError) as error:
        raise UserError(f"no AnnData: got {path}, expected a zarr group; write it again") from error
    return _table(group, path)


def _table(file: Any, path: Path) -> pl.DataFrame:
    missing = [name for name in ("X", "obs", "var") if name not in file]
    if missing:
        raise UserError(
            f"no AnnData: got {path} without {', '.join(missing)}, expected X, obs and var; write it with AnnData"
        )
    matrix, obs, var = _matrix(file["X"], path), _frame(file["obs"], path), _frame(file["var"], path)
    names = next(iter(var.values())).cast(pl.String).to_list()
    features = {name: matrix[:, i] for i, name in enumerate(names)}
    metadata = {name if name.startswith(METADATA) else METADATA + name: column for name, column in obs.items()}
    if len(features) != matrix.shape[1] or len(metadata) != len(obs) or metadata.keys() & features.keys():
        raise UserError(
            f"columns that would have one name: got {path} with {matrix.shape[1]} features of {len(features)} names "
            f"and the metadata {list(obs)[:5]}, expected a name for each; make the names unique"
        )
    return pl.DataFrame({**metadata, **features})


def _matrix(item: Any, path: Path) -> np.ndarray:
    """(N, D) float64."""
    encoding = item.attrs.get("encoding-type", "array")
    if encoding == "array":
        return np.asarray(item[...], np.float64)
    if encoding not in ("csr_matrix", "csc_matrix"):
        raise _unknown(encoding, "X", path)
    from scipy import sparse

    parts = tuple(np.asarray(item[name][...]) for name in ("data", "indices", "indptr"))
    make = sparse.csr_matrix if encoding == "csr_matrix" else sparse.csc_matrix
    return make(parts, shape=tuple(item.attrs["shape"])).toarray().astype(np.float64)


def _frame(group: Any, path: Path) -> dict[str, pl.Series]:
    """Columns of obs or var, the index first."""
    if group.attrs.get("encoding-type", "dataframe") != "dataframe" or "_index" not in group.attrs:
        raise _unknown(group.attrs.get("encoding-type"), group.name, path)
    index = group.attrs["_index"]
    columns = {INDEX if index in ("_index", "index") else index: _column(group[index], group, path)}
    return {**columns, **{name: _column(group[name], group, path) for name in group.attrs.get("column-order", ())}}


def _column(item: Any, frame: Any, path: Path) -> pl.Series:
    encoding = item.attrs.get("encoding-type", "array")
    if encoding == "categorical":
        categories, codes = _series(item["categories"]), np.asarray(item["codes"][...])
    elif "categories" in item.attrs:  # written before AnnData 0.8: a reference to the categories, under one name
        key = str(item.name).rsplit("/", 1)[-1]
        categories, codes = _series(frame["__categories"][key]), np.asarray(item[...])
    elif encoding.startswith("nullable-"):
        known = pl.Series(~np.asarray(item["mask"][...]).astype(bool))
        return pl.select(pl.when(known).then(_series(item["values"]))).to_series()
    elif encoding in ("array", "string-array"):
        return _series(item)
    else:
        raise _unknown(encoding, str(item.name), path)
    places = pl.Series(codes.astype(np.int64))
    return categories.gather(places.set(places < 0, None))


def _series(item: Any) -> pl.Series:
    values = np.asarray(item[...])
    if values.dtype.kind in "biuf":
        return pl.Series(values)
    return pl.Series(
        [v.decode() if isinstance(v, bytes) else None if v is None else str(v) for v in values], dtype=pl.String
    )


def _check_not_pickled(path: Path) -> None:
    """Looks at the descriptions of all arrays before zarr does: some of its versions unpickle, some refuse to."""
    for name in (".zarray", ".zmetadata", "zarr.json"):
        for description in path.rglob(name):
            if _PICKLED.search(description.read_text()):
                raise UserError(
                    f"a pickled array: got {description}, expected numbers or text; reading it could run any code, so "
                    "write it again as text"
                )


def _unknown(encoding: Any, name: str, path: Path) -> ValueError:
    return UserError(
        f"an encoding that is not known: got {encoding!r} for {name} in {path}, expected arrays, sparse matrices and "
        "data frames; write the file with AnnData 0.8 or newer"
    )
