"""The program that trains heads: how their rows are drawn, what is minimised, and by which optimizer."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from optax import GradientTransformation

from cellfx.data.input.device import permute
from cellfx.heads.setting import Setting
from cellfx.nn import columns
from cellfx.nn.head import Head
from cellfx.sparsity import rigl
from cellfx.training import many
from cellfx.training.optimizers import learning_rate_schedule
from cellfx.trees import named_leaves
from cellfx.types import Key, PyTree


@functools.lru_cache(maxsize=8)
def head_trainer(
    fixed: Setting, num_classes: int, shape: tuple[int, int, int], devices: tuple[jax.Device, ...]
) -> many.Train:
    """The program for all heads that differ in ``heads.setting.NUMBERS`` alone; it compiles once.

    Args:
        fixed: the rest of their setting.
        num_classes: K.
        shape: (V, N, L) of the latents trained on.
        devices: to split the runs over.

    Returns:
        The trainer, for data with ``views`` (V N, L), ``label`` (N,) int32 and ``weight`` (K,), of the classes.
    """
    num_views, num_rows, num_latents = shape
    head = Head(fixed.widths, num_classes, fixed.dropout)
    steps_per_epoch = num_rows // fixed.batch_size

    def init(key: Key) -> PyTree:
        return head.init(key, jnp.zeros((1, num_latents)))["params"]

    def loss(params: PyTree, batch: PyTree, key: Key) -> jax.Array:
        if fixed.dropout:
            found = head.apply({"params": params}, batch["z"], train=True, rngs={"dropout": key})
        else:
            found = columns.logits(params, batch["z"])
        each = optax.softmax_cross_entropy_with_integer_labels(found, batch["label"])
        value = jnp.mean(batch["weight"] * each)
        if fixed.l2:
            kernels = [leaf for name, leaf in named_leaves(params).items() if name.endswith("kernel")]
            value += 0.5 * fixed.l2 * sum(jnp.sum(jnp.square(kernel)) for kernel in kernels)
        return value

    def sample(data: PyTree, key: Key, step: jax.Array) -> PyTree:
        rows, views = draw(key, step, num_rows, num_views, fixed.batch_size)
        label = data["label"][rows]
        return {"z": data["views"][views * num_rows + rows], "label": label, "weight": data["weight"][label]}

    num_steps = fixed.num_epochs * steps_per_epoch
    make_optimizer = functools.partial(optimizer, fixed, num_steps)
    return many.trainer(init, loss, make_optimizer, sample, num_steps, steps_per_epoch, devices)


def draw(key: Key, step: jax.Array, num_rows: int, num_views: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """Rows of a step and the view of each: an epoch has no row twice, and leaves out what fills no batch.

    Returns:
        (B,) int32 below ``num_rows``, (B,) int32 below ``num_views``.
    """
    steps_per_epoch = num_rows // batch_size
    positions = step % steps_per_epoch * batch_size + jnp.arange(batch_size)
    rows = permute(positions, num_rows, jax.random.bits(key), step // steps_per_epoch)
    return rows, jax.random.randint(jax.random.fold_in(key, step), rows.shape, 0, num_views)


def optimizer(setting: Setting, num_steps: int, numbers: Mapping[str, jax.Array], key: Key) -> GradientTransformation:
    """Adam, inside the transform of the setting's method.

    Args:
        setting: its ``NUMBERS`` are not looked at.
        num_steps: of the whole run.
        numbers: value by name of ``NUMBERS``, () float32, may be traced.
        key: of what is random in the transform.
    """
    rate = learning_rate_schedule(num_steps, numbers["learning_rate"], decay=setting.decay)
    inner = optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(rate))
    if setting.method == "dense":
        return inner
    common = {
        "density": 1 - numbers["sparsity"],
        "warm_up": jnp.round(numbers["warm_up_rate"] * num_steps).astype(jnp.int32),
        "seed": jax.random.bits(key),
    }
    if setting.method in ("static", "magnitude"):
        return getattr(rigl, setting.method)(inner, **common)
    transform = rigl.rigl if setting.method == "rigl" else rigl.set_
    return transform(
        inner,
        update_every=numbers["update_every"].astype(jnp.int32),
        update_rate=numbers["update_rate"],
        end_step=numbers["end_rate"] * num_steps,
        **common,
    )
