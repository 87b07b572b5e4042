"""A linear autoencoder with noise and a loss that looks across examples, so small that it compiles in no time."""

import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cellfx.collectives import axis_size, batch_mean, gather, local_part, standard_normal
from cellfx.training import checkpoint, parallel
from cellfx.training.evaluate import evaluator
from cellfx.training.loop import Interrupted, fit
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.training.writer import Writer
from cellfx.types import Model

SHAPE, BATCH, EXAMPLES = (3, 3, 1), 8, 24


class ToyFeed(NamedTuple):
    resident: object
    stacked: object
    read: object


def model(axis_name=None, scale=1.0):
    size = int(np.prod(SHAPE))

    def init(key):
        keys = jax.random.split(key)
        encoder = {"kernel": 0.1 * jax.random.normal(keys[0], (size, 4)), "bias": jnp.zeros((4,))}
        return {"vae": {"encoder": encoder, "decoder": 0.1 * jax.random.normal(keys[1], (4, size))}}, {
            "mean": jnp.zeros((size,))
        }

    def loss(params, extra, batch, key, step, training):
        del step, training
        own, x = params["vae"], batch["x"].reshape(len(batch["x"]), -1)
        z = x @ own["encoder"]["kernel"] + own["encoder"]["bias"][None]
        z = z + 0.1 * standard_normal(key, z.shape, axis_name).astype(z.dtype)
        error = jnp.sum((z @ own["decoder"] - x) ** 2, axis=1)
        everyone = gather(z, axis_name)
        distances = jnp.sum((z[:, None] - everyone[None]) ** 2, axis=2)
        crowding = jax.nn.logsumexp(-distances, axis=1)
        mask = batch["mask"]
        error, crowding = (scale * batch_mean(term.astype(jnp.float32), mask, axis_name) for term in (error, crowding))
        x = x.astype(jnp.float32)
        new_extra = {"mean": 0.9 * extra["mean"] + 0.1 * jnp.mean(gather(x, axis_name), axis=0)}
        return error + crowding, ({"error": error, "crowding": crowding}, new_extra)

    return Model(init, {"vae": loss})


def images():
    return np.random.default_rng(0).integers(0, 256, (EXAMPLES, *SHAPE), dtype=np.uint8)


def streamed(steps_per_call):
    """Like a tf.data feed: every dispatch gets its batches from the host."""
    data = images()

    def stacked(start):
        step = start
        while True:
            rows = [np.random.default_rng(s).permutation(EXAMPLES)[:BATCH] for s in range(step, step + steps_per_call)]
            yield {"x": data[np.stack(rows)]}
            step += steps_per_call

    def read(resident, inputs, key, step):
        del resident, key, step
        image = inputs["x"].astype(jnp.float32) / 255
        return {"x": image, "mask": jnp.ones(len(image))}

    return ToyFeed({}, stacked, read)


def resident(axis_name=None):
    """Like a device feed: nothing comes from the host."""

    def stacked(start):
        del start
        while True:
            yield {}

    def read(resident, inputs, key, step):
        del inputs, step
        rows = local_part(jax.random.randint(key, (BATCH,), 0, EXAMPLES), axis_name)
        image = resident["x"][rows].astype(jnp.float32) / 255
        return {"x": image, "mask": jnp.ones(BATCH // axis_size(axis_name))}

    return ToyFeed({"x": images()}, stacked, read)


def setup(feed, steps_per_call, devices=None, scale=1.0, optimizer=None):
    """(program, placed state, feed with placed resident arrays)."""
    devices = devices or jax.devices()[:1]
    axis_name = parallel.axis_of(devices)
    optimizers = {"vae": optimizer or optax.adam(1e-2)}
    toy = model(axis_name, scale)
    state = create_state(model(scale=scale), optimizers, jax.random.key(3))
    program = parallel.mapped(train_step(toy, optimizers, axis_name), feed.read, steps_per_call, devices, axis_name)
    placed = feed._replace(resident=parallel.place(feed.resident, devices))
    return program, parallel.place(state, devices), placed


def train(workdir, num_steps, steps_per_call=2, save_every=4, eval_every=10, log_every=2, feed=None, **kwargs):
    """A whole run in a folder, resumed from what is there; returns (state, messages)."""
    messages = []
    devices = jax.devices()[:1]
    program, state, feed = setup(feed or streamed(steps_per_call), steps_per_call, devices, **kwargs)
    restored = checkpoint.restore(workdir / "checkpoints", state, messages.append)
    state = state if restored is None else parallel.place(restored, devices)
    measure = evaluator(model(), lambda batch: {**batch, "x": batch["x"] / 255}, devices, None)
    batch = {"x": images().astype(np.float32), "mask": np.ones(EXAMPLES, np.float32)}

    with Writer(workdir, int(state.step), messages.append) as writer:
        state = fit(
            program,
            state,
            feed,
            num_steps=num_steps,
            steps_per_call=steps_per_call,
            batch_size=BATCH,
            log_every=log_every,
            save_every=save_every,
            eval_every=eval_every,
            save=lambda state: checkpoint.save(workdir / "checkpoints", state),
            write=writer.write,
            evaluate=lambda state: measure(state.params, state.extra, [batch], jax.random.key(9), state.step),
        )
    return state, messages


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]), int(sys.argv[2]))
    except Interrupted as stop:
        sys.stderr.write(f"{stop}\n")
        sys.exit(stop.exit_status)
