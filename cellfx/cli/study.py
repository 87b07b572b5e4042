"""Runs a published study stage by stage, and leaves report.html in its folder.

Example:
  bin/study --config configs/studies/discover.py --workdir runs/discover

The same command goes on where a stopped study was. Stages that are finished are not run again; a changed setting runs
its stage anew and those that hang on it. configs/studies/discover.py:tiny is a version for a first try.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``study`` and returns its exit status."""
    return command.run("study", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    command.define_workdir(values, "folder of the study [runs/<name of the config>]")
    flags.DEFINE_string("until", None, "the last stage to run, with those it needs [all]", flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    loaded = command.load_config(values, assignments)
    workdir = Path(values.workdir).expanduser() if values.workdir else Path("runs") / loaded.name

    from cellfx.studies import run

    run.run(loaded.values, workdir, until=values.until)
