"""Attacks the four classifiers of a finished study, on images and on latents, and shows them odd images.

Example:
  bin/attack --workdir runs/discover
  bin/attack --workdir runs/discover --run run0 --seed 3 --num_images 500

It is the study's stage attack, with other settings if you give some; pictures and accuracies lie in its folder. The
report stays as it is: with other settings than the study's, the next bin/study moves the result to earlier/ and brings
its own back. To have it in the report, set the same in bin/study: --config.attack.num_images=500.
"""

from collections.abc import Sequence

from absl import flags

from cellfx.cli import command

SETTINGS = {
    "run": "which encoder, such as run0 [all]",
    "seed": "which seed of the heads and formulas [all]",
    "num_images": "test images that are attacked",
    "num_steps": "steps of projected gradient ascent",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``attack`` and returns its exit status."""
    return command.run("attack", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_workdir(values, "folder of the study")
    flags.DEFINE_string("run", None, SETTINGS["run"], flag_values=values)
    for name in ("seed", "num_images", "num_steps"):
        flags.DEFINE_integer(name, None, SETTINGS[name], flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    del assignments
    workdir = command.require_workdir(values)

    from cellfx.studies import run

    run.run_stage(workdir, "attack", {name: values[name].value for name in SETTINGS if values[name].value is not None})
