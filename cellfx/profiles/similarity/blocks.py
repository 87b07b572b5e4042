"""How alike profiles are, a block of rows against all at a time: memory O(block x N), never N x N.

Rows are made ready once, so that a similarity is a product of two rows. A block of them is then compared with all
rows and reduced at once, in one compiled program, to the few numbers that a score needs:

    ready = prepare(profiles, "cosine")
    nearest = over_blocks(ready, lambda similarity, rows: jnp.max(similarity, axis=1))    # (N,)

Everything is float64, on accelerators too: scores count how many rows are more alike than another, and rows that are
equal must be seen to be equal. float32 would take half of the time.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles, check_finite, few

KERNELS = ("cosine", "pearson", "spearman", "euclidean")
"""Cosine of the angle, correlation of the values, correlation of their ranks, 1 / (1 + distance)."""
LEAST_FEATURES = {"cosine": 2, "pearson": 3, "spearman": 3, "euclidean": 1}
"""Fewer leave every similarity 1 or -1."""
TIE = 1e-12
"""Similarities closer than this are equal: what two orders of summation leave between equal rows is 1e-16 to 1e-14."""
BLOCK_ENTRIES = 2**20
"""Similarities held at a time, 8 MiB: they stay in the cache, and larger ones are new memory for every block."""
LEAST_ROWS, MOST_ROWS = 64, 1024
"""A block has no fewer rows, because a product reads all N rows for each block, and no more."""
CONSTANT = 1e-12
"""A row whose values spread less than this, as a share of its largest one, has no correlation but rounding's."""


class Prepared(NamedTuple):
    """Rows that a product compares.

    Attributes:
        rows: (N, D) float64. Of length 1, except for the Euclidean kernel, where they are as given less their mean.
        kernel: one of ``KERNELS``.
    """

    rows: np.ndarray
    kernel: str


def prepare(profiles: Profiles, kernel: str = "cosine") -> Prepared:
    """Makes profiles ready to be compared.

    Spearman's ranks give equal values the mean of their ranks. The Euclidean similarity 1 / (1 + distance) is in
    (0, 1] and ranks as the distance does; a distance below 1e-7 of the rows' lengths is zero, because the difference
    of products that it is computed from cannot tell.

    Args:
        profiles: (N, D), N and D of 1 or more.
        kernel: one of ``KERNELS``.

    Raises:
        ValueError: an unknown kernel, no rows or features, a value that is not finite, or a row that the kernel says
            nothing about: zeros for the cosine, a constant one for the correlations.
    """
    features = _finite(profiles, kernel)
    _check_defined(features, kernel)
    if kernel == "euclidean":
        return Prepared(features - features.mean(axis=0), kernel)
    if kernel == "spearman":
        from scipy.stats import rankdata

        features = rankdata(features, axis=1)
    rows = features / np.max(np.abs(features), axis=1, keepdims=True)  # so that squares neither overflow nor vanish
    if kernel != "cosine":
        rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Prepared(rows, kernel)


def over_blocks(
    prepared: Prepared,
    reduce: Callable,
    *operands: Any,
    rows: np.ndarray | None = None,
    block_rows: int | None = None,
) -> Any:
    """Reduces the similarities of each row to all rows, a block at a time.

    ``reduce`` is compiled with the product once per shape and per function: hand the same function again, defined at
    the top of a file, and hand arrays as operands rather than in a closure. It runs with 64-bit types enabled; a
    result should say its own type where that matters.

    Args:
        prepared: N rows.
        reduce: (similarity (B, N) float64, rows (B,) int32, *operands) -> tree of arrays (B, ...). The similarity of a
            row to itself, ``similarity[b, rows[b]]``, is 1 and it is for ``reduce`` to leave it out.
        *operands: trees of arrays handed to ``reduce``.
        rows: (Q,) of those to compare with all; all of them by default.
        block_rows: B; by default as many as make ``BLOCK_ENTRIES`` similarities, from 64 to 1,024.

    Returns:
        Tree of NumPy arrays (Q, ...), in the order of ``rows``.

    Raises:
        ValueError: no rows to compare, or rows that do not exist.
    """
    parts = [reduced for _, reduced in _blocks(prepared, reduce, operands, rows, block_rows)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def similarity_blocks(
    prepared: Prepared, rows: np.ndarray | None = None, block_rows: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of similarities for what only NumPy does well, such as sorting; arguments as in ``over_blocks``.

    Yields:
        rows: (B,) int32; the last block may be smaller.
        similarity: (B, N) float64, read-only.
    """
    yield from _blocks(prepared, _everything, (), rows, block_rows)


def just_above(similarity: Any, kernel: str) -> Any:
    """The bound that a similarity must exceed to count as larger than this one; closer ones are ties.

    Args:
        similarity: NumPy or JAX array of any shape.
        kernel: one of ``KERNELS``. The tie is ``TIE`` wide; for the Euclidean kernel, as a share of the similarity.
    """
    return similarity * (1 + TIE) if kernel == "euclidean" else similarity + TIE


def just_below(similarity: Any, kernel: str) -> Any:
    """The bound that a similarity must exceed to count as no smaller than this one, see ``just_above``."""
    return similarity * (1 - TIE) if kernel == "euclidean" else similarity - TIE


def _blocks(
    prepared: Prepared, reduce: Callable, operands: tuple, rows: np.ndarray | None, block_rows: int | None
) -> Iterator[tuple[np.ndarray, Any]]:
    num_rows = len(prepared.rows)
    rows = np.arange(num_rows, dtype=np.int32) if rows is None else np.asarray(rows, np.int32)
    if rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= num_rows:
        raise UserError(
            f"rows that cannot be compared: got {rows.tolist()[:5]} of {num_rows} rows, expected numbers from 0 to "
            f"{num_rows - 1}, one or more; choose rows of the profiles"
        )
    block_rows = min(block_rows or min(max(BLOCK_ENTRIES // num_rows, LEAST_ROWS), MOST_ROWS), len(rows))
    with jax.enable_x64(True):
        data, operands = jax.device_put((prepared.rows, operands))
    for start in range(0, len(rows), block_rows):
        block = rows[start : start + block_rows]
        # The last block repeats its last row, so that one compiled program does all.
        padded = np.pad(block, (0, block_rows - len(block)), mode="edge")
        with jax.enable_x64(True):
            reduced = _reduced(reduce, prepared.kernel, jnp.asarray(padded), data, operands)
        count = len(block)
        yield block, jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], reduced)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _reduced(reduce: Callable, kernel: str, rows: jax.Array, data: jax.Array, operands: tuple) -> Any:
    queries = data[rows]
    product = jax.lax.dot_general(queries, data, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST)
    if kernel == "euclidean":
        lengths = jnp.sum(queries**2, axis=1)[:, None] + jnp.sum(data**2, axis=1)[None]
        squares = lengths - 2 * product
        distance = jnp.sqrt(jnp.where(squares > 1e-14 * lengths, squares, 0.0))
        product = 1 / (1 + distance)
    return reduce(product, rows, *operands)


def _everything(similarity: jax.Array, rows: jax.Array) -> jax.Array:
    return similarity


def defined(features: np.ndarray, kernel: str) -> np.ndarray:
    """Rows (N,) bool of features (N, D) that a kernel says something about.

    That is no zeros for the cosine, nothing constant for the correlations, and all for the Euclidean kernel.
    """
    if kernel == "euclidean":
        return np.ones(len(features), bool)
    largest = np.max(np.abs(features), axis=1)
    if kernel == "cosine":
        return largest > 0
    return np.ptp(features, axis=1) > (CONSTANT * largest if kernel == "pearson" else 0.0)


def check_telling(profiles: Profiles, kernel: str) -> None:
    """Refuses rows that all have the same similarities to each other, or none, before anything is computed of them.

    Args:
        profiles: (N, D).
        kernel: one of ``KERNELS``.

    Raises:
        ValueError: features none of which varies, fewer than ``LEAST_FEATURES``, or as ``prepare``.
    """
    features = _finite(profiles, kernel)
    least = LEAST_FEATURES[kernel]
    if features.shape[1] < least:
        raise UserError(
            f"too few features for {kernel} similarities between profiles, which are 1 or -1 then: got "
            f"{features.shape[1]}, {few(profiles.names)}, expected {least} or more; keep more features, or compare by "
            "the euclidean similarity"
        )
    if len(features) > 1 and np.all(np.ptp(features, axis=0) <= CONSTANT * np.max(np.abs(features), axis=0)):
        raise UserError(
            f"profiles that are all the same: got {features.shape[1]} features of {len(features)} rows, none of which "
            "varies, expected one or more that do; look at the table, or at the steps of the variant"
        )
    _check_defined(features, kernel)


def _finite(profiles: Profiles, kernel: str) -> np.ndarray:
    """Features (N, D) float64, and a kernel that there is."""
    if kernel not in KERNELS:
        raise UserError(f"unknown kernel: got {kernel!r}, expected one of {', '.join(KERNELS)}; choose one of them")
    features = np.asarray(profiles.features, np.float64)
    if features.ndim != 2 or not features.size:
        raise UserError(
            f"nothing to compare: got features of shape {features.shape}, expected (N, D) with both 1 or more; give "
            "rows with features"
        )
    check_finite(profiles, "similarities")
    return features


def _check_defined(features: np.ndarray, kernel: str) -> None:
    undefined = np.flatnonzero(~defined(features, kernel))
    if len(undefined):
        what = "all zeros" if kernel == "cosine" else "constant"
        raise UserError(
            f"a profile without {kernel} similarity: got row {undefined[0]} that is {what}, first value "
            f"{features[undefined[0], 0]} ({len(undefined)} such rows), expected features that differ; drop the row or "
            "use the euclidean kernel"
        )
