"""RigL layer by layer in NumPy, from arXiv:1911.11134 (algorithm 1, section 3.1) and the supplement of the 2024 paper.

Weights and Adam's moments are float64; the update fraction is float32, because its product is rounded down. Magnitudes
are compared to 12 binary places, as documented.
"""

import math

import numpy as np


def erdos_renyi(shapes, density):
    """Densities by the published procedure: fill up whatever exceeds 1, one layer at a time, and start over."""
    sizes = [math.prod(shape) for shape in shapes]
    full = set()
    while True:
        rest = [i for i in range(len(shapes)) if i not in full]
        if not rest:
            return [1.0] * len(shapes)
        budget = density * sum(sizes) - sum(sizes[i] for i in full)
        factor = budget / sum(sum(shapes[i]) for i in rest)
        densities = [1.0 if i in full else factor * sum(shapes[i]) / sizes[i] for i in range(len(shapes))]
        fullest = max(rest, key=lambda i: densities[i])
        if densities[fullest] <= 1:
            return densities
        full.add(fullest)


def counts(shapes, density):
    sizes = [math.prod(shape) for shape in shapes]
    shares = [d * size for d, size in zip(erdos_renyi(shapes, density), sizes, strict=True)]
    whole = [math.floor(share) for share in shares]
    order = sorted(range(len(shapes)), key=lambda i: (whole[i] - shares[i], i))
    for i in order[: round(density * sum(sizes)) - sum(whole)]:
        whole[i] += 1
    return whole


def coarse(values, places=12):
    """|values| with that many binary places after the first, to the nearest, ties to even."""
    mantissa, exponent = np.frexp(np.abs(values))
    return np.ldexp(np.rint(mantissa * 2.0 ** (places + 1)), exponent - places - 1)


def best(scores, allowed, count):
    """Flat indices of the ``count`` largest allowed scores, earlier ones first among equals."""
    flat, allowed = scores.ravel(), allowed.ravel()
    return sorted((i for i in range(flat.size) if allowed[i]), key=lambda i: (-flat[i], i))[:count]


def fraction(since, update_rate, end_step):
    angle = np.float32(np.pi) * np.float32(since) / np.float32(end_step)
    return np.float32(update_rate) / np.float32(2) * (np.float32(1) + np.cos(angle))


def rigl(params, gradients, density, update_every, update_rate, end_step, warm_up, rate, b1=0.9, b2=0.999, eps=1e-8):
    """Adam in RigL: a dict of (weights, masks, first moments, weights replaced) per layer after every step.

    ``params`` are float arrays by name, all of them sparse; ``gradients`` one such dict per step.
    """
    weights = {name: np.asarray(p, np.float64) for name, p in params.items()}
    masks = {name: np.ones(p.shape, bool) for name, p in weights.items()}
    active = dict(zip(weights, counts([p.shape for p in weights.values()], density), strict=True))
    first = {name: np.zeros_like(p) for name, p in weights.items()}
    second = {name: np.zeros_like(p) for name, p in weights.items()}
    history, adam_steps = [], 0
    for t, grads in enumerate(gradients):
        since = t - warm_up
        rewires = since >= 0 and since % update_every == 0 and since < end_step
        adam_steps += not rewires
        record = {}
        for name, w in weights.items():
            g = np.asarray(grads[name], np.float64)
            replaced = 0
            if rewires:
                if since > 0:
                    replaced = int(np.floor(fraction(since, update_rate, end_step) * np.float32(active[name])))
                keep = np.zeros(w.size, bool)
                keep[best(coarse(w), masks[name], active[name] - replaced)] = True
                grown = np.zeros(w.size, bool)
                grown[best(coarse(g), ~keep, replaced)] = True
                mask = (keep | grown).reshape(w.shape)
                gone = ~(mask & masks[name])
                masks[name] = mask
                for array in (w, first[name], second[name]):
                    array[gone] = 0
            else:
                g = np.where(masks[name], g, 0)
                first[name] = b1 * first[name] + (1 - b1) * g
                second[name] = b2 * second[name] + (1 - b2) * g * g
                mean = first[name] / (1 - b1**adam_steps)
                spread = np.sqrt(second[name] / (1 - b2**adam_steps))
                w -= np.where(masks[name], rate * mean / (spread + eps), 0)
            record[name] = (w.copy(), masks[name].copy(), first[name].copy(), replaced)
        history.append(record)
    return history
