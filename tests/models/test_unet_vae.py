import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.analysis.images.translation import explained
from cellfx.losses.divergence import kl_between_normals, kl_to_standard_normal
from cellfx.models.unet_vae import unet_vae
from cellfx.nn.unet import ConditionalUNet, UNet
from cellfx.training.optimizers import adam
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.types import Spec

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[1] / "reference/translation.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

SPEC = Spec((8, 7, 3), 0, 64)
SMALL = {"filters": (6, 8), "hidden": 12, "latents": 2, "activation": "silu"}


def batch_of(size=8, seed=0, shape=SPEC.shape):
    image = np.random.default_rng(seed).uniform(size=(size, *shape)).astype(np.float32)
    return {"x": jnp.asarray(image), "mask": jnp.ones(size)}


@pytest.fixture(scope="module")
def started():
    model = unet_vae(SPEC, **SMALL, background=0.02)
    return model._replace(translate=jax.jit(model.translate)), *jax.jit(model.init)(jax.random.key(0))


@pytest.mark.parametrize(
    ("mean", "logvar", "prior_mean", "prior_logvar"),
    [(0.3, -1.0, -0.5, 0.7), (-2.0, 1.5, 1.0, -0.5), (0.1, -4.0, 0.2, -3.0), (1.0, 0.2, 1.0, 0.2)],
)
def test_kl_between_normals_is_the_integral(mean, logvar, prior_mean, prior_logvar):
    expected = reference.kl_between_normals_by_quadrature(mean, logvar, prior_mean, prior_logvar)
    arguments = (jnp.full((1, 1), value, jnp.float32) for value in (mean, logvar, prior_mean, prior_logvar))
    np.testing.assert_allclose(kl_between_normals(*arguments), [expected], rtol=1e-5, atol=1e-6)


def test_kl_between_normals_adds_up_over_latents_and_knows_the_standard_normal():
    rng = np.random.default_rng(0)
    mean, logvar, prior_mean, prior_logvar = (jnp.asarray(rng.normal(size=(5, 4)), jnp.float32) for _ in range(4))
    alone = [
        kl_between_normals(*(part[:, k : k + 1] for part in (mean, logvar, prior_mean, prior_logvar))) for k in range(4)
    ]
    np.testing.assert_allclose(kl_between_normals(mean, logvar, prior_mean, prior_logvar), sum(alone), rtol=1e-5)
    zero = jnp.zeros((5, 4))
    np.testing.assert_allclose(
        kl_between_normals(mean, logvar, zero, zero), kl_to_standard_normal(mean, logvar), rtol=1e-5, atol=1e-6
    )
    assert (kl_between_normals(mean, logvar, mean, logvar) == 0).all()


def test_the_loss_is_the_squared_error_of_the_last_channels_and_the_weighed_divergence(started):
    model, params, extra = started
    batch, key = batch_of(), jax.random.key(3)
    module = ConditionalUNet(SPEC.shape, 1, (6, 8), 12, 2, "silu")

    def apply(method, *arguments):
        run = jax.jit(lambda *a: module.apply({"params": params["vae"]}, *a, method=method))
        return np.asarray(run(*arguments), np.float64)

    x = batch["x"]
    (mean, logvar), prior = apply("infer", x), apply("expect", x)
    z = mean + np.exp(logvar / 2) * np.asarray(jax.random.normal(key, mean.shape), np.float64)
    drawn = 1 / (1 + np.exp(-apply("draw", x, jnp.asarray(z, jnp.float32))))
    error = np.mean(np.sum((np.asarray(x, np.float64)[..., 1:] - drawn) ** 2, axis=(1, 2, 3))) / (2 * 0.1**2)
    terms = np.stack([mean, logvar, *prior], axis=-1).reshape(-1, 4)
    kl = sum(reference.kl_between_normals_by_quadrature(*row, points=20_001) for row in terms) / len(x)
    for beta, weight in ((1.0, 1.0), (5.0, 5.0)):
        model = unet_vae(SPEC, **SMALL, beta=beta)
        value, (metrics, _) = jax.jit(model.losses["vae"], static_argnums=5)(
            params, extra, batch, key, jnp.int32(0), True
        )
        assert float(metrics["reconstruction"]) == pytest.approx(error, rel=1e-5)
        assert float(metrics["kl"]) == pytest.approx(kl, rel=1e-4)
        assert float(value) == pytest.approx(error + weight * kl, rel=1e-4)


def test_a_prediction_sees_the_first_channels_alone(started):
    model, params, extra = started
    x, other = batch_of()["x"], batch_of(seed=1)["x"]
    shown = model.translate(params, extra, x)
    assert shown.shape == (8, 8, 7, 2)
    hidden = jnp.concatenate([x[..., :1], other[..., 1:]], axis=-1)
    np.testing.assert_array_equal(model.translate(params, extra, hidden), shown)
    np.testing.assert_array_equal(model.translate(params, extra, x[..., :1]), shown)
    assert bool(jnp.all(jnp.any(model.translate(params, extra, other) != shown, axis=(1, 2, 3))))


def test_the_posterior_alone_sees_what_is_predicted(started):
    _, params, _ = started
    module = ConditionalUNet(SPEC.shape, 1, (6, 8), 12, 2, "silu")
    x = batch_of()["x"]
    changed = x.at[..., 1:].set(0.5)
    seen = []
    for method in ("expect", "infer"):
        run = jax.jit(lambda x, method=method: module.apply({"params": params["vae"]}, x, method=method))
        seen.append([run(image) for image in (x, changed)])
    for one, other in zip(*seen[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(*seen[1], strict=True):
        assert bool(jnp.all(jnp.any(one != other, axis=1)))


@pytest.mark.parametrize("size", [(9, 13), (5, 5), (1, 2), (16, 8)])
def test_images_of_any_size_keep_it(size):
    unet = UNet(size, (4, 4, 4), 2, "relu", 0.0)
    x, z = jnp.ones((3, *size, 1)), jnp.ones((3, 2))
    shape = jax.eval_shape(lambda key: unet.init_with_output(key, x, z)[0], jax.random.key(0)).shape
    assert shape == (3, *size, 2)


def test_bridges_bring_single_pixels_across_and_latents_reach_every_pixel():
    """Without the way through the bottom, the bridge of two 3x3 convolutions is left: a window of 5x5 pixels."""
    unet = UNet((16, 16), (4, 4, 4, 4, 4), 1, "silu", 0.0)
    x, z = jnp.full((1, 16, 16, 1), 0.5), jnp.zeros((1, 2))
    rng = np.random.default_rng(0)
    like = jax.eval_shape(unet.init, jax.random.key(0), x, z)["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), like)
    apply = jax.jit(lambda params, x, z: unet.apply({"params": params}, x, z))
    assert bool(jnp.all(apply(params, x, z + 1.0) != apply(params, x, z)))
    reached = jax.jit(jax.grad(lambda x, params: apply(params, x, z)[0, 8, 8, 0]))
    assert int(jnp.sum(reached(x, params) != 0)) > 150
    cut = {**params, "outwards0": jax.tree.map(jnp.zeros_like, params["outwards0"])}
    rows, columns = np.nonzero(reached(x, cut)[0, :, :, 0])
    assert sorted(zip(rows, columns, strict=True)) == [(a, b) for a in range(6, 11) for b in range(6, 11)]


def test_the_untrained_model_draws_near_the_background(started):
    model, params, extra = started
    drawn = model.translate(params, extra, batch_of()["x"])
    assert 0.005 < float(jnp.median(drawn)) < 0.08


def shapes(size, seed):
    """A spot; then the spot's shadow, which the first channel tells, and noise, which nothing tells."""
    rng = np.random.default_rng(seed)
    place, bright = rng.uniform(2, 5, (size, 2, 1, 1)), rng.uniform(0.3, 1, (size, 1, 1))
    rows, columns = np.mgrid[:8, :7]
    spot = bright * np.exp(-((rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2) / 4)
    noise = np.broadcast_to(rng.uniform(size=(size, 1, 1)), spot.shape)
    return np.stack([spot, 0.9 - 0.8 * spot, noise], axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def learnt(started):
    """What a model makes of ``shapes``, and the metrics of its last step."""
    _, params, extra = started
    pixels = {**params["vae"]["unet"]["pixels"], "bias": jnp.zeros(2)}
    gray = {"vae": {**params["vae"], "unet": {**params["vae"]["unet"], "pixels": pixels}}}
    model = unet_vae(SPEC, **SMALL)._replace(init=lambda key: (gray, extra))
    optimizers = {"vae": adam(250, learning_rate=1e-2, warm_up_rate=0.1, decay="cosine")}
    state, step = create_state(model, optimizers, jax.random.key(0)), jax.jit(train_step(model, optimizers))
    images = shapes(512, 0)
    for k in range(250):
        batch = images[(64 * k) % 512 :][:64]
        state, metrics = step(state, {"x": jnp.asarray(batch), "mask": jnp.ones(64)})
    translate = jax.jit(model.translate)
    return lambda x: np.asarray(translate(state.params, state.extra, x)), metrics


def test_it_learns_what_can_be_known_and_nothing_of_what_cannot(learnt):
    translate, metrics = learnt
    x = shapes(300, 1)
    found = explained(x[..., 1:], translate(x))
    assert found.pixels[0] > 0.9
    assert found.totals[0] > 0.9
    assert -0.5 < found.pixels[1] < 0.05
    # What the input leaves open is in the latents: a uniform gray level to about .1 of 56 pixels.
    assert float(metrics["kl"]) > 1.0


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (SPEC, {"inputs": 3}, r"no channel to predict, .*: got model\.inputs=3 of 3 channels, expected 1 or more and"),
        (SPEC, {"inputs": 0}, r"or none to predict it from: got model\.inputs=0 of 3 channels, .*; change model\.inp"),
        (SPEC._replace(shape=(8, 8, 1)), {}, r"got model\.inputs=1 of 1 channels, .*or the channels in the sect"),
        (SPEC, {"likelihood": "flat"}, r"unknown likelihood: got 'flat', expected one of \('normal', 'bernoulli'\)"),
        (SPEC, {"filters": ()}, r"an empty layer: got filters \(\), 12 hidden units and 2 latents, expected one conv"),
        (SPEC, {"activation": "relo"}, r"unknown activation: got 'relo', expected the name of a function in flax"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, settings, message):
    with pytest.raises(ValueError, match=message):
        unet_vae(spec, **{**SMALL, **settings}).init(jax.random.key(0))
