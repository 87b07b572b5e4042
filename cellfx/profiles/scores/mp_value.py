"""mp-value: whether the replicates of a treatment differ from the controls, in all features at once.

Hutz et al. 2013 (doi:10.1177/1087057112469257); cytominer-eval's ``mp_value``. On the principal components that explain
90 percent of the variance, the Mahalanobis distance between the means of treated and control wells is compared with
those after the wells have changed places at random.

Wells may change places only where controls vary as wells without an effect do. Controls that were centered plate by
plate vary less, so that p-values are too small where plates have few of them; only a rank that is too low for the
components is noticed and refused.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.tables.table import Profiles, check_finite

COMPONENTS = ("each", "shared")
ENTRIES = 1 << 22
"""Numbers that are gathered at a time: 32 MiB."""
SINGULAR = 1e-6
"""Of the largest singular value: what lies below is 0, also after it was rounded to float32."""
UNKNOWN = 1e-14
"""Share of the scatter of all rows that, where some of them have no more, is lost in rounding."""


class MpValues(NamedTuple):
    """What T treatments do.

    Attributes:
        treatments: (T,) int, their codes, rising.
        distance: (T,) Mahalanobis distance to the controls.
        p_value: (T,) in (0, 1].
        num_components: (T,) principal components it was measured on.
    """

    treatments: np.ndarray
    distance: np.ndarray
    p_value: np.ndarray
    num_components: np.ndarray


def mp_values(
    profiles: Profiles,
    treatments: np.ndarray,
    controls: np.ndarray,
    explained_rate: float = 0.9,
    num_permutations: int = 1000,
    components: str = "each",
    seed: int = 0,
    within: np.ndarray | None = None,
) -> MpValues:
    """mp-values of all treatments against the same controls.

    Differs from the paper and cytominer-eval: the observed arrangement counts as one of the permutations, so that no
    p-value is 0 (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). The paper weights components by the variance that
    they explain, which changes no Mahalanobis distance and is left out.

    Args:
        profiles: of N rows.
        treatments: (N,) int, the treatment of each row; negative ones are left out. Rows of controls are not treated.
        controls: (N,) bool, negative controls.
        explained_rate: share of the variance that the components must explain, in (0, 1).
        num_permutations: how often wells change places.
        components: "each" finds them for every treatment and the controls, as published; "shared" once for all rows,
            which is hundreds of times faster where controls are many.
        seed: of the permutations.
        within: (N,) int; wells only change places with wells of the same, for instance of one plate. Those of a plate
            without controls change places among themselves, which changes nothing. None: with all.

    Raises:
        ValueError: treatments or controls that do not fit, features that are not finite, settings out of range, no
            more controls than components, or controls of a rank that is too low for them.
    """
    check_finite(profiles, "mp-values")
    treatments, controls = np.asarray(treatments), np.asarray(controls)
    _check(treatments, controls, len(profiles.features), explained_rate, num_permutations, components)
    codes, sizes = np.unique(treatments[(treatments >= 0) & ~controls], return_counts=True)
    untreated, features = np.flatnonzero(controls), np.asarray(profiles.features, np.float64)
    used = controls | (treatments >= 0)
    ranks = _ranks(features[used], controls[used])
    if components == "shared":
        features = _projected(features[used], features, explained_rate)
        _check_components(features[untreated], ranks, sizes.max())
        known, whitened = _whitened(features, untreated)
    rng = np.random.default_rng(seed)
    found = []
    for code in codes:
        treated = np.flatnonzero((treatments == code) & ~controls)
        places = np.zeros(len(features), int) if within is None else np.asarray(within)
        drawn = _drawn_within(rng, num_permutations, places[treated], places[untreated])
        chosen = np.concatenate([np.arange(len(treated))[None], drawn])
        if components == "each":
            rows = features[np.concatenate([treated, untreated])]
            rows = _projected(rows, rows, explained_rate)
            _check_components(rows[len(treated) :], ranks, len(treated))
            squares = subset_distances(rows, chosen)
        else:
            rows = _updated(whitened[treated], known)
            squares = _distances(rows, chosen)
        # The observed one is the first; sums of another order must not make an equal one look smaller.
        as_far = np.sum(squares >= squares[0] * (1 - 1e-9))
        found.append((np.sqrt(squares[0]), as_far / len(squares), rows.shape[1]))
    distance, p_value, num_components = zip(*found, strict=True)
    return MpValues(codes, np.array(distance), np.array(p_value), np.array(num_components))


def subset_distances(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances between the means of subsets of rows and of all other rows.

    The covariance is that of the other rows, divided by their number. No matrix of features is inverted for each
    subset: with X the t chosen rows, centered and whitened by the scatter of all n rows, that of the others is
    I - X'QX with Q = I + 11'/(n - t), and by Woodbury's identity all that is needed are the t x t products XX'.

    Args:
        rows: (n, d) of rank d.
        chosen: (P, t) int, t rows of each subset; n - t must be above d.

    Returns:
        (P,) float64.

    Raises:
        ValueError: a subset without which the others hardly vary in some direction.
    """
    return _distances(np.linalg.qr(rows - rows.mean(axis=0))[0], chosen)


def _distances(white: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """``subset_distances`` of rows (n, d) that are centered and have a scatter of 1."""
    num_rows, size = len(white), chosen.shape[1]
    num_others = num_rows - size
    inverse = np.eye(size) - 1 / num_rows
    weights = np.full((size, 1), 1 / size + 1 / num_others)
    squares = []
    for part in np.array_split(chosen, max(-(-chosen.size * white.shape[1] // ENTRIES), 1)):
        x = white[part]
        gram = x @ x.transpose(0, 2, 1)
        away = gram @ weights
        _check_others(inverse - gram)
        solved = np.linalg.solve(inverse - gram, away)
        squares.append(np.sum(weights * away, axis=(1, 2)) + np.sum(away * solved, axis=(1, 2)))
    return num_others * np.concatenate(squares)


def _whitened(features: np.ndarray, untreated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of controls (C, d) and all rows (N, d), centered on the controls, which get a scatter of 1."""
    mean = features[untreated].mean(axis=0)
    known, scale = np.linalg.qr(features[untreated] - mean)
    return known, np.linalg.solve(scale.T, (features - mean).T).T


def _updated(treated: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Treated rows (t, d), then controls (C, d), centered and whitened together.

    The scatter of both about their mean is that of the controls, 1, and one of rank t, Z'(I - 11'/n)Z.
    """
    size, num_rows = len(treated), len(treated) + len(known)
    total = treated.sum(axis=0)
    half = treated - (1 - np.sqrt(1 - size / num_rows)) / size * total
    _, values, directions = np.linalg.svd(half, full_matrices=False)
    rows = np.concatenate([treated, known]) - total / num_rows
    return rows - (rows @ directions.T * (1 - 1 / np.sqrt(1 + values**2))) @ directions


def _drawn_within(rng: np.random.Generator, num_subsets: int, treated: np.ndarray, untreated: np.ndarray) -> np.ndarray:
    """Subsets (P, t) of t + c rows with as many of each place as the t first; places are (t,) and (c,)."""
    places, parts = np.concatenate([treated, untreated]), []
    for place, size in zip(*np.unique(treated, return_counts=True), strict=True):
        rows = np.flatnonzero(places == place)
        parts.append(rows[_drawn(rng, num_subsets, int(size), len(rows))])
    return np.concatenate(parts, axis=1)


def _drawn(rng: np.random.Generator, num_subsets: int, size: int, num_rows: int) -> np.ndarray:
    """Subsets (P, t) of n rows, each as likely as any other: Floyd's algorithm (Bentley & Floyd 1987), all at once."""
    chosen = np.full((num_subsets, size), -1)
    for place, last in enumerate(range(num_rows - size, num_rows)):
        drawn = rng.integers(0, last + 1, num_subsets)
        taken = np.any(chosen == drawn[:, None], axis=1)
        chosen[:, place] = np.where(taken, last, drawn)
    return chosen


def _projected(fitted: np.ndarray, rows: np.ndarray, explained_rate: float) -> np.ndarray:
    """Rows (n, D) on the fewest components of others that explain more than a share of their variance: (n, d)."""
    mean = fitted.mean(axis=0)
    if len(fitted) > 2 * fitted.shape[1]:
        squares, vectors = np.linalg.eigh((fitted - mean).T @ (fitted - mean))
        values, components = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1].T
        values[values < 1e-7 * values[0]] = 0
    else:
        _, values, components = np.linalg.svd(fitted - mean, full_matrices=False)
    variance = values**2
    if variance.sum() <= 0:
        raise UserError(
            f"rows that are all the same: got {len(fitted)} without any difference, expected profiles that differ; "
            "compare measured wells"
        )
    share = np.cumsum(variance) / variance.sum()
    num_components = min(
        int(np.searchsorted(share, explained_rate, side="right")) + 1, int(np.sum(values > 1e-10 * values[0]))
    )
    return (rows - mean) @ components[:num_components].T


def _rank(rows: np.ndarray) -> int:
    """Rank of rows (n, d) about their mean."""
    centred = rows - rows.mean(axis=0)
    squares = np.linalg.eigvalsh(centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred)
    # Of rows that are all the same, rounding leaves something of their size.
    return int(np.sum(squares > max(SINGULAR**2 * squares.max(initial=0), 1e-24 * np.sum(rows**2))))


def _ranks(used: np.ndarray, controls: np.ndarray) -> tuple[int, int]:
    """The rank of controls, (n,) bool, among rows (n, D), and how much higher that of independent ones would be."""
    spread = used.std(axis=0)
    varies = spread > 1e-12 * np.abs(used).max(axis=0)
    scaled = used[:, varies] / spread[varies]
    rank, most = _rank(scaled[controls]), min(int(controls.sum()) - 1, scaled.shape[1])
    return rank, min(most, _rank(scaled)) - rank if rank < most else 0


def _check_components(untreated: np.ndarray, ranks: tuple[int, int], num_treated: int) -> None:
    """Looks whether controls (C, d) on d components have a covariance that can be compared with those of permutations.

    Where controls depend on each other, their ``ranks`` are those of r + 1 independent rows, and treated rows among
    them raise the rank by up to e. The mean of squared distances is as 1 / (r - d - 1) with controls and
    1 / (r + e - d - 1) with these (inverse Wishart); e < r - d keeps that of noise within twice that of permutations.
    """
    (num_controls, num_components), (rank, lacking) = untreated.shape, ranks
    if num_components >= num_controls:
        raise UserError(
            f"too few controls to know how they vary: got {num_controls} for {num_components} principal components, "
            "expected more controls than components; lower explained_rate or give more controls"
        )
    needed = num_components + (min(lacking, num_treated) + 1 if lacking else 0)
    on_components = _rank(untreated)
    if on_components < num_components or rank < needed:
        raise UserError(
            "controls that vary in too few directions to measure distances by: got "
            f"{num_controls} of rank {on_components if on_components < num_components else rank} for {num_components} "
            f"principal components, expected a rank of {needed} or more; lower explained_rate, give more controls, or "
            "find mp-values before profiles are centered on controls"
        )


def _check_others(scatter: np.ndarray) -> None:
    """Looks whether other rows than the chosen ones vary in all directions; scatter is (P, t, t), as if of these."""
    try:
        smallest = float(np.min(np.diagonal(np.linalg.cholesky(scatter), axis1=1, axis2=2) ** 2))
    except np.linalg.LinAlgError:
        smallest = 0.0
    if not smallest > UNKNOWN:
        raise UserError(
            "rows that vary only with those that change places with them: got a direction in which the others have "
            f"{smallest:.1g} of the scatter of all, expected more than {UNKNOWN:.1g}; lower explained_rate, give more "
            "controls, or leave out copies of rows and rows far from all others"
        )


def _check(
    treatments: np.ndarray, controls: np.ndarray, num_rows: int, explained: float, permutations: int, components: str
) -> None:
    if treatments.shape != (num_rows,) or controls.shape != (num_rows,) or controls.dtype != bool:
        raise UserError(
            f"rows that cannot be told apart: got treatments of shape {treatments.shape} and {controls.dtype} controls "
            f"of shape {controls.shape}, expected ({num_rows},) codes and bool; give both for every row"
        )
    if not np.any((treatments >= 0) & ~controls) or controls.sum() < 2:
        raise UserError(
            f"nothing to compare: got {int(np.sum((treatments >= 0) & ~controls))} treated rows and "
            f"{int(controls.sum())} controls, expected 1 and 2 or more; name the controls"
        )
    if not 0 < explained < 1 or permutations < 1 or components not in COMPONENTS:
        raise UserError(
            f"settings of mp-values out of range: got explained_rate={explained}, num_permutations={permutations} and "
            f"components={components!r}, expected a rate in (0, 1), 1 permutation or more and one of "
            f"{', '.join(COMPONENTS)}; keep the defaults"
        )
