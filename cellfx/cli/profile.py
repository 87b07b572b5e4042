"""Turns features of wells or cells into treatment profiles, scores them, and leaves report.html in its folder.

Example:
  bin/profile --config configs/profile_jump.py --workdir runs/jump

Variants of a config, such as raw and spherized, are scored in the same way and stand in one table.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``profile`` and returns its exit status."""
    return command.run("profile", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    command.define_workdir(values, "folder of the run [runs/<name of the config>]")


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    from cellfx.screens.run import OPTIONAL_SECTIONS

    loaded = command.load_config(values, assignments, OPTIONAL_SECTIONS)
    workdir = Path(values.workdir).expanduser() if values.workdir else Path("runs") / loaded.name

    from cellfx.screens import run

    run.run(loaded.values, workdir)
