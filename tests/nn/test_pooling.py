import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn.pooling import max_pool


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 7, 5, 1)])
def test_pooling_and_its_gradient_against_loops(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pooled, pullback = jax.vjp(max_pool, jnp.asarray(x))
    expected, slope = np.zeros(pooled.shape), np.zeros(shape)
    for b, i, j, c in np.ndindex(*pooled.shape):
        block = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        expected[b, i, j, c] = block.max()
        row, column = np.unravel_index(block.argmax(), (2, 2))
        slope[b, 2 * i + row, 2 * j + column, c] = 1.0
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(pullback(jnp.ones(pooled.shape))[0], slope)
