import numpy as np
import pytest

from cellfx.analysis.latents.probe import HEADS, cross_probe, judge, probe


def ring(count, seed):
    """Class 1 lies on a ring around class 0: no line parts them; two further latents are noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    angle = rng.uniform(0, 2 * np.pi, count)
    radius = np.where(labels == 1, 3.0, 0.5) + 0.2 * rng.normal(size=count)
    codes = np.stack([radius * np.cos(angle), 100 * radius * np.sin(angle)], axis=1)
    return np.concatenate([codes, rng.normal(size=(count, 2))], axis=1), labels


def test_networks_and_machines_see_what_no_line_parts():
    train, test = ring(200, 0), ring(100, 1)
    scores = {head: probe(*train, *test, head=head).balanced_accuracy for head in HEADS}
    assert scores["mlp"] > 0.95
    assert scores["svm"] > 0.95
    assert scores["logistic"] < 0.75


@pytest.mark.parametrize("head", HEADS)
def test_three_classes(head):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    codes = 4 * np.eye(3)[labels] + rng.normal(size=(90, 3))
    result = probe(codes[:60], labels[:60], codes[60:], labels[60:], head)
    assert result.scores.shape == (30, 3)
    assert result.confusion.sum() == 30
    assert result.balanced_accuracy > 0.85


@pytest.mark.parametrize("head", HEADS)
def test_rare_classes_weigh_as_much_as_common_ones(head):
    rng = np.random.default_rng(0)
    labels = (np.arange(1000) % 20 == 0).astype(int)
    codes = np.stack([rng.normal(size=1000) + 1.5 * labels, np.zeros(1000)], axis=1)
    recall = np.diag(probe(codes[::2], labels[::2], codes[::2], labels[::2], head).confusion) / [450, 50]
    # The middle between the classes, .75 away from both, leaves a recall of .773 to each.
    np.testing.assert_allclose(recall, 0.773, atol=0.2)


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_numbers(head):
    train, test = ring(60, 0), ring(30, 1)
    first, second = (probe(*train, *test, head=head, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.scores, second.scores)


def test_another_seed_gives_other_networks():
    train, test = ring(60, 0), ring(30, 1)
    assert np.ptp([probe(*train, *test, seed=seed).scores[0, 0] for seed in (0, 1)]) > 0


def test_scores_are_averaged_over_the_views_of_a_test_image():
    train, (codes, labels) = ring(60, 0), ring(30, 1)
    views = np.stack([codes, codes * [1, -1, 1, 1]])
    both = probe(*train, views, labels).scores
    each = [probe(*train, view, labels).scores for view in views]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-10)


def test_training_sees_every_view():
    (codes, labels), test = ring(20, 0), ring(200, 1)
    turned = np.stack([codes @ _turn(angle) for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False)])
    assert probe(turned, labels, *test).balanced_accuracy > probe(codes, labels, *test).balanced_accuracy
    one = probe(np.stack([codes, codes]), labels, *test, head="logistic").scores
    np.testing.assert_allclose(one, probe(np.tile(codes, (2, 1)), np.tile(labels, 2), *test, head="logistic").scores)


def _turn(angle):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), 100 * np.sin(angle)], [-np.sin(angle) / 100, np.cos(angle)]]
    return matrix


def test_no_example_is_tested_by_what_it_trained():
    # Labels without any law: they can be remembered, not foretold.
    folds = np.repeat(np.arange(6), 10)
    labels = np.random.default_rng(0).integers(0, 2, 60)
    codes = np.random.default_rng(1).normal(size=(60, 40))
    seen = probe(codes, labels, codes, labels, "svm").balanced_accuracy
    unseen = cross_probe(codes, labels, folds, "svm").balanced_accuracy
    assert seen > 0.95
    assert unseen < 0.7


def test_cross_probe_equals_its_folds_one_by_one():
    codes, labels = ring(80, 0)
    folds = np.arange(80) % 5 // 2
    result = cross_probe(np.stack([codes, -codes]), labels, folds)
    for fold in range(3):
        train, test = folds != fold, folds == fold
        views = np.stack([codes, -codes])
        alone = probe(views[:, train], labels[train], views[:, test], labels[test])
        np.testing.assert_array_equal(result.scores[test], alone.scores)
    assert result.confusion.sum() == 80


def test_judge_closed_form():
    scores = np.eye(3)[[0, 0, 0, 1, 1, 1]]
    result = judge(scores, np.array([0, 0, 0, 0, 1, 1]))
    np.testing.assert_array_equal(result.confusion, [[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(result.accuracy, 5 / 6, rtol=1e-12)
    np.testing.assert_allclose(result.balanced_accuracy, 0.875, rtol=1e-12)


def test_a_constant_latent_is_harmless():
    codes, labels = ring(60, 0)
    codes[:, 3] = 7
    assert np.isfinite(probe(codes, labels, codes, labels).scores).all()


def test_bad_input():
    codes, labels = ring(20, 0)
    with pytest.raises(ValueError, match="unknown head: got 'forest', expected one of"):
        probe(codes, labels, codes, labels, "forest")
    with pytest.raises(ValueError, match="got 20 codes and 19 labels"):
        probe(codes, labels[1:], codes, labels)
    with pytest.raises(ValueError, match="test codes and labels do not belong together: got 0 codes"):
        probe(codes, labels, codes[:0], labels[:0])
    with pytest.raises(ValueError, match=r"got training classes \[0, 1\] and test classes \[0, 1, 2\]"):
        probe(codes, labels, codes[:3], np.arange(3))
    with pytest.raises(ValueError, match=r"got training classes \[1\]"):
        probe(codes, np.ones(20, int), codes, labels)
    with pytest.raises(ValueError, match="got 1 fold, expected 2 or more"):
        cross_probe(codes, labels, np.zeros(20, int))
