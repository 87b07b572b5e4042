"""Seconds that spherizing takes, fit and apply, here and in pycytominer; every row is a control.

    .venv/bin/python tests/peers/spherize_speed.py --sizes 5000x256 50000x1024

ZCA-cor without epsilon, which is the same map in both. pycytominer makes all N singular vectors of N controls, an
(N, N) matrix: 50,000 rows take it 20 GB and more, and --pycytominer_up_to leaves it out there.
"""

import argparse

import numpy as np
import polars as pl
from aggregate_memory import forget_peak, peak_gib
from average_precision_speed import screen, timed

from cellfx.profiles.steps import spherize


def ours(profiles):
    return spherize.apply(spherize.fit(profiles, None, regularization="pycytominer", epsilon=0.0), profiles).features


def table(profiles):
    return pl.DataFrame(profiles.features, schema=list(profiles.names)).to_pandas()


def theirs(frame):
    from pycytominer.operations import Spherize

    spherizing = Spherize(epsilon=0.0, method="ZCA-cor", return_numpy=True)
    return spherizing.fit(frame).transform(frame)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["5000x256"], help="rows x features of each table")
    parser.add_argument("--pycytominer_up_to", type=int, default=10_000, help="rows")
    arguments = parser.parse_args()
    few = screen(64, 8)
    ours(few)
    theirs(table(few))  # not timed: the first call imports
    for size in arguments.sizes:
        num_rows, num_features = map(int, size.split("x"))
        profiles = screen(num_rows, num_features)
        forget_peak()
        result, seconds = timed(lambda profiles=profiles: ours(profiles), 1)
        text = f"{num_rows:,} x {num_features}: ours {seconds[0, 0]:.3f} s ({seconds[0, 1]:.3f} s of CPU)"
        print(f"{text}, peak memory {peak_gib():.2f} GiB", flush=True)
        if num_rows > arguments.pycytominer_up_to:
            continue
        frame = table(profiles)
        forget_peak()
        expected, peer = timed(lambda frame=frame: theirs(frame), 1)
        text = f"pycytominer {peer[0, 0]:.3f} s ({peer[0, 1]:.3f} s of CPU), peak memory {peak_gib():.2f} GiB"
        print(f"{text}, {peer[0, 0] / seconds[0, 0]:.1f} times as long")
        print(f"largest difference {np.abs(result - expected).max():.1g}, of values up to {np.abs(expected).max():.2g}")


if __name__ == "__main__":
    main()
