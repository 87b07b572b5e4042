"""Closed forms for linear classifiers, float64 NumPy for curved ones, and what must hold of any."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.analysis.attacks import attacks, norms

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[2] / "reference/attacks.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0, 4.0])
DUAL = {"linf": np.abs(WEIGHTS).sum(), "l2": np.sqrt(np.sum(WEIGHTS**2))}
"""How much a change of size 1 moves the linear classifier at most: Hoelder's inequality."""


@attacks.two_classes
def linear(x):
    return x.reshape(len(x), -1) @ jnp.asarray(WEIGHTS, jnp.float32) - 0.25


MATRIX = np.random.default_rng(3).normal(size=(4, 4))


@attacks.two_classes
def curved(x):
    """x' A x + sum of sines."""
    matrix = jnp.asarray(MATRIX, jnp.float32)
    return jnp.sum((x @ matrix) * x, axis=1) + jnp.sum(jnp.sin(x), axis=1)


def curved_value(x):
    return x @ MATRIX @ x + np.sin(x).sum()


def curved_slope(x):
    return (MATRIX + MATRIX.T) @ x + np.cos(x)


@jax.jit
def three_classes(x):
    return jnp.tanh(x @ jnp.asarray(np.random.default_rng(5).normal(size=(4, 3)), jnp.float32))


def examples(count=200, size=5, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return x, (x @ WEIGHTS[:size] - 0.25 > 0).astype(np.int32)


@pytest.mark.parametrize("norm", norms.NORMS)
@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd])
def test_a_linear_classifier_is_moved_as_far_as_can_be(attack, norm):
    x, label = examples()
    attacked = np.asarray(attack(linear, x, label, 0.3, norm), np.float64)
    towards = np.where(label == 1, -1, 1)
    np.testing.assert_allclose((attacked - x) @ WEIGHTS, towards * 0.3 * DUAL[norm], rtol=1e-4)
    np.testing.assert_allclose(norms.distance(x, jnp.asarray(attacked, jnp.float32), norm), 0.3, rtol=1e-5)


@pytest.mark.parametrize("norm", norms.NORMS)
@pytest.mark.parametrize("attack", attacks.ATTACKS)
def test_the_accuracy_under_attack_counts_who_is_further_from_the_border(attack, norm, monkeypatch):
    monkeypatch.setattr(attacks, "BATCH_SIZE", 64)
    x, label = examples()
    epsilons = [0.4, 0.0, 0.1, 1.0]
    found = attacks.accuracy_under_attack(linear, x, label, epsilons, attack, norm)
    reach = np.abs(x.astype(np.float64) @ WEIGHTS - 0.25) / DUAL[norm]
    np.testing.assert_allclose(found, [np.mean(reach > epsilon) for epsilon in epsilons], atol=1e-12)
    assert found[1] == 1


@pytest.mark.parametrize("norm", norms.NORMS)
@pytest.mark.parametrize("bounds", [None, (-0.5, 0.6)])
def test_projected_ascent_is_that_of_the_paper(norm, bounds):
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (6, 4)).astype(np.float32)
    label = np.array([0, 1, 0, 1, 0, 1], np.int32)
    found = attacks.pgd(curved, x, label, 0.35, norm, num_steps=7, step_size=0.09, bounds=bounds)
    for row, own, got in zip(x.astype(np.float64), label, np.asarray(found), strict=True):
        sign = 1 if own == 0 else -1
        margin, slope = (lambda z, s=sign: s * curved_value(z)), (lambda z, s=sign: s * curved_slope(z))
        expected = reference.ascend(margin, slope, row, 0.35, norm, 7, 0.09, bounds)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", norms.NORMS)
@pytest.mark.parametrize("key", [None, 4])
def test_no_attack_leaves_the_ball_or_the_bounds_or_makes_it_easier(norm, key):
    x = np.random.default_rng(2).uniform(0, 1, (40, 4)).astype(np.float32)
    label = (np.arange(40) % 3).astype(np.int32)
    key = None if key is None else jax.random.key(key)
    attacked = attacks.pgd(three_classes, x, label, 0.2, norm, 10, key=key, bounds=(0.0, 1.0))
    assert float(jnp.max(norms.distance(x, attacked, norm))) <= 0.2 * (1 + 1e-5)
    assert float(jnp.min(attacked)) >= 0
    assert float(jnp.max(attacked)) <= 1
    before, after = (attacks.margin(three_classes(z), label) for z in (jnp.asarray(x), attacked))
    assert bool(jnp.all(after >= before))
    assert float(jnp.mean(after - before)) > 0.1


def test_many_steps_are_stronger_than_one():
    x = np.random.default_rng(4).normal(size=(200, 4)).astype(np.float32)
    label = (np.array([curved_value(row) for row in x.astype(np.float64)]) > 0).astype(np.int32)
    one, many = (attacks.accuracy_under_attack(curved, x, label, [0.5], attack, "l2")[0] for attack in attacks.ATTACKS)
    assert many <= one
    assert many < 0.9


@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd])
def test_who_is_very_sure_can_still_be_attacked(attack):
    """The softmax of logits of thousands has no slope in float32."""

    @attacks.two_classes
    def sure(x):
        return 1e4 * (x @ jnp.asarray(WEIGHTS, jnp.float32))

    x, label = examples(20)
    attacked = np.asarray(attack(sure, x, label, 0.3, "l2"), np.float64)
    np.testing.assert_allclose(np.abs((attacked - x) @ WEIGHTS), 0.3 * DUAL["l2"], rtol=1e-4)


@pytest.mark.parametrize("norm", norms.NORMS)
def test_where_nothing_changes_the_answer_nothing_is_changed(norm):
    x, label = examples(10)
    flat = lambda x: jnp.zeros((len(x), 2)) + 0 * x[:, :2]  # noqa: E731
    np.testing.assert_array_equal(attacks.fgsm(flat, x, label, 0.5, norm), x)
    np.testing.assert_array_equal(attacks.pgd(flat, x, label, 0.5, norm, 3), x)
    np.testing.assert_array_equal(attacks.pgd(linear, x, label, 0.0, norm, 3), x)


def test_a_curve_never_rises():
    """A classifier with a hill: one long step jumps over the border and back."""

    @attacks.two_classes
    def ring(x):
        return jnp.cos(4 * x[:, 0])

    x = np.full((5, 1), 0.3, np.float32)
    label = np.ones(5, np.int32)
    found = attacks.accuracy_under_attack(ring, x, label, [0.0, 0.4, 1.3], "fgsm")
    np.testing.assert_array_equal(found, [1, 0, 0])
    assert float(attacks.margin(ring(attacks.fgsm(ring, x, label, 1.3)), label)[0]) < 0


def test_random_starts_come_from_the_key_alone():
    x = np.zeros((300, 4), np.float32)
    label = np.zeros(300, np.int32)
    same, again, other = (attacks.pgd(curved, x, label, 1.0, "l2", 1, 0.0, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert bool(jnp.any(same != other))


@pytest.mark.parametrize("norm", norms.NORMS)
def test_random_changes_fill_the_ball_evenly(norm):
    """Half of the volume of a ball of four dimensions lies beyond a distance of 2 ** (-1/4)."""
    drawn = norms.draw(jax.random.key(0), jnp.zeros((4000, 2, 2)), norm)
    size = np.asarray(norms.distance(jnp.zeros_like(drawn), drawn, norm))
    assert size.max() <= 1 + 1e-6
    assert abs(np.mean(size > 2**-0.25) - 0.5) < 0.04
    np.testing.assert_allclose(np.asarray(drawn).mean(axis=0), 0, atol=0.05)


def test_images_are_attacked_like_vectors():
    x, label = examples(12)
    image = x.reshape(12, 5, 1, 1)
    for norm in norms.NORMS:
        attacked = attacks.pgd(linear, image, label, 0.3, norm)
        np.testing.assert_allclose(attacked.reshape(12, 5), attacks.pgd(linear, x, label, 0.3, norm), rtol=1e-5)


def test_a_classifier_is_compiled_once_for_all_sizes():
    traced = []

    @attacks.two_classes
    def counted(x):
        traced.append(x.shape)
        return jnp.sum(x, axis=1)

    x, label = examples(20)
    attacks.accuracy_under_attack(counted, x, label, [0.1], num_steps=5)
    first = len(traced)
    attacks.accuracy_under_attack(counted, x, label, [0.2, 0.3, 0.4], num_steps=5)
    assert len(traced) == first > 0


def test_the_margin_is_to_the_best_of_the_others():
    logits = jnp.array([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0]])
    np.testing.assert_allclose(attacks.margin(logits, jnp.array([1, 2])), [-3.0, 3.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, r"unknown norm of an attack: got 'l1', expected one of \('linf', 'l2'\); choose"),
        ({"attack": "cw"}, r"unknown attack: got 'cw', expected one of \('fgsm', 'pgd'\); choose"),
        ({"epsilons": [-0.1]}, r"no size of an attack: got epsilon=-0\.1, expected a number of 0 or more; correct"),
        ({"epsilons": [np.nan]}, r"no size of an attack: got epsilon=nan, expected a number of 0 or more"),
        ({"num_steps": 0}, r"an attack without a step: got num_steps=0, expected 1 or more; raise it"),
        ({"bounds": (1.0, 0.0)}, r"values that no attack can start from|bounds in the wrong order"),
        (
            {"x": np.full((10, 5), np.nan, np.float32)},
            r"values that no attack can start from: got nan to nan, expected",
        ),
        ({"bounds": (0.0, 1.0)}, r"no attack can start from: got -.* to .*, expected finite numbers of 0\.0 to 1\.0;"),
        ({"label": np.zeros(9, np.int32)}, r"labels do not belong together: got 10 and 9, expected as many of both"),
    ],
)
def test_what_cannot_be_attacked_is_refused(settings, message):
    x, label = examples(10)
    with pytest.raises(ValueError, match=message):
        attacks.accuracy_under_attack(linear, **{"x": x, "label": label, "epsilons": [0.1], **settings})


def test_bounds_in_the_wrong_order_are_refused():
    x, label = examples(3)
    with pytest.raises(ValueError, match=r"bounds in the wrong order: got \(1\.0, 0\.0\), expected a smaller and a"):
        attacks.fgsm(linear, x, label, 0.1, bounds=(1.0, 0.0))
