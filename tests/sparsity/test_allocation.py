"""Layer densities and weight counts against the published procedure; the same traced as computed by NumPy."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellfx.sparsity.allocation import counts, erdos_renyi, uniform

_SPEC = importlib.util.spec_from_file_location("rigl", Path(__file__).parents[1] / "reference" / "rigl.py")
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)

HEAD = {f"dense{i}": shape for i, shape in enumerate([(32, 32), (32, 16), (16, 16), (16, 16), (16, 2)])}
sizes = st.integers(1, 40)
shapes = st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6)


def sizes_of(named):
    return {name: int(np.prod(shape)) for name, shape in named.items()}


@settings(deadline=None, max_examples=200)
@given(shapes=shapes, density=st.floats(1e-3, 1.0))
def test_densities_follow_the_published_procedure(shapes, density):
    named = {f"layer{i}": shape for i, shape in enumerate(shapes)}
    found = erdos_renyi(named, density)
    np.testing.assert_allclose(list(found.values()), reference.erdos_renyi(shapes, density), rtol=1e-9)
    kept = sum(found[name] * size for name, size in sizes_of(named).items())
    assert kept == pytest.approx(density * sum(sizes_of(named).values()), rel=1e-9)


@settings(deadline=None, max_examples=200)
@given(shapes=shapes, density=st.floats(1e-3, 1.0), allocation=st.sampled_from([erdos_renyi, uniform]))
def test_counts_are_whole_and_sum_to_the_whole(shapes, density, allocation):
    named = {f"layer{i}": shape for i, shape in enumerate(shapes)}
    found = counts(allocation(named, density), sizes_of(named), density)
    assert all(0 <= found[name] <= size for name, size in sizes_of(named).items())
    assert sum(found.values()) == round(density * sum(sizes_of(named).values()))


def test_small_layers_fill_up_and_the_rest_share_what_is_left():
    found = erdos_renyi({"large": (100, 100), "small": (4, 2)}, 0.1)
    assert found["small"] == 1
    assert found["large"] == pytest.approx((0.1 * 10008 - 8) / 10000)


def test_convolutions_count_all_sizes_of_their_kernel():
    found = erdos_renyi({"conv": (3, 3, 8, 16), "dense": (64, 64)}, 0.05)
    assert found["conv"] / found["dense"] == pytest.approx((30 / 1152) / (128 / 4096))


def test_traced_densities_are_those_of_numpy():
    densities = np.linspace(0.03, 0.3, 28)
    traced = jax.jit(jax.vmap(lambda density: erdos_renyi(HEAD, density)))(jnp.asarray(densities, jnp.float32))
    for name, found in traced.items():
        np.testing.assert_allclose(found, [erdos_renyi(HEAD, d)[name] for d in densities], rtol=1e-5)


def test_traced_counts_of_the_published_search():
    """Every S between .95 and .97 that differs by .0001, in float32 as in float64."""
    densities = np.linspace(0.03, 0.05, 201)

    def count(density):
        return counts(erdos_renyi(HEAD, density), sizes_of(HEAD), density)

    traced = jax.jit(jax.vmap(count))(jnp.asarray(densities, jnp.float32))
    traced = np.stack(list(traced.values()), axis=1)
    assert traced.dtype == np.int32
    # 2080 d may be half a weight to within a rounding of float32; there the two may round to either side.
    clear = np.abs(densities * 2080 % 1 - 0.5) > 1e-3
    expected = np.array([reference.counts(list(HEAD.values()), density) for density in densities])
    np.testing.assert_array_equal(traced[clear], expected[clear])
    assert np.mean(clear) > 0.9
