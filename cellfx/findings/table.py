"""Latents of every image as a table: Parquet or AnnData, written batch by batch, so that any number of images fits."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.data.source import SPLITS, Source, Split, iterate, to_float
from cellfx.findings.subject import BATCH_SIZE, Encode
from cellfx.profiles.tables import anndata_writing

ROWS_PER_WRITE = 65_536
"""Rows of a Parquet row group, and of what is held in memory at a time."""


class Rows(NamedTuple):
    """Some rows of the table.

    Attributes:
        names: (n,) text, unique: ``<split>/<place of the image in it>``.
        metadata: column ``Metadata_...`` -> (n,).
        latents: (n, L) float32.
    """

    names: np.ndarray
    metadata: dict[str, np.ndarray]
    latents: np.ndarray


def check(output: Path) -> None:
    """Makes sure that a table can be written under a name, before hours are spent on what goes into it.

    Raises:
        ValueError: the name ends in none of the known suffixes.
        FileNotFoundError: the folder it should lie in is not there.
        IsADirectoryError: it is a folder.
    """
    if output.suffix not in _WRITERS:
        raise ValueError(
            f"unknown kind of table: got {output.name!r}, expected a name that ends in {' or '.join(_WRITERS)}; "
            "change --output"
        )
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"no folder for the table: got {output}, expected {output.parent} to be there; make it or change --output"
        )
    if output.is_dir():
        raise IsADirectoryError(f"the table would replace a folder: got {output}, expected a file; change --output")


def chosen(source: Source, split: str | None = None) -> dict[str, Split]:
    """The splits of a source that have images, in the order train, valid, test; or the one that is named.

    Raises:
        ValueError: there is no such split, or no image in it.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"unknown split: got {split!r}, expected one of {', '.join(SPLITS)}; change --split")
    names = SPLITS if split is None else (split,)
    found = {name: source.splits[name] for name in names if name in source.splits and source.splits[name].num_examples}
    if not found:
        full = [name for name, part in source.splits.items() if part.num_examples]
        raise ValueError(
            f"nothing to embed: got no image in {split or 'any split'} of {source.name}, expected at least one; "
            f"{f'choose --split {full[0]} or leave it out' if full else 'change the data of the config'}"
        )
    return found


def write(output: Path, rows: Iterator[Rows]) -> int:
    """Writes the table under a temporary name and renames it, so that it is there whole or not at all.

    Args:
        output: ends in ``.parquet``, or in ``.h5ad`` for AnnData: X the latents, obs the metadata, var_names the
            latents' names.
        rows: at least one item, all with the same columns.

    Returns:
        Number of rows.

    Raises:
        ValueError, OSError: see ``check``; the disk is full or closed to us.
    """
    check(output)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        count = _WRITERS[output.suffix](temporary, rows)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def latent_names(num_latents: int) -> list[str]:
    """z000, z001, ..., as wide as the last of them needs."""
    return [f"z{latent:03d}" for latent in range(num_latents)]


def table(source: Source, encode: Encode, splits: Mapping[str, Split]) -> Iterator[Rows]:
    """Rows for all images of some splits, in the order of the splits and within each in its own.

    The columns are those of a split's metadata and, where the data has them, Metadata_Label and Metadata_Class (number
    and name of the class), Metadata_Group (the number of what is kept in one split, for instance the plate) and
    Metadata_Factor_<name>; and Metadata_Split.

    Args:
        source: names the classes and factors.
        encode: x (B, H, W, C) float32 in [0, 1] -> (mean, logvar), each (B, L); the means are the latents.
        splits: of the source, by name.

    Yields:
        ``ROWS_PER_WRITE`` rows or fewer.
    """
    batches = itertools.chain.from_iterable(_encoded(name, split, source, encode) for name, split in splits.items())
    while group := list(itertools.islice(batches, max(ROWS_PER_WRITE // BATCH_SIZE, 1))):
        columns = {name: np.concatenate([rows.metadata[name] for rows in group]) for name in group[0].metadata}
        yield Rows(
            np.concatenate([rows.names for rows in group]), columns, np.concatenate([rows.latents for rows in group])
        )


def _encoded(name: str, split: Split, source: Source, encode: Encode) -> Iterator[Rows]:
    start = 0
    for batch in iterate(split, BATCH_SIZE):
        latents = np.asarray(encode(to_float(batch["x"]))[0], np.float32)
        real = batch["mask"] > 0
        place = np.arange(start, start + int(real.sum()))
        start += len(place)
        known = {column: values[place] for column, values in split.metadata.items()}
        batch = {key: np.asarray(values)[real] for key, values in batch.items()}
        names = np.array([f"{name}/{row}" for row in place])
        columns = {"Metadata_Split": np.full(len(place), name), **_described(batch, source), **known}
        yield Rows(names, {column: _plain(values) for column, values in columns.items()}, latents[real])


def _described(batch: Mapping[str, np.ndarray], source: Source) -> dict[str, np.ndarray]:
    columns = {}
    if "label" in batch:
        columns["Metadata_Label"] = batch["label"]
        if source.class_names:
            columns["Metadata_Class"] = np.array(source.class_names)[batch["label"]]
    if "group" in batch:
        columns["Metadata_Group"] = batch["group"]
    if "factors" in batch:
        columns |= {f"Metadata_Factor_{name}": batch["factors"][:, i] for i, name in enumerate(source.factor_names)}
    return columns


def _plain(values: np.ndarray) -> np.ndarray:
    """Numbers as they are, anything else as text."""
    return values if values.dtype.kind in "biuf" else values.astype(np.str_)


def _write_parquet(path: Path, rows: Iterator[Rows]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    count, writer = 0, None
    try:
        for part in rows:
            latents = zip(latent_names(part.latents.shape[1]), part.latents.T, strict=True)
            group = pa.table({**part.metadata, **{name: np.ascontiguousarray(column) for name, column in latents}})
            writer = writer or parquet.ParquetWriter(path, group.schema)
            writer.write_table(group, row_group_size=ROWS_PER_WRITE)
            count += len(part.names)
    finally:
        if writer is not None:
            writer.close()
    return count


def _write_h5ad(path: Path, rows: Iterator[Rows]) -> int:
    import h5py

    first = next(rows)
    with h5py.File(path, "w") as file:
        names = latent_names(first.latents.shape[1])
        anndata_writing.create(file, first.latents, first.names, first.metadata, names)
        for part in rows:
            anndata_writing.append(file, part.latents, part.names, part.metadata)
        return len(file["X"])


_WRITERS: dict[str, Callable[[Path, Iterator[Rows]], int]] = {".parquet": _write_parquet, ".h5ad": _write_h5ad}
