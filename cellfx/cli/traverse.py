"""Draws what each latent of a finished run does: one row of decoded images per latent, from low to high.

Example:
  bin/traverse --workdir runs/tcvae
"""

from collections.abc import Sequence

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``traverse`` and returns its exit status."""
    return command.run("traverse", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the run; the figure goes into its figures/")


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    del assignments
    workdir = command.require_workdir(values)

    from cellfx import results

    results.traverse(workdir)
