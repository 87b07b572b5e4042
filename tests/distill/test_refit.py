import numpy as np
import pytest
from scipy.optimize import linprog

from cellfx.distill.criteria import mean_loss
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import constants, with_constants
from cellfx.distill.expressions.parse import parse
from cellfx.distill.refit import _fit, refit

NAMES = ("z1", "z2", "z3", "z4")
LAW = "(z1^2 + z2^2)*(z3 - 0.44*z4) - 2.56"


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    y = numpy_evaluate(parse(LAW, NAMES), x, NAMES)
    labels = np.where(rng.uniform(size=500) < 0.02, -np.sign(y), np.sign(y))
    return x, y, labels


def loss_of(expression, x, y, loss, weights=None):
    return mean_loss(loss, numpy_evaluate(expression, x, NAMES), y, weights)


def test_squared_error_of_a_linear_formula_is_that_of_least_squares(rows):
    x, y, _ = rows
    (fitted,) = refit([parse("1*z1 + 1*z2 + 1*z3 + 1*z4 + 1", NAMES)], x, y, NAMES, "squared")
    design = np.column_stack([x, np.ones(len(x))])
    expected, *_ = np.linalg.lstsq(design, y)
    np.testing.assert_allclose(constants(fitted), expected, rtol=1e-3, atol=1e-4)


def test_weighted_squared_error(rows):
    x, y, _ = rows
    weights = np.random.default_rng(1).uniform(size=len(x)) ** 3
    (fitted,) = refit([parse("1*z3 + 1", NAMES)], x, y, NAMES, "squared", weights=weights)
    root = np.sqrt(weights)
    expected, *_ = np.linalg.lstsq(np.column_stack([x[:, 2], np.ones(len(x))]) * root[:, None], y * root)
    np.testing.assert_allclose(constants(fitted), expected, rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_hinge_of_a_linear_formula_is_that_of_a_linear_program(rows, weighted):
    x, _, labels = rows
    weights = np.where(labels > 0, 3.0, 1.0) if weighted else np.ones(len(x))
    expression = parse("1*z1 + 1*z2 + 1*z3 + 1*z4 + 1", NAMES)
    (fitted,) = refit([expression], x, labels, NAMES, "hinge", weights=weights if weighted else None)
    # min sum w s / sum w  subject to  s >= 1 - y (a x + b), s >= 0.
    design = np.column_stack([x, np.ones(len(x))])
    result = linprog(
        np.concatenate([np.zeros(5), weights / weights.sum()]),
        A_ub=-np.column_stack([labels[:, None] * design, np.eye(len(x))]),
        b_ub=-np.ones(len(x)),
        bounds=[(None, None)] * 5 + [(0, None)] * len(x),
    )
    assert result.status == 0
    found = loss_of(fitted, x, labels, "hinge", weights)
    assert result.fun - 1e-9 <= found <= result.fun + 2e-4


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_the_constants_of_the_law_are_found_from_afar(rows, loss):
    x, y, labels = rows
    far = with_constants(parse(LAW, NAMES), [-3.0, 20.0])
    (fitted,) = refit([far], x, y if loss == "squared" else labels, NAMES, loss)
    if loss == "squared":
        np.testing.assert_allclose(constants(fitted), [0.44, 2.56], rtol=1e-4)
    else:
        # The flipped 2 % are on the wrong side of the law too.
        np.testing.assert_allclose(constants(fitted)[0], 0.44, atol=0.1)
        assert np.mean(np.sign(numpy_evaluate(fitted, x, NAMES)) == np.sign(y)) > 0.98


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_none_comes_back_worse(rows, loss):
    x, y, labels = rows
    y = y if loss == "squared" else labels
    texts = [
        "2.5",
        "z1",
        "1e5*z1",
        "sqrt(z1 - 50)",
        "log(z1 - 30)*0.1 + z2/(z3*0.5)",
        "sin(40*z1) + exp(exp(z2 + 2.0))",
        "(z1 + 1e-7)/(z2 - z2 + 0.5)",
        LAW,
        "square(square(square(exp(z1 + 9.0))))",
        "exp(1.5)*z1^2 - 3*abs(z4 - 0.2) + 0.1*z2*z3 - 0.7*z1 + sin(z2*1.5)*2.5 - 0.3/(z3^2 + 1.0)",
    ]
    expressions = [parse(text, NAMES) for text in texts]
    fitted = refit(expressions, x, y, NAMES, loss, max_steps=15)
    for before, after in zip(expressions, fitted, strict=True):
        assert len(constants(after)) == len(constants(before))
        old = loss_of(before, x, y, loss)
        assert loss_of(after, x, y, loss) <= old or not np.isfinite(old)
    assert fitted[1] == expressions[1]


def test_alone_and_in_company_the_same(rows):
    x, y, _ = rows
    expressions = [parse(text, NAMES) for text in ("sin(2*z1) + 1.5*z3", "z1^2*3 - 1")]
    together = refit(expressions, x, y, NAMES, "squared", seed=3)
    assert together == [refit([expression], x, y, NAMES, "squared", seed=3)[0] for expression in expressions]
    assert together == refit(expressions, x, y, NAMES, "squared", seed=3)


def test_a_separable_hinge_ends():
    column = np.linspace(-1, 1, 500)[:, None]
    labels = np.sign(column[:, 0])
    x = np.tile(column + 0.05 * np.sign(column), 4)  # the classes are .1 apart: a scale of 20 is enough
    (fitted,) = refit([parse("0.01*z1 + 0.001", NAMES)], x, labels, NAMES, "hinge")
    assert mean_loss("hinge", numpy_evaluate(fitted, x, NAMES), labels) < 1e-4
    assert np.max(np.abs(constants(fitted))) <= 1e6


def test_a_front_and_nearby_numbers_of_rows_share_one_compilation(rows):
    x, y, _ = rows
    texts = ["1*z1", "z1^2*3 - 1", LAW, "sin(z2*0.3)/(z1 + 2.0)", "exp(exp(1.5*z3))"]
    refit([parse("2*z1", NAMES)], x, y, NAMES, "squared")
    before = _fit._cache_size()
    refit([parse(text, NAMES) for text in texts], x[:490], y[:490], NAMES, "squared")
    assert _fit._cache_size() == before


def test_bad_input(rows):
    x, y, _ = rows
    expression = parse("2*z1", NAMES)
    with pytest.raises(ValueError, match=r"got x of shape \(500, 4\), 499 targets and 4 names"):
        refit([expression], x, y[1:], NAMES, "squared")
    with pytest.raises(ValueError, match="and 3 names"):
        refit([expression], x, y, NAMES[:3], "squared")
    with pytest.raises(ValueError, match="0 targets"):
        refit([expression], x[:0], y[:0], NAMES, "squared")
    with pytest.raises(ValueError, match="unknown loss: got 'l1', expected one of hinge, squared"):
        refit([expression], x, y, NAMES, "l1")
    with pytest.raises(ValueError, match=r"labels that are not -1 or \+1: got 0 in 500 of 500 rows"):
        refit([expression], x, np.zeros(500), NAMES, "hinge")
    with pytest.raises(ValueError, match="targets that are no numbers: got nan in 1 of 500 rows"):
        refit([expression], x, np.where(np.arange(500) == 3, np.nan, y), NAMES, "squared")
    with pytest.raises(ValueError, match="got z9, expected one of"):
        refit([parse("2*z9", ["z9"])], x, y, NAMES, "squared")
