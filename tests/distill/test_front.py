import json
from itertools import permutations

import numpy as np
import pytest

from cellfx.distill.expressions.parse import parse
from cellfx.distill.front import Scored, choose, from_rows, pareto, score, to_rows


def member(complexity, valid_loss, accuracy=0.5, nodes=None, text="z1"):
    return Scored(parse(text, ["z1"]), complexity, nodes or complexity, 0.0, valid_loss, accuracy)


def test_score_of_known_rows():
    expression = parse("sin(z1)*2 - 1", ["z1"])
    train = np.array([[0.0], [np.pi / 2]]), np.array([-1.0, -1.0])
    valid = np.array([[0.0], [np.pi / 2], [0.0], [-np.pi / 2]]), np.array([-1.0, 1.0, 1.0, -1.0])
    got = score(expression, ["z1"], "hinge", train, valid, valid[1])
    assert (got.complexity, got.nodes) == (8, 6)
    np.testing.assert_allclose([got.loss, got.valid_loss, got.valid_accuracy], [1, 0.5, 0.75])
    network = score(expression, ["z1"], "squared", train, valid, np.array([0, 1, 0, 0]))
    np.testing.assert_allclose([network.valid_loss, network.valid_accuracy], [(4 + 4) / 4, 1])


def test_pareto_keeps_what_nothing_simpler_beats():
    kept = [member(1, 0.9), member(3, 0.5), member(7, 0.2)]
    dropped = [member(1, 1.0), member(3, 0.6), member(5, 0.5), member(9, 0.2), member(2, float("nan"))]
    for order in permutations(range(3)):
        mixed = [kept[place] for place in order]
        assert pareto([*dropped, *mixed]) == kept == pareto([*mixed, *dropped])
    assert pareto([]) == []


def test_pareto_does_not_depend_on_the_order_of_equals():
    equals = [member(5, 0.1, text="z1 + 2"), member(5, 0.1, text="z1 - 2"), member(5, 0.1, nodes=4, text="z1*2")]
    assert all(pareto(order) == [equals[2]] for order in permutations(equals))
    assert all(pareto(order) == [equals[0]] for order in permutations(equals[:2]))


def test_choose_the_smallest_of_the_good_ones():
    front = [member(3, 0.5, 0.90), member(9, 0.3, 0.958), member(13, 0.29, 0.96), member(30, 0.1, 0.99)]
    assert choose(front) == front[1]
    assert choose(front, tolerance=0.001) == front[2]
    assert choose(front, max_nodes=30) == front[3]
    assert choose(front, max_nodes=5) == front[0]
    assert choose(front, by="loss") == front[2]
    assert choose(front, by="loss", tolerance=0.05) == front[1]


def test_choose_breaks_ties_by_loss():
    front = [member(5, 0.3, 0.9), member(5, 0.2, 0.9)]
    assert choose(front) == choose(front[::-1]) == front[1]


def test_rows_come_back_the_same():
    front = [member(3, 0.123456789, text="z1*0.12345678901"), member(9, 0.1)]
    rows = json.loads(json.dumps(to_rows(front)))
    assert from_rows(rows) == front
    assert rows[0]["text"] == "z1*0.1235"


def test_errors():
    with pytest.raises(ValueError, match="got sizes 21, 30, expected one of at most 20 nodes"):
        choose([member(21, 0.1), member(30, 0.1)])
    with pytest.raises(ValueError, match="got sizes none"):
        choose([])
    with pytest.raises(ValueError, match="unknown criterion: got 'size'"):
        choose([member(3, 0.1)], by="size")
