"""What a trial of a search comes to: heads trained side by side, or a training in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cellfx
from cellfx.checks import UserError
from cellfx.files.workdir import say
from cellfx.heads import codes, heads
from cellfx.heads.setting import NUMBERS, Setting, check_sparsity, check_warm_up
from cellfx.settings import call, nearest
from cellfx.sparsity.summary import latents_used, sparsity
from cellfx.training.progress import progress

JUDGE = "valid"
"""The split that trials are judged on: a setting that was chosen on test images has no honest score left."""

STOPPED = {130: 130, 143: 143, -signal.SIGINT: 130, -signal.SIGTERM: 143}
"""Exit status of a process that was asked to stop -> that of the search. Other signals kill."""

Params = Mapping[str, Any]
"""Value by config key, as ``get_space`` of a config file returns them."""


class Trial(NamedTuple):
    """A trial that is to be run.

    Attributes:
        params: the values to try.
        folder: name of its folder; the same again where it goes on after a stop.
    """

    params: Params
    folder: str


class Outcome(NamedTuple):
    """What a trial gave.

    Attributes:
        value: the objective; None where it failed.
        about: what else is worth keeping, for JSON; ``error`` where it failed.
    """

    value: float | None
    about: dict[str, Any]


Evaluate = Callable[[Sequence[Trial]], list[Outcome]]


class Stopped(Exception):
    """A signal ended a trial's process.

    Attributes:
        exit_status: for this process.
    """

    def __init__(self, exit_status: int) -> None:
        """Makes the message."""
        super().__init__("a trial was stopped; the same command goes on from there")
        self.exit_status = exit_status


def of_heads(section: Mapping[str, Any], source: codes.Codes, num_seeds: int) -> Evaluate:
    """Trials that are heads on cached latents: all seeds of all trials of a batch train in one program.

    The objective is that of Soelistyo and Lowe 2024, supplement 2.4: accuracy on the validation rows, here over all
    views, plus the fraction of weights that are zero after pruning, each a mean over the seeds.

    Args:
        section: fields of ``Setting`` that do not vary.
        source: with rows to train and to validate on.
        num_seeds: heads of each trial.

    Raises:
        ValueError: no validation rows, or fields that make no setting.
    """
    views, labels = codes.of_split(source, "train")
    valid_views, valid_labels = codes.of_split(source, "valid")
    if not len(valid_labels):
        raise ValueError(
            "nothing to judge heads on: got codes without validation rows, expected some with split 'valid'; set aside "
            "a part of the data"
        )
    _setting(section, {}).check()

    def evaluate(trials: Sequence[Trial]) -> list[Outcome]:
        settings = [_setting(section, trial.params) for trial in trials]
        outcomes = _impossible(settings, views.shape[2], len(source.class_names), len(labels))
        for group in _together(settings, outcomes):
            bar = progress(heads.num_steps(settings[group[0]], len(labels)))
            some = [settings[i] for i in group]
            trained = heads.attempt(views, labels, len(source.class_names), some, range(num_seeds), bar)
            bar.close()
            outcomes |= zip(group, _judged(trained, valid_views, valid_labels, num_seeds), strict=True)
        return [outcomes[i] for i in range(len(trials))]

    return evaluate


def of_processes(spec: str, assignments: Sequence[tuple[str, str]], workdir: Path, objective: str) -> Evaluate:
    """Trials that are runs of ``bin/train``, each in a process and a folder of its own, judged on validation images.

    Args:
        spec: the config as ``--config`` names it.
        assignments: (key, text) of fields that are set for all trials.
        workdir: the trials' folders lie in it. A trial whose process was killed, as for want of memory, goes on there
            once more, and then counts as failed.
        objective: path into ``scores.json``, such as ``probe.balanced_accuracy``.
    """

    def evaluate(trials: Sequence[Trial]) -> list[Outcome]:
        return [one(trial) for trial in trials]

    def one(trial: Trial) -> Outcome:
        folder = workdir / trial.folder
        fields = [*assignments, *((key, str(value)) for key, value in trial.params.items()), ("probe.split", JUDGE)]
        arguments = [f"--config={spec}", *(f"--config.{key}={text}" for key, text in fields), f"--workdir={folder}"]
        path = os.pathsep.join([str(Path(cellfx.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "cellfx", "train", *arguments]
        environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
        for attempt in range(2):
            result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
            if result.returncode in STOPPED:
                raise Stopped(STOPPED[result.returncode])
            if result.returncode >= 0:
                break
            killed = f"a training was killed by {signal.Signals(-result.returncode).name}"
            say(f"{trial.folder}: {killed}; {'it counts as failed' if attempt else 'it goes on once more'}")
        if result.returncode < 0:
            return Outcome(None, {"error": f"{killed}, twice; it may need more memory than there is"})
        if result.returncode:
            return Outcome(None, {"error": (result.stderr.strip().splitlines() or ["no message"])[-1]})
        return Outcome(score(folder / "scores.json", objective), {})

    return evaluate


def score(path: Path, objective: str) -> float:
    """A number of a scores.json.

    Args:
        path: of the file.
        objective: keys with dots between them.

    Raises:
        ValueError: the file has no such number; the message names the nearest.
    """
    found = dict(_numbers(json.loads(path.read_text())))
    if objective not in found:
        raise ValueError(
            f"no number {objective!r} in {path}; {nearest(objective, list(found))}; correct tune.objective"
        )
    return found[objective]


def _numbers(scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in scores.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            found.append((prefix + key, float(value)))
    return found


def _setting(section: Mapping[str, Any], params: Params) -> Setting:
    fields = dict(section)
    for key, value in params.items():
        owner, _, name = key.partition(".")
        if owner != "head" or name not in Setting._fields:
            known = [f"head.{field}" for field in Setting._fields]
            raise ValueError(f"a head has nothing called {key!r} to tune; {nearest(key, known)}")
        fields[name] = value
    if "widths" in fields:
        fields["widths"] = tuple(fields["widths"])
    return call(Setting, "head", fields)


def _impossible(settings: Sequence[Setting], num_latents: int, num_classes: int, num_rows: int) -> dict[int, Outcome]:
    """Failed trials by index: heads that would keep no weight in some layer, or all of them."""
    found = {}
    for i, setting in enumerate(settings):
        setting.check()
        try:
            check_sparsity(setting, num_latents, num_classes)
            check_warm_up(setting, heads.num_steps(setting, num_rows))
        except UserError as error:
            found[i] = Outcome(None, {"error": str(error)})
    return found


def _together(settings: Sequence[Setting], without: Collection[int]) -> list[list[int]]:
    """Indices of settings by what one program can train side by side, but for some."""
    groups: dict[Setting, list[int]] = {}
    for i, setting in enumerate(settings):
        if i not in without:
            groups.setdefault(setting._replace(**dict.fromkeys(NUMBERS, 0)), []).append(i)
    return list(groups.values())


def _judged(trained: heads.Heads, views: np.ndarray, labels: np.ndarray, num_seeds: int) -> list[Outcome]:
    finite = np.isfinite(trained.loss)
    accuracy, zeros, used = (np.full(len(finite), np.nan) for _ in range(3))
    if finite.any():
        whole = heads.select(trained, np.flatnonzero(finite).tolist())
        accuracy[finite] = np.mean([heads.judge(whole, view, labels).accuracy for view in views], axis=0)
        left = heads.pruned(whole).params
        zeros[finite], used[finite] = sparsity(left), latents_used(left).sum(axis=-1)
    outcomes = []
    for start in range(0, len(finite), num_seeds):
        part = slice(start, start + num_seeds)
        if not finite[part].all():
            outcomes.append(Outcome(None, {"error": "a head diverged"}))
            continue
        about = {"accuracy": accuracy[part].tolist(), "sparsity": zeros[part].tolist(), "latents": used[part].tolist()}
        outcomes.append(Outcome(float(accuracy[part].mean() + zeros[part].mean()), about))
    return outcomes
