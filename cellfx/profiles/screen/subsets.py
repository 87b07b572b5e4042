"""Subsets of a screen that scores are reported on: strong phenotypes, and the mechanisms with most compounds.

Bornholdt 2021, section 4.6. Global scores (enrichment, hits) are computed on the subset itself; precision and recall,
which need the partners, on all rows and then averaged over the subset: ``retrieval.macro_mean(values, subset)``.
"""

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.rules import encode
from cellfx.profiles.tables.table import Profiles


def control_similarity(profiles: Profiles, controls: np.ndarray, kernel: str = "pearson") -> np.ndarray:
    """How alike each row is to the median profile of the controls: (N,), the smaller the stronger the phenotype.

    Args:
        profiles: of N rows.
        controls: (N,) bool, negative controls.
        kernel: see ``similarity.KERNELS``.

    Raises:
        ValueError: no control, controls that do not fit, or as ``similarity.prepare``, also where the median profile
            has no similarity: controls whose median is 0 in all features say nothing of direction.
    """
    controls = np.asarray(controls)
    num_rows = len(profiles.features)
    if controls.dtype != bool or controls.shape != (num_rows,) or not controls.any():
        raise UserError(
            f"no controls to compare with: got {controls.dtype} of shape {controls.shape}, "
            f"{int(np.sum(controls == 1))} true, expected bool of shape ({num_rows},) with 1 or more; "
            "name the negative controls"
        )
    median = np.median(profiles.features[controls], axis=0, keepdims=True)
    rows = prepare(profiles._replace(features=np.concatenate([profiles.features, median])), kernel).rows
    if kernel == "euclidean":
        return 1 / (1 + np.linalg.norm(rows[:-1] - rows[-1], axis=1))
    return rows[:-1] @ rows[-1]


def strong_phenotype(
    profiles: Profiles,
    controls: np.ndarray,
    by: str,
    count: int | None = None,
    share: float | None = None,
    kernel: str = "pearson",
) -> np.ndarray:
    """Rows of the treatments that are least like the controls; the thesis takes 450 of 1,144 compounds.

    Args:
        profiles: of N rows.
        controls: (N,) bool; never in the subset.
        by: metadata column of the treatment, whose similarity is the mean over its rows; rows without one are not in
            the subset.
        count: treatments to take, or
        share: of the treatments to take, in (0, 1], rounded. One of both is given.
        kernel: see ``similarity.KERNELS``.

    Returns:
        (N,) bool. Equal similarities are taken in the order of the rows.

    Raises:
        ValueError: as ``control_similarity``, no such column, or a count or share that cannot be taken.
    """
    similarity = control_similarity(profiles, controls, kernel)
    codes = np.where(controls, -1, encode(profiles.metadata, [by]))
    names, code = np.unique(codes[codes >= 0], return_inverse=True)
    wanted = count if share is None else round(share * len(names))
    if (count is None) == (share is None) or not 1 <= wanted <= len(names) or (share is not None and share > 1):
        raise UserError(
            f"no number of treatments: got count={count} and share={share} of {len(names)} treatments, expected either "
            f"a count from 1 to {len(names)} or a share in (0, 1]; give one of both"
        )
    means = np.bincount(code, similarity[codes >= 0]) / np.bincount(code)
    return np.isin(codes, names[np.argsort(means, kind="stable")[:wanted]])


def top_mechanisms(metadata: pl.DataFrame, mechanism: str, compound: str, count: int = 50) -> np.ndarray:
    """Rows of the mechanisms with most compounds.

    Args:
        metadata: N rows.
        mechanism: column; rows without one are not in the subset.
        compound: column, whose distinct values are counted.
        count: mechanisms to take; all, if there are no more. Equally large ones are taken in the order of the rows.

    Returns:
        (N,) bool.

    Raises:
        ValueError: no such column, or a count below 1.
    """
    if count < 1:
        raise UserError(f"no number of mechanisms: got count={count}, expected 1 or more; the thesis takes 50")
    codes, compounds = encode(metadata, [mechanism]), encode(metadata, [compound])
    pairs = np.unique(np.stack([codes, compounds])[:, (codes >= 0) & (compounds >= 0)], axis=1)
    sizes = np.bincount(pairs[0], minlength=int(codes.max(initial=-1)) + 1)
    return np.isin(codes, np.argsort(-sizes, kind="stable")[:count])
