"""Average precision of a ranked list and of random ones, by counting along the list; float64 and slow."""

import itertools

import numpy as np


def of_list(relevant):
    """relevant: list of bool, the most alike first."""
    precisions, hits = [], 0
    for place, hit in enumerate(relevant, start=1):
        hits += hit
        if hit:
            precisions.append(hits / place)
    return sum(precisions) / len(precisions)


def of_rows(similarity, positive, negative):
    """similarity (N, N), sets of (row, partner) -> {row: average precision}; positives come first among equals."""
    scores = {}
    for row in range(len(similarity)):
        pairs = [(-similarity[row, j], 0) for i, j in positive if i == row]
        others = [(-similarity[row, j], 1) for i, j in negative if i == row]
        if pairs and others:
            scores[row] = of_list([kind == 0 for _, kind in sorted(pairs + others)])
    return scores


def all_random(num_positives, num_pairs):
    """Average precision of every set of places."""
    places = itertools.combinations(range(num_pairs), num_positives)
    return np.array([of_list([i in chosen for i in range(num_pairs)]) for chosen in places])
