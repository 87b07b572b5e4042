"""Reads the data set of a config once and stores it ready for training; bin/train does so too where it is missing.

Example:
  bin/prepare --config configs/tcvae_nuclei.py --config.data.folder=/data/mitocheck
  bin/prepare --config configs/cnn_cytometry.py --filter runs/cell_filter

With --filter, the run of a cell filter (configs/cell_filter.py) sorts the images: kept.csv and rejected.csv name them,
and --config.data.kept=.../kept.csv then trains on the good ones alone.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``prepare`` and returns its exit status."""
    return command.run("prepare", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    flags.DEFINE_string("filter", None, "folder of a trained cell filter", flag_values=values)
    flags.DEFINE_float(
        "max_false_positive_rate", 0.03, "with --filter: share of bad images that may pass", flag_values=values
    )
    flags.DEFINE_string(
        "output", None, "with --filter: folder of the lists [<filter>/screened/<data>]", flag_values=values
    )


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    from cellfx.settings import OPTIONAL_SECTIONS

    loaded = command.load_config(values, assignments, OPTIONAL_SECTIONS)
    if values.filter is None:
        from cellfx.runs import experiment

        experiment.prepare(loaded.values)
        return
    from cellfx.runs import filtering

    output = Path(values.output).expanduser() if values.output else None
    filtering.apply(Path(values.filter).expanduser(), loaded.values, values.max_false_positive_rate, output)
