"""Choosing weights by rank, and doing so only for the runs whose turn it is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cellfx.types import PyTree


def largest(scores: jax.Array, candidates: jax.Array, counts: jax.Array) -> jax.Array:
    """The largest scores of each row, of equal ones those that come first.

    By bisection, of the threshold and then of the place up to which scores equal to it are taken: against a sort it
    compiles in a fraction of the time.

    Args:
        scores: (rows, places) float32, 0 or more; NaN counts as larger than all numbers.
        candidates: (rows, places) bool, where they may be chosen.
        counts: (rows,) int32, how many are chosen, 0 to the number of candidates.

    Returns:
        True at the chosen places, (rows, places) bool.
    """
    # The order of floats from 0 upwards is that of their bits.
    bits = jnp.where(candidates, jax.lax.bitcast_convert_type(jnp.abs(scores), jnp.int32), -1)
    places = jnp.arange(bits.shape[1], dtype=jnp.int32)[None, :]
    threshold = _largest_passing(lambda bound: _sums(bits >= bound[:, None]) >= counts, 31, len(counts))[:, None]
    above, tied = bits > threshold, bits == threshold
    missing = counts - _sums(above)
    end = _largest_passing(
        lambda bound: _sums(tied & (places < bound[:, None])) <= missing, bits.shape[1].bit_length(), len(counts)
    )
    return above | (tied & (places < end[:, None]))


def _sums(masks: jax.Array) -> jax.Array:
    return jnp.sum(masks, axis=1, dtype=jnp.int32)


def _largest_passing(passes: Callable[[jax.Array], jax.Array], num_bits: int, length: int) -> jax.Array:
    """The largest numbers below 2^num_bits, (length,) int32, that pass a test which all smaller numbers pass too."""

    def add_bit(i: jax.Array, found: jax.Array) -> jax.Array:
        candidate = found | jnp.left_shift(jnp.int32(1), num_bits - 1 - i)
        return jnp.where(passes(candidate), candidate, found)

    return jax.lax.fori_loop(0, num_bits, add_bit, jnp.zeros(length, jnp.int32))


def where_due(compute: Callable[[PyTree, PyTree], PyTree]) -> Callable[[jax.Array, PyTree, PyTree], PyTree]:
    """Function (due, old, arguments) -> ``compute(old, arguments)`` where due, ``old`` where not.

    What is not due costs nothing, which a ``lax.cond`` under ``vmap`` cannot give: there it computes both branches for
    every member. Here the members that are due are computed one after another, however many axes are mapped.

    Args:
        compute: (old, arguments) -> new, of the same tree, shapes and dtypes as old. It must not close over arrays
            that are mapped; they belong in ``arguments``.

    Returns:
        The function; ``due`` is a () bool.
    """

    @jax.custom_batching.custom_vmap
    def one(due: jax.Array, old: PyTree, arguments: PyTree) -> PyTree:
        return jax.lax.cond(due, compute, lambda old, arguments: old, old, arguments)

    @jax.custom_batching.custom_vmap
    def many(due: jax.Array, old: PyTree, arguments: PyTree) -> PyTree:
        members = jnp.nonzero(due, size=due.shape[0])[0]

        def renew(i: jax.Array, everything: PyTree) -> PyTree:
            member = members[i]
            new = compute(_member(everything, member), _member(arguments, member))
            return jax.tree.map(
                lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new, member, 0), everything, new
            )

        return jax.lax.fori_loop(jnp.int32(0), jnp.sum(due, dtype=jnp.int32), renew, old)

    @one.def_vmap
    def _(size: int, mapped: PyTree, *arguments: PyTree) -> tuple[PyTree, PyTree]:
        new = many(*_all_mapped(size, mapped, arguments))
        return new, jax.tree.map(lambda _: True, new)

    @many.def_vmap
    def _(size: int, mapped: PyTree, *arguments: PyTree) -> tuple[PyTree, PyTree]:
        members = arguments[0].shape[-1]
        arguments = _all_mapped(size, mapped, arguments)
        flat = jax.tree.map(lambda leaf: leaf.reshape(size * members, *leaf.shape[2:]), arguments)
        new = jax.tree.map(lambda leaf: leaf.reshape(size, members, *leaf.shape[1:]), many(*flat))
        return new, jax.tree.map(lambda _: True, new)

    return one


def _member(tree: PyTree, index: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), tree)


def _all_mapped(size: int, mapped: PyTree, arguments: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """Leaves that the mapped axis leaves out are repeated along it, in front."""

    def repeat(leaf: jax.Array, has_axis: bool) -> jax.Array:
        return leaf if has_axis else jnp.broadcast_to(leaf[None], (size, *leaf.shape))

    return tuple(jax.tree.map(repeat, part, flags) for part, flags in zip(arguments, mapped, strict=True))
