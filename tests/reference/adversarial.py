"""A discriminator small enough for its gradients to be written down, in float64: phi(x) = tanh(x W) v.

Written from Roth et al. 2017, arXiv:1705.09367 (the regularizer) and Chen et al. 2016, arXiv:1606.03657 (the bound).
"""

import numpy as np


def logits(x, w, v):
    return np.tanh(x.reshape(len(x), -1) @ w) @ v


def squared_gradient_norms(x, w, v):
    """d phi / d x = W (v (1 - tanh^2))."""
    slope = v * (1.0 - np.tanh(x.reshape(len(x), -1) @ w) ** 2)
    return np.sum((slope @ w.T) ** 2, axis=1)


def regularizer(real, fake, w, v):
    """Mean of (1 - D)^2 |grad phi|^2 over real images plus that of D^2 |grad phi|^2 over generated ones."""
    d_real, d_fake = (1.0 / (1.0 + np.exp(-logits(x, w, v))) for x in (real, fake))
    return np.mean((1.0 - d_real) ** 2 * squared_gradient_norms(real, w, v)) + np.mean(
        d_fake**2 * squared_gradient_norms(fake, w, v)
    )


def uniform_code_bound(codes, mean, logvar, half_width):
    """H(c) + log Q(c | x), H(c) = ln of the range of every code."""
    total = np.zeros(len(codes))
    for i in range(len(codes)):
        for k in range(codes.shape[1]):
            variance = np.exp(logvar[i, k])
            density = np.exp(-((codes[i, k] - mean[i, k]) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            total[i] += np.log(2 * half_width) + np.log(density)
    return total
