"""Measures a finished run on its test data, or on a folder of images of your own: scores, confusion, one row a cell.

Example:
  bin/evaluate --workdir runs/tcvae
  bin/evaluate --workdir runs/cells --folder new_cells --config.data.labels=new_labels.csv

The folder holds one folder of images per class, or images alone. --config.data.* describes them where they differ from
those that the run was trained on; --config.probe.* sets how they are judged. Where the run's own data was moved,
--config.data.folder (without --folder also labels, kept) says where it is now.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command, config

SECTIONS = ("data", "probe")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``evaluate`` and returns its exit status."""
    return command.run("evaluate", __doc__, _define, _call, argv, SECTIONS)


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the run")
    flags.DEFINE_string("folder", None, "folder of other images", flag_values=values)
    flags.DEFINE_string(
        "output", None, "folder of the tables [evaluated/<name> in the run's folder]", flag_values=values
    )


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    workdir = command.require_workdir(values)

    from cellfx.files.workdir import read_config
    from cellfx.runs import repeats

    given = config.read_fields(read_config(workdir), assignments)
    described = given.get("data", {})
    own = ("folder",) if values.folder else ("folder", "labels", "kept")
    place = {name: described.pop(name) for name in own if name in described}
    if described and not values.folder:
        raise ValueError(
            f"--config.data.{next(iter(described))} describes other images: got no --folder, expected one; add it"
        )
    folder, output = (Path(text).expanduser() if text else None for text in (values.folder, values.output))
    fields = {"described": described, "probe": given.get("probe", {}), "place": place}
    repeats.evaluate(workdir, folder, output, **fields)
