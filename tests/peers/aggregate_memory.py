"""How much memory it takes to aggregate a table of single cells that is larger than memory.

    .venv/bin/python tests/peers/aggregate_memory.py --rows 20000000 --features 64 --limit_gib 2

Writes a Parquet file of random features piece by piece, plates of 384 wells one after another or, with --shuffled, all
mixed, and aggregates it to wells by mean and by median, each in a process of its own that the kernel refuses more
private memory than the limit. Prints seconds and the largest resident memory; fails where that is above the limit, or
where the first feature's result differs from what NumPy makes of the whole column.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CELLS_PER_WELL, WELLS_PER_PLATE, ROWS_PER_PIECE = 200, 384, 100_000
WELLS = np.array([f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)])
METHODS = {"mean": np.mean, "median": np.median}


def write(path, options):
    """The first feature is also returned, with the number of each row's well."""
    rng, first, wells, writer = np.random.default_rng(0), [], [], None
    num_wells = max(options.rows // CELLS_PER_WELL, 1)
    for start in range(0, options.rows, ROWS_PER_PIECE):
        count = min(ROWS_PER_PIECE, options.rows - start)
        well = np.arange(start, start + count) * num_wells // options.rows
        if options.shuffled:
            well = rng.integers(0, num_wells, count)
        features = rng.standard_normal((options.features, count), np.float32) + (well % 7).astype(np.float32)
        plate = np.char.add("plate", (well // WELLS_PER_PLATE).astype(str))
        columns = {"Metadata_Plate": plate, "Metadata_Well": WELLS[well % WELLS_PER_PLATE]}
        table = pa.table({**columns, **{f"z{i:03d}": column for i, column in enumerate(features)}})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        first.append(features[0])
        wells.append(well)
    writer.close()
    return np.concatenate(first), np.concatenate(wells)


def expected(first, wells, method):
    """(G,) of the first feature, by plate and well in alphabetical order."""
    order = np.argsort(wells, kind="stable")
    names, starts = np.unique(wells[order], return_index=True)
    values = [METHODS[method](part) for part in np.split(first[order].astype(np.float64), starts[1:])]
    keys = [(f"plate{name // WELLS_PER_PLATE}", WELLS[name % WELLS_PER_PLATE]) for name in names]
    return np.array([value for _, value in sorted(zip(keys, values, strict=True))])


def peak_gib():
    """Largest resident memory of this program; what getrusage says is at least that of the process that started it."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 2**20


def forget_peak():
    """Begins the peak of this program anew at what it holds now, see proc(5)."""
    Path("/proc/self/clear_refs").write_text("5")


def child(path, method, limit_gib, budget_mib):
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gib * 2**30),) * 2)
    from cellfx.profiles.tables.aggregate import aggregate_lazily
    from cellfx.profiles.tables.reading import scan

    before, start = peak_gib(), time.perf_counter()
    wells = aggregate_lazily(scan(path), method=method, budget_bytes=budget_mib << 20)
    seconds, after = time.perf_counter() - start, peak_gib()
    np.save(path.with_suffix(".npy"), wells.features[:, 0])
    print(f"{method}: {len(wells.features)} wells in {seconds:.1f} s, {after:.2f} GiB ({before:.2f} before it began)")
    sys.exit(after > limit_gib)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--limit_gib", type=float, default=2.0)
    parser.add_argument("--budget_mib", type=int, default=512)
    parser.add_argument("--shuffled", action="store_true", help="wells are not one after another")
    parser.add_argument("--child", nargs=2, metavar=("PATH", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), options.child[1], options.limit_gib, options.budget_mib)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.parquet"
        first, wells = write(path, options)
        print(f"{options.rows} rows, {options.features} features, {path.stat().st_size / 2**30:.2f} GiB on disk")
        failed = False
        for method in METHODS:
            limits = ["--limit_gib", str(options.limit_gib), "--budget_mib", str(options.budget_mib)]
            command = [sys.executable, __file__, *limits, "--child", str(path), method]
            code = subprocess.run(command, check=False).returncode
            if code == 0:
                np.testing.assert_allclose(np.load(path.with_suffix(".npy")), expected(first, wells, method), rtol=1e-6)
            failed |= code != 0
        sys.exit("FAILED: more memory than the limit" if failed else 0)


if __name__ == "__main__":
    main()
