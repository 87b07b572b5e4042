"""What a well's position alone does to the retrieval of replicates.

Where each treatment always stands in one well, edges and corners of plates are found again on every plate, and
replicates are alike without any effect. Control wells of one position are a treatment that does nothing: how well
these find each other is what position alone gives.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.chance.permuted_ranking import average_precision_null
from cellfx.profiles.chance.random_ranking import expected_average_precision
from cellfx.profiles.chance.resampling import p_value
from cellfx.profiles.chance.tied_precision import Ties
from cellfx.profiles.scores.retrieval import average_precisions, find_hits
from cellfx.profiles.screen.rules import Columns, screen_rules
from cellfx.profiles.similarity.blocks import Prepared, just_above, just_below, prepare, similarity_blocks
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.rules import encode
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import Profiles, groups

LEAST_POSITIONS = 4
"""With fewer control positions no p-value against them is worth telling."""


LOOKED_AT = 1 << 22
"""Pairs of a well's positives and of wells of its plate that are compared at a time: 16 MiB."""


class Beyond(NamedTuple):
    """Treatments that always stand in one position, against control wells of one position.

    Attributes:
        of_positions: mean average precision of control positions, against the other controls of each plate.
        difference: mean normalized average precision of treatments less that of control positions.
        p_value: share of exchanges of roles, treatment or control, among positions of the same plates, with a
            difference as large.
        num_treatments: that stand in one position.
        num_positions: of controls.
    """

    of_positions: float
    difference: float
    p_value: float
    num_treatments: int
    num_positions: int


def fixed(metadata: pl.DataFrame, controls: np.ndarray, columns: Columns) -> tuple[int, int]:
    """How many treatments of several wells always stand in one position, and how many have several wells.

    Wells of one plate are never in one position, so that such a treatment is on several plates.
    """
    treatment, well = encode(metadata, columns.treatment), encode(metadata, [columns.well])
    known = (treatment >= 0) & (well >= 0) & ~controls
    _, code, sizes = np.unique(treatment[known], return_inverse=True, return_counts=True)
    places = np.unique(np.stack([code, well[known]]), axis=1)[0]
    return int(np.sum((np.bincount(places, minlength=len(sizes)) == 1) & (sizes > 1))), int(np.sum(sizes > 1))


def beyond(
    wells: Profiles,
    controls: np.ndarray,
    columns: Columns,
    kernel: str = "cosine",
    num_permutations: int = 200,
    seed: int = 0,
) -> Beyond:
    """Whether treatments find each other better than control wells of one position do.

    Without effects it is chance which positions got treatments and which controls, so that exchanging these roles
    among positions, with all of their wells, makes an exact test. Positives are wells of one position on other plates,
    negatives control wells of the same plate; a negative that is as similar as a positive counts half.

    Args:
        wells: N rows.
        controls: (N,) bool.
        columns: of the metadata.
        kernel: see ``similarity.KERNELS``.
        num_permutations: 1 or more.
        seed: of these.

    Raises:
        UserError: no treatment that stands in one position, or fewer than ``LEAST_POSITIONS`` of controls.
    """
    place, is_control, plate = _standing(wells.metadata, controls, columns)
    if is_control.sum() < LEAST_POSITIONS or is_control.all():
        raise UserError(
            f"too few positions to compare: got {int(is_control.sum())} of controls and {int(np.sum(~is_control))} of "
            f"treatments that hold on several plates, expected {LEAST_POSITIONS} and 1 or more; put controls in the "
            "same wells of all plates"
        )
    layout = np.zeros((len(is_control), plate.max() + 1), bool)
    layout[place[place >= 0], plate[place >= 0]] = True
    same = np.unique(layout, axis=0, return_inverse=True)[1].ravel()
    rng, roles = np.random.default_rng(seed), np.repeat(is_control[None], 1 + num_permutations, axis=0)
    for of in (np.flatnonzero(same == number) for number in range(same.max() + 1)):
        roles[1:, of] = rng.permuted(roles[1:, of], axis=1)
    order = np.argsort(place, kind="stable")
    members = np.split(order, np.searchsorted(place[order], np.arange(len(is_control) + 1)))[1:-1]
    prepared, values, counts = prepare(wells, kernel), np.zeros((2, *roles.shape)), np.zeros(roles.shape)
    for number in range(layout.shape[1]):
        rows = np.flatnonzero((plate == number) & (place >= 0))
        if len(rows):
            scored = _of_plate(prepared, rows, place, members, roles[:, place[rows]])
            has = ~np.isnan(scored[0])
            values[:, :, place[rows]] += np.where(has, scored, 0.0)
            counts[:, place[rows]] += has
    means = values / np.maximum(counts, 1)

    def mean(part: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.sum(part * chosen, axis=1) / np.maximum(chosen.sum(axis=1), 1)

    difference = mean(means[1], ~roles & (counts > 0)) - mean(means[1], roles & (counts > 0))
    alone = mean(means[0], roles & (counts > 0))[0]
    p = p_value(difference[0], difference[1:])
    return Beyond(float(alone), float(difference[0]), p, int(np.sum(~is_control)), int(is_control.sum()))


def _standing(
    metadata: pl.DataFrame, controls: np.ndarray, columns: Columns
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place (N,) of wells, -1 for those of none; whether each is one of controls; plate (N,), from 0.

    A place is a treatment that stands in one well on several plates, or a well that holds controls on several.
    """
    treatment, well = encode(metadata, columns.treatment), encode(metadata, [columns.well])
    plate = plate_identity.codes(metadata, columns.plate_identity())
    label = np.where(controls, well, treatment + well.max(initial=0) + 1)
    label[(well < 0) | (plate < 0) | (~controls & (treatment < 0))] = -1
    place, is_control, number = np.full(len(label), -1), [], 0
    for code in np.unique(label[label >= 0]):
        rows = np.flatnonzero(label == code)
        if len(rows) > 1 and len(np.unique(plate[rows])) == len(rows) and len(np.unique(well[rows])) == 1:
            place[rows], number = number, number + 1
            is_control.append(bool(controls[rows[0]]))
    return place, np.array(is_control, bool), plate


def _of_plate(
    prepared: Prepared, rows: np.ndarray, place: np.ndarray, members: list[np.ndarray], roles: np.ndarray
) -> np.ndarray:
    """Average precision of the wells (Q,) of a plate, and normalized: (2, P, Q) for roles (P, Q), true for controls.

    ``members`` are the wells of every place.
    """
    found, controls = np.full((2, *roles.shape), np.nan), np.ascontiguousarray(roles.T, np.float32)
    similarity = np.concatenate([block for _, block in similarity_blocks(prepared, rows)])
    step = max(LOOKED_AT // (len(rows) * max(map(len, members))), 1)
    for start in range(0, len(rows), step):
        chosen = range(start, min(start + step, len(rows)))
        no_less = [_no_less(similarity[i], i, rows, members[place[rows[i]]], prepared.kernel) for i in chosen]
        ahead = np.split(np.concatenate(no_less) @ controls, np.cumsum([len(each) for each in no_less])[:-1])
        for i, of_roles in zip(chosen, ahead, strict=True):
            against, number = roles.sum(axis=1) - roles[:, i], len(of_roles)
            nth = np.arange(1, number + 1)[:, None]
            score = np.mean(nth / (nth + np.sort(of_roles, axis=0)), axis=0)
            chance, has = expected_average_precision(number, number + against), against > 0
            found[0, has, i] = score[has]
            found[1, has, i] = (score[has] - chance[has]) / (1 - chance[has])
    return found


def _no_less(similarity: np.ndarray, i: int, rows: np.ndarray, members: np.ndarray, kernel: str) -> np.ndarray:
    """Which wells (Q,) of a plate are more similar to the i-th of them, (N,), than each other one of its place: (H, Q).

    One that is as similar counts half, and the well itself does not.
    """
    own, theirs = similarity[members[members != rows[i]]][:, None], similarity[rows]
    found = sum((theirs > bound(own, kernel)).astype(np.float32) for bound in (just_above, just_below)) / 2
    found[:, i] = 0.0
    return found


def kept_in_place(
    wells: Profiles,
    controls: np.ndarray,
    columns: Columns,
    kernel: str = "cosine",
    num_permutations: int = 200,
    seed: int = 0,
    ties: Ties = "expected",
) -> tuple[float, float]:
    """Replicate average precision, and how likely it is where wells of one position exchange their treatments.

    Every treatment keeps its positions, so that what these do is in the null too. It does not keep its plates: the mean
    of the treated wells of each plate is subtracted first, so that wells of one plate are not alike for their plate.
    Treatments that always stand in one position keep their wells, so that a screen of such alone has p = 1.

    Raises:
        UserError: as ``average_precision_null``.
    """
    rules, features = screen_rules(wells.metadata, controls, columns), wells.features.copy()
    for rows in groups(wells.metadata, columns.plate_identity()):
        treated = rows[rules.treatments[rows] >= 0]
        if len(treated) > 1:
            features[rows] -= features[treated].mean(axis=0)
    prepared = prepare(wells._replace(features=features), kernel)
    rows = np.where(rules.treatments >= 0, np.arange(len(controls)), -1)
    well = encode(wells.metadata, [columns.well])
    null = average_precision_null(rules.treatment, rules.treated, rows, num_permutations, seed, within=well, ties=ties)
    chance = collect(prepared, {"null": null})["null"].means
    values = average_precisions(find_hits(prepared, rules.treatment, rules.treated), ties)
    observed = float(np.nanmean(values))
    return observed, p_value(observed, chance)
