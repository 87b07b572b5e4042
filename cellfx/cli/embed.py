"""Writes the latents of every image to a table: columns z000, z001, ... and Metadata_* for what is known of the image.

Example:
  bin/embed --workdir runs/tcvae --output latents.parquet

A name that ends in .parquet gives a Parquet file, one that ends in .h5ad an AnnData file. Where the run's data was
moved, --config.data.folder (labels, kept) says where it is now.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command, config


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``embed`` and returns its exit status."""
    return command.run("embed", __doc__, _define, _call, argv, ("data",))


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the run")
    flags.DEFINE_string("output", None, "the table [latents.parquet in the run's folder]", flag_values=values)
    flags.DEFINE_enum("split", None, ["train", "valid", "test"], "only this split [all]", flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    workdir = command.require_workdir(values)
    output = Path(values.output).expanduser() if values.output else workdir / "latents.parquet"

    from cellfx.files.workdir import read_config
    from cellfx.runs import results

    results.embed(workdir, output, split=values.split, place=config.read_place(read_config(workdir), assignments))
