"""AnnData files without AnnData: ``.h5ad`` through h5py, at once or batch by batch.

The format is https://anndata.readthedocs.io/en/stable/fileformat-prose.html, file version 0.1.0, which AnnData reads
from 0.8 on. ``anndata_reading`` reads them back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ROWS_PER_CHUNK = 4_096


class Partly(NamedTuple):
    """A column in which values are missing; text becomes categories, numbers and booleans their nullable kind.

    Attributes:
        values: (N,) anything where missing.
        known: (N,) bool.
    """

    values: np.ndarray
    known: np.ndarray


def create(
    file: Any, x: np.ndarray, names: np.ndarray, columns: Mapping[str, np.ndarray | Partly], variables: Sequence[str]
) -> None:
    """Fills an empty file.

    Args:
        file: an ``h5py.File`` that was opened for writing.
        x: (N, D) numbers.
        names: (N,) unique text, of the observations.
        columns: of obs.
        variables: (D,) names of the columns of ``x``.
    """
    _mark(file, "anndata", "0.1.0")
    _make(file, "X", x)
    for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
        _mark(file.create_group(name), "dict", "0.1.0")
    _frame(file, "obs", names, columns)
    _frame(file, "var", np.array(variables, np.str_), {})


def append(file: Any, x: np.ndarray, names: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    """Adds observations, whose columns are those that the file has, without missing values."""
    _append(file["X"], x)
    for name, values in {"_index": names, **columns}.items():
        _append(file["obs"][name], values)


def _frame(file: Any, name: str, index: np.ndarray, columns: Mapping[str, np.ndarray | Partly]) -> None:
    import h5py

    group = file.create_group(name)
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs.create("column-order", np.array(list(columns), object), dtype=h5py.string_dtype())
    for column, values in {"_index": index, **columns}.items():
        if isinstance(values, Partly):
            _make_partly(group, column, values)
        else:
            _make(group, column, values)


def _make_partly(group: Any, name: str, column: Partly) -> None:
    item, kind = group.create_group(name), column.values.dtype.kind
    if kind == "U":
        categories, codes = np.unique(column.values[column.known], return_inverse=True)
        placed = np.full(len(column.known), -1, np.int32)
        placed[column.known] = codes
        _mark(item, "categorical", "0.2.0")
        item.attrs["ordered"] = False
        _make(item, "categories", categories)
        _make(item, "codes", placed)
        return
    _mark(item, "nullable-boolean" if kind == "b" else "nullable-integer", "0.1.0")
    _make(item, "values", column.values)
    _make(item, "mask", ~column.known)


def _make(group: Any, name: str, values: np.ndarray) -> None:
    """A dataset that can grow along its first axis."""
    import h5py

    text = values.dtype.kind == "U"
    shape = (ROWS_PER_CHUNK, *values.shape[1:])
    dataset = group.create_dataset(
        name,
        (0, *values.shape[1:]),
        h5py.string_dtype() if text else values.dtype,
        maxshape=(None, *values.shape[1:]),
        chunks=shape,
    )
    _mark(dataset, "string-array" if text else "array", "0.2.0")
    _append(dataset, values)


def _append(dataset: Any, values: np.ndarray) -> None:
    start = len(dataset)
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values.astype(object) if values.dtype.kind == "U" else values


def _mark(item: Any, kind: str, version: str) -> None:
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, version
