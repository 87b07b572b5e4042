"""Grit: how much more alike replicates are to each other than to negative controls, in standard deviations.

Way et al. 2022 (doi:10.1016/j.cels.2022.10.001); cytominer-eval's ``grit``. The similarities of a profile to the other
perturbations of its group, such as other guides against the same gene or other compounds of the same mechanism, are
turned into z-scores by the similarities of that profile to the controls, and averaged.
"""

from typing import NamedTuple

import numpy as np

from cellfx.checks import UserError
from cellfx.profiles.similarity.blocks import TIE, Prepared
from cellfx.profiles.similarity.collecting import Block, Collector, check_rule, collect, others
from cellfx.profiles.similarity.rules import Rule

SUMMARIES = ("mean", "median")


class Grit(NamedTuple):
    """Grit of N rows and what it is made of.

    Attributes:
        grit: (N,) standard deviations; NaN where a row has no target to be compared with.
        num_targets: (N,) rows that each is compared with; 0 where grit is NaN.
        target: (N,) mean or median of the similarities to them.
        num_controls: (N,) controls beside the row itself.
        control_mean: (N,) of the similarities to these.
        control_std: (N,) of the same, divided by n as scikit-learn's scaler does.
        summary: one of ``SUMMARIES``.
    """

    grit: np.ndarray
    num_targets: np.ndarray
    target: np.ndarray
    num_controls: np.ndarray
    control_mean: np.ndarray
    control_std: np.ndarray
    summary: str


def grit(prepared: Prepared, targets: Rule, controls: np.ndarray, summary: str = "mean") -> Grit:
    """Grit of each row.

    Args:
        prepared: N rows.
        targets: pairs of the same group; where perturbations are replicated, with ``diffby`` the perturbation.
        controls: (N,) bool, negative controls.
        summary: "mean" or "median" of the z-scores.

    Raises:
        ValueError: controls that do not fit, fewer than three, or all equally similar to a row; an unknown summary; no
            row with a target.
    """
    return collect(prepared, {"grit": grit_collector(prepared, targets, controls, summary)})["grit"]


def grit_collector(prepared: Prepared, targets: Rule, controls: np.ndarray, summary: str = "mean") -> Collector:
    """``grit`` for ``collecting.collect``."""
    check_rule(targets, len(prepared.rows))
    controls = _check(np.asarray(controls), len(prepared.rows), summary)

    def look(block: Block) -> np.ndarray:
        known = others(block)[:, controls]
        num_controls = known.sum(axis=1)
        to_controls = block.similarity[:, controls]
        mean = np.sum(to_controls, axis=1, where=known) / num_controls
        variance = np.sum((to_controls - mean[:, None]) ** 2, axis=1, where=known) / num_controls
        row, partner = np.nonzero(block.mask(targets))
        values = block.similarity[row, partner]
        num_targets = np.bincount(row, minlength=len(block.rows))
        if summary == "mean":
            target = np.bincount(row, values, minlength=len(block.rows)) / np.maximum(num_targets, 1)
        else:
            ends = np.cumsum(num_targets)
            target = np.array(
                [np.median(values[end - n : end]) if n else 0.0 for end, n in zip(ends, num_targets, strict=True)]
            )
        return np.stack([num_targets, target, num_controls, mean, np.sqrt(variance)])

    def finish(parts: list[np.ndarray]) -> Grit:
        return _finish(np.concatenate(parts, axis=1), summary)

    return Collector(look, finish)


def grit_of_perturbations(result: Grit, perturbations: np.ndarray) -> np.ndarray:
    """Grit as cytominer-eval has it: all rows of a perturbation in one distribution.

    The similarities of all rows of a perturbation to controls are put together, and so are those to targets; with one
    row a perturbation it is ``result.grit``.

    Args:
        result: with the mean as its summary.
        perturbations: (N,) int, the perturbation of each row; negative ones are left out.

    Returns:
        (P,) for each number from 0 to the largest; NaN where no row has a target.

    Raises:
        ValueError: grit of medians, or perturbations that do not fit.
    """
    perturbations = np.asarray(perturbations)
    if result.summary != "mean" or perturbations.shape != result.grit.shape:
        raise UserError(
            f"grit that cannot be pooled: got summary {result.summary!r} of {len(result.grit)} rows and perturbations "
            f"of shape {perturbations.shape}, expected 'mean' and ({len(result.grit)},); compute grit with the mean"
        )
    rows = perturbations >= 0
    group = perturbations[rows]
    num_groups = int(group.max(initial=-1)) + 1
    num_targets = np.bincount(group, result.num_targets[rows], num_groups)
    target = np.bincount(group, (result.num_targets * result.target)[rows], num_groups) / np.maximum(num_targets, 1)
    mean, std = pooled_controls(result, perturbations)
    return np.where(num_targets > 0, (target - mean) / np.where(std > 0, std, 1.0), np.nan)


def pooled_controls(result: Grit, perturbations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (P,) of the similarities of all rows of a perturbation to the controls."""
    rows = perturbations >= 0
    group = perturbations[rows]
    num_groups = int(group.max(initial=-1)) + 1

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values[rows], minlength=num_groups)

    counts = np.maximum(total(result.num_controls), 1)
    mean = total(result.num_controls * result.control_mean) / counts
    shift = np.zeros(len(rows))
    shift[rows] = result.control_mean[rows] - mean[group]
    return mean, np.sqrt(total(result.num_controls * (result.control_std**2 + shift**2)) / counts)


def _finish(columns: np.ndarray, summary: str) -> Grit:
    num_targets, target, num_controls, mean, std = columns
    alike = np.flatnonzero(std <= TIE)
    if len(alike):
        raise UserError(
            f"controls that are all equally similar to a row: got similarities of {mean[alike[0]]:.6g} to all "
            f"{int(num_controls[alike[0]])} controls in row {alike[0]} ({len(alike)} such rows), expected ones that "
            "differ; give controls that were measured separately"
        )
    if not num_targets.any():
        raise UserError(
            f"no row has a target: got {len(target)} rows and no pair of one group, expected one pair or more; choose "
            "a column of groups with two perturbations or more"
        )
    scores = np.where(num_targets > 0, (target - mean) / std, np.nan)
    return Grit(scores, num_targets.astype(np.int64), target, num_controls.astype(np.int64), mean, std, summary)


def _check(controls: np.ndarray, num_rows: int, summary: str) -> np.ndarray:
    """Places of the controls (C,)."""
    if summary not in SUMMARIES:
        raise UserError(f"unknown summary: got {summary!r}, expected one of {', '.join(SUMMARIES)}; keep the mean")
    if controls.dtype != bool or controls.shape != (num_rows,) or controls.sum() < 3:
        raise UserError(
            f"controls that make no distribution: got {controls.dtype} of shape {controls.shape}, "
            f"{int(np.sum(controls == 1))} true, expected bool of shape ({num_rows},) with 3 or more; name the "
            "negative controls"
        )
    return np.flatnonzero(controls)
