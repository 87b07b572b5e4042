"""A formula for use elsewhere: sympy, a JAX callable and a scikit-learn estimator, all of one meaning.

That meaning is the one of ``evaluate``, outside the domain of a function and for NaN and infinity too. JSON and plain
text are written by ``expression``, LaTeX and MathML by ``markup``.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from cellfx.distill.expressions.evaluate import MAX_EXPONENT, SMALL, evaluate, numpy_evaluate
from cellfx.distill.expressions.expression import Expression, variables


def to_sympy(expression: Expression, safe: bool = True) -> Any:
    """A sympy expression of real symbols.

    Args:
        expression: the formula.
        safe: whether quotients, logarithms, roots and exponentials are guarded as in ``evaluate``, by Max, Min and
            Heaviside, and nothing is simplified, so that ``lambdify`` and ``subs`` give the same values everywhere:
            z - z is NaN where z is. Without, it is the plain formula, to be read and worked on.
    """
    import sympy

    symbols = {name: sympy.Symbol(name, real=True) for name in variables(expression)}

    def divisor(y: Any) -> Any:
        if not safe:
            return y
        with sympy.evaluate(not y.free_symbols):
            return sympy.Max(sympy.Abs(y), SMALL) * (2 * sympy.Heaviside(y, 1) - 1)

    operators: dict[str, Callable[..., Any]] = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "/": lambda x, y: x / divisor(y),
        "square": lambda x: x**2,
        "exp": lambda x: sympy.exp(sympy.Min(x, MAX_EXPONENT) if safe else x),
        "log": lambda x: sympy.log(sympy.Max(x, SMALL) if safe else x),
        "sin": sympy.sin,
        "sqrt": lambda x: sympy.sqrt(sympy.Max(x, 0) if safe else x),
        "abs": sympy.Abs,
        "neg": lambda x: -x,
    }

    def convert(node: Expression) -> Any:
        if node.op == "const":
            return sympy.Float(node.value)
        if node.op == "var":
            return symbols[node.value]
        args = [convert(arg) for arg in node.args]
        with sympy.evaluate(not safe or not any(arg.free_symbols for arg in args)):
            return operators[node.op](*args)

    return convert(expression)


def to_jax(expression: Expression, names: Sequence[str] | None = None) -> Callable[[jax.Array], jax.Array]:
    """A function of latents for ``jit``, ``grad`` and ``vmap``; positive means the class of label +1.

    Args:
        expression: the formula.
        names: names of the columns; None takes all latents, and z17 is column 17.

    Returns:
        z (..., L) float32 -> score (...).
    """
    return evaluate(expression, _latent_names(expression) if names is None else names)


class FormulaClassifier:
    """Formulas as a scikit-learn estimator: one for two classes, or one for each of K against the rest.

    Args:
        expressions: one formula, or K of them in the order of the classes.
        names: names of the columns; None takes all latents, and z17 is column 17.
        classes: labels, the second of two being what a positive score stands for; None is 0, 1, ...
        loss: what ``fit`` fits the constants to.
    """

    def __init__(
        self,
        expressions: Expression | Sequence[Expression],
        names: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        loss: str = "hinge",
    ):
        self.expressions = expressions
        self.names = names
        self.classes = classes
        self.loss = loss

    @property
    def classes_(self) -> np.ndarray:
        """(K,) labels; the ones that ``fit`` saw, or else the ones that were given."""
        if hasattr(self, "_fitted_classes"):
            return self._fitted_classes
        count = max(len(self.expressions_), 2)
        return np.arange(count) if self.classes is None else np.asarray(self.classes)

    @property
    def expressions_(self) -> tuple[Expression, ...]:
        """The formulas in use, with the constants that ``fit`` found where it was called."""
        if hasattr(self, "_fitted"):
            return self._fitted
        return (self.expressions,) if isinstance(self.expressions, Expression) else tuple(self.expressions)

    def fit(self, x: np.ndarray, y: np.ndarray) -> "FormulaClassifier":
        """Fits the constants anew; the formulas stay as they are.

        Args:
            x: (N, d).
            y: (N,) labels.

        Raises:
            ValueError: the labels are not of as many classes as there are formulas for, or a value is not finite.
        """
        from cellfx.distill.refit import refit

        start = type(self)(**self.get_params()).expressions_
        found = np.unique(y)
        expected = 2 if len(start) == 1 else len(start)
        if len(found) != expected:
            raise ValueError(
                f"classes and formulas do not belong together: got labels of {len(found)} classes, expected "
                f"{expected}; pass one formula for two classes, or one for each"
            )
        classes = found if self.classes is None else np.asarray(self.classes)
        if not np.isin(found, classes).all():
            got, known = (", ".join(map(str, labels)) for labels in (found, classes))
            raise ValueError(f"unknown labels: got labels {got}, expected among {known}; correct the classes")
        x, names = _finite(x), self._names(x)
        positive = classes[1:] if len(start) == 1 else classes
        self._fitted = tuple(
            refit([expression], x, np.where(np.asarray(y) == label, 1.0, -1.0), names, loss=self.loss)[0]
            for expression, label in zip(start, positive, strict=True)
        )
        self._fitted_classes = classes
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        """(N, d) -> scores (N,) of the second of two classes, or (N, K); NaN where a formula has no value."""
        x = np.asarray(x, np.float64)
        scores = [numpy_evaluate(expression, x, self._names(x)) for expression in self.expressions_]
        return scores[0] if len(scores) == 1 else np.stack(scores, axis=1)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N, d) -> labels (N,).

        Raises:
            ValueError: a value that is not finite, or a score that is NaN, for which no label would be right.
        """
        scores = self.decision_function(_finite(x))
        undefined = np.isnan(scores.reshape(len(scores), -1)).any(axis=1)
        if undefined.any():
            raise ValueError(
                f"no label where a formula has no value: got NaN for {undefined.sum()} of {len(scores)} rows, the "
                f"first is row {undefined.argmax()}, expected numbers; leave these rows out"
            )
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else np.argmax(scores, axis=1)]

    def score(self, x: np.ndarray, y: np.ndarray) -> float:
        """The fraction of right predictions."""
        return float(np.mean(self.predict(x) == np.asarray(y)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that the estimator was made with."""
        return {name: getattr(self, name) for name in ("expressions", "names", "classes", "loss")}

    def set_params(self, **params: Any) -> "FormulaClassifier":
        """Changes arguments by name.

        Raises:
            ValueError: an unknown name.
        """
        for name, value in params.items():
            if name not in self.get_params():
                known = ", ".join(self.get_params())
                raise ValueError(f"unknown parameter: got {name}, expected one of {known}; correct the name")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags("classifier", TargetTags(required=True), classifier_tags=ClassifierTags())

    def _names(self, x: np.ndarray) -> Sequence[str]:
        return [f"z{column}" for column in range(np.shape(x)[1])] if self.names is None else self.names


def _finite(x: np.ndarray) -> np.ndarray:
    """The same in float64."""
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"values that are not finite: got {x[row, column]} in row {row}, column {column}, expected numbers; leave "
            "these rows out or fill them in"
        )
    return x


def _latent_names(expression: Expression) -> list[str]:
    """z0, z1, ... up to the last latent of a formula."""
    indices = []
    for name in variables(expression):
        found = re.fullmatch(r"z(\d+)", name)
        if found is None:
            raise ValueError(
                f"the name of a variable is no latent: got {name}, expected z and a number; pass the names of the "
                "columns"
            )
        indices.append(int(found[1]))
    return [f"z{column}" for column in range(max(indices, default=-1) + 1)]
