"""Adam with decoupled weight decay in float64, loop by loop, from arXiv:1412.6980 and arXiv:1711.05101."""

import numpy as np


def adamw(params, grads, rates, decays, clip_norm, b1=0.9, b2=0.999, eps=1e-8):
    """Parameters after every step; ``grads`` is a list of one list of arrays per step, ``decays`` one per parameter."""
    params = [np.asarray(p, np.float64) for p in params]
    first = [np.zeros_like(p) for p in params]
    second = [np.zeros_like(p) for p in params]
    history = []
    for t, (step_grads, rate) in enumerate(zip(grads, rates, strict=True), start=1):
        norm = np.sqrt(sum(np.sum(np.asarray(g, np.float64) ** 2) for g in step_grads))
        for i, g in enumerate(step_grads):
            g = np.asarray(g, np.float64) * min(1.0, clip_norm / norm)
            first[i] = b1 * first[i] + (1 - b1) * g
            second[i] = b2 * second[i] + (1 - b2) * g * g
            direction = (first[i] / (1 - b1**t)) / (np.sqrt(second[i] / (1 - b2**t)) + eps)
            params[i] = params[i] - rate * (direction + decays[i] * params[i])
        history.append(list(params))
    return history
