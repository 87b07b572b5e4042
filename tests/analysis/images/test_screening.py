import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from cellfx.analysis.images.screening import judge_screen, pixel_regression, roc, threshold_for

RNG = np.random.default_rng(0)
LABELS = RNG.uniform(size=400) < 0.7
SCORES = LABELS + RNG.normal(size=400)


@pytest.mark.parametrize("scores", [SCORES, np.floor(2 * SCORES), np.ones(400), -SCORES, SCORES.astype(np.float32)])
def test_roc_equals_scikit_learn(scores):
    curve = roc(scores, LABELS)
    false_positive, true_positive, thresholds = roc_curve(LABELS, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.false_positive_rate, false_positive, rtol=1e-12)
    np.testing.assert_allclose(curve.true_positive_rate, true_positive, rtol=1e-12)
    np.testing.assert_allclose(curve.area, roc_auc_score(LABELS, scores), rtol=1e-12)


def test_area_closed_forms():
    labels = np.array([True, True, False, False])
    assert roc(np.array([4, 3, 2, 1]), labels).area == 1.0
    assert roc(np.array([1, 2, 3, 4]), labels).area == 0.0
    assert roc(np.zeros(4), labels).area == 0.5
    np.testing.assert_allclose(roc(np.array([4, 1, 3, 0]), labels).area, 0.75, rtol=1e-12)


def test_the_order_of_images_does_not_matter():
    order = RNG.permutation(400)
    scores = np.floor(2 * SCORES)
    for first, second in zip(roc(scores, LABELS), roc(scores[order], LABELS[order]), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("wanted", [0.0, 0.01, 0.03, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("scores", [SCORES, np.floor(2 * SCORES)])
def test_the_threshold_keeps_the_wanted_rate_and_a_lower_one_would_not(scores, wanted):
    threshold = threshold_for(roc(scores, LABELS), wanted)
    assert np.mean(scores[~LABELS] >= threshold) <= wanted
    lower = np.unique(scores)[np.unique(scores) < threshold]
    if len(lower):
        assert np.mean(scores[~LABELS] >= lower[-1]) > wanted
    else:
        assert threshold == scores.min()


def test_thresholds_at_the_ends():
    labels = np.array([False, True, False, True])
    curve = roc(np.array([0.9, 0.8, 0.2, 0.1]), labels)
    assert threshold_for(curve, 0.0) == np.inf
    assert threshold_for(curve, 0.49) == np.inf
    assert threshold_for(curve, 0.5) == 0.8
    assert threshold_for(curve, 1.0) == 0.1
    assert judge_screen(np.array([0.9, 0.8, 0.2, 0.1]), labels, np.inf).confusion.tolist() == [[2, 0], [2, 0]]
    assert threshold_for(roc(np.array([1, 3, 2, 4]), labels), 0.0) == 3.0


def test_judge_closed_form():
    scores = np.array([0.9, 0.5, 0.4, 0.6, 0.1])
    result = judge_screen(scores, np.array([True, True, True, False, False]), 0.5)
    assert result.confusion.tolist() == [[1, 1], [1, 2]]
    np.testing.assert_allclose(result.accuracy, 3 / 5, rtol=1e-12)
    np.testing.assert_allclose(result.balanced_accuracy, (2 / 3 + 1 / 2) / 2, rtol=1e-12)
    np.testing.assert_allclose(result.true_positive_rate, 2 / 3, rtol=1e-12)
    np.testing.assert_allclose(result.false_positive_rate, 1 / 2, rtol=1e-12)


def test_judging_at_every_threshold_gives_the_curve():
    scores = np.floor(2 * SCORES)
    curve = roc(scores, LABELS)
    judged = [judge_screen(scores, LABELS, threshold) for threshold in curve.thresholds]
    np.testing.assert_allclose([j.false_positive_rate for j in judged], curve.false_positive_rate, rtol=1e-12)
    np.testing.assert_allclose([j.true_positive_rate for j in judged], curve.true_positive_rate, rtol=1e-12)


def pictures(count, seed):
    """Usable images are brighter at one side of a pattern; pixels differ in scale, and one never varies."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=count) < 0.6
    images = 0.5 + 0.1 * rng.normal(size=(count, 6, 5, 2))
    images[:, 2:4, 1:3] += 0.08 * labels[:, None, None, None]
    images[..., 1] *= 0.01
    images[:, 0, 0, 0] = 0.3
    return images.astype(np.float32), labels


def test_pixel_regression_finds_what_is_linear():
    (train, labels), (test, truth) = pictures(400, 0), pictures(300, 1)
    scores = pixel_regression(train, labels, test)
    assert scores.shape == (300,)
    assert np.all((scores >= 0) & (scores <= 1))
    # Eight pixels .8 deviations brighter are 2.26 deviations together; the best that can be had is an area of .945.
    assert 0.9 < roc(scores, truth).area < 0.97
    assert roc(pixel_regression(train, RNG.permutation(labels), test), truth).area < 0.8


def test_pixel_regression_does_not_see_the_scale_of_pixels():
    (train, labels), (test, _) = pictures(100, 0), pictures(50, 1)
    scale = np.random.default_rng(2).uniform(0.2, 4.0, train.shape[1:]).astype(np.float32)
    plain, scaled = (pixel_regression(train * s, labels, test * s, [0.01]) for s in (np.float32(1), scale))
    np.testing.assert_allclose(plain, scaled, atol=1e-3)


def test_a_pixel_that_never_varied_has_no_say():
    (train, labels), (test, _) = pictures(100, 0), pictures(50, 1)
    changed = test.copy()
    changed[:, 0, 0, 0] = 1.0
    np.testing.assert_array_equal(*(pixel_regression(train, labels, x, [0.01]) for x in (test, changed)))


def test_a_useless_penalty_is_not_chosen():
    (train, labels), (test, _) = pictures(100, 0), pictures(50, 1)
    chosen = pixel_regression(train, labels, test, [1e-12, 1e-2])
    assert np.ptp(chosen) > 0.3
    np.testing.assert_array_equal(chosen, pixel_regression(train, labels, test, [1e-2]))


def test_bad_input():
    with pytest.raises(ValueError, match=r"got labels of shape \(2,\) for 3 images, expected \(3,\)"):
        roc(np.zeros(3), np.array([True, False]))
    with pytest.raises(ValueError, match=r"got shape \(3,\) with 1 that are not finite"):
        roc(np.array([1, np.nan, 2]), np.array([True, False, True]))
    with pytest.raises(ValueError, match=r"got the labels \[True\], expected both True and False"):
        judge_screen(np.zeros(2), np.array([True, True]), 0.5)
    with pytest.raises(ValueError, match=r"got the labels \[0, 1, 2\]"):
        roc(np.zeros(3), np.arange(3))
    with pytest.raises(ValueError, match="threshold is no number: got nan"):
        judge_screen(SCORES, LABELS, np.nan)
    for rate in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"max_false_positive_rate is no rate: got {rate}, expected"):
            threshold_for(roc(SCORES, LABELS), rate)
    images, labels = pictures(10, 0)
    with pytest.raises(ValueError, match=r"got shapes \(10, 6, 5, 2\) to train on and \(10, 5, 5, 2\) to test"):
        pixel_regression(images, labels, images[:, 1:])
    with pytest.raises(ValueError, match="got 1 usable and 9 unusable, expected 2 or more"):
        pixel_regression(images, np.arange(10) == 0, images)
    for values in ((), (1.0, -1.0), (0.0,), (np.inf,)):
        with pytest.raises(ValueError, match="c_values are no penalties: got"):
            pixel_regression(images, labels, images, values)
