"""Searches for the hyperparameters with which a config does best, and writes the trials to tune.json in its folder.

Example:
  bin/tune --config configs/sparse_head.py --config.codes.file=runs/discover/embed/run0.npz --workdir runs/tune

A config that can be tuned says in get_space(trial) what to try, and in its section tune how often. The same command
goes on where a stopped search was. Machines that are given the same --storage share the trials.
"""

import os
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from cellfx.cli import command, config


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``tune`` and returns its exit status."""
    return command.run("tune", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    command.define_workdir(values, "folder of the search [runs/tune_<name of the config>]")
    flags.DEFINE_string("storage", None, "URL of an Optuna storage [a file in the folder]", flag_values=values)
    flags.DEFINE_string("study", None, "name of the study in the storage [name of the config]", flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    from cellfx.settings import OPTIONAL_SECTIONS

    loaded = command.load_config(values, assignments, (*OPTIONAL_SECTIONS, "codes"))
    workdir = Path(values.workdir).expanduser() if values.workdir else Path("runs") / f"tune_{loaded.name}"
    space = _space(values.config)
    if "head" in loaded.values and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        # One device a core: heads need nothing of each other.
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))

    from cellfx.runs import repeats
    from cellfx.studies import tuning

    if "head" not in loaded.values:
        repeats.check(loaded.values)
    tuning.tune(loaded.values, space, values.config, assignments, workdir, values.storage, values.study or loaded.name)


def _space(spec: str) -> Callable[[Any], Mapping[str, Any]]:
    """The function ``get_space`` of a config file that was loaded before."""
    file = config._find(spec.partition(":")[0])
    space = runpy.run_path(str(file)).get("get_space")
    if space is None:
        raise ValueError(
            f"{file} does not say what to try: it has no get_space(trial); expected one that returns for instance "
            f'{{"model.beta": trial.suggest_float("model.beta", 1, 10)}}; add it'
        )
    return space
