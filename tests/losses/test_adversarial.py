"""The players' losses, and the regularizer against float64 NumPy: its value and, by differences, its own gradient."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.losses.adversarial import annealed, call_fake, call_real, gradient_norm_penalty, slopes

_SPEC = importlib.util.spec_from_file_location(
    "adversarial", Path(__file__).parents[1] / "reference" / "adversarial.py"
)
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

SHAPE = (3, 2, 2)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, *SHAPE)), rng.normal(size=(5, *SHAPE)), rng.normal(size=(12, 4)), rng.normal(size=4)


def regularizer(w, real, fake, v):
    mask = jnp.ones(len(real))

    def critic(x):
        logits = jnp.tanh(x.reshape(len(x), -1) @ w) @ v
        return logits, logits

    def term(x, is_real):
        gradient, logits = slopes(critic, x, mask)
        return gradient_norm_penalty(logits, gradient, is_real)

    return jnp.mean(term(real, True) + term(fake, False))


def test_regularizer_and_its_gradient_equal_the_reference(drawn):
    real, fake, w, v = drawn
    real32, fake32, w32, v32 = (jnp.asarray(part, jnp.float32) for part in drawn)
    value, gradient = jax.value_and_grad(regularizer)(w32, real32, fake32, v32)
    assert float(value) == pytest.approx(reference.regularizer(real, fake, w, v), rel=1e-5)
    step, expected = 1e-5, np.zeros_like(w)
    for place in np.ndindex(*w.shape):
        moved = np.zeros_like(w)
        moved[place] = step
        above, below = (reference.regularizer(real, fake, w + sign * moved, v) for sign in (1, -1))
        expected[place] = (above - below) / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


def test_slopes_leave_padding_out(drawn):
    x = jnp.asarray(drawn[0], jnp.float32)

    def coupled(x):  # as batch norm does
        return jnp.sum(x, axis=(1, 2, 3)) * jnp.mean(x), None

    gradient, _ = slopes(coupled, x, jnp.array([1.0, 1.0, 1.0, 0.0, 0.0]))
    total = lambda x: np.sum(np.sum(x, axis=(1, 2, 3))[:3]) * np.mean(x)  # noqa: E731
    for place in [(0, 1, 1, 0), (4, 0, 0, 1)]:
        moved = np.zeros_like(drawn[0])
        moved[place] = 1e-6
        expected = (total(drawn[0] + moved) - total(drawn[0] - moved)) / 2e-6
        assert float(gradient[place]) == pytest.approx(expected, rel=1e-4)


def test_what_the_players_pay():
    logits = jnp.array([-50.0, 0.0, 50.0])
    np.testing.assert_allclose(call_real(logits), [50.0, np.log(2), 0.0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(call_fake(logits), [0.0, np.log(2), 50.0], rtol=1e-6, atol=1e-9)


def test_annealing_falls_geometrically_and_stops():
    found = [float(annealed(2.0, 0.01, jnp.int32(step), 100)) for step in (0, 50, 100, 500)]
    assert found == pytest.approx([2.0, 0.2, 0.02, 0.02], rel=1e-6)
    assert float(annealed(2.0, 0.01, jnp.int32(70), 0)) == 2.0
