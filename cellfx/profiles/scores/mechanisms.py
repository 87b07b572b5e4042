"""Which features go with which mechanism of action: Valletta et al., figure 5."""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles, check_finite


class Correlations(NamedTuple):
    """Features against mechanisms.

    Attributes:
        features: (D,) names, the strongest first.
        mechanisms: (M,) names.
        correlation: (D, M) in [-1, 1].
    """

    features: tuple[str, ...]
    mechanisms: tuple[str, ...]
    correlation: np.ndarray


def mechanism_correlations(profiles: Profiles, column: str = "Metadata_MOA") -> Correlations:
    """Pearson correlation of every feature with being of a mechanism (1) or of another (0).

    Differs from the paper: signed; the figure shows absolute values, and features are sorted by their largest one over
    all mechanisms.

    Args:
        profiles: N rows; those without a mechanism are left out.
        column: of metadata, the mechanism.

    Returns:
        A feature that does not vary has correlation 0 with all.

    Raises:
        ValueError: no such column, fewer than two mechanisms, or features that are not finite.
    """
    if column not in profiles.metadata.columns:
        raise UserError(
            f"no column of mechanisms: got {column!r}, expected one of {', '.join(profiles.metadata.columns)}; correct "
            "the name"
        )
    check_finite(profiles, "correlation with mechanisms")
    known = profiles.metadata[column].cast(pl.String)
    rows = np.flatnonzero(known.is_not_null().to_numpy())
    mechanisms, code = np.unique(known.to_numpy()[rows].astype(np.str_), return_inverse=True)
    if len(mechanisms) < 2:
        raise UserError(
            f"fewer than two mechanisms: got {len(mechanisms)} in {column}, expected two or more; annotate the profiles"
        )
    is_of = (code[:, None] == np.arange(len(mechanisms))).astype(np.float64)
    values, members = (_standardized(part) for part in (profiles.features[rows], is_of))
    correlation = values.T @ members / len(rows)
    order = np.argsort(-np.abs(correlation).max(axis=1), kind="stable")
    names = tuple(profiles.names[place] for place in order)
    return Correlations(names, tuple(mechanisms.tolist()), correlation[order])


def _standardized(columns: np.ndarray) -> np.ndarray:
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    constant = spread <= 1e-12 * np.abs(columns).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))
