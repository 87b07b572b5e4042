import numpy as np
import pytest

from cellfx.distill.problem import FEWEST_ROWS, problem


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 6)) * [1, 2, 3, 4, 5, 6] + 10
    labels = np.where(np.arange(200) % 5 == 0, 1, -1)
    return codes, labels


def test_rows_are_split_and_columns_named_by_latent(rows):
    codes, labels = rows
    posed = problem(codes, (4, 1), labels, valid=np.arange(200) < 50)
    np.testing.assert_array_equal(posed.x, codes[50:][:, [4, 1]])
    np.testing.assert_array_equal(posed.valid_x, codes[:50][:, [4, 1]])
    np.testing.assert_array_equal(posed.y, labels[50:])
    np.testing.assert_array_equal(posed.valid_labels, labels[:50])
    assert posed.names == ("z4", "z1")
    assert posed.loss == "hinge"
    np.testing.assert_array_equal(posed.centre, 0)
    np.testing.assert_array_equal(posed.scale, 1)


def test_rows_that_are_drawn_are_of_both_classes_in_proportion_and_follow_from_the_seed(rows):
    codes, labels = rows
    first, again, other = (problem(codes, (0,), labels, valid_rate=0.3, seed=seed) for seed in (1, 1, 2))
    assert [np.sum(first.valid_labels == label) for label in (1, -1)] == [12, 48]
    np.testing.assert_array_equal(first.x, again.x)
    assert not np.array_equal(first.x, other.x)
    both = np.concatenate([first.x, first.valid_x])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(codes[:, :1], axis=0))


def test_standardised_latents_can_be_turned_back(rows):
    codes, labels = rows
    plain, standard = (problem(codes, (0, 3), labels, standardise=value) for value in (False, True))
    np.testing.assert_allclose(standard.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(standard.x.std(axis=0), 1)
    np.testing.assert_allclose(standard.x * standard.scale + standard.centre, plain.x)
    np.testing.assert_allclose(standard.valid_x * standard.scale + standard.centre, plain.valid_x)


def test_balanced_classes_weigh_alike(rows):
    codes, labels = rows
    posed = problem(codes, (0,), labels, balanced=True)
    for weights, y in ((posed.weights, posed.y), (posed.valid_weights, posed.valid_labels)):
        np.testing.assert_allclose(weights[y > 0].sum(), weights[y < 0].sum())
        np.testing.assert_allclose(weights.mean(), 1)
    np.testing.assert_array_equal(problem(codes, (0,), labels).weights, 1)


def test_outputs_are_judged_by_labels_of_their_own_or_by_their_sign(rows):
    codes, labels = rows
    outputs = np.random.default_rng(1).normal(size=200)
    valid = np.arange(200) % 2 == 0
    given = problem(codes, (0,), outputs, "squared", labels=labels, valid=valid)
    np.testing.assert_array_equal(given.valid_y, outputs[valid])
    np.testing.assert_array_equal(given.valid_labels, labels[valid])
    signs = problem(codes, (0,), outputs, "squared", valid=valid)
    np.testing.assert_array_equal(signs.valid_labels, np.sign(outputs[valid]))


def without_latent(codes, value):
    codes = codes.copy()
    codes[:, 2] = value
    return codes


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda c, y: (c, (), y), "no latent to make a formula of: got a head in which none survived"),
        (lambda c, y: (c, (0, 6), y), r"no different columns of the codes: got \[0, 6\], expected numbers from 0 to 5"),
        (lambda c, y: (c, (1, 1), y), r"no different columns of the codes: got \[1, 1\]"),
        (lambda c, y: (without_latent(c, 3.5), (0, 2), y), "constant latent: got 3.5 for z2 in all 160 rows"),
        (lambda c, y: (without_latent(c, np.nan), (0, 2), y), "latent that is no number: got nan for z2 in 160 of 160"),
        (lambda c, y: (c, (0,), y * 2), r"labels that are not -1 or \+1: got -?2"),
        (lambda c, y: (c, (0,), y[:-1]), r"do not belong together: got shapes \(200, 6\) and \(199,\)"),
        (lambda c, y: (c, (0,), np.ones(200)), r"too few rows to fit: got 0 of class -1 and 160 of class \+1"),
        (lambda c, y: (c[:20], (0,), y[:20]), f"too few rows to fit: .* and {FEWEST_ROWS} rows or more"),
    ],
)
def test_what_cannot_be_distilled_is_refused(rows, changed, message):
    with pytest.raises(ValueError, match=message):
        problem(*changed(*rows))


def test_options_that_cannot_be_are_refused(rows):
    codes, labels = rows
    with pytest.raises(ValueError, match="unknown loss: got 'log', expected one of hinge, squared"):
        problem(codes, (0,), labels, "log")
    with pytest.raises(ValueError, match=r"fraction of held-out rows out of range: got 1\.0"):
        problem(codes, (0,), labels, valid_rate=1.0)
    with pytest.raises(ValueError, match="labels and rows do not belong together: got 3 labels and 200 rows"):
        problem(codes, (0,), labels, labels=labels[:3])
    with pytest.raises(ValueError, match=r"held-out rows and rows do not belong together: got \(7,\) and \(200,\)"):
        problem(codes, (0,), labels, valid=np.zeros(7, bool))
    with pytest.raises(ValueError, match=r"too few rows to judge by: got 50 of class -1 and 0 of class \+1"):
        problem(codes, (0,), np.sort(labels), valid=np.arange(200) < 50)
