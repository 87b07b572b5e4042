"""Mish and its derivative against float64, the head against matrix products, and what the head refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn.activation import mish
from cellfx.nn.head import Head
from cellfx.trees import named_leaves


def mish64(x):
    return x * np.tanh(np.logaddexp(0, x))


def slope64(x):
    gate = np.tanh(np.logaddexp(0, x))
    return gate + x * (1 - gate**2) / (1 + np.exp(-x))


X = np.concatenate([np.linspace(-30, 30, 6001), np.geomspace(30, 1e30, 40), -np.geomspace(30, 1e4, 40)])


@pytest.mark.filterwarnings("ignore:overflow")
def test_mish_and_its_derivative():
    x = jnp.asarray(X, jnp.float32)
    exact = np.asarray(x, np.float64)
    value, slope = jax.vmap(jax.value_and_grad(mish))(x)
    np.testing.assert_allclose(value, mish64(exact), rtol=2e-6, atol=1e-30)
    np.testing.assert_allclose(slope, slope64(exact), rtol=2e-6, atol=2e-6)
    assert np.all(np.isfinite(value))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_mish_keeps_the_dtype_and_stays_finite(dtype):
    x = jnp.asarray([-3e38, -1e4, -90.0, 0.0, 90.0, 1e4, 3e38], dtype)
    value, slope = jax.vmap(jax.value_and_grad(mish))(x)
    assert value.dtype == slope.dtype == x.dtype
    assert np.all(np.isfinite(np.asarray(value, np.float32)))
    assert np.all(np.isfinite(np.asarray(slope, np.float32)))


def test_value_and_derivative_take_one_exponential_and_one_division():
    text = str(jax.make_jaxpr(lambda x: jax.jvp(mish, (x,), (x,)))(jnp.ones((3,))))
    assert (text.count(" exp "), text.count(" div ")) == (1, 1)
    assert not any(name in text for name in ("tanh", "log", "logistic"))


def test_the_second_derivative():
    x = np.linspace(-8, 8, 65)
    second = jax.vmap(jax.grad(jax.grad(mish)))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(second, (slope64(x + 1e-5) - slope64(x - 1e-5)) / 2e-5, rtol=1e-3, atol=1e-5)


def test_the_head_is_matrix_products_and_mish():
    head = Head((5, 4), num_classes=3)
    z = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    params = head.init(jax.random.key(0), z)["params"]
    shapes = {name: leaf.shape for name, leaf in named_leaves(params).items()}
    assert shapes == {
        "dense0/bias": (5,),
        "dense0/kernel": (6, 5),
        "dense1/bias": (4,),
        "dense1/kernel": (5, 4),
        "dense2/bias": (3,),
        "dense2/kernel": (4, 3),
    }
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    x = z.astype(np.float64)
    for i in range(3):
        x = mish64(x) if i else x
        x = x @ np.asarray(params[f"dense{i}"]["kernel"], np.float64) + np.asarray(params[f"dense{i}"]["bias"])
    np.testing.assert_allclose(head.apply({"params": params}, z), x, rtol=1e-5, atol=1e-6)


def test_the_published_head_has_2162_parameters_on_32_latents():
    params = Head().init(jax.random.key(0), jnp.zeros((1, 32)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2080 + 32 + 16 + 16 + 16 + 2


def test_dropout_is_for_training_only():
    head = Head((64,), dropout=0.3)
    z = jnp.ones((1, 4))
    variables = head.init(jax.random.key(0), z)
    plain = Head((64,)).apply(variables, z)
    np.testing.assert_array_equal(head.apply(variables, z), plain)

    def mean_logits(key):
        return head.apply(variables, z, train=True, rngs={"dropout": key})

    many = jax.vmap(mean_logits)(jax.random.split(jax.random.key(1), 4000))
    assert np.std(many[:, 0, 0]) > 0.01
    np.testing.assert_allclose(np.mean(many, axis=0), plain, atol=0.03)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"widths": (4, 0)}, r"an empty layer.*got widths \(4, 0\) and 2 classes, expected 1 unit or more"),
        ({"num_classes": 1}, r"got widths .* and 1 classes"),
        ({"dropout": 1.0}, r"dropout is out of range: got 1.0, expected 0 <= dropout < 1"),
    ],
)
def test_heads_that_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Head(**kwargs).init(jax.random.key(0), jnp.zeros((1, 3)))
