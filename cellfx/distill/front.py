"""Which of many formulas are worth keeping, and which one is chosen."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cellfx.distill.criteria import mean_loss
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import Expression, complexity, from_json, num_nodes, to_infix, to_json

MAX_NODES = 20


class Scored(NamedTuple):
    """A formula and how well it does.

    Attributes:
        expression: the formula.
        complexity: the published weighted size, see ``expression.complexity``.
        nodes: the published expression size.
        loss: mean loss over the rows that it was fitted to.
        valid_loss: mean loss over held-out rows.
        valid_accuracy: fraction of held-out rows whose label has the sign of the formula.
    """

    expression: Expression
    complexity: int
    nodes: int
    loss: float
    valid_loss: float
    valid_accuracy: float


def score(
    expression: Expression,
    names: Sequence[str],
    loss: str,
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    valid_labels: np.ndarray,
) -> Scored:
    """Judges a formula on the rows that it was fitted to and on held-out ones.

    Args:
        expression: the formula.
        names: d names of the columns.
        loss: "hinge" or "squared".
        train: x (N, d) and targets (N,).
        valid: x (M, d) and targets (M,).
        valid_labels: (M,), positive for the class that a positive formula stands for, else zero or negative.
    """
    values = numpy_evaluate(expression, valid[0], names)
    return Scored(
        expression,
        complexity(expression),
        num_nodes(expression),
        mean_loss(loss, numpy_evaluate(expression, train[0], names), train[1]),
        mean_loss(loss, values, valid[1]),
        float(np.mean((values > 0) == (np.asarray(valid_labels) > 0))),
    )


def pareto(scored: Iterable[Scored]) -> list[Scored]:
    """Formulas than which none is as simple and has a smaller held-out loss, simplest first.

    Of several with one complexity and loss the one with fewest nodes stays, and of those the first in the alphabet, so
    that the order in which they were found does not matter.
    """
    finite = [member for member in scored if np.isfinite(member.valid_loss)]
    front: list[Scored] = []
    for member in sorted(finite, key=_order):
        if not front or member.valid_loss < front[-1].valid_loss:
            front.append(member)
    return front


def choose(
    front: Sequence[Scored], max_nodes: int = MAX_NODES, tolerance: float = 0.002, by: str = "accuracy"
) -> Scored:
    """The smallest formula that is as good as the best one.

    Args:
        front: for instance from ``pareto``.
        max_nodes: the largest expression size that may be chosen.
        tolerance: how much worse than the best still counts as good: an absolute difference of accuracy, or a fraction
            of the best loss.
        by: "accuracy" or "loss", both of held-out rows.

    Raises:
        ValueError: an unknown criterion, or no formula is small enough.
    """
    if by not in ("accuracy", "loss"):
        raise ValueError(f"unknown criterion: got {by!r}, expected accuracy or loss; correct distill.choose")
    small = [member for member in front if member.nodes <= max_nodes]
    if not small:
        sizes = ", ".join(str(member.nodes) for member in front) or "none"
        raise ValueError(
            f"no formula is small enough: got sizes {sizes}, expected one of at most {max_nodes} nodes; search longer "
            "or raise distill.max_nodes"
        )
    if by == "accuracy":
        least = max(member.valid_accuracy for member in small) - tolerance
        good = [member for member in small if member.valid_accuracy >= least - 1e-12]
    else:
        most = min(member.valid_loss for member in small) * (1 + tolerance)
        good = [member for member in small if member.valid_loss <= most]
    return min(good, key=lambda member: (member.nodes, *_order(member)))


def to_rows(front: Iterable[Scored]) -> list[dict[str, Any]]:
    """A front as ``json.dump`` writes it: the scores, the tree, and the formula as text."""
    return [
        {**member._asdict(), "expression": to_json(member.expression), "text": to_infix(member.expression, 4)}
        for member in front
    ]


def from_rows(rows: Iterable[dict[str, Any]]) -> list[Scored]:
    """The front that ``to_rows`` wrote."""
    fields = Scored._fields[1:]
    return [Scored(from_json(row["expression"]), *(row[field] for field in fields)) for row in rows]


def _order(member: Scored) -> tuple[int, float, int, str]:
    return member.complexity, member.valid_loss, member.nodes, to_infix(member.expression)
