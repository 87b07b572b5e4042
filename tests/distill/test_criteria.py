import math

import numpy as np
import pytest

from cellfx.distill.criteria import check_targets, mean_loss, row_losses


def test_closed_forms():
    values, y = np.array([2.0, 0.5, 0.0, -1.0, -3.0]), np.array([1.0, 1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(row_losses("hinge", values, y), [0, 0.5, 1, 2, 0])
    np.testing.assert_array_equal(row_losses("squared", values, y), [1, 0.25, 1, 4, 4])
    assert mean_loss("hinge", values, y) == 0.7
    assert mean_loss("hinge", values, y, np.array([0.0, 2.0, 2.0, 0.0, 0.0])) == 0.75


def test_a_value_that_is_no_number_is_infinitely_wrong():
    for value in (math.nan, math.inf, -math.inf):
        assert mean_loss("squared", np.array([value, 0.0]), np.ones(2)) == math.inf
    assert mean_loss("hinge", np.array([math.nan, 2.0]), np.ones(2)) == math.inf


def test_errors():
    check_targets("hinge", np.array([-1, 1, 1]))
    check_targets("squared", np.array([0.3, -7]))
    with pytest.raises(ValueError, match="unknown loss: got 'log', expected one of hinge, squared"):
        check_targets("log", np.ones(2))
    with pytest.raises(ValueError, match="labels that are not -1 or \\+1: got 0 in 2 of 3 rows"):
        check_targets("hinge", np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="targets that are no numbers: got inf in 1 of 2 rows"):
        check_targets("squared", np.array([1, np.inf]))
