"""Pytrees with named leaves: counting, casting, and masks by regular expression that must cover every leaf."""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cellfx.types import PyTree


def named_leaves(tree: PyTree) -> dict[str, jax.Array]:
    """Leaves by path, ``encoder/conv0/kernel`` -> leaf, in the tree's own order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def match_rules(tree: PyTree, rules: Sequence[tuple[str, object]]) -> PyTree:
    """Tree of the same structure holding, for every leaf, the value of the first rule whose regex its path matches.

    Args:
        tree: any pytree.
        rules: (regular expression, value) pairs, searched in order with ``re.search`` in the leaf's path.

    Raises:
        ValueError: a leaf that no rule matches, or a rule that matches no leaf before the others do.
    """
    names = list(named_leaves(tree))
    used, values = set(), []
    for name in names:
        hit = next((i for i, (pattern, _) in enumerate(rules) if re.search(pattern, name)), None)
        if hit is None:
            raise ValueError(
                f"no rule matches the parameter {name!r}: got the rules {[pattern for pattern, _ in rules]}, expected "
                f"them to cover every parameter; add a rule for it, for instance ('.*', ...) as the last one"
            )
        used.add(hit)
        values.append(rules[hit][1])
    idle = [pattern for i, (pattern, _) in enumerate(rules) if i not in used]
    if idle:
        raise ValueError(
            f"the rules {idle} decide for no parameter: got the parameters {names}, expected every rule to be the "
            f"first match of at least one; correct the regular expression or remove the rule"
        )
    return jax.tree.unflatten(jax.tree.structure(tree), values)


def count_parameters(tree: PyTree) -> int:
    """Number of scalars in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def cast_floating(tree: PyTree, dtype: jnp.dtype) -> PyTree:
    """Same tree with every floating-point leaf in ``dtype``; integers, booleans and keys pass."""

    def cast(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
