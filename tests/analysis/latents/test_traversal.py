import numpy as np
import pytest

from cellfx.analysis.latents.traversal import data_values, prior_values, traverse


def decode(z):
    return np.asarray(z).reshape(len(z), 1, -1, 1)


def test_only_the_chosen_latent_moves():
    code = np.array([5.0, 6.0, 7.0], np.float32)
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    images = traverse(decode, code, values, latents=[2, 0])
    assert images.shape == (2, 2, 1, 3, 1)
    np.testing.assert_array_equal(images[0, :, 0, :, 0], [[5, 6, 4], [5, 6, 5]])
    np.testing.assert_array_equal(images[1, :, 0, :, 0], [[0, 6, 7], [1, 6, 7]])


def test_all_latents_by_default():
    images = traverse(decode, np.zeros(3), prior_values(3, 5))
    np.testing.assert_array_equal(images[1, :, 0, 1, 0], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(images[1, :, 0, 0, 0], np.zeros(5))


def test_data_values_run_between_quantiles_of_each_latent():
    mean = np.stack([np.arange(101), 10 * np.arange(101)], axis=1)
    np.testing.assert_allclose(data_values(mean, 3, 0.1, 0.9), [[10, 50, 90], [100, 500, 900]], rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.9, 0.1), (-0.1, 0.5), (0.5, 1.1)])
def test_quantiles_out_of_order(low, high):
    with pytest.raises(ValueError, match=f"got low={low} and high={high}"):
        data_values(np.zeros((3, 2)), low=low, high=high)


def test_values_of_another_code():
    with pytest.raises(ValueError, match=r"got values \(2, 9\) for a code \(3,\)"):
        traverse(decode, np.zeros(3), prior_values(2))


@pytest.mark.parametrize("latents", [[3], [-1], []])
def test_latents_that_do_not_exist(latents):
    with pytest.raises(ValueError, match=r"expected at least one of 0\.\.2"):
        traverse(decode, np.zeros(3), prior_values(3), latents)
