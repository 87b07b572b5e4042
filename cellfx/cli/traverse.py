"""Draws what each latent of a finished run does: one row of decoded images per latent, from low to high.

Example:
  bin/traverse --workdir runs/tcvae

Where the run's data was moved, --config.data.folder (labels, kept) says where it is now.
"""

from collections.abc import Sequence

from absl import flags

from cellfx.cli import command, config


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``traverse`` and returns its exit status."""
    return command.run("traverse", __doc__, _define, _call, argv, ("data",))


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the run; the figure goes into its figures/")


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    workdir = command.require_workdir(values)

    from cellfx.files.workdir import read_config
    from cellfx.runs import results

    results.traverse(workdir, place=config.read_place(read_config(workdir), assignments))
