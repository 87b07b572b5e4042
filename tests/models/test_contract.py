"""Every file in cellfx/models is found by itself and held to the contract."""

import importlib
import inspect
import itertools
import pkgutil
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cellfx.models
from cellfx.trees import count_parameters, named_leaves
from cellfx.types import Model, Spec

NAMES = [module.name for module in pkgutil.iter_modules(cellfx.models.__path__)]
SMALL = {"latents": 5, "filters": (4, 8), "hidden": 16, "widths": (8, 6), "balanced": True}
SPEC = Spec((13, 12, 2), 3, 40, class_counts=(10, 25, 5))
VARIANTS = {
    "infogan with all it may have": (
        "infogan",
        {"grain": (0.01, 0.03), "one_length": True, "categories": (3,), "instance_noise": 0.1},
    ),
    # At the scale of .1 that is usual, terms of its gradient are so large that their rounding alone is beyond 1e-5.
    "vae of the dcgan's layers": ("vae", {"architecture": "dcgan", "scale": 0.5}),
}
"""Settings of a model that take other ways through it."""
CASES = [*NAMES, *VARIANTS]


def make(name, spec=SPEC, **changes):
    name, own = VARIANTS.get(name, (name, {}))
    factory = getattr(importlib.import_module(f"cellfx.models.{name}"), name)
    small = {key: value for key, value in SMALL.items() if key in inspect.signature(factory).parameters}
    return factory(spec, **{**small, **own, **changes})


def batch_of(size=8):
    image = jax.random.uniform(jax.random.key(7), (size, *SPEC.shape))
    return {"x": image, "label": jnp.arange(size) % SPEC.num_classes, "mask": jnp.ones(size)}


@cache
def initialized(name):
    return make(name).init(jax.random.key(0))


def value_and_grad(model, player):
    def loss(own, params, extra, batch, key, step):
        return model.losses[player]({**params, player: own}, extra, batch, key, step, True)

    return jax.value_and_grad(loss, has_aux=True)


def test_models_are_found():
    assert {"vae", "tcvae", "cnn"} <= set(NAMES)


@pytest.mark.parametrize("name", CASES)
def test_init_is_a_function_of_the_key(name):
    model = make(name)
    assert isinstance(model, Model)
    first, again, other = (model.init(jax.random.key(k))[0] for k in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), first, again))
    assert any(bool(jnp.any(a != b)) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True))
    assert set(model.losses) == set(first)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_gets_a_finite_gradient(name):
    model = make(name)
    params, extra = initialized(name)
    for player in model.losses:
        gradient_of = jax.jit(value_and_grad(model, player))
        (loss, (metrics, _)), gradient = gradient_of(
            params[player], params, extra, batch_of(), jax.random.key(3), jnp.int32(5)
        )
        assert loss.shape == ()
        assert loss.dtype == jnp.float32
        assert all(value.shape == () for value in metrics.values())
        for path, leaf in named_leaves(gradient).items():
            assert bool(jnp.all(jnp.isfinite(leaf))), path
            assert bool(jnp.any(leaf != 0)), f"{path} gets no gradient"


@pytest.mark.parametrize("name", CASES)
def test_four_devices_equal_one(name):
    params, extra = initialized(name)
    batch = {**batch_of(), "mask": jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])}
    parts = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), batch)
    for player in make(name).losses:
        single = jax.jit(value_and_grad(make(name), player))
        (loss, (metrics, new)), gradient = single(params[player], params, extra, batch, jax.random.key(3), jnp.int32(5))
        several = value_and_grad(make(name, SPEC._replace(axis_name="devices")), player)

        def step(own, part, several=several):
            (loss, (metrics, new)), gradient = several(own, params, extra, part, jax.random.key(3), jnp.int32(5))
            # What is no gradient must be the same on every device without being averaged.
            return (loss, metrics, new), jax.lax.pmean(gradient, "devices")

        mapped = jax.pmap(step, "devices", in_axes=(None, 0), out_axes=(0, None))(params[player], parts)
        same = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], 4, axis=0), (loss, metrics, new))
        for one, four in zip(jax.tree.leaves((same, gradient)), jax.tree.leaves(mapped), strict=True):
            np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_ranges_of_the_abilities(name):
    model, (params, extra) = make(name), initialized(name)
    x = batch_of()["x"]
    num_latents = SMALL["latents"] + sum(VARIANTS.get(name, ("", {}))[1].get("categories", ()))
    if model.encode:
        mean, logvar = model.encode(params, extra, x)
        assert mean.shape == logvar.shape == (8, num_latents)
    if model.decode:
        decoded = model.decode(params, extra, jnp.zeros((8, num_latents)))
        assert decoded.shape == x.shape
        assert bool(jnp.all((decoded >= 0) & (decoded <= 1)))
    if model.sample:
        drawn, z = model.sample(params, extra, jax.random.key(1), 3)
        assert drawn.shape == (3, *x.shape[1:])
        assert z.shape == (3, num_latents)
        assert bool(jnp.all((drawn >= 0) & (drawn <= 1)))
    if model.predict:
        assert model.predict(params, extra, x).shape == (8, SPEC.num_classes)
    if model.translate:
        translated = model.translate(params, extra, x)
        assert translated.shape == (*x.shape[:3], 1)
        assert bool(jnp.all((translated >= 0) & (translated <= 1)))
    assert model.predict or model.translate or (model.encode and model.decode)


@pytest.mark.parametrize("name", CASES)
def test_padding_changes_no_loss(name):
    model, (params, extra) = make(name), initialized(name)
    batch = batch_of(6)
    padded = {k: jnp.concatenate([v, jnp.zeros((2, *v.shape[1:]), v.dtype)]) for k, v in batch.items()}
    rubbish = {**padded, "x": padded["x"].at[6:].set(0.9)}
    for loss, training in itertools.product(model.losses.values(), (True, False)):
        values = [loss(params, extra, b, jax.random.key(0), jnp.int32(0), training)[0] for b in (padded, rubbish)]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_loss_for_evaluation_changes_nothing_and_takes_no_chances_but_those_of_its_key(name):
    """A model that draws noise draws other noise for every batch, and the same whenever it is judged again.

    A model with statistics of batches in ``extra`` takes their averages, so its loss is another than in training.
    """
    model, (params, extra) = make(name), initialized(name)
    for loss in model.losses.values():
        found, again, other = (
            loss(params, extra, batch_of(), jax.random.key(k), jnp.int32(0), False) for k in (0, 0, 1)
        )
        assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), found, again))
        assert (float(found[0]) == float(other[0])) == (model.predict is not None)
        value, (metrics, new) = found
        assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), new, extra))
        trained = loss(params, extra, batch_of(), jax.random.key(0), jnp.int32(0), True)
        assert set(metrics) == set(trained[1][0])
        assert (float(value) != float(trained[0])) == bool(jax.tree.leaves(extra))


def test_number_of_parameters_of_the_published_autoencoder():
    """Encoder: 3x3, 1-8-16-32-64, 1024 to 256, 256 to 32 twice; decoder: 32 to 256 to 1024, 64-32-16-8-1."""
    model = make("tcvae", Spec((64, 64, 1), 0, 100), latents=32, filters=(8, 16, 32, 64), hidden=256)
    shapes = jax.eval_shape(lambda key: model.init(key)[0], jax.random.key(0))
    encoder = sum(9 * i * o + o for i, o in [(1, 8), (8, 16), (16, 32), (32, 64)]) + 1025 * 256 + 2 * 257 * 32
    decoder = 33 * 256 + 257 * 1024 + sum(9 * i * o + o for i, o in [(64, 32), (32, 16), (16, 8), (8, 1)])
    assert count_parameters(shapes) == encoder + decoder


def test_tcvae_with_equal_weights_is_the_beta_vae():
    """The three terms sum to log q(z|x) - log p(z), whose mean over many draws of z is the closed-form KL."""
    params, extra = initialized("vae")
    batch = batch_of()
    vae, tcvae = make("vae", beta=3.0), make("tcvae", alpha=3.0, beta=3.0, gamma=3.0)
    keys = jax.random.split(jax.random.key(0), 2000)

    def mean_loss(model):
        one = lambda key: model.losses["vae"](params, extra, batch, key, jnp.int32(0), True)[0]  # noqa: E731
        return float(jnp.mean(jax.lax.map(one, keys, batch_size=200)))

    assert mean_loss(tcvae) == pytest.approx(mean_loss(vae), rel=1e-3)


def test_tcvae_refuses_an_unknown_estimator():
    with pytest.raises(
        ValueError, match=r"unknown estimator: got 'naive', expected one of \('weighted', 'stratified'\)"
    ):
        make("tcvae", estimator="naive")
