"""Reads the data set of a config once and stores it ready for training; bin/train does so too where it is missing.

Example:
  bin/prepare --config configs/tcvae_nuclei.py --config.data.folder=/data/mitocheck
"""

from collections.abc import Sequence

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``prepare`` and returns its exit status."""
    return command.run("prepare", __doc__, command.define_config, _call, argv)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    loaded = command.load_config(values, assignments)

    from cellfx import experiment

    experiment.prepare(loaded.values)
