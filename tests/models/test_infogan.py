"""What an InfoGAN draws and reads, and its players' losses against float64 NumPy from the networks' own outputs."""

import functools
import importlib.util
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.models.infogan import infogan
from cellfx.nn.dcgan import Outwards
from cellfx.nn.infogan import HALF_WIDTH, Discriminator, Networks
from cellfx.trees import count_parameters
from cellfx.types import Spec

_SPEC = importlib.util.spec_from_file_location(
    "adversarial", Path(__file__).parents[1] / "reference" / "adversarial.py"
)
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

SPEC = Spec((8, 9, 2), 0, 40)
SMALL = {"latents": 3, "filters": (4, 6), "categories": (3,), "dropout": 0.0}
MASK = np.array([1, 1, 0, 1, 1], np.float32)
BATCH = {"x": jax.random.uniform(jax.random.key(7), (5, *SPEC.shape)), "mask": jnp.asarray(MASK)}


SHAPING = ("categories", "noise")
"""Settings that parameters depend on."""
PUNISHED = {"information": 0.7, "gamma": 3.0, "gamma_end": 0.04, "anneal_steps": 10}
FREE = {"information": 0.0, "gamma": 0.0}


@cache
def initialized(**shape):
    return jax.jit(infogan(SPEC, **{**SMALL, **shape}).init)(jax.random.key(0))


def started(**changes):
    shape = {name: value for name, value in changes.items() if name in SHAPING}
    return infogan(SPEC, **{**SMALL, **changes}), *initialized(**shape)


def networks():
    """Those of ``SMALL``, apart from the model."""
    outwards = Outwards(SMALL["filters"], SPEC.shape, 0.9, None)
    return Networks(outwards, Discriminator(SMALL["filters"], 3, (3,), 0.0, 0.9, None), 1, None, False)


@cache
def compiled(player, training, **changes):
    return jax.jit(functools.partial(started(**changes)[0].losses[player], training=training))


def value_of(player, training=True, step=0, key=3, **changes):
    _, params, extra = started(**changes)
    loss = compiled(player, training, **changes)
    value, (metrics, _) = loss(params, extra, BATCH, jax.random.key(key), jnp.int32(step))
    return float(value), {name: float(metric) for name, metric in metrics.items()}


def mean(values):
    return float(np.sum(np.asarray(values, np.float64) * MASK) / MASK.sum())


def softplus(values):
    return np.logaddexp(0.0, np.asarray(values, np.float64))


def bound(drawn, reading):
    """Information on all codes together, (B,)."""
    mean, logvar, logits = (
        np.asarray(part, np.float64) for part in (reading.mean, reading.logvar, *reading.categories)
    )
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = np.asarray(drawn.categories[0]).argmax(axis=1)
    continuous = reference.uniform_code_bound(np.asarray(drawn.codes, np.float64), mean, logvar, HALF_WIDTH)
    return continuous + np.log(chances[np.arange(len(chosen)), chosen]) + np.log(3)


def weighted_norms(own, params, extra, x, sign):
    """Squared norms of the logits' slopes by each image, through batch norm too, times (1 - D)^2 or D^2."""

    def critic(x):
        logits = own.read(params, extra, x, BATCH["mask"])[0].logits
        return logits, logits

    slopes, logits = (np.asarray(part, np.float64) for part in jax.jit(jax.jacrev(critic, has_aux=True))(x))
    chance = 1.0 / (1.0 + np.exp(-sign * logits))
    return chance**2 * np.sum(slopes[MASK > 0].sum(axis=0) ** 2, axis=(1, 2, 3))


def drawn_and_fake(own, params, extra, key):
    """What a player draws for its loss, and the images."""
    drawn = own.draw(jax.random.split(jax.random.key(key), 5)[0], 5, None)
    return drawn, jax.jit(own.generate)(params, extra, drawn.joined(), BATCH["mask"])[0]


def test_the_discriminator_pays_what_its_outputs_say():
    own, (_, params, extra) = networks(), started()
    drawn, fake = drawn_and_fake(own, params, extra, 3)
    real = BATCH["x"]
    read = jax.jit(own.read)
    of_real, of_fake = (read(params, extra, x, BATCH["mask"])[0] for x in (real, fake))
    norms = (weighted_norms(own, params, extra, x, sign) for x, sign in ((real, -1), (fake, 1)))
    expected = {
        "real_loss": mean(softplus(-of_real.logits)),
        "fake_loss": mean(softplus(of_fake.logits)),
        "penalty": mean(sum(norms)),
    }
    for step, gamma in ((0, 3.0), (5, 0.6), (10, 0.12), (25, 0.12)):
        value, metrics = value_of("discriminator", step=step, **PUNISHED)
        assert metrics == pytest.approx(expected, rel=1e-4)
        unpunished = expected["real_loss"] + expected["fake_loss"] - 0.7 * mean(bound(drawn, of_fake))
        assert value == pytest.approx(unpunished + 0.5 * gamma * expected["penalty"], rel=1e-5)


def test_the_generator_pays_what_the_discriminator_says_of_its_images():
    own, (_, params, extra) = networks(), started()
    drawn, fake = drawn_and_fake(own, params, extra, 4)
    reading = jax.jit(own.read)(params, extra, fake, BATCH["mask"])[0]
    value, metrics = value_of("generator", key=4, information=0.7)
    expected = {
        "generator_loss": mean(softplus(-reading.logits)),
        "mutual_information": mean(bound(drawn, reading)),
    }
    assert metrics == pytest.approx(expected, rel=1e-4)
    assert value == pytest.approx(expected["generator_loss"] - 0.7 * expected["mutual_information"], rel=1e-5)


def test_without_gamma_there_is_no_penalty():
    value, metrics = value_of("discriminator", **FREE)
    assert set(metrics) == {"real_loss", "fake_loss"}
    assert value == pytest.approx(sum(metrics.values()), rel=1e-6)


def test_statistics_are_those_of_real_images_and_each_player_keeps_its_own():
    _, params, extra = started()
    for player in ("discriminator", "generator"):
        _, (_, new) = compiled(player, True, **FREE)(params, extra, BATCH, jax.random.key(3), jnp.int32(0))
        for name, statistics in new.items():
            same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), statistics, extra[name])
            assert all(jax.tree.leaves(same)) == (name != player)
    _, (_, new) = compiled("discriminator", True, **FREE)(params, extra, BATCH, jax.random.key(3), jnp.int32(0))
    _, expected = networks().read(params, extra, BATCH["x"], BATCH["mask"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), new, expected)


def test_number_of_parameters():
    """4x4 convolutions, batch norm behind all but those at the image, which alone have a bias; 40 pixels become 5."""
    shapes, statistics = jax.eval_shape(infogan(Spec((40, 40, 3), 0, 100), categories=(4,)).init, jax.random.key(0))
    widths = [(3, 32), (32, 64), (64, 128)]
    convolutions = sum(16 * i * o for i, o in widths)
    heads = (25 * 128 + 1) * (1 + 10 + 10 + 4)
    assert count_parameters(shapes["discriminator"]) == convolutions + 32 + 2 * (64 + 128) + heads
    grid = (10 + 4 + 1) * 25 * 128
    assert count_parameters(shapes["generator"]) == grid + convolutions + 3 + 2 * (128 + 64 + 32)
    assert count_parameters(statistics) == 2 * (64 + 128) + 2 * (128 + 64 + 32)


def test_codes_are_drawn_as_the_bound_takes_them():
    drawn = networks().draw(jax.random.key(0), 60_000, None)
    codes = np.asarray(drawn.codes, np.float64)
    assert np.abs(codes).max() <= HALF_WIDTH
    assert codes.min() < -0.999 * HALF_WIDTH
    assert codes.max() > 0.999 * HALF_WIDTH
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=0.02)
    one_hot = np.asarray(drawn.categories[0])
    assert np.all(np.sort(one_hot, axis=1) == [0, 0, 1])
    np.testing.assert_allclose(one_hot.mean(axis=0), 1 / 3, atol=0.01)
    assert np.std(np.asarray(drawn.noise)) == pytest.approx(1.0, abs=0.02)
    assert drawn.joined().shape == (60_000, 3 + 3 + 1)
    assert drawn.grain is None


def test_categories_are_read_as_probabilities_behind_the_codes():
    model, params, extra = started(categories=(2, 3), noise=0)
    found, logvar = (np.asarray(part, np.float64) for part in jax.jit(model.encode)(params, extra, BATCH["x"]))
    assert found.shape == logvar.shape == (5, 3 + 2 + 3)
    for start, stop in ((3, 5), (5, 8)):
        np.testing.assert_allclose(found[:, start:stop].sum(axis=1), 1.0, rtol=1e-6)
    assert np.all(found[:, 3:] > 0)
    np.testing.assert_allclose(np.exp(logvar[:, 3:]), found[:, 3:] * (1 - found[:, 3:]), rtol=1e-4)
    assert np.all(logvar[:, :3] > -6.0)


def test_samples_are_the_images_of_the_codes_that_come_with_them():
    model, params, extra = started(noise=0)
    images, z = jax.jit(model.sample, static_argnums=3)(params, extra, jax.random.key(5), 6)
    assert z.shape == (6, 3 + 3)
    np.testing.assert_array_equal(z[:, 3:].sum(axis=1), 1.0)
    np.testing.assert_allclose(images, model.decode(params, extra, z), rtol=1e-6)
    assert float(jnp.std(images)) > 1e-3


def test_grain_is_noise_of_every_pixel_for_itself_and_decoding_has_none():
    model, params, extra = started(grain=(0.05, 0.2), noise=0)
    images, z = (
        np.asarray(part) for part in jax.jit(model.sample, static_argnums=3)(params, extra, jax.random.key(5), 500)
    )
    decode = jax.jit(model.decode)
    smooth = np.asarray(decode(params, extra, z))
    np.testing.assert_array_equal(smooth, decode(params, extra, z))
    for x in (images, smooth):
        assert x.shape == (500, *SPEC.shape)
        assert x.min() >= 0
        assert x.max() <= 1
    grain = images - smooth
    np.testing.assert_allclose(np.std(grain, axis=0), 0.05 + 0.2 * np.mean(smooth, axis=0), rtol=0.15)
    assert abs(np.mean(grain)) < 0.002
    beside = np.corrcoef(grain[:, :, 1:].ravel(), grain[:, :, :-1].ravel())[0, 1]
    assert abs(beside) < 0.02
    assert np.std(np.diff(smooth, axis=2)) < 0.5 * np.std(np.diff(images, axis=2))


def test_codes_of_one_length_draw_the_same_however_long_they_are():
    z = jax.random.normal(jax.random.key(1), (4, 6))
    for one_length, alike in ((True, True), (False, False)):
        model, params, extra = started(one_length=one_length, noise=0)
        drawn = [np.asarray(model.decode(params, extra, length * z)) for length in (1.0, 3.0)]
        assert np.allclose(*drawn, atol=1e-4) == alike


@pytest.mark.parametrize("grain", [(0.1,), (0.1, -0.2)])
def test_a_camera_that_is_none_is_refused(grain):
    with pytest.raises(ValueError, match=r"no camera: got model\.grain=.*expected two numbers of 0 or more"):
        infogan(SPEC, **SMALL, grain=grain)


def test_noise_is_left_out_of_decoding():
    model, params, extra = started()
    images, z = jax.jit(model.sample, static_argnums=3)(params, extra, jax.random.key(5), 4)
    decoded = model.decode(params, extra, z)
    assert float(jnp.abs(images - decoded).max()) > 1e-4
    silent = jnp.concatenate([z, jnp.zeros((4, 1))], axis=1)
    np.testing.assert_allclose(decoded, networks().generate(params, extra, silent)[0], rtol=1e-6)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_instance_noise_ends_with_the_annealing(player):
    for step, same in ((0, False), (7, False), (8, True), (30, True)):
        noisy = value_of(player, step=step, **FREE, instance_noise=0.5, anneal_steps=8)
        assert (noisy == value_of(player, step=step, **FREE)) == same, step


def test_instance_noise_without_annealing_stays():
    kept = [value_of("generator", step=step, **FREE, instance_noise=0.5) for step in (0, 1000)]
    assert kept[0] == kept[1] != value_of("generator", step=1000, **FREE)


def test_instance_noise_is_for_training():
    with_and_without = [value_of("generator", False, **FREE, instance_noise=noise) for noise in (0.5, 0.0)]
    assert with_and_without[0] == with_and_without[1]


def test_dropout_reaches_the_codes_and_not_the_verdict():
    sure, unsure = (value_of("generator", **FREE, **rate)[1] for rate in ({}, {"dropout": 0.5}))
    assert sure["generator_loss"] == pytest.approx(unsure["generator_loss"], rel=1e-6)
    assert abs(sure["mutual_information"] - unsure["mutual_information"]) > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latents": 0}, r"codes that draw nothing: got model\.latents=0, model\.categories=\(3,\) and model\.noise=1"),
        ({"categories": (1,)}, r"model\.categories=\(1,\) and model\.noise=1, expected 1 code or more, 2 values or"),
        ({"noise": -1}, r"model\.noise=-1, expected .* no negative noise; correct them"),
        ({"filters": ()}, r"filters do not suit the images: got \(\) for images of 8 x 9, expected 1 to 3 numbers"),
        ({"filters": (4, 4, 4, 4)}, r"got \(4, 4, 4, 4\) for images of 8 x 9, expected 1 to 3 .* model\.filters"),
        ({"filters": (4, 0)}, r"got \(4, 0\) for images of 8 x 9"),
        ({"gamma": -2.0}, r"model\.gamma is negative: got -2\.0, expected 0 or more; raise it"),
        ({"information": -0.1}, r"model\.information is negative: got -0\.1"),
        ({"instance_noise": -0.1}, r"model\.instance_noise is negative: got -0\.1"),
        ({"anneal_steps": -1}, r"model\.anneal_steps is negative: got -1"),
        ({"dropout": 1.0}, r"model\.dropout is out of range: got 1\.0, expected 0 <= dropout < 1; set it in this"),
        ({"momentum": 1.0}, r"model\.momentum is out of range: got 1\.0, expected 0 <= momentum < 1"),
        ({"background": 0.0}, r"background .*got 0\.0"),
    ],
)
def test_what_cannot_be_built_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        infogan(SPEC, **{**SMALL, **settings})
