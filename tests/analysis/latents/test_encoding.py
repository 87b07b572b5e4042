import numpy as np
import pytest

from cellfx.analysis.latents.encoding import (
    Latents,
    active_latents,
    encode_batches,
    kl_per_latent,
    order_by_kl,
    sample_codes,
)


def encode(x):
    mean = x.reshape(len(x), -1)[:, :2]
    return mean, np.log(1 + mean)


def batches(dtype=np.float32):
    image = np.arange(48).reshape(6, 2, 2, 2).astype(dtype)
    label, group = np.arange(6), np.arange(6) // 2
    for start, mask in ((0, [1, 1, 1, 1]), (2, [0, 0, 1, 1])):
        rows = slice(start, start + 4)
        yield {
            "x": image[rows],
            "label": label[rows],
            "group": group[rows],
            "factors": image[rows, 0, 0],
            "mask": np.array(mask, np.float32),
        }


def test_padding_goes_and_columns_stay_together():
    latents = encode_batches(encode, batches())
    np.testing.assert_array_equal(latents.label, np.arange(6))
    np.testing.assert_array_equal(latents.group, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(latents.mean, np.arange(0, 48, 8)[:, None] + np.arange(2))
    np.testing.assert_array_equal(latents.factors, latents.mean)
    np.testing.assert_array_equal(latents.logvar, np.log(1 + latents.mean))


def test_a_batch_may_lack_mask_and_labels():
    latents = encode_batches(encode, [{"x": np.ones((3, 2, 2, 2), np.float32)}])
    assert latents.mean.shape == (3, 2)
    assert latents.label is None


def test_nothing_to_encode():
    with pytest.raises(ValueError, match="nothing to encode: got no example"):
        encode_batches(encode, [])
    with pytest.raises(ValueError, match="nothing to encode: got no example"):
        encode_batches(encode, [{"x": np.ones((3, 2, 2, 2), np.float32), "mask": np.zeros(3)}])


def test_stored_pixels_are_refused():
    with pytest.raises(ValueError, match=r"got uint8, expected float32 in \[0, 1\]"):
        encode_batches(encode, batches(np.uint8))


def test_kl_closed_forms():
    mean = np.array([[0.0, 3.0, 0.0], [0.0, 1.0, 0.0]])
    logvar = np.log(np.array([[1.0, 1.0, 4.0], [1.0, 1.0, 4.0]]))
    np.testing.assert_allclose(kl_per_latent(mean, logvar), [0.0, 2.5, (3 - np.log(4)) / 2], rtol=1e-12)


def test_active_latents_are_ordered_and_above_the_threshold():
    kl = np.array([0.01, 0.5, 2.0, 0.0, 0.5])
    np.testing.assert_array_equal(order_by_kl(kl), [2, 1, 4, 0, 3])
    np.testing.assert_array_equal(active_latents(kl), [2, 1, 4])
    assert active_latents(np.zeros(3)).size == 0


def test_samples_have_the_moments_of_the_posterior():
    shape = (20000, 2)
    latents = Latents(np.broadcast_to([1.0, -2.0], shape), np.broadcast_to(np.log([0.25, 4.0]), shape))
    codes = sample_codes(latents, np.random.default_rng(0))
    # Five standard errors of mean and standard deviation.
    np.testing.assert_allclose(codes.mean(axis=0), [1.0, -2.0], atol=5 * 2 / np.sqrt(20000))
    np.testing.assert_allclose(codes.std(axis=0), [0.5, 2.0], rtol=5 / np.sqrt(40000))
