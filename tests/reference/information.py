"""Slow float64 NumPy: the decomposition of the KL term, one example and one mixture component at a time."""

import numpy as np


def log_normal(z, mean, logvar):
    return -0.5 * (np.log(2 * np.pi) + logvar + (z - mean) ** 2 / np.exp(logvar))


def mixture_weights(i, batch, num_examples, estimator):
    """Weight of every example of the batch in q(z_i): Chen et al. 2018, arXiv:1802.04942, appendix C.1 and C.2."""
    if estimator == "weighted":
        return np.full(batch, 1.0 / (batch * num_examples))
    others = batch - 1
    weights = np.full(batch, 1.0 / others)
    weights[i] = 1.0 / num_examples
    weights[(i + 1) % batch] = (num_examples - others) / (num_examples * others)
    return weights


def decompose_kl(z, mean, logvar, num_examples, estimator):
    """Three arrays (B,): index-code mutual information, total correlation, dimension-wise KL."""
    batch, latents = z.shape
    result = np.zeros((3, batch))
    for i in range(batch):
        weights = mixture_weights(i, batch, num_examples, estimator)
        densities = np.array(
            [[np.exp(log_normal(z[i, k], mean[j, k], logvar[j, k])) for k in range(latents)] for j in range(batch)]
        )
        log_qz = np.log(np.sum(weights * np.prod(densities, axis=1)))
        log_product = sum(np.log(np.sum(weights * densities[:, k])) for k in range(latents))
        log_qz_given_x = np.sum(log_normal(z[i], mean[i], logvar[i]))
        log_pz = np.sum(log_normal(z[i], 0.0, 0.0))
        result[:, i] = log_qz_given_x - log_qz, log_qz - log_product, log_product - log_pz
    return result
