"""Batch normalization in float64, channel by channel and value by value, from arXiv:1502.03167, algorithms 1 and 2."""

import numpy as np


def batch_norm(x, mask, scale, bias, epsilon):
    """Normalized x (B, ..., C), mean (C,) and unbiased variance (C,) over the examples whose mask is 1."""
    x = np.asarray(x, np.float64)
    result, means, variances = np.zeros_like(x), [], []
    for channel in range(x.shape[-1]):
        values = [value for row, real in zip(x[..., channel], mask, strict=True) if real for value in np.ravel(row)]
        mean = sum(values) / len(values)
        biased = sum((value - mean) ** 2 for value in values) / len(values)
        result[..., channel] = (x[..., channel] - mean) / np.sqrt(biased + epsilon) * scale[channel] + bias[channel]
        means.append(mean)
        variances.append(biased * len(values) / (len(values) - 1))
    return result, np.array(means), np.array(variances)
