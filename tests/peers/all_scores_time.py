"""Seconds and peak memory of all scores of a drawn screen, for tables of several sizes: cost against rows.

A tenth of the rows are controls; nine rows a compound, ten compounds a mechanism, eight batches. Seconds of CPU are
for machines that do other work beside.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
import polars as pl

from cellfx.profiles.screen.score import score
from cellfx.profiles.tables.table import Profiles

WELLS, COMPOUNDS, BATCHES = 9, 10, 8


def screen(num_rows, num_features, seed=0):
    """Profiles and their controls (N,) bool."""
    rng = np.random.default_rng(seed)
    controls = np.arange(num_rows) >= num_rows - num_rows // 10
    compound = np.where(controls, -1, np.arange(num_rows) // WELLS)
    effects = rng.normal(size=(compound.max() + 1, num_features))
    features = rng.normal(size=(num_rows, num_features))
    features[~controls] += effects[compound[~controls]]
    names = [None if number < 0 else f"compound {number}" for number in compound]
    mechanisms = [None if number < 0 else f"mechanism {number // COMPOUNDS}" for number in compound]
    batch = rng.integers(BATCHES, size=num_rows)
    table = {"Metadata_Compound": names, "Metadata_MOA": mechanisms, "Metadata_Batch": batch}
    return Profiles(features, tuple(f"feature_{i}" for i in range(num_features)), pl.DataFrame(table)), controls


def measure(num_rows, num_features, answer):
    """Puts (seconds, seconds of CPU, GiB, scores, those left out) into a queue."""
    profiles, controls = screen(num_rows, num_features)
    start = time.perf_counter(), time.process_time()
    found = score(profiles, controls)
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    answer.put((*seconds, peak, len(found.numbers), list(found.left_out)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--features", type=int, default=512)
    arguments = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    for rows in arguments.rows:
        answer = fresh.Queue()
        process = fresh.Process(target=measure, args=(rows, arguments.features, answer))
        process.start()
        seconds, cpu, peak, num_scores, left_out = answer.get()
        process.join()
        text = f"{rows:,} x {arguments.features}: {seconds:.1f} s ({cpu:.1f} s of CPU), peak memory {peak:.2f} GiB"
        print(f"{text}, {num_scores} scores" + (f", left out: {', '.join(left_out)}" if left_out else ""), flush=True)


if __name__ == "__main__":
    main()
