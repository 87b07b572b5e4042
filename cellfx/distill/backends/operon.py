"""Searches formulas with pyoperon: no Julia is needed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.distill.backends.operon_trees import Workshop, has_constants, size
from cellfx.distill.backends.scaling import UNUSABLE, fit_scale, wanted
from cellfx.distill.problem import Budget, Problem

SMALLEST_LIMIT = 5
"""Of the largest complexity: pyoperon makes no trees of fewer than three nodes."""
PER_SIZE = 2
"""Formulas that are returned of each complexity."""

_NODES_OF_OFFSET = 2
_TOURNAMENT = 5
_MAX_RANKS = 40
_SAME = 1e-6


class Members(NamedTuple):
    """Trees with what is known of them; P of each.

    Attributes:
        trees: as ``Workshop`` makes them.
        sizes: (P,) published complexity.
        loss: (P,) of scale * tree + offset.
        scale: (P,).
        offset: (P,).
    """

    trees: list[Any]
    sizes: np.ndarray
    loss: np.ndarray
    scale: np.ndarray
    offset: np.ndarray


def search(problem: Problem, budget: Budget, seed: int) -> list[str]:
    """Evolves formulas, each of which is fitted scale * tree + offset, for small loss and small complexity at once.

    Several populations start by themselves and are then put together. In each, parents win tournaments of dominance
    rank (Deb et al. 2002, doi:10.1109/4235.996017), children have their constants fitted, and the next generation is
    the best ranks of both; of trees with one loss only the smallest stays.

    Differs from the paper (Soelistyo & Lowe 2024, supplement 2.4), which uses PySR: another search with the same
    operators, complexities and largest complexity. For labels it ranks by the likelihood of ``scaling.fit_scale``, and
    leaves the hinge to the fit of the constants that follows.

    Returns:
        Formulas of every complexity that was reached, best first in each, as text for ``parse``.
    """
    if budget.max_size < SMALLEST_LIMIT:
        raise ValueError(
            f"largest complexity out of range: got {budget.max_size}, "
            f"expected {SMALLEST_LIMIT} or more; raise distill.max_size"
        )
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(problem.y))[: budget.max_rows])
    x, y, weights = (array[rows].astype(np.float32) for array in (problem.x, problem.y, problem.weights))
    workshop = Workshop(x, y, problem.names, budget.max_size - _NODES_OF_OFFSET, num_steps=3, seed=seed)
    judge = _Judge(workshop, problem.loss, y, weights / weights.sum())

    islands = []
    for _ in range(budget.islands):
        members = judge([workshop.create() for _ in range(budget.population)])
        islands.append(_evolve(workshop, judge, members, budget.population, budget.generations))
    members = islands[0]
    if budget.islands > 1:
        together = _joined(islands)
        members = _evolve(workshop, judge, together, budget.population, budget.generations)
        members = _joined([members, *islands])
    return [_to_text(workshop, members, place) for place in _best_of_each_size(members)]


class _Judge:
    """Fits the constants of trees and says how good they are."""

    def __init__(self, workshop: Workshop, loss: str, y: np.ndarray, weights: np.ndarray):
        self._workshop, self._loss, self._y, self._weights = workshop, loss, y, weights

    def __call__(self, trees: Sequence[Any]) -> Members:
        trees = list(trees)
        values = self._workshop.evaluate(trees)
        found = fit_scale(self._loss, values, self._y, self._weights)
        tuned = [place for place, tree in enumerate(trees) if found.loss[place] < UNUSABLE and has_constants(tree)]
        if tuned:
            found = self._tune(trees, values, found, np.asarray(tuned))
        return Members(trees, np.array([size(tree) for tree in trees]), *found)

    def _tune(self, trees: list[Any], values: np.ndarray, found: Any, places: np.ndarray) -> Any:
        """Puts trees with better constants in the place of those that have some."""
        scale, offset = found.scale[places], found.offset[places]
        goal, shrink = wanted(self._loss, scale[:, None] * values[places] + offset[:, None], self._y)
        better = self._workshop.tune([trees[place] for place in places], scale * shrink, offset * shrink, goal)
        after = fit_scale(self._loss, self._workshop.evaluate(better), self._y, self._weights)
        kept = after.loss < found.loss[places]
        arrays = [array.copy() for array in found]
        for array, changed in zip(arrays, after, strict=True):
            array[places[kept]] = changed[kept]
        for place, tree, keep in zip(places, better, kept, strict=True):
            trees[place] = tree if keep else trees[place]
        return type(found)(*arrays)


def _evolve(workshop: Workshop, judge: _Judge, members: Members, population: int, generations: int) -> Members:
    members, ranks = _select(members, population)
    for _ in range(generations):
        children = _make_children(workshop, members, ranks, population)
        if not children:
            break
        members, ranks = _select(_joined([members, judge(children)]), population)
    return members


def _make_children(workshop: Workshop, members: Members, ranks: np.ndarray, number: int) -> list[Any]:
    """Different children of parents that won a tournament; fewer where no more are found."""
    rng, children = workshop.rng, {}

    def pick() -> Any:
        rivals = rng.integers(0, len(ranks), _TOURNAMENT)
        return members.trees[rivals[np.argmin(ranks[rivals] + rng.random(_TOURNAMENT))]]

    for _ in range(5 * number):
        child = workshop.vary(pick(), pick())
        if child is not None:
            children.setdefault(workshop.to_text(child), child)
        if len(children) == number:
            break
    return list(children.values())


def _select(members: Members, number: int) -> tuple[Members, np.ndarray]:
    """The best ``number`` of the usable ones, and their ranks."""
    by_size = np.argsort(members.sizes, kind="stable")
    _, first = np.unique(np.round(members.loss[by_size] / _SAME), return_index=True)
    places = by_size[first]
    places = places[members.loss[places] < UNUSABLE]
    if len(places) == 0:
        raise ValueError(
            "no formula could be evaluated: got only infinite or constant values, expected latents of moderate size; "
            "standardize them with distill.standardise"
        )
    ranks = rank(members.sizes[places], members.loss[places])
    order = np.lexsort((members.loss[places], ranks))[:number]
    return _taken(members, places[order]), ranks[order]


def rank(sizes: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """How many fronts lie before each member: 0 for those that no other beats in both size and loss.

    Args:
        sizes: (P,).
        loss: (P,).

    Returns:
        (P,) int, counted to 40.
    """
    ranks = np.full(len(sizes), _MAX_RANKS)
    left = np.lexsort((loss, sizes))
    for current in range(_MAX_RANKS):
        if len(left) == 0:
            break
        best = np.minimum.accumulate(loss[left])
        front = np.concatenate([[True], loss[left][1:] < best[:-1]])
        ranks[left[front]] = current
        left = left[~front]
    return ranks


def _joined(parts: Sequence[Members]) -> Members:
    trees = [tree for part in parts for tree in part.trees]
    return Members(trees, *(np.concatenate(arrays) for arrays in zip(*(part[1:] for part in parts), strict=True)))


def _taken(members: Members, places: np.ndarray) -> Members:
    return Members([members.trees[place] for place in places], *(array[places] for array in members[1:]))


def _best_of_each_size(members: Members) -> list[int]:
    """Places of the best formulas of each complexity, smallest first; the same loss counts once."""
    chosen = []
    for wanted_size in np.unique(members.sizes):
        places = np.flatnonzero(members.sizes == wanted_size)
        places = places[np.argsort(members.loss[places], kind="stable")]
        _, first = np.unique(np.round(members.loss[places] / _SAME), return_index=True)
        chosen += list(places[np.sort(first)][:PER_SIZE])
    return chosen


def _to_text(workshop: Workshop, members: Members, place: int) -> str:
    scale, offset = float(members.scale[place]), float(members.offset[place])
    return f"{scale!r} * {workshop.to_text(members.trees[place])} + {offset!r}"
