import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.nn.batch_norm import BatchNorm

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[1] / "reference/batch_norm.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

PARAMS = {"scale": jnp.array([0.5, 2.0, -1.0]), "bias": jnp.array([0.0, 1.0, -3.0])}
STATS = {"mean": jnp.array([1.0, 2.0, 3.0]), "var": jnp.array([0.5, 1.0, 4.0])}
VARIABLES = {"params": PARAMS, "batch_stats": STATS}
MASK = jnp.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0])


def values(shape=(8, 3, 2, 3)):
    return 4.0 + 3.0 * jax.random.normal(jax.random.key(0), shape)


def trained(x, mask, axis_name=None, **settings):
    module = BatchNorm(axis_name, **settings)
    y, changed = module.apply(VARIABLES, x, mask, mutable=["batch_stats"])
    return y, changed["batch_stats"]


@pytest.mark.parametrize("shape", [(8, 3, 2, 3), (8, 3)])
def test_a_batch_is_normalised_as_the_paper_says_by_its_real_examples(shape):
    x = values(shape)
    y, stats = trained(x, MASK, momentum=0.75)
    expected, mean, var = reference.batch_norm(x, MASK, PARAMS["scale"], PARAMS["bias"], 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["mean"], 0.75 * STATS["mean"] + 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.75 * STATS["var"] + 0.25 * var, rtol=1e-5)


def test_without_a_mask_the_averages_normalise_and_stay():
    x = values()
    y, changed = BatchNorm().apply(VARIABLES, x, mutable=["batch_stats"])
    mean, var = (np.asarray(STATS[name], np.float64) for name in ("mean", "var"))
    scale, bias = (np.asarray(PARAMS[name], np.float64) for name in ("scale", "bias"))
    expected = (np.asarray(x, np.float64) - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), changed["batch_stats"], STATS))


def test_what_padding_holds_changes_nothing():
    x = values()
    other = jnp.where(MASK.reshape(-1, 1, 1, 1) > 0, x, 1e3)
    (y, stats), (y_other, stats_other) = trained(x, MASK), trained(other, MASK)
    np.testing.assert_array_equal(np.asarray(y)[MASK > 0], np.asarray(y_other)[MASK > 0])
    np.testing.assert_array_equal(stats["var"], stats_other["var"])


def test_a_batch_of_padding_alone_moves_no_average():
    y, stats = trained(values(), jnp.zeros(8))
    assert bool(jnp.all(jnp.isfinite(y)))
    np.testing.assert_array_equal(stats["mean"], STATS["mean"])
    np.testing.assert_array_equal(stats["var"], STATS["var"])


def test_four_devices_normalise_by_the_global_batch():
    """Padding unevenly spread: an average of the devices' own statistics would differ."""
    x, whole = values(), trained(values(), MASK)
    parts = x.reshape(4, 2, *x.shape[1:]), MASK.reshape(4, 2)
    y, stats = jax.pmap(lambda x, mask: trained(x, mask, "devices"), "devices", out_axes=(0, None))(*parts)
    np.testing.assert_allclose(y.reshape(x.shape), whole[0], rtol=1e-5, atol=1e-5)
    for name in STATS:
        np.testing.assert_allclose(stats[name], whole[1][name], rtol=1e-6)


def test_half_precision_goes_through_and_the_averages_stay_whole():
    y, stats = trained(values().astype(jnp.bfloat16), MASK)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in stats.values()} == {jnp.dtype("float32")}
