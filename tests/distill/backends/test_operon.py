import numpy as np
import pytest

from cellfx.distill.backends.operon import PER_SIZE, rank, search
from cellfx.distill.backends.operon_trees import Workshop, has_constants, size
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import complexity, constants
from cellfx.distill.expressions.parse import parse
from cellfx.distill.problem import Budget, problem

NAMES = ("z1", "z2", "z3")
SMALL = Budget(population=60, generations=8, islands=2, max_size=12, max_rows=200, searches=1)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    return x, (x[:, 0] ** 2 + 0.7 * x[:, 1]).astype(np.float32)


@pytest.fixture(scope="module")
def workshop(rows):
    return Workshop(*rows, NAMES, max_size=14, num_steps=5, seed=3)


@pytest.fixture(scope="module")
def trees(workshop):
    trees = [workshop.create() for _ in range(60)]
    children = [workshop.vary(trees[place], trees[place + 1]) for place in range(59)]
    return trees + [child for child in children if child is not None]


def test_text_of_a_tree_has_its_size_and_its_values(workshop, rows, trees):
    values, compared = workshop.evaluate(trees), 0
    for tree, found in zip(trees, values, strict=True):
        expression = parse(workshop.to_text(tree), NAMES)
        assert complexity(expression) == size(tree) <= 14
        assert bool(constants(expression)) == has_constants(tree)
        expected = numpy_evaluate(expression, rows[0], NAMES)
        # Outside the domain of a function pyoperon has no number; near a pole float32 has few digits left.
        inside = np.isfinite(found) & (np.abs(found) < 100)
        if inside.all():
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
            compared += 1
    assert compared > 40


def test_variables_have_no_weight_of_their_own(trees):
    for tree in trees:
        for node in tree.Nodes:
            if node.IsVariable:
                assert (node.Value, node.Optimize) == (1.0, False)


def test_tuned_constants_fit_better(workshop, rows):
    _, y = rows
    trees = [tree for tree in (workshop.create() for _ in range(200)) if has_constants(tree)]
    values = workshop.evaluate(trees)
    usable = [place for place, row in enumerate(values) if np.isfinite(row).all() and np.abs(row).max() < 50][:20]
    trees, values = [trees[place] for place in usable], values[usable]
    one, zero = np.ones(len(trees), np.float32), np.zeros(len(trees), np.float32)
    own = np.stack([y + place for place in range(len(trees))])
    for wanted in (np.broadcast_to(y, values.shape), own):
        tuned = workshop.evaluate(workshop.tune(trees, one, zero, wanted))
        for before, after, goal in zip(values, tuned, wanted, strict=True):
            left = [np.linalg.lstsq(np.column_stack([row, np.ones(300)]), goal)[1] for row in (before, after)]
            if np.ptp(before) > 1e-3 and np.ptp(after) > 1e-3 and all(map(len, left)):
                assert left[1][0] <= left[0][0] * 1.02 + 1e-3
    np.testing.assert_array_equal(workshop.evaluate(trees), values)


def test_rank_counts_the_fronts_before_a_member():
    rng = np.random.default_rng(0)
    sizes, loss = rng.integers(1, 9, 80), rng.random(80)
    left, expected = list(range(80)), np.zeros(80)
    for current in range(80):
        front = [i for i in left if not any(sizes[j] <= sizes[i] and loss[j] < loss[i] for j in left)]
        expected[front] = current
        left = [i for i in left if i not in front]
    np.testing.assert_array_equal(rank(sizes, loss), expected)


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_a_short_formula_is_found_and_the_seed_repeats_it(rows, loss):
    x, y = rows
    target = y if loss == "squared" else np.where(y > 1, 1, -1)
    posed = problem(x, (0, 1, 2), target, loss)
    found = search(posed, SMALL, seed=1)
    assert found == search(posed, SMALL, seed=1)
    assert found != search(posed, SMALL, seed=2)
    expressions = [parse(text, posed.names) for text in found]
    sizes = [complexity(expression) for expression in expressions]
    assert sizes == sorted(sizes)
    assert max(np.bincount(sizes)) <= PER_SIZE
    border = 0 if loss == "hinge" else 1
    above = posed.valid_x[:, 0] ** 2 + 0.7 * posed.valid_x[:, 1] > 1
    scores = [numpy_evaluate(expression, posed.valid_x, posed.names) for expression in expressions]
    assert max(np.mean((values > border) == above) for values in scores) > 0.95


def test_latents_that_no_formula_can_be_made_of(rows):
    _, y = rows
    huge = np.random.default_rng(0).normal(size=(300, 1)) * 1e30
    with pytest.raises(
        ValueError, match=r"no formula could be evaluated: .* standardize them with distill.standardise"
    ):
        search(problem(huge, (0,), np.sign(y)), SMALL._replace(max_size=5), seed=0)
    with pytest.raises(ValueError, match="largest complexity out of range: got 1, expected 5 or more"):
        search(problem(huge, (0,), np.sign(y)), SMALL._replace(max_size=1), seed=0)
