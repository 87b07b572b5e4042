"""Scores of profiles the slow way, from the definitions: whole matrices, one row or pair at a time."""

import itertools

import numpy as np


def pearson(features):
    """Correlation of every two rows."""
    return np.corrcoef(features)


def hits(similarity, groups, allowed=None):
    """For every row the ranks, from 0, of the rows of its group among all others; equal ones rank behind."""
    found = []
    for i, row in enumerate(similarity):
        others = [j for j in range(len(row)) if j != i and (allowed is None or allowed[i, j])]
        others.sort(key=lambda j: (-round(row[j], 9), groups[j] == groups[i]))
        found.append([rank for rank, j in enumerate(others) if groups[j] == groups[i]])
    return found


def pooled_at_k(similarity, groups, k):
    """cytominer-eval: all pairs whose first row is of the group, in one order."""
    precision, recall = [], []
    for group in sorted(set(groups)):
        pairs = [
            (similarity[i, j], groups[j] == group)
            for i in np.flatnonzero(groups == group)
            for j in range(len(groups))
            if i != j
        ]
        pairs.sort(key=lambda pair: (-pair[0], pair[1]))
        found = sum(positive for _, positive in pairs[:k])
        precision.append(found / k)
        recall.append(found / sum(positive for _, positive in pairs))
    return precision, recall


def percent_scores(ranks, percents, num_groups):
    """cytominer-eval: hits up to x percent of the groups, less x percent of the hits rounded down."""
    return [sum(r <= p * num_groups / 100 for r in ranks) - int(p * len(ranks) / 100) for p in percents]


def pairs_table(similarity, groups, percentile, each_twice=False):
    """Threshold and the counts [[a, b], [c, d]] of similar and matching pairs, from a list of all pairs."""
    pairs = list(itertools.permutations(range(len(groups)), 2))
    if not each_twice:
        pairs = [(i, j) for i, j in pairs if i < j]
    values = np.array([similarity[min(p), max(p)] for p in pairs])
    same = np.array([groups[i] == groups[j] for i, j in pairs])
    threshold = np.percentile(values, 100 * percentile)
    above = values > threshold
    return threshold, [[np.sum(above & same), np.sum(above & ~same)], [np.sum(~above & same), np.sum(~above & ~same)]]


def reproducibility(similarity, groups, quantile):
    """cytominer-eval: share of the pairs within groups above a quantile of the pairs between groups."""
    i, j = np.triu_indices(len(groups), 1)
    same, values = groups[i] == groups[j], similarity[i, j]
    return np.mean(values[same] > np.quantile(values[~same], quantile))


def grit(similarity, groups, perturbations, controls, summary=np.mean):
    """Way et al. 2022: for each row, similarities to others of the group in deviations of those to controls."""
    scores = []
    for i in range(len(similarity)):
        known = [similarity[i, j] for j in range(len(similarity)) if controls[j] and j != i]
        same = [
            similarity[i, j]
            for j in range(len(similarity))
            if j != i and groups[j] == groups[i] and perturbations[j] != perturbations[i]
        ]
        scores.append(summary((np.array(same) - np.mean(known)) / np.std(known)) if same else np.nan)
    return np.array(scores)


def pooled_grit(similarity, groups, perturbations, controls):
    """cytominer-eval: the same with the similarities of all rows of a perturbation in one pot."""
    scores = {}
    for perturbation in dict.fromkeys(perturbations):
        rows = np.flatnonzero(perturbations == perturbation)
        pot = [(i, j) for i in rows for j in range(len(similarity)) if i != j]
        known = [similarity[i, j] for i, j in pot if controls[j]]
        same = [similarity[i, j] for i, j in pot if groups[j] == groups[i] and perturbations[j] != perturbation]
        scores[perturbation] = (np.mean(same) - np.mean(known)) / np.std(known) if same else np.nan
    return scores


def mahalanobis(treated, controls):
    """Squared distance of the means under the covariance of the controls, divided by n."""
    away = treated.mean(axis=0) - controls.mean(axis=0)
    return away @ np.linalg.inv(np.atleast_2d(np.cov(controls.T, bias=True))) @ away


def nearest(similarity, labels, allowed, k):
    """The label with most votes among the k most similar allowed rows; equal votes go to the larger sum."""
    predicted = []
    for i, row in enumerate(similarity):
        others = sorted(np.flatnonzero(allowed[i]), key=lambda j: (-row[j], j))[:k]
        votes = {}
        for j in others:
            count, total = votes.get(labels[j], (0, 0.0))
            votes[labels[j]] = (count + 1, total + row[j])
        predicted.append(max(votes, key=lambda label: votes[label]) if votes else None)
    return predicted
