"""Trees of pyoperon: making, varying, evaluating and fitting them, with the operators and sizes that were published.

Of pyoperon only what works on single trees is used. Its own algorithms know no hinge loss and count a weight on every
variable, which a formula then shows as two nodes more; here a variable has no weight unless a constant multiplies it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cellfx.distill.expressions.expression import COMPLEXITIES

SYMBOLS = ("Add", "Sub", "Mul", "Div", "Square", "Exp", "Log", "Sin", "Sqrt", "Abs", "Constant", "Variable")
"""Soelistyo & Lowe 2024, supplement 2.4."""

_FIRST_NODES = (2, 12)
_MAX_DEPTH = 10
_CONSTANT_RATE = 0.3


class Workshop:
    """Everything that one search does to trees; two of one seed that are used alike do the same.

    Args:
        x: (N, d) float32.
        y: (N,) float32.
        names: d names of the variables.
        max_size: the largest published complexity of a tree.
        num_steps: Levenberg-Marquardt steps of ``tune``.
        seed: of everything random.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, names: Sequence[str], max_size: int, num_steps: int, seed: int):
        import pyoperon

        self._op = op = pyoperon
        self._x, self.max_size, self._num_steps = x, max_size, num_steps
        self.rng, self._random = np.random.default_rng(seed), op.RandomGenerator(seed + 1)
        self._problem, self._targets = self._pose(y[:, None])
        # pyoperon keeps pointers: whatever an operator was made from has to live as long as it does.
        self._rows = self._problem.TrainingRange
        self._names = dict(zip(self._problem.InputHashes, names, strict=True))
        self._problem.ConfigurePrimitiveSet(_one_of(op, SYMBOLS))
        self._symbols, inputs = self._problem.PrimitiveSet, self._problem.InputHashes
        self._creator = op.BalancedTreeCreator(self._symbols, inputs, 0.0)
        self._create = op.UniformLengthTreeInitializer(self._creator)
        self._create.ParameterizeDistribution(_FIRST_NODES[0], min(_FIRST_NODES[1], max_size))
        self._create.MinDepth, self._create.MaxDepth = 1, 1000
        self._initialize = op.NormalCoefficientInitializer()
        self._initialize.ParameterizeDistribution(0, 1)
        self._cross = op.SubtreeCrossover(0.9, _MAX_DEPTH, max_size)
        self._mutate, self._mutations = self._make_mutations(inputs)
        self._table = op.DispatchTable()

    def create(self) -> Any:
        """A random tree."""
        while True:
            tree = self._create(self._random)
            self._initialize(self._random, tree)
            if size(tree) <= self.max_size:
                return self._without_weights(tree)

    def vary(self, tree: Any, other: Any) -> Any | None:
        """A child of two trees; None where it would be too large.

        Four of five come from a crossover, and half of these and all others are changed at random: by one of pyoperon's
        mutations, or by a constant that is multiplied with some part or added to it.
        """
        crossed = self.rng.random() < 0.8
        child = self._cross(self._random, tree, other) if crossed else tree
        if not crossed or self.rng.random() < 0.5:
            constant = self.rng.random() < _CONSTANT_RATE
            child = self._with_constant(child) if constant else self._mutate(self._random, child)
        return self._without_weights(child) if size(child) <= self.max_size else None

    def evaluate(self, trees: Sequence[Any]) -> np.ndarray:
        """The values (P, N) float32 of P trees; not a number outside the domain of a function."""
        values = np.empty((len(trees), len(self._x)), np.float32)
        self._op.EvaluateTrees(list(trees), self._dataset, self._rows, values, 1)
        return values

    def tune(self, trees: Sequence[Any], scale: np.ndarray, offset: np.ndarray, wanted: np.ndarray) -> list[Any]:
        """Moves the constants of trees so that scale * tree + offset comes closer to ``wanted`` in least squares.

        Args:
            trees: P of them, finite on every row.
            scale: (P,) where scale and offset (P,) start; they are fitted too, and what they became is dropped.
            offset: (P,).
            wanted: (P, N) float32.
        """
        op, dataset, problem, targets = self._op, self._dataset, self._problem, self._targets
        same = wanted.strides[0] == 0
        if not same:
            self._data, kept = None, self._data
            problem, targets = self._pose(wanted.T)
        tuned = []
        for place, tree in enumerate(trees):
            wrapping = [op.Node.Constant(float(scale[place])), op.Node.Mul()]
            wrapping += [op.Node.Constant(float(offset[place])), op.Node.Add()]
            wrapped = op.Tree(tree.Nodes + wrapping).UpdateNodes()
            problem.Target = targets[0 if same else place]
            optimizer = op.LMOptimizer(self._table, problem, self._num_steps, 0)
            fitted, _ = op.CoefficientOptimizer(optimizer)(self._random, wrapped)
            tuned.append(op.Tree(fitted.Nodes[:-4]).UpdateNodes())
        if not same:
            self._data, self._dataset = kept, dataset
        return tuned

    def to_text(self, tree: Any) -> str:
        """Infix for ``parse``; pyoperon's own printer rounds constants to a fixed number of decimals."""
        stack: list[str] = []
        for node in tree.Nodes:
            if node.IsVariable:
                stack.append(self._names[node.HashValue])
            elif node.IsConstant:
                stack.append(repr(float(node.Value)))
            elif node.Arity == 1:
                stack.append(f"{node.Name}({stack.pop()})")
            else:
                first, second = stack.pop(), stack.pop()
                stack.append(f"({first} {node.Name} {second})")
        return stack.pop()

    def _pose(self, targets: np.ndarray) -> tuple[Any, list[Any]]:
        """A problem on the rows, and its target variables, one for every column of ``targets``."""
        op = self._op
        self._data = np.asfortranarray(np.concatenate([self._x, targets], axis=1), np.float32)  # is not copied
        self._dataset = op.Dataset(self._data)
        variables = sorted(self._dataset.Variables, key=lambda variable: variable.Index)
        num_rows, num_inputs = self._x.shape
        problem = op.Problem(self._dataset)
        problem.TrainingRange, problem.TestRange = op.Range(0, num_rows), op.Range(num_rows - 1, num_rows)
        problem.InputHashes = [variable.Hash for variable in variables[:num_inputs]]
        problem.Target = variables[num_inputs]
        return problem, variables[num_inputs:]

    def _make_mutations(self, inputs: Sequence[int]) -> tuple[Any, list[Any]]:
        op, limits = self._op, (_MAX_DEPTH, self.max_size)
        shift = op.NormalOnePointMutation()
        shift.ParameterizeDistribution(0, 1)
        mutations = [
            shift,
            op.ChangeVariableMutation(inputs),
            op.ChangeFunctionMutation(self._symbols),
            op.ReplaceSubtreeMutation(self._creator, self._initialize, *limits),
            op.InsertSubtreeMutation(self._creator, self._initialize, *limits),
            op.RemoveSubtreeMutation(self._symbols),
        ]
        any_of_them = op.MultiMutation()
        for mutation in mutations:
            any_of_them.Add(mutation, 1.0)
        return any_of_them, mutations

    def _with_constant(self, tree: Any) -> Any:
        op, nodes = self._op, tree.Nodes
        after = int(self.rng.integers(len(nodes))) + 1
        number = float(self.rng.normal() / 2)
        if self.rng.random() < 0.5:
            added = [op.Node.Constant(float(np.exp(number))), op.Node.Mul()]
        else:
            added = [op.Node.Constant(number), op.Node.Add()]
        return op.Tree(nodes[:after] + added + nodes[after:]).UpdateNodes()

    def _without_weights(self, tree: Any) -> Any:
        nodes = tree.Nodes
        for node in nodes:
            if node.IsVariable:
                node.Value, node.Optimize = 1.0, False
        return self._op.Tree(nodes).UpdateNodes()


def size(tree: Any) -> int:
    """The published complexity of a tree."""
    return sum(COMPLEXITIES.get(node.Name, 1) for node in tree.Nodes)


def has_constants(tree: Any) -> bool:
    """Whether there is anything to tune."""
    return any(node.IsConstant for node in tree.Nodes)


def _one_of(op: Any, names: Sequence[str]) -> int:
    config = 0
    for name in names:
        config |= int(getattr(op.NodeType, name))
    return config
