"""Slow float64 Python: a mixture of normal distributions by expectation-maximization, one value at a time."""

import math

import numpy as np


def density(value, weights, means, deviations):
    """Density of each component times its weight, a list of K."""
    result = []
    for weight, mean, deviation in zip(weights, means, deviations, strict=True):
        exponent = -((value - mean) ** 2) / (2.0 * deviation**2)
        result.append(weight * math.exp(exponent) / math.sqrt(2.0 * math.pi * deviation**2))
    return result


def step(values, weights, means, deviations):
    """One pass of expectation and maximization: new weights, means and deviations (K,)."""
    count = len(weights)
    shares, sums, squares = np.zeros((3, count))
    owned = [np.array(density(value, weights, means, deviations)) for value in values]
    owned = [row / row.sum() for row in owned]
    for value, row in zip(values, owned, strict=True):
        shares += row
        sums += row * value
    new_means = sums / shares
    for value, row in zip(values, owned, strict=True):
        squares += row * (value - new_means) ** 2
    return shares / len(values), new_means, np.sqrt(squares / shares)


def fit(values, means, deviation, num_steps):
    """From components of equal weight and deviation at the given means, a fixed number of passes."""
    state = np.full(len(means), 1.0 / len(means)), np.array(means, np.float64), np.full(len(means), float(deviation))
    for _ in range(num_steps):
        state = step(values, *state)
    return state
