"""How much faster heads train side by side than one after another, and whether they become the same heads.

    .venv/bin/python tests/peers/heads_one_by_one.py runs/discover/embed/run0.npz

Trains what one round of ``bin/tune --config configs/sparse_head.py`` trains, 40 trials with five seeds, in one program
over all cores, and a sample of these 200 heads one after another in three ways: in the compiled loop of cellfx, in a
loop of one compiled step as it is commonly written, and as ``bin/tune`` runs what is no head, each in a process of its
own, which starts Python and compiles every time.
"""

import argparse
import functools
import os
import subprocess
import sys
import time

import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", os.cpu_count())

from cellfx.heads import codes, heads  # noqa: E402 after the number of devices
from cellfx.heads.program import head_trainer  # noqa: E402
from cellfx.heads.setting import Setting  # noqa: E402
from cellfx.training import many  # noqa: E402

NUM_TRIALS, NUM_SEEDS, NUM_EPOCHS = 40, 5, 40


def settings():
    rng = np.random.default_rng(0)
    return [
        Setting(num_epochs=NUM_EPOCHS, sparsity=float(s), update_every=int(every), update_rate=float(rate))
        for s, every, rate in zip(
            rng.uniform(0.95, 0.97, NUM_TRIALS),
            rng.integers(100, 201, NUM_TRIALS),
            rng.uniform(0.7, 0.9, NUM_TRIALS),
            strict=True,
        )
    ]


def timed(function):
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def alone(rows, trial, seed):
    """One head, on one device."""
    return heads.train(*rows, settings()[trial], [seed], devices=jax.devices()[:1])


def dispatch_every_step():
    """From here on heads train with one dispatch for every step, whose loss is read."""
    built = many.trainer
    many.trainer = lambda *args: built(*args[:5], 1, *args[6:])
    head_trainer.cache_clear()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("codes")
    parser.add_argument("--one", nargs=2, type=int, help="trial and seed: train this head alone, and nothing else")
    parser.add_argument("--sample", type=int, default=6, help="heads that are trained one after another in each way")
    options = parser.parse_args()
    source = codes.load(options.codes)
    rows = (*codes.of_split(source, "train"), len(source.class_names))
    if options.one:
        alone(rows, *options.one)
        return
    count = NUM_TRIALS * NUM_SEEDS
    together = functools.partial(heads.train, *rows, settings(), range(NUM_SEEDS))
    _, cold = timed(together)
    found, warm = timed(together)
    print(f"{count} heads side by side: {cold:.1f} s with compilation, {warm:.1f} s without; {warm / count:.4f} s each")

    chosen = [(int(pick) // NUM_SEEDS, int(pick) % NUM_SEEDS) for pick in np.linspace(0, count - 1, options.sample)]
    alone(rows, *chosen[0])
    singles, seconds = zip(*(timed(functools.partial(alone, rows, *pick)) for pick in chosen), strict=True)
    compare("the compiled loop", seconds, warm / count)
    dispatch_every_step()
    alone(rows, *chosen[0])
    _, seconds = zip(*(timed(functools.partial(alone, rows, *pick)) for pick in chosen[:3]), strict=True)
    compare("a loop of compiled steps", seconds, warm / count)
    command = [sys.executable, __file__, options.codes, "--one"]
    seconds = [
        timed(lambda pick=pick: subprocess.run([*command, *map(str, pick)], check=True))[1] for pick in chosen[:3]
    ]
    compare("processes of their own", seconds, warm / count)

    furthest = 0.0
    for (trial, seed), single in zip(chosen, singles, strict=True):
        same = heads.select(found, [trial * NUM_SEEDS + seed])
        pairs = zip(jax.tree.leaves(same.params), jax.tree.leaves(single.params), strict=True)
        furthest = max(furthest, *(float(np.abs(a - b).max()) for a, b in pairs))
    print(f"largest difference of a weight between the same head alone and in company: {furthest:.2g}")


def compare(name, seconds, each):
    mean = float(np.mean(seconds))
    print(f"one after another in {name}: {mean:.3f} s each, {mean / each:.1f} times as long ({len(seconds)} heads)")


if __name__ == "__main__":
    main()
