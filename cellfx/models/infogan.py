"""The InfoGAN: Chen et al. 2016, arXiv:1606.03657, as Isaksson 2018 trains it on cells (chapter 6)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cellfx.checks import checked
from cellfx.collectives import batch_mean, standard_normal
from cellfx.losses.adversarial import annealed, call_fake, call_real, gradient_norm_penalty, slopes
from cellfx.losses.mutual_information import categorical_bound, continuous_bound
from cellfx.losses.reconstruction import logit
from cellfx.nn.dcgan import Outwards, check_filters
from cellfx.nn.infogan import HALF_WIDTH, Discriminator, Drawn, Networks, Reading
from cellfx.types import Batch, Key, LossFn, Model, PyTree, Spec


class _Weights(NamedTuple):
    """What the losses weigh; see ``infogan``."""

    information: float
    gamma: float
    gamma_end: float
    anneal_steps: int
    instance_noise: float


@checked("model")
def infogan(
    spec: Spec,
    latents: int = 10,
    categories: Sequence[int] = (),
    noise: int = 1,
    grain: tuple[float, float] | None = None,
    one_length: bool = False,
    filters: Sequence[int] = (32, 64, 128),
    dropout: float = 0.25,
    momentum: float = 0.9,
    information: float = 1.0,
    gamma: float = 2.0,
    gamma_end: float = 0.01,
    anneal_steps: int = 0,
    instance_noise: float = 0.0,
    background: float = 0.5,
) -> Model:
    """Generative adversarial network whose codes can be read back, with players ``discriminator`` and ``generator``.

    Its latents are the continuous codes, uniform with variance 1, and behind them the probabilities of every
    categorical code. ``encode`` is Q; ``decode`` draws with the noise at its mean, 0.

    Differs from the paper: the variance of Q is learnt. Differs from the thesis, which gives no widths and no weight
    of the information: both are chosen here.

    Args:
        spec: what the data look like.
        latents: number of continuous codes.
        categories: number of values of every categorical code.
        noise: number of normal inputs of the generator that Q does not read.
        grain: the camera that the generator's images go through, as measured on it: deviation of the normal noise of a
            dark pixel, and what full light adds to it. So the generator learns the cells alone (AmbientGAN, Bora et al.
            2018, section 4); the noise of all pixels could not come from its few inputs. ``decode`` leaves it away.
        one_length: scales codes and noise of an image to one length before they are drawn (Karras et al. 2018,
            arXiv:1710.10196, appendix A). Else their length is the easiest way to say how bright a cell is, and no
            code says it.
        filters: of the discriminator's convolutions, from the image inwards, and of the generator's in reverse.
        dropout: probability of a value to be dropped before Q's own layer.
        momentum: how much of the running batch statistics a step keeps.
        information: weight of the bound on the mutual information, in the losses of both players.
        gamma: weight of the penalty on the discriminator's gradient; 0 leaves it out.
        gamma_end: what is left of gamma after ``anneal_steps``, as a fraction.
        anneal_steps: over which gamma and the instance noise fall; 0 keeps both constant.
        instance_noise: standard deviation of normal noise on every image that the discriminator is shown in training;
            it ends at 0.
        background: intensity, in (0, 1), of every pixel that the untrained generator draws.

    Raises:
        ValueError: no continuous code, an empty layer, a category with fewer than two values, or a number out of its
            range.
    """
    _check(spec, latents, categories, noise, filters, grain)
    weights = _Weights(information, gamma, gamma_end, anneal_steps, instance_noise)
    _check_ranges(weights, dropout=dropout, momentum=momentum)
    axis_name = spec.axis_name
    outwards = Outwards(tuple(filters), spec.shape, momentum, axis_name, logit(background))
    reader = Discriminator(tuple(filters), latents, tuple(categories), dropout, momentum, axis_name)
    networks = Networks(outwards, reader, noise, tuple(grain) if grain else None, one_length)

    def encode(params: PyTree, extra: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _latents(networks.read(params, extra, x)[0])

    def decode(params: PyTree, extra: PyTree, z: jax.Array) -> jax.Array:
        silent = jnp.zeros((len(z), noise), z.dtype)
        return networks.generate(params, extra, jnp.concatenate([z, silent], axis=1))[0].astype(jnp.float32)

    def sample(params: PyTree, extra: PyTree, key: Key, count: int) -> tuple[jax.Array, jax.Array]:
        drawn = networks.draw(key, count, None)
        z = drawn.joined()
        return networks.generate(params, extra, z, None, drawn.grain)[0], z[:, : networks.num_latents()]

    makers = {"discriminator": _discriminator_loss, "generator": _generator_loss}
    losses = {player: make(networks, weights, axis_name) for player, make in makers.items()}
    return Model(networks.init, losses, encode, decode, sample=sample)


def _discriminator_loss(networks: Networks, weights: _Weights, axis_name: str | None) -> LossFn:
    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        keys, mask, seen = jax.random.split(key, 5), batch["mask"], batch["mask"] if training else None
        drawn = networks.draw(keys[0], len(mask), axis_name)
        fake, _ = networks.generate(params, extra, drawn.joined().astype(batch["x"].dtype), seen, drawn.grain)

        def look(x: jax.Array, noise_key: Key, drop_key: Key, is_real: bool) -> tuple[Reading, PyTree, jax.Array]:
            """The reading of images, new statistics, and the penalty (B,), from one pass."""

            def critic(x: jax.Array) -> tuple[jax.Array, tuple[Reading, PyTree]]:
                reading, new = networks.read(params, extra, x, seen, drop_key if training else None)
                return reading.logits, (reading, new)

            x = _blurred(x, noise_key, weights, step, axis_name, training)
            if not weights.gamma:
                return *critic(x)[1], jnp.zeros(())
            gradient, (reading, new) = slopes(critic, x, mask)
            return reading, new, gradient_norm_penalty(reading.logits, gradient.astype(jnp.float32), is_real)

        of_real, new, real_penalty = look(batch["x"], keys[1], keys[3], True)
        of_fake, _, fake_penalty = look(fake, keys[2], keys[4], False)
        terms = {
            "real_loss": batch_mean(call_real(of_real.logits), mask, axis_name),
            "fake_loss": batch_mean(call_fake(of_fake.logits), mask, axis_name),
        }
        read_back = batch_mean(_bound(drawn, of_fake), mask, axis_name)
        total = terms["real_loss"] + terms["fake_loss"] - weights.information * read_back
        if weights.gamma:
            terms["penalty"] = batch_mean(real_penalty + fake_penalty, mask, axis_name)
            gamma = annealed(weights.gamma, weights.gamma_end, step, weights.anneal_steps)
            total += 0.5 * gamma * terms["penalty"]
        return total, (terms, new if training else extra)

    return loss


def _generator_loss(networks: Networks, weights: _Weights, axis_name: str | None) -> LossFn:
    def loss(params: PyTree, extra: PyTree, batch: Batch, key: Key, step: jax.Array, training: bool) -> tuple:
        keys, mask, seen = jax.random.split(key, 5), batch["mask"], batch["mask"] if training else None
        drawn = networks.draw(keys[0], len(mask), axis_name)
        fake, new = networks.generate(params, extra, drawn.joined().astype(batch["x"].dtype), seen, drawn.grain)
        shown = _blurred(fake, keys[1], weights, step, axis_name, training)
        reading, _ = networks.read(params, extra, shown, seen, keys[2] if training else None)
        terms = {
            "generator_loss": batch_mean(call_real(reading.logits), mask, axis_name),
            "mutual_information": batch_mean(_bound(drawn, reading), mask, axis_name),
        }
        total = terms["generator_loss"] - weights.information * terms["mutual_information"]
        return total, (terms, new if training else extra)

    return loss


def _blurred(
    x: jax.Array, key: Key, weights: _Weights, step: jax.Array, axis_name: str | None, training: bool
) -> jax.Array:
    """Images with instance noise: Sonderby et al. 2017, arXiv:1610.04490, section 2.3."""
    if not training or not weights.instance_noise:
        return x
    left = 1.0 - jnp.minimum(step / weights.anneal_steps, 1.0) if weights.anneal_steps else 1.0
    return x + (weights.instance_noise * left * standard_normal(key, x.shape, axis_name)).astype(x.dtype)


def _bound(drawn: Drawn, reading: Reading) -> jax.Array:
    """Information on all codes together, nats per example, (B,)."""
    found = continuous_bound(drawn.codes, reading.mean, reading.logvar, HALF_WIDTH)
    for one_hot, logits in zip(drawn.categories, reading.categories, strict=True):
        found = found + categorical_bound(one_hot, logits)
    return found


def _latents(reading: Reading) -> tuple[jax.Array, jax.Array]:
    """Codes as a VAE gives its latents; a category's probability p has the variance p (1 - p) of a yes or no."""
    chances = [jax.nn.softmax(logits) for logits in reading.categories]
    spreads = [jnp.log(jnp.maximum(p * (1.0 - p), 1e-4)) for p in chances]
    return jnp.concatenate([reading.mean, *chances], axis=1), jnp.concatenate([reading.logvar, *spreads], axis=1)


def _check(
    spec: Spec,
    latents: int,
    categories: Sequence[int],
    noise: int,
    filters: Sequence[int],
    grain: tuple[float, float] | None,
) -> None:
    if latents < 1 or noise < 0 or min(categories, default=2) < 2:
        raise ValueError(
            f"codes that draw nothing: got model.latents={latents}, model.categories={tuple(categories)} and "
            f"model.noise={noise}, expected 1 code or more, 2 values or more of every category and no negative noise; "
            f"correct them"
        )
    if grain is not None and (len(grain) != 2 or min(grain) < 0):
        raise ValueError(
            f"no camera: got model.grain={grain}, expected two numbers of 0 or more, the deviation of noise in "
            "darkness and what full light adds; correct it"
        )
    check_filters(filters, spec.shape)


def _check_ranges(weights: _Weights, **rates: float) -> None:
    for name, value in weights._asdict().items():
        if value < 0:
            raise ValueError(f"model.{name} is negative: got {value}, expected 0 or more; raise it")
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(
                f"model.{name} is out of range: got {rate}, expected 0 <= {name} < 1; set it in this range"
            )
