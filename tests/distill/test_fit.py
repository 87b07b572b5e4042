import os

import numpy as np
import pytest

from cellfx.distill import fit as module
from cellfx.distill.backends import julia
from cellfx.distill.backends.side_by_side import call_each
from cellfx.distill.criteria import mean_loss
from cellfx.distill.expressions.evaluate import numpy_evaluate
from cellfx.distill.expressions.expression import complexity, num_nodes
from cellfx.distill.expressions.parse import parse
from cellfx.distill.expressions.shorten import shape, shorten, unscale
from cellfx.distill.fit import choose_backend, fit, fit_many, merge, polish, select
from cellfx.distill.front import Scored
from cellfx.distill.problem import Budget, problem

SMALL = Budget(population=60, generations=10, islands=1, max_size=12, max_rows=200, searches=1)


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).normal(size=(400, 3))


@pytest.fixture(scope="module")
def labeled(codes):
    y = np.where(codes[:, 0] ** 2 - codes[:, 2] > 1, 1, -1)
    flipped = np.random.default_rng(1).random(400) < 0.03
    return problem(codes, (0, 1, 2), np.where(flipped, -y, y))


def texts_of(expressions):
    return sorted(str(expression) for expression in expressions)


def test_every_removal_is_tried_and_simplified():
    names = ("z1", "z2")
    found = shorten(parse("2.5*(square(z1) + z2) - 0.7", names))
    expected = ["2*(z1^2 + z2)", "2", "z1^2 + z2 - 2", "2*z1^2 - 2", "2*z2 - 2", "2*(z1 + z2 - 2)"]
    assert {shape(expression) for expression in found} == {shape(parse(text, names)) for text in expected}
    for expression in found:
        assert complexity(expression) < complexity(parse("2.5*(square(z1) + z2) - 0.7", names))
    assert len({shape(expression) for expression in found}) == len(found)
    assert shorten(parse("z1", names)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5*(z1^2 + z2) - 2.0", "z1^2 + z2 - 4.0"),
        ("3.0 - 2.0*exp(z1)", "1.5 - exp(z1)"),
        ("-0.25*z1 + 1.0", "4.0 - z1"),
        ("7.0*sin(z1)", "sin(z1)"),
        ("z1 - 2.0", "z1 - 2.0"),
        ("2.0*z1 + 3.0*z2", "2.0*z1 + 3.0*z2"),
    ],
)
def test_scale_without_an_influence_on_the_sign_is_left_out(text, expected):
    expression, names = parse(text, ("z1", "z2")), ("z1", "z2")
    assert unscale(expression) == parse(expected, names)
    x = np.random.default_rng(0).normal(size=(200, 2)) * 3
    before, after = (numpy_evaluate(each, x, names) for each in (expression, unscale(expression)))
    np.testing.assert_array_equal(np.sign(before), np.sign(after))


def test_polish_removes_what_is_not_needed_and_fits_the_rest(codes):
    wanted = codes[:, 0] ** 2 - 0.5 * codes[:, 2]
    posed = problem(codes, (0, 2), wanted, "squared")
    front = polish(posed, ["1.1 * (z0 * z0 - z2 * 0.3 * 1.2 + 0.001 * z0) + 0.4"], Budget())
    best = min(front, key=lambda member: member.valid_loss)
    assert best.valid_loss < 1e-8
    exact = min((member for member in front if member.valid_loss < 1e-8), key=lambda member: member.complexity)
    assert exact.nodes <= 6
    x = np.random.default_rng(2).normal(size=(50, 2))
    np.testing.assert_allclose(
        numpy_evaluate(exact.expression, x, posed.names), x[:, 0] ** 2 - 0.5 * x[:, 1], atol=1e-4
    )


def test_members_are_judged_on_held_out_rows(labeled):
    front = polish(labeled, ["1.1 * (square(z0) - z2) + -1.0", "1.2 * square(z0) + 0.1"], Budget())
    for member in front:
        values = numpy_evaluate(member.expression, labeled.valid_x, labeled.names)
        assert member.valid_loss == mean_loss("hinge", values, labeled.valid_y)
        assert member.valid_accuracy == np.mean((values > 0) == (labeled.valid_labels > 0))
        assert member.complexity == complexity(member.expression)
        assert member.nodes == num_nodes(member.expression)
    best = max(front, key=lambda member: member.valid_accuracy)
    x = np.random.default_rng(3).normal(size=(2000, 3))
    right = (numpy_evaluate(best.expression, x, labeled.names) > 0) == (x[:, 0] ** 2 - x[:, 2] > 1)
    assert np.mean(right) > 0.98


def test_balanced_accuracy_is_judged_where_classes_weigh_alike(codes):
    y = np.where(codes[:, 0] > 1.3, 1, -1)
    posed = problem(codes, (0, 1), y, balanced=True)
    (member,) = polish(posed, ["1.0 * z1 + -9.0"], Budget())[:1]
    values = numpy_evaluate(member.expression, posed.valid_x, posed.names) > 0
    recalls = [np.mean(values[posed.valid_labels == label] == (label > 0)) for label in (-1, 1)]
    np.testing.assert_allclose(member.valid_accuracy, np.mean(recalls))


def test_a_wrong_label_far_from_the_border_does_not_move_it(codes):
    x = np.concatenate([codes, np.repeat([[60.0, 0, 0]], 6, axis=0)])
    y = np.where(x[:, 0] > 0.5, 1, -1)
    y[400:] = -1
    posed = problem(x, (0,), y, valid=np.arange(406) < 100)
    front = polish(posed, ["1.1 * z0 + -0.2"], Budget())
    best = max(front, key=lambda member: member.valid_accuracy)
    assert best.valid_accuracy > 0.97


def scored(text, loss):
    """A formula of z0 that says that it has this held-out loss."""
    expression = parse(text, ("z0",))
    return Scored(expression, complexity(expression), num_nodes(expression), loss, loss, 0.5)


@pytest.fixture(scope="module")
def halves():
    """Labels that are the sign of z0; every other row is held out."""
    z = np.linspace(-1, 1, 200)[:, None]
    return problem(z, (0,), np.sign(z[:, 0]), valid=np.arange(200) % 2 == 0)


def test_merge_keeps_the_front_of_loss_and_the_front_of_wrong_signs(halves):
    constant, near, nearer = scored("-1", 0.9), scored("z0 - 0.3", 0.5), scored("z0 - 0.1", 0.6)
    neither = scored("9*z0 - 2", 0.55)
    assert merge(halves, [neither, nearer, near, constant]) == [constant, near, nearer]
    assert merge(halves, [near, constant, constant]) == [constant, near]
    assert merge(halves, []) == []


def test_select_takes_the_smallest_formula_that_the_rows_cannot_tell_from_the_best(halves):
    best, nearly, worse = scored("2*z0 + 0.001*z0", 0.1), scored("z0 - 0.011", 0.2), scored("abs(z0)", 0.1)
    assert select(halves, [best, worse, nearly]) == nearly
    assert select(halves, [worse, best]) == best
    far = scored("z0 - 0.3", 0.2)
    assert select(halves, [far, best]) == best
    assert select(halves, [far, best], max_nodes=4) == far
    with pytest.raises(ValueError, match="no formula is small enough: got sizes 3, expected one of at most 2 nodes"):
        select(halves, [far], max_nodes=2)


def test_fit_repeats_itself_and_stays_within_the_largest_complexity(labeled):
    front = fit(labeled, SMALL, seed=3, backend="operon")
    assert front == fit(labeled, SMALL, seed=3, backend="operon")
    assert all(member.complexity <= SMALL.max_size for member in front)
    assert [member.complexity for member in front] == sorted(member.complexity for member in front)
    assert max(member.valid_accuracy for member in front) > 0.85


def test_seeds_of_fit_many_are_fits_of_their_own(labeled):
    done = []
    found = fit_many(labeled, SMALL, seeds=(3, 4), backend="operon", progress=lambda *counts: done.append(counts))
    assert done == [(1, 2), (2, 2)]
    assert found.by_seed[0] == fit(labeled, SMALL, seed=3, backend="operon")
    assert found.by_seed[0] != found.by_seed[1]
    assert found.merged == merge(labeled, [*found.by_seed[0], *found.by_seed[1]])


def test_backend_is_operon_where_there_is_no_julia(monkeypatch):
    monkeypatch.setattr(julia, "missing", lambda: "got no Julia on this machine")
    assert choose_backend() == "operon"
    assert choose_backend("operon") == "operon"
    with pytest.raises(OSError, match="PySR cannot run: got no Julia"):
        choose_backend("pysr")
    with pytest.raises(ValueError, match="unknown backend: got 'gplearn', expected operon or pysr"):
        choose_backend("gplearn")
    monkeypatch.setattr(julia, "missing", lambda: None)
    assert choose_backend() == "pysr"


def test_what_pysr_returns_takes_the_same_path(labeled, monkeypatch):
    monkeypatch.setattr(julia, "missing", lambda: None)
    monkeypatch.setitem(
        module.BACKENDS, "pysr", lambda problem, budget, seed, *_: [f"square(z0) - z2 - 0.{seed}", "z0"]
    )
    found = fit_many(labeled, Budget(), seeds=(1, 2), backend="pysr")
    for front in (*found.by_seed, found.merged):
        assert max(member.valid_accuracy for member in front) > 0.9


def test_calls_in_processes_of_their_own():
    assert list(call_each(divmod, [(7, 2), (9, 4), (5, 5)], 2)) == [(3, 1), (2, 1), (1, 0)]
    with pytest.raises(ZeroDivisionError):
        list(call_each(divmod, [(7, 0)], 1))
    with pytest.raises(RuntimeError, match="a search died: got exit status 3 from _exit"):
        list(call_each(os._exit, [(3,)], 1))
