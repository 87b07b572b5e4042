"""What an InfoGAN draws and reads, and its players' losses against float64 NumPy from the networks' own outputs."""

import importlib.util
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.models.infogan import infogan
from cellfx.nn.dcgan import Outwards
from cellfx.nn.infogan import HALF_WIDTH, MAX_GRAIN, Discriminator, Networks
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
BATCH = {"image": jax.random.uniform(jax.random.key(7), (5, *SPEC.image_shape)), "mask": jnp.asarray(MASK)}


@cache
def started(**changes):
    model = infogan(SPEC, **{**SMALL, **changes})
    return model, *jax.jit(model.init)(jax.random.key(0))


def networks():
    """Those of ``SMALL``, apart from the model."""
    outwards = Outwards(SMALL["filters"], SPEC.image_shape, 0.9, None)
    return Networks(outwards, Discriminator(SMALL["filters"], 3, (3,), 0.0, 0.9, None), 1, False)


@cache
def compiled(player, kind, **changes):
    return jax.jit(getattr(started(**changes)[0], kind)[player])


def value_of(player, kind="losses", step=0, key=3, **changes):
    _, params, extra = started(**changes)
    loss = compiled(player, kind, **changes)
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


def weighted_norms(params, extra, x, sign):
    """Squared norms of the logits' slopes by each image, through batch norm too, times (1 - D)^2 or D^2."""

    def critic(x):
        return networks().read(params, extra, x, BATCH["mask"])[0].logits

    slopes = np.asarray(jnp.sum(BATCH["mask"].reshape(5, 1, 1, 1, 1) * jax.jacrev(critic)(x), axis=0), np.float64)
    chance = 1.0 / (1.0 + np.exp(-sign * np.asarray(critic(x), np.float64)))
    return chance**2 * np.sum(slopes**2, axis=(1, 2, 3))


def drawn_and_fake(key):
    """What a player draws for its loss, and the images."""
    _, params, extra = started()
    drawn = networks().draw(jax.random.split(jax.random.key(key), 5)[0], 5, None)
    return drawn, networks().generate(params, extra, drawn.joined(), BATCH["mask"])[0]


def test_the_discriminator_pays_what_its_outputs_say():
    _, params, extra = started()
    drawn, fake = drawn_and_fake(3)
    of_real, of_fake = (networks().read(params, extra, x, BATCH["mask"])[0] for x in (BATCH["image"], fake))
    expected = {
        "real_loss": mean(softplus(-of_real.logits)),
        "fake_loss": mean(softplus(of_fake.logits)),
        "penalty": mean(weighted_norms(params, extra, BATCH["image"], -1) + weighted_norms(params, extra, fake, 1)),
    }
    settings = {"information": 0.7, "gamma": 3.0, "gamma_end": 0.04, "anneal_steps": 10}
    for step, gamma in ((0, 3.0), (5, 0.6), (10, 0.12), (25, 0.12)):
        value, metrics = value_of("discriminator", step=step, **settings)
        assert metrics == pytest.approx(expected, rel=1e-4)
        own = expected["real_loss"] + expected["fake_loss"] - 0.7 * mean(bound(drawn, of_fake))
        assert value == pytest.approx(own + 0.5 * gamma * expected["penalty"], rel=1e-5)


def test_the_generator_pays_what_the_discriminator_says_of_its_images():
    _, params, extra = started()
    drawn, fake = drawn_and_fake(4)
    reading = networks().read(params, extra, fake, BATCH["mask"])[0]
    value, metrics = value_of("generator", key=4, information=0.7)
    expected = {
        "generator_loss": mean(softplus(-reading.logits)),
        "mutual_information": mean(bound(drawn, reading)),
    }
    assert metrics == pytest.approx(expected, rel=1e-4)
    assert value == pytest.approx(expected["generator_loss"] - 0.7 * expected["mutual_information"], rel=1e-5)


def test_without_gamma_there_is_no_penalty():
    value, metrics = value_of("discriminator", gamma=0.0, information=0.0)
    assert set(metrics) == {"real_loss", "fake_loss"}
    assert value == pytest.approx(sum(metrics.values()), rel=1e-6)


def test_statistics_are_those_of_real_images_and_each_player_keeps_its_own():
    model, params, extra = started()
    for player in model.losses:
        _, (_, new) = compiled(player, "losses")(params, extra, BATCH, jax.random.key(3), jnp.int32(0))
        for name, statistics in new.items():
            same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), statistics, extra[name])
            assert all(jax.tree.leaves(same)) == (name != player)
    _, (_, new) = compiled("discriminator", "losses")(params, extra, BATCH, jax.random.key(3), jnp.int32(0))
    _, expected = networks().read(params, extra, BATCH["image"], BATCH["mask"])
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
    model, params, extra = started(categories=(2, 3))
    found, logvar = (np.asarray(part, np.float64) for part in model.encode(params, extra, BATCH["image"]))
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
    model, params, extra = started(grain=True, noise=0)
    images, z = (np.asarray(part) for part in model.sample(params, extra, jax.random.key(5), 500))
    smooth = np.asarray(model.decode(params, extra, z))
    np.testing.assert_array_equal(smooth, model.decode(params, extra, z))
    for x in (images, smooth):
        assert x.shape == (500, *SPEC.image_shape)
        assert x.min() >= 0
        assert x.max() <= 1
    grain = images - smooth
    # The untrained generator draws grey, and asks for about half of the strongest grain.
    assert np.std(grain) == pytest.approx(MAX_GRAIN / 2, rel=0.1)
    assert abs(np.mean(grain)) < 0.002
    beside = np.corrcoef(grain[:, :, 1:].ravel(), grain[:, :, :-1].ravel())[0, 1]
    assert abs(beside) < 0.02
    assert np.std(np.diff(smooth, axis=2)) < 0.5 * np.std(np.diff(images, axis=2))


def test_noise_is_left_out_of_decoding():
    model, params, extra = started()
    images, z = model.sample(params, extra, jax.random.key(5), 4)
    decoded = model.decode(params, extra, z)
    assert float(jnp.abs(images - decoded).max()) > 1e-4
    silent = jnp.concatenate([z, jnp.zeros((4, 1))], axis=1)
    np.testing.assert_array_equal(decoded, networks().generate(params, extra, silent)[0])


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_instance_noise_is_for_training_and_ends(player):
    plain = {"gamma": 0.0, "anneal_steps": 8}
    for kind, step, same in (
        ("losses", 0, False),
        ("losses", 7, False),
        ("losses", 8, True),
        ("losses", 30, True),
        ("eval_losses", 0, True),
    ):
        values = [value_of(player, kind, step, **plain, **noise)[0] for noise in ({}, {"instance_noise": 0.5})]
        assert (values[0] == values[1]) == same, (kind, step)


def test_instance_noise_without_annealing_stays():
    kept = [value_of("generator", step=step, gamma=0.0, instance_noise=0.5)[0] for step in (0, 1000)]
    assert kept[0] == kept[1] != value_of("generator", step=1000, gamma=0.0, anneal_steps=8)[0]


def test_dropout_reaches_the_codes_and_not_the_verdict():
    sure, unsure = (value_of("generator", information=1.0, dropout=rate)[1] for rate in (0.0, 0.5))
    assert sure["generator_loss"] == unsure["generator_loss"]
    assert sure["mutual_information"] != unsure["mutual_information"]


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
