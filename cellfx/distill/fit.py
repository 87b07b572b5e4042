"""From a problem to the formulas that are worth a look: one path, whichever backend searched."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellfx.distill.backends import julia, operon, pysr
from cellfx.distill.backends.side_by_side import call_each
from cellfx.distill.criteria import mean_loss
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import Expression, complexity, num_nodes
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.shorten import shape, shorten, unscale
from cellfx.distill.expressions.simplify import simplify
from cellfx.distill.front import MAX_NODES, Scored, choose, pareto
from cellfx.distill.problem import Budget, Problem
from cellfx.distill.refit import refit

BACKENDS = {"operon": operon.search, "pysr": pysr.search}
NUM_WORKERS = 2

_NUM_ROUNDS = 3
_SLACK = 4
_SEED_STRIDE = 100_003


class Fits(NamedTuple):
    """Fronts of several seeds.

    Attributes:
        by_seed: one front for each seed, in their order.
        merged: the front of all that were found.
    """

    by_seed: tuple[list[Scored], ...]
    merged: list[Scored]


def choose_backend(name: str | None = None) -> str:
    """The backend to use, checked so far that a search can start; None takes PySR where all that it needs is there.

    Raises:
        ValueError: no such backend.
        OSError: PySR is asked for and cannot run.
    """
    if name is None:
        return "pysr" if julia.missing() is None else "operon"
    if name not in BACKENDS:
        raise ValueError(
            f"unknown backend: got {name!r}, expected {' or '.join(BACKENDS)}, or none for the one that this machine "
            "can run; correct distill.backend"
        )
    if name == "pysr":
        julia.check()
    return name


def fit(
    problem: Problem,
    budget: Budget | None = None,
    seed: int = 0,
    backend: str | None = None,
    scratch: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Scored]:
    """Searches formulas and fits their constants; the same ones for one seed and budget.

    Args:
        problem: rows, target and loss.
        budget: None is the default one: half a minute on two cores.
        seed: of the search.
        backend: "operon" or "pysr"; None takes PySR where all that it needs is there.
        scratch: folder for what a backend writes while it searches; None takes the system's temporary folder.
        tell: is given a line before each search that takes minutes, which are PySR's.

    Returns:
        Formulas than which none is as simple and has a smaller loss, or a higher accuracy, on held-out rows; simplest
        first.
    """
    budget = Budget() if budget is None else budget
    seeds = [seed + _SEED_STRIDE * place for place in range(budget.searches)]
    found = _search(problem, budget, seeds, choose_backend(backend), scratch, tell)
    texts = [text for of_seed in found for text in of_seed]
    return polish(problem, texts, budget, seed)


def fit_many(
    problem: Problem,
    budget: Budget | None = None,
    seeds: Sequence[int] = tuple(range(10)),
    backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fits:
    """As ``fit``, with one search for each of several seeds.

    Args:
        problem: rows, target and loss.
        budget: None is the default one.
        seeds: of the searches.
        backend: "operon" or "pysr"; None takes PySR where all that it needs is there.
        progress: is told after each seed how many are done, and how many there are.
    """
    budget = Budget() if budget is None else budget
    fronts = []
    for seed, texts in zip(seeds, _search(problem, budget, seeds, choose_backend(backend)), strict=True):
        fronts.append(polish(problem, texts, budget, seed))
        if progress is not None:
            progress(len(fronts), len(seeds))
    return Fits(tuple(fronts), merge(problem, (member for front in fronts for member in front)))


def merge(problem: Problem, members: Iterable[Scored]) -> list[Scored]:
    """The formulas on either of two fronts, simplest first: of held-out loss, and of wrong signs among all rows.

    Held-out rows alone are too few to tell two good formulas apart by their signs, and the few constants of a formula
    hardly bend to the rows that they were fitted to.
    """
    return _front(_with_errors(problem, members))


def select(problem: Problem, front: Sequence[Scored], max_nodes: int = MAX_NODES) -> Scored:
    """The smallest formula that gives signs as well as the best one, as far as the rows can tell.

    That is the rule of one standard error (Breiman et al. 1984, "Classification and regression trees", section 3.4.3),
    with the error of the difference: only rows where one of the two is right count in it.

    Args:
        problem: whose rows, fitted and held out, are counted.
        front: for instance from ``fit``.
        max_nodes: the largest expression size.

    Raises:
        ValueError: no formula is small enough.
    """
    small = [member for member in front if member.nodes <= max_nodes]
    if not small:
        return choose(front, max_nodes)  # which says so
    wrong, weights = _wrong(problem, small), _weights_of_all(problem)
    difference = wrong - wrong[np.argmin(wrong @ weights)]
    good = difference @ weights <= np.sqrt(np.abs(difference) @ np.square(weights)) + 1e-12
    places = [place for place, is_good in enumerate(good) if is_good]
    return small[min(places, key=lambda place: (small[place].nodes, wrong[place] @ weights))]


def polish(problem: Problem, texts: Sequence[str], budget: Budget, seed: int = 0) -> list[Scored]:
    """Parses, simplifies, fits and judges formulas, and tries what the best of them could do without.

    Under hinge every formula is fitted twice: on all rows, and leaving out those that it puts more than a margin on the
    wrong side. A hinge has no bound, so that a few wrong labels far from the border move it (Collobert et al. 2006,
    "Trading convexity for scalability": the convex-concave procedure for the ramp loss). A scale of all that is not
    the offset is also left out, which no sign depends on.

    Args:
        problem: rows, target and loss.
        texts: formulas in the names of the problem.
        budget: how large they may be, and with how many starting points they are fitted.
        seed: of the starting points.
    """
    found: dict[Expression, Expression] = {}
    for text in texts:
        expression = simplify(parse(text, problem.names))
        if complexity(expression) <= budget.max_size + _SLACK:
            found.setdefault(shape(expression), expression)
    errors = _fit_all(problem, list(found.values()), budget.starts, seed)
    new = _front(errors)
    for _ in range(_NUM_ROUNDS):
        shorter = {shape(candidate): candidate for member in new for candidate in shorten(member.expression)}
        candidates = [candidate for form, candidate in shorter.items() if form not in found]
        found.update(shorter)
        if not candidates:
            break
        before = set(_front(errors, budget.max_size))
        errors |= _fit_all(problem, candidates, budget.starts, seed)
        new = [member for member in _front(errors, budget.max_size) if member not in before]
    return _front(errors, budget.max_size)


def _fit_all(problem: Problem, expressions: list[Expression], starts: int, seed: int) -> dict[Scored, float]:
    """Fitted formulas, and the fraction of wrong signs of each."""
    x, y, weights = problem.x, problem.y, problem.weights
    fitted = refit(expressions, x, y, problem.names, problem.loss, starts, weights=weights, seed=seed)

    def wrong_rate(expression: Expression) -> float:
        return np.average((numpy_evaluate(expression, x, problem.names) > 0) != (y > 0), weights=weights)

    if problem.loss == "hinge":
        fitted += [
            _fit_without_outliers(problem, min(pair, key=wrong_rate), starts, seed)
            for pair in zip(fitted, expressions, strict=True)
        ]
        fitted += [unscale(simplify(expression)) for expression in fitted]
    return _with_errors(problem, [_score(problem, each) for each in dict.fromkeys(map(simplify, fitted))])


def _front(errors: Mapping[Scored, float], max_size: float = float("inf")) -> list[Scored]:
    errors = {member: rate for member, rate in errors.items() if member.complexity <= max_size}
    # Of formulas with one error the one with the smaller loss is wanted; the factor is far below one row.
    as_error = {
        member._replace(valid_loss=rate + 1e-9 * min(member.valid_loss, 1e6)): member for member, rate in errors.items()
    }
    chosen = dict.fromkeys(pareto(errors) + [as_error[member] for member in pareto(as_error)])
    return sorted(chosen, key=lambda member: (member.complexity, member.valid_loss, str(member.expression)))


def _with_errors(problem: Problem, members: Iterable[Scored]) -> dict[Scored, float]:
    members = list(dict.fromkeys(members))
    return dict(zip(members, (_wrong(problem, members) @ _weights_of_all(problem)).tolist(), strict=True))


def _fit_without_outliers(problem: Problem, expression: Expression, starts: int, seed: int) -> Expression:
    weights = problem.weights
    for _ in range(2):
        kept = problem.weights * (problem.y * numpy_evaluate(expression, problem.x, problem.names) > -1)
        if np.array_equal(kept, weights) or not kept.any():
            break
        weights = kept
        expression = refit(
            [expression], problem.x, problem.y, problem.names, "hinge", starts, weights=weights, seed=seed
        )[0]
    return expression


def _score(problem: Problem, expression: Expression) -> Scored:
    fitted, values = (numpy_evaluate(expression, x, problem.names) for x in (problem.x, problem.valid_x))
    right = (values > 0) == (problem.valid_labels > 0)
    return Scored(
        expression,
        complexity(expression),
        num_nodes(expression),
        mean_loss(problem.loss, fitted, problem.y, problem.weights),
        mean_loss(problem.loss, values, problem.valid_y, problem.valid_weights),
        float(np.average(right, weights=problem.valid_weights)),
    )


def _wrong(problem: Problem, members: Sequence[Scored]) -> np.ndarray:
    """Of P formulas the rows, fitted ones and then held-out ones, whose label is not their sign: (P, N + M) float."""
    x = np.concatenate([problem.x, problem.valid_x])
    labels = np.concatenate([problem.labels, problem.valid_labels])
    scores = [numpy_evaluate(member.expression, x, problem.names) for member in members]
    return np.array([(values > 0) != (labels > 0) for values in scores], float).reshape(len(members), len(labels))


def _weights_of_all(problem: Problem) -> np.ndarray:
    """(N + M,) with sum 1."""
    weights = np.concatenate([problem.weights, problem.valid_weights])
    return weights / weights.sum()


def _search(
    problem: Problem,
    budget: Budget,
    seeds: Sequence[int],
    backend: str,
    scratch: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterable[list[str]]:
    """What every seed found, in their order; operon's seeds side by side in processes of their own."""
    if backend == "pysr":
        for seed in seeds:
            yield BACKENDS[backend](problem, budget, seed, scratch, tell)
        return
    yield from call_each(BACKENDS[backend], [(problem, budget, seed) for seed in seeds], NUM_WORKERS)
