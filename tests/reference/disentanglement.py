"""Scores of disentanglement written from the papers in float64 NumPy, with loops and no cleverness."""

import numpy as np


def mutual_information(a, b):
    """Nats, from all pairs of values of two columns."""
    total, n = 0.0, len(a)
    for x in np.unique(a):
        for y in np.unique(b):
            together = np.sum((a == x) & (b == y)) / n
            if together > 0:
                total += together * np.log(together / (np.mean(a == x) * np.mean(b == y)))
    return total


def histogram_bin(column, bins):
    edges = np.linspace(column.min(), column.max(), bins + 1)
    out = np.zeros(len(column), int)
    for row, value in enumerate(column):
        out[row] = min(int(np.sum(value >= edges[1:])), bins - 1)
    return out


def mig(codes, factors, bins):
    """Chen et al. 2018, eq. 6."""
    gaps = []
    for f in range(factors.shape[1]):
        entropy = -sum(
            p * np.log(p) for p in (np.mean(factors[:, f] == value) for value in np.unique(factors[:, f])) if p > 0
        )
        information = sorted(
            mutual_information(histogram_bin(codes[:, j], bins), factors[:, f]) for j in range(codes.shape[1])
        )
        gaps.append((information[-1] - information[-2]) / entropy)
    return np.mean(gaps)


def dci(importance):
    """Eastwood and Williams 2018, section 2: (disentanglement, completeness) of importances (L, F)."""
    num_latents, num_factors = importance.shape
    d = c = 0.0
    for i in range(num_latents):
        p = importance[i] / importance[i].sum()
        entropy = -sum(v * np.log(v) / np.log(num_factors) for v in p if v > 0)
        d += importance[i].sum() / importance.sum() * (1 - entropy)
    for j in range(num_factors):
        p = importance[:, j] / importance[:, j].sum()
        entropy = -sum(v * np.log(v) / np.log(num_latents) for v in p if v > 0)
        c += importance[:, j].sum() / importance.sum() * (1 - entropy)
    return d, c


def sap_continuous(codes, factors):
    """Kumar et al. 2018, section 3, all factors continuous."""
    leads = []
    for f in range(factors.shape[1]):
        scores = []
        for j in range(codes.shape[1]):
            covariance = np.mean((codes[:, j] - codes[:, j].mean()) * (factors[:, f] - factors[:, f].mean()))
            scores.append(covariance**2 / (codes[:, j].var() * factors[:, f].var()))
        scores.sort()
        leads.append(scores[-1] - scores[-2])
    return np.mean(leads)


def factor_vae(batches, fixed, codes, num_factors, num_learnt):
    """Kim and Mnih 2018, section 4: batches of codes, one vote each, and which factor each had fixed.

    The first ``num_learnt`` votes say which factor a latent stands for, all others judge that.
    """
    deviation = codes.std(axis=0)
    latents = [np.argmin([np.var(b[:, j] / deviation[j]) for j in range(codes.shape[1])]) for b in batches]
    votes = np.zeros((codes.shape[1], num_factors))
    for latent, factor in zip(latents[:num_learnt], fixed[:num_learnt], strict=True):
        votes[latent, factor] += 1
    fresh = list(zip(latents[num_learnt:], fixed[num_learnt:], strict=True))
    return sum(list(votes[latent]).index(max(votes[latent])) == factor for latent, factor in fresh) / len(fresh)


def udr_match(similarity):
    """Duan et al. 2020, section 4: one pair of models."""
    num_first, num_second = similarity.shape
    total = 0.0
    for b in range(num_second):
        total += max(similarity[:, b]) ** 2 / sum(similarity[:, b])
    for a in range(num_first):
        total += max(similarity[a]) ** 2 / sum(similarity[a])
    return total / (num_first + num_second)


def ranks(column):
    """Average ranks, by counting."""
    return np.array([np.sum(column < v) + (np.sum(column == v) - 1) / 2 for v in column])


def spearman(a, b):
    return np.corrcoef(ranks(a), ranks(b))[0, 1]
