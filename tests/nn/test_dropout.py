import jax
import jax.numpy as jnp
import numpy as np

from cellfx.nn.dropout import drop

KEY = jax.random.key(0)


def test_as_many_are_dropped_as_asked_and_the_mean_stays():
    y = np.asarray(drop(jnp.ones((400, 50)), KEY, 0.3, None), np.float64)
    assert set(np.unique(y)) == {0.0, np.float64(np.float32(1) / np.float32(0.7))}
    # 20,000 draws: four standard errors of a fraction of .3 are .013.
    assert abs(np.mean(y == 0) - 0.3) < 0.013
    # Rows and columns fall independently: no example or unit goes as a whole.
    assert np.mean(y == 0, axis=1).min() > 0
    assert np.mean(y == 0, axis=1).max() < 1


def test_a_rate_of_0_changes_nothing():
    x = jax.random.normal(KEY, (5, 4))
    np.testing.assert_array_equal(drop(x, KEY, 0.0, None), x)


def test_four_devices_drop_the_same_as_one():
    x = jax.random.normal(jax.random.key(1), (8, 6))
    parts = jax.pmap(lambda x: drop(x, KEY, 0.5, "devices"), "devices")(x.reshape(4, 2, 6))
    np.testing.assert_array_equal(parts.reshape(8, 6), drop(x, KEY, 0.5, None))


def test_the_kind_of_number_is_kept():
    assert drop(jnp.ones((4, 4), jnp.bfloat16), KEY, 0.3, None).dtype == jnp.bfloat16
