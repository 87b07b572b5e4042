"""Seconds and memory against the number of rows: average precision, in copairs too, and all scores together.

    .venv/bin/python tests/peers/cost_against_size.py --rows 1000 3000 10000 30000 --output runs/cost

All in this process. Average precision, on the screen of ``average_precision_speed``, is timed after a first call on the
same table, which compiles, and copairs after one on a few rows; all scores, on the screen of ``all_scores_time``, in
their first call, compilation and all. Peak memory is that of the process during all scores. Prints a table and writes
it as cost.md, with cost.png (seconds) and memory.png, both with logarithmic axes.
"""

import argparse
from pathlib import Path

import numpy as np
from aggregate_memory import forget_peak, peak_gib
from all_scores_time import screen as screen_with_controls
from average_precision_speed import copairs_average_precision, screen, timed

from cellfx.files.whole import write_whole
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.screen.score import score
from cellfx.report.charts.profiles import curves
from cellfx.report.charts.style import to_png

RULES = (["Metadata_Group"], [], [], ["Metadata_Group"])
OURS, THEIRS, SCORES, MEMORY = "average precision", "the same in copairs 0.5.5", "all scores", "peak memory (GiB)"


def scores_and_memory(num_rows, num_features):
    """Seconds of all scores, and the most GiB that this process held meanwhile."""
    profiles, controls = screen_with_controls(num_rows, num_features)
    forget_peak()
    _, seconds = timed(lambda: score(profiles, controls), 1)
    return seconds[0, 0], peak_gib()


def measured(rows, num_features, copairs_up_to):
    """What was measured -> {rows: value}."""
    found = {OURS: {}, THEIRS: {}, SCORES: {}, MEMORY: {}}
    for count in rows:
        profiles = screen(count, num_features)
        found[OURS][count] = timed(lambda profiles=profiles: average_precision(profiles, *RULES), 2)[1][1, 0]
        found[SCORES][count], found[MEMORY][count] = scores_and_memory(count, num_features)
        print(f"{count:,} rows: all scores {found[SCORES][count]:.2f} s, {found[MEMORY][count]:.2f} GiB", flush=True)
    for count in [count for count in rows if count <= copairs_up_to]:  # last, so that none of its memory is ours
        profiles = screen(count, num_features)
        found[THEIRS][count] = copairs_average_precision(profiles, RULES)[1][0, 0]
    return found


def written(found, rows):
    """The table as Markdown."""
    heads = ["rows", *(name if name == MEMORY else f"{name} (s)" for name in found)]
    lines = [heads, ["---:"] * len(heads)]
    for count in rows:
        lines.append([f"{count:,}", *(f"{values[count]:.3g}" if count in values else "" for values in found.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def drawn(found, names, title, unit):
    """A figure with logarithmic axes."""
    some = {name: found[name] for name in names if found[name]}
    lines = {name: (np.array(list(values)), np.array(list(values.values()))) for name, values in some.items()}
    figure = curves(lines, title, "Both axes are logarithmic.", "rows", unit, log_y=True)
    axes, rows = figure.axes[0], sorted({count for values in some.values() for count in values})
    axes.set_xscale("log")
    axes.set_xticks(rows, [f"{count:,}" for count in rows])
    axes.set_xticks([], minor=True)
    decades = np.log10([value for values in some.values() for value in values.values()])
    axes.set_ylim(10 ** np.floor(decades.min()), 10 ** np.ceil(decades.max()))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter("")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--copairs_up_to", type=int, default=3_000, help="rows; it holds every pair")
    parser.add_argument("--output", type=Path, default=Path("runs/cost_against_size"))
    arguments = parser.parse_args()
    rows = sorted(set(arguments.rows))
    found = measured(rows, arguments.features, arguments.copairs_up_to)
    table, about = written(found, rows), f"{arguments.features} features"
    print(table, end="")
    write_whole(arguments.output / "cost.md", table.encode())
    seconds = drawn(found, (OURS, THEIRS, SCORES), f"Time of scores, {about}", "seconds")
    write_whole(arguments.output / "cost.png", to_png(seconds))
    memory = drawn(found, (MEMORY,), f"Memory of all scores, {about}", "GiB")
    write_whole(arguments.output / "memory.png", to_png(memory))


if __name__ == "__main__":
    main()
