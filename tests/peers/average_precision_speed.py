"""How many times as long as ours average precision takes in copairs, both in this process.

Groups of six rows are positive, all other rows negative. Ours is timed after a first call on the same table, which is
printed too, with compilation; copairs after one on a few rows. Seconds of CPU are for machines that do other work
beside.
"""

import argparse
import resource
import time

import numpy as np
import polars as pl

from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.tables.table import Profiles

FEW = 12


def screen(num_rows, num_features, group_size=6, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.arange(num_rows) // group_size
    features = rng.normal(size=(num_rows, num_features)) + rng.normal(size=(groups.max() + 1, num_features))[groups]
    names = tuple(f"feature_{i}" for i in range(num_features))
    return Profiles(features, names, pl.DataFrame({"Metadata_Group": groups}))


def timed(function, repeats):
    """The result, and (repeats, 2) seconds of the clock and of all cores."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        result = function()
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return result, np.array(seconds)


def copairs_average_precision(profiles, rules):
    """Its table, and (1, 2) seconds as of ``timed``."""
    from copairs.map import average_precision as theirs

    frame = profiles.metadata.to_pandas()
    theirs(frame[:FEW], profiles.features[:FEW], *rules, progress_bar=False)
    return timed(lambda: theirs(frame, profiles.features, *rules, progress_bar=False), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5, help="of ours after the first; copairs runs once")
    parser.add_argument("--without_copairs", action="store_true")
    arguments = parser.parse_args()
    profiles = screen(arguments.rows, arguments.features)
    rules = (["Metadata_Group"], [], [], ["Metadata_Group"])
    ours, seconds = timed(lambda: average_precision(profiles, *rules), arguments.repeats + 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"ours: first {seconds[0, 0]:.3f} s ({seconds[0, 1]:.3f} s of CPU), peak memory {peak:.2f} GiB")
    if arguments.repeats:
        seconds = seconds[1:]
        print(f"ours: then best {seconds[:, 0].min():.3f} s ({seconds[:, 1].min():.3f} s of CPU)")
        print(f"ours: then median {np.median(seconds[:, 0]):.3f} s ({np.median(seconds[:, 1]):.3f} s of CPU)")
    if arguments.without_copairs:
        return
    found, peer = copairs_average_precision(profiles, rules)
    print(f"copairs: {peer[0, 0]:.3f} s ({peer[0, 1]:.3f} s of CPU)")
    ratio = peer[0] / np.median(seconds, axis=0)
    print(f"copairs takes {ratio[0]:.1f} times as long as our median, and {ratio[1]:.1f} times as many seconds of CPU")
    difference = np.abs(found["average_precision"].to_numpy() - ours.average_precision)
    print(f"{np.sum(difference > 1e-9)} of {len(difference)} rows differ by more than 1e-9")


if __name__ == "__main__":
    main()
