"""Trains a model as a config file describes it, and leaves figures and report.html in its folder.

Example:
  bin/train --config configs/tcvae.py --config.model.beta=4 --workdir runs/beta4

The same command goes on where an interrupted run stopped. configs/tcvae.py:tiny is a version for a first try.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``train`` and returns its exit status."""
    return command.run("train", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    command.define_workdir(values, "folder of the run [runs/<name of the config>]")


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    from cellfx.settings import OPTIONAL_SECTIONS

    loaded = command.load_config(values, assignments, OPTIONAL_SECTIONS)
    workdir = Path(values.workdir).expanduser() if values.workdir else Path("runs") / loaded.name

    from cellfx.runs import repeats

    repeats.run(loaded.values, workdir)
