"""Measures a finished run on its test data, or on a folder of images of your own, and prints the result.

Example:
  bin/evaluate --workdir runs/tcvae
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``evaluate`` and returns its exit status."""
    return command.run("evaluate", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the run")
    flags.DEFINE_string("folder", None, "folder of other images, one folder per class", flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    del assignments
    workdir = command.require_workdir(values)

    from cellfx import repeats

    repeats.evaluate(workdir, folder=Path(values.folder).expanduser() if values.folder else None)
