"""Any optimizer on a network of which only some weights are there, the others being exactly zero.

An update belongs to one of four phases, by the number t of updates done before it:

- t < warm_up: dense, the inner update;
- t = warm_up: the weights with the lowest scores are dropped until each layer has its number; no gradient step;
- later, every ``update_every`` updates until ``end_step`` after the warm-up: k weights are dropped and k are grown in
  each layer; no gradient step (Evci et al. 2020, arXiv:1911.11134, algorithm 1);
- otherwise the inner update, of the active weights alone.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from cellfx.sparsity.allocation import Allocation, counts, erdos_renyi
from cellfx.sparsity.selection import largest, where_due
from cellfx.trees import named_leaves
from cellfx.types import Key, PyTree

Score = Callable[[jax.Array, jax.Array, Key], jax.Array]
"""(weights, their gradients, key) -> scores, 0 or more; (layers, weights of the largest layer) float32 each."""

Number = float | jax.Array


class SparseState(NamedTuple):
    """What a sparse transform keeps.

    Attributes:
        count: () int32, updates done.
        masks: by path of the weight, True where it is active, in its shape; weights that stay dense have none.
        targets: by path, () int32, number of active weights after the warm-up.
        key: () typed key, from which, with ``count``, that of an update follows.
        inner: state of the inner optimizer.
    """

    count: jax.Array
    masks: dict[str, jax.Array]
    targets: dict[str, jax.Array]
    key: Key
    inner: PyTree


def sparse(
    inner: optax.GradientTransformation,
    drop: Score,
    grow: Score | None,
    density: Number = 0.05,
    update_every: Number = 100,
    update_rate: Number = 0.3,
    end_step: Number = math.inf,
    warm_up: Number = 0,
    weights: str = r"kernel$",
    allocation: Allocation = erdos_renyi,
    seed: int | jax.Array = 0,
) -> optax.GradientTransformation:
    """Any optimizer on a network of which only some weights are there, the others being exactly zero.

    At update t' after the warm-up, k = floor(update_rate / 2 (1 + cos(pi t' / end_step)) active) weights of a layer,
    those with the smallest drop scores, lose their place to the k with the largest grow scores of all that are then
    inactive; of equal scores the earlier weight wins. A weight that is dropped and grown at once was never gone. Others
    start at zero and with the moments of a new inner state; moments are state leaves of the weight's shape. The inner
    optimizer sees the gradient of active weights alone.

    It is the outermost transform: one that changed its updates would move weights off zero. Numbers may be traced, and
    all of it may be mapped; what a change of topology costs is paid by the members that are due (``where_due``).

    Args:
        inner: the optimizer.
        drop: scores of active weights, the lowest are dropped.
        grow: scores of inactive weights, the highest are grown; None leaves the masks as the warm-up left them.
        density: fraction of the weights that are active after the warm-up, over all layers, 1 - S.
        update_every: updates from one change of the topology to the next.
        update_rate: fraction of a layer's active weights that is replaced right after the warm-up.
        end_step: updates after the warm-up from which the topology stays; the rate falls to 0 on the way there.
        warm_up: dense updates at the start.
        weights: regular expression, searched in the path of each parameter; a hit is made sparse.
        allocation: what density each layer gets.
        seed: of random scores; may be traced.

    Raises:
        ValueError: a number out of its range; when the parameters are seen, ``weights`` that match none of them.
    """
    _check(density=density, update_every=update_every, update_rate=update_rate, end_step=end_step, warm_up=warm_up)
    rewire = where_due(partial(_rewire, drop=drop, grow=grow))

    def init(params: PyTree) -> SparseState:
        shapes = {name: leaf.shape for name, leaf in _chosen(params, weights).items()}
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        targets = counts(allocation(shapes, density), sizes, density)
        return SparseState(
            count=jnp.zeros((), jnp.int32),
            masks={name: jnp.ones(shape, bool) for name, shape in shapes.items()},
            targets={name: jnp.asarray(target, jnp.int32) for name, target in targets.items()},
            key=jax.random.key(seed),
            inner=inner.init(params),
        )

    def update(grads: PyTree, state: SparseState, params: PyTree) -> tuple[PyTree, SparseState]:
        due, rate = _schedule(state.count, grow is not None, update_every, update_rate, end_step, warm_up)
        arguments = {
            "weights": {name: leaf for name, leaf in named_leaves(params).items() if name in state.masks},
            "gradients": {name: leaf for name, leaf in named_leaves(grads).items() if name in state.masks},
            "targets": state.targets,
            "rate": rate,
            "key": state.key,
            "count": state.count,
        }
        masks = rewire(due, state.masks, arguments)
        stay = _like(params, {name: mask & state.masks[name] for name, mask in masks.items()})
        seen = jax.tree.map(_masked, grads, _like(params, state.masks))
        updates, after = inner.update(seen, state.inner, params)
        updates = jax.tree.map(partial(_step, due), updates, params, stay)
        kept = _fresh(inner, state.inner, params, stay)
        after = jax.tree.map(lambda old, new: jnp.where(due, old, new), kept, after)
        return updates, state._replace(count=state.count + 1, masks=masks, inner=after)

    return optax.GradientTransformation(init, update)


def masks_of(opt_state: PyTree) -> dict[str, jax.Array]:
    """The masks in any optimizer state, by path of the weight; empty where nothing in it is sparse."""
    found = optax.tree.get_all_with_path(opt_state, "masks")
    return found[0][1] if found else {}


def _chosen(params: PyTree, weights: str) -> dict[str, jax.Array]:
    named = named_leaves(params)
    chosen = {name: leaf for name, leaf in named.items() if re.search(weights, name)}
    if not chosen:
        raise ValueError(
            f"no parameter is made sparse: got weights={weights!r} and the parameters {list(named)}, expected a "
            f"regular expression found in one path or more; correct it"
        )
    return chosen


def _schedule(
    count: jax.Array, grows: bool, update_every: Number, update_rate: Number, end_step: Number, warm_up: Number
) -> tuple[jax.Array, jax.Array]:
    """Whether the masks change now, () bool, and the fraction of active weights to replace, () float32."""
    since = count - jnp.asarray(warm_up, jnp.int32)
    end = jnp.asarray(end_step, jnp.float32)
    time = since.astype(jnp.float32)
    falling = jnp.asarray(update_rate, jnp.float32) / 2 * (1 + jnp.cos(jnp.pi * time / end))
    changes = (since > 0) & (since % jnp.asarray(update_every, jnp.int32) == 0) & (time < end)
    return (since == 0) | (changes & grows), jnp.where(changes, falling, 0.0)


def _rewire(masks: Mapping[str, jax.Array], arguments: PyTree, drop: Score, grow: Score | None) -> PyTree:
    """One row for each layer, filled up to the longest: a few large operations instead of many small ones."""
    names = sorted(masks)
    weights, gradients = (_rows([arguments[kind][name] for name in names]) for kind in ("weights", "gradients"))
    active, real = _rows([masks[name] for name in names]), _rows([jnp.ones_like(masks[name]) for name in names])
    key = jax.random.fold_in(arguments["key"], arguments["count"])
    targets = jnp.stack([arguments["targets"][name] for name in names])
    replaced = jnp.floor(arguments["rate"] * targets.astype(jnp.float32)).astype(jnp.int32)
    new = largest(drop(weights, gradients, jax.random.fold_in(key, 0)), active, targets - replaced)
    if grow is not None:
        new |= largest(grow(weights, gradients, jax.random.fold_in(key, 1)), real & ~new, replaced)
    rows = dict(zip(names, new, strict=True))
    return {name: rows[name][: mask.size].reshape(mask.shape) for name, mask in masks.items()}


def _rows(layers: Sequence[jax.Array]) -> jax.Array:
    """(layers, weights of the largest layer), float32 or bool; zeros fill up."""
    longest = max(layer.size for layer in layers)
    dtype = bool if layers[0].dtype == bool else jnp.float32
    return jnp.stack([jnp.pad(layer.reshape(-1).astype(dtype), (0, longest - layer.size)) for layer in layers])


def _like(params: PyTree, masks: Mapping[str, jax.Array]) -> PyTree:
    """Tree of the parameters that holds their masks, () True for those without one."""
    leaves = [masks.get(name, jnp.ones((), bool)) for name in named_leaves(params)]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def _masked(gradient: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.where(mask, gradient, jnp.zeros((), gradient.dtype))


def _step(due: jax.Array, update: jax.Array, weight: jax.Array, stay: jax.Array) -> jax.Array:
    """-weight off the mask leaves exactly zero there."""
    return jnp.where(stay, jnp.where(due, jnp.zeros((), update.dtype), update), -weight.astype(update.dtype))


def _fresh(inner: optax.GradientTransformation, state: PyTree, params: PyTree, stay: PyTree) -> PyTree:
    """The inner state with the moments of a new one wherever a weight does not stay."""
    nothing = jnp.ones((), bool)
    flags = optax.tree.map_params(
        inner, lambda leaf, flag: flag, state, stay, transform_non_params=lambda leaf: nothing
    )

    def mix(leaf: jax.Array, new: jax.Array, flag: jax.Array) -> jax.Array:
        return jnp.where(flag, leaf, new) if flag.shape == leaf.shape else leaf

    return jax.tree.map(mix, state, inner.init(params), flags)


def _check(**numbers: Number) -> None:
    """Traced numbers cannot be looked at and pass."""
    ranges = {
        "density": (lambda value: 0 < value <= 1, "0 < density <= 1"),
        "update_every": (lambda value: value >= 1, "1 or more updates"),
        "update_rate": (lambda value: 0 <= value <= 1, "0 <= update_rate <= 1"),
        "end_step": (lambda value: value > 0, "a positive number of updates"),
        "warm_up": (lambda value: value >= 0, "0 or more updates"),
    }
    for name, value in numbers.items():
        allowed, expected = ranges[name]
        if not isinstance(value, jax.core.Tracer) and not allowed(value):
            raise ValueError(f"{name} is out of range: got {value}, expected {expected}; set it in this range")
