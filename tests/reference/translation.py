"""Slow float64 NumPy: what a prediction explains, on whole arrays and one number at a time."""

import numpy as np


def share(target, predicted, guess):
    return 1 - np.sum((target - predicted) ** 2) / np.sum((target - guess) ** 2)


def rank(values):
    """Place of every value in the order, the mean of their places where several are equal."""
    return np.array([(np.sum(values < v) + np.sum(values <= v) - 1) / 2 for v in values])


def correlation(a, b):
    return np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std())


def explained(target, predicted, label):
    """By channel: share of the pixels, share of the totals, Spearman of the totals, Pearson of the totals by class."""
    found = []
    for c in range(target.shape[-1]):
        t, p = target[..., c].astype(np.float64), predicted[..., c].astype(np.float64)
        sums = t.sum((1, 2)), p.sum((1, 2))
        by_class = [correlation(sums[0][label == k], sums[1][label == k]) for k in np.unique(label)]
        shares = share(t, p, t.mean(0)), share(*sums, sums[0].mean())
        found.append((*shares, correlation(rank(sums[0]), rank(sums[1])), by_class))
    return found


def kl_between_normals_by_quadrature(mean, logvar, prior_mean, prior_logvar, points=200_001):
    """One latent: the integral of q ln(q / p) over 12 standard deviations to either side, by the trapezoidal rule."""
    deviation = np.exp(logvar / 2)
    z = mean + deviation * np.linspace(-12, 12, points)
    log_q = -0.5 * (np.log(2 * np.pi) + logvar + (z - mean) ** 2 / np.exp(logvar))
    log_p = -0.5 * (np.log(2 * np.pi) + prior_logvar + (z - prior_mean) ** 2 / np.exp(prior_logvar))
    return np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
