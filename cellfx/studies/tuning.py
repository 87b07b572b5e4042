"""Hyperparameter search with Optuna: asked and told in batches, kept in a database, gone on with after a stop.

A config file that can be tuned has, beside ``get_config``, a function ``get_space(trial)`` that returns what to try,
``{"model.beta": trial.suggest_float("model.beta", 1, 10)}``. One with a section ``head`` trains heads on cached
latents, all trials of a batch in one program; any other is trained as ``bin/train`` does, one process for each trial.
Validation images judge them all, so that the test images are still new to the best.
"""

import json
import logging
import socket
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cellfx.checks import Seed
from cellfx.files.whole import write_whole
from cellfx.files.workdir import locked, say
from cellfx.heads import codes
from cellfx.settings import Config, call, to_dict
from cellfx.studies import trials
from cellfx.training.progress import format_seconds

DIRECTIONS, SAMPLERS = ("maximize", "minimize"), ("tpe", "grid")
DATABASE, RESULT = "study.db", "tune.json"
OWN = ("num_trials", "batch_size")
"""Options that may differ between those who share a study."""

Space = Callable[[Any], Mapping[str, Any]]
"""Optuna trial -> value by config key."""


class Tuning(NamedTuple):
    """The config section ``tune``.

    Attributes:
        num_trials: of the study, by all machines that share it; failed ones count.
        num_seeds: heads of a trial; a config without heads says in ``repeats`` how many runs a trial has.
        batch_size: trials that are asked for at once and trained side by side; only heads are.
        objective: path into scores.json, for a config without heads.
        direction: of ``DIRECTIONS``.
        seed: of the sampler.
        sampler: ``tpe`` learns from the trials; ``grid`` tries every combination of a space of choices and whole
            numbers once, for which ``num_trials`` must be their number.
    """

    num_trials: int = 200
    num_seeds: int = 5
    batch_size: int = 40
    objective: str = "probe.balanced_accuracy"
    direction: str = "maximize"
    seed: Seed = 0
    sampler: str = "tpe"

    def check(self) -> None:
        """Raises a ValueError for a number below 1, or an unknown direction or sampler."""
        for name, known in (("sampler", SAMPLERS), ("direction", DIRECTIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown tune.{name}: got {getattr(self, name)!r}, expected one of {known}; correct it"
                )
        for name in ("num_trials", "num_seeds", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"tune.{name} is too small: got {getattr(self, name)}, expected 1 or more; raise it")


def tune(
    config: Config,
    space: Space,
    spec: str,
    assignments: Sequence[tuple[str, str]],
    workdir: Path,
    storage: str | None = None,
    name: str = "tune",
) -> dict[str, Any]:
    """Runs trials until the study has as many as it should have, and writes ``tune.json``.

    Args:
        config: what is tuned, with a section ``tune``.
        space: what to try.
        spec: the config as ``--config`` names it.
        assignments: (key, text) of fields that the command line sets.
        workdir: of this machine's part of the study.
        storage: URL of an Optuna storage, where several machines may share the study; None for a file in the workdir.
        name: of the study in the storage.

    Returns:
        As in ``tune.json``: the best trial and all others.

    Raises:
        ValueError: a wrong section, a study of another config, or a first trial that failed.
    """
    settings, workdir = to_dict(config), Path(workdir)
    options = call(Tuning, "tune", settings.pop("tune", {}))
    options.check()
    if "head" in settings:
        source = call(_codes, "codes", settings.get("codes", {}))
        evaluate, batch_size = trials.of_heads(settings["head"], source, options.num_seeds), options.batch_size
    else:
        if settings.get("probe", {}).get("split", trials.JUDGE) != trials.JUDGE:
            raise ValueError(
                f"a search judges on validation images: got probe.split={settings['probe']['split']}, expected "
                f"{trials.JUDGE}; leave it out, and judge the best trial by bin/evaluate --config.probe.split=test"
            )
        fields = [(key, text) for key, text in assignments if not key.startswith("tune.")]
        evaluate, batch_size = trials.of_processes(spec, fields, workdir, options.objective), 1
    owner = f"{socket.gethostname()}:{workdir.absolute()}"
    with locked(workdir):
        study = _open(storage or f"sqlite:///{(workdir / DATABASE).absolute()}", name, options.direction)
        _claim(study, settings, options)
        _claim_split(study, "head" in settings)
        # Machines that share a study and start together must not ask for the same trials.
        place = zlib.crc32(owner.encode()) if storage else 0
        seed = options.seed + place + len(study.get_trials(deepcopy=False))
        study.sampler = _sampler(options.sampler, seed)
        _ask_again(study, owner)
        found = _write(study, workdir)
        while count := min(batch_size, _num_left(study, options.num_trials)):
            start = time.monotonic()
            asked = [_ask(study, space, owner) for _ in range(count)]
            _check_unset(asked[0][1], assignments)
            outcomes = evaluate([trial for _, trial in asked])
            for (trial, _), outcome in zip(asked, outcomes, strict=True):
                _tell(study, trial, outcome)
            _check_success(study, outcomes)
            found = _write(study, workdir)
            say(_line(found, options.num_trials, time.monotonic() - start))
    say(f"results: {workdir / RESULT}")
    return found


def _codes(file: str, classes: Mapping[str, Sequence[str]] | None = None) -> codes.Codes:
    return codes.grouped(codes.load(Path(file)), classes)


def _open(storage: str, name: str, direction: str) -> Any:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    try:
        return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except Exception as error:  # each database has errors of its own
        raise ValueError(
            f"the study's storage cannot be opened: got {type(error).__name__} for {storage}: {error}, expected an "
            f"Optuna storage URL such as sqlite:////shared/study.db; correct --storage"
        ) from error


def _sampler(name: str, seed: int) -> Any:
    """Tree-structured Parzen estimator, Bergstra et al. 2011, as Optuna has it; or every combination once.

    Trials of a batch are asked for before the first of them is told; to the sampler those count as bad, or all of a
    batch were alike.
    """
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "grid":
            sampler = optuna.samplers.BruteForceSampler(seed=seed % 2**32)
            # When all is tried it stops Optuna's own loop, and fails where there is none: num_trials ends this one.
            sampler.after_trial = lambda *_: None
            return sampler
        return optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True)


def _claim(study: Any, settings: Mapping[str, Any], options: Tuning) -> None:
    """Raises a ValueError where the study was begun with another config; where the codes lie may differ."""
    own = {key: value for key, value in options._asdict().items() if key not in OWN}
    codes_section = {key: value for key, value in settings.get("codes", {}).items() if key != "file"}
    new = json.loads(json.dumps({**settings, "codes": codes_section, "tune": own}))
    old = study.user_attrs.get("config", new)
    different = sorted(key for key in old | new if old.get(key) != new.get(key))
    if different:
        key = different[0]
        raise ValueError(
            f"the study {study.study_name} belongs to another config: got {key} {new.get(key)}, expected "
            f"{old.get(key)}; choose another --workdir or --study"
        )
    study.set_user_attr("config", new)


def _claim_split(study: Any, of_heads: bool) -> None:
    """Raises a ValueError for a study whose trials were judged on test images, as those of older versions were.

    Heads were always judged on validation rows.
    """
    if study.user_attrs.get("judged_on", trials.JUDGE if of_heads or not study.trials else "test") != trials.JUDGE:
        raise ValueError(
            f"the study {study.study_name} was judged on the test split: got {len(study.trials)} trials of an older "
            "version, expected trials that validation images judge; choose another --workdir or --study"
        )
    study.set_user_attr("judged_on", trials.JUDGE)


def _ask_again(study: Any, owner: str) -> None:
    """Trials that this workdir's process left behind when it was killed are failed and asked for once more."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.user_attrs.get("owner") == owner:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params, {"folder": trial.user_attrs["folder"]})


def _is_begun(trial: Any) -> bool:
    """Whether a trial counts: it runs somewhere or has an outcome, a failure included; one that was lost has none."""
    return trial.state.name in ("RUNNING", "COMPLETE") or "about" in trial.user_attrs


def _num_left(study: Any, num_trials: int) -> int:
    return max(num_trials - sum(map(_is_begun, study.get_trials(deepcopy=False))), 0)


def _ask(study: Any, space: Space, owner: str) -> tuple[Any, trials.Trial]:
    trial = study.ask()
    folder = trial.user_attrs.get("folder", f"trial{trial.number:03d}")
    trial.set_user_attr("folder", folder)
    trial.set_user_attr("owner", owner)
    return trial, trials.Trial(dict(space(trial)), folder)


def _check_unset(trial: trials.Trial, assignments: Sequence[tuple[str, str]]) -> None:
    """Raises a ValueError where the command line sets what the trials set."""
    for key, text in assignments:
        if key in trial.params:
            raise ValueError(f"config key {key} cannot be set: got {text}, but get_space tries values; leave it out")


def _tell(study: Any, trial: Any, outcome: trials.Outcome) -> None:
    from optuna.trial import TrialState

    trial.set_user_attr("about", outcome.about)
    if outcome.value is not None:
        study.tell(trial, outcome.value)
        return
    study.tell(trial, state=TrialState.FAIL)


def _check_success(study: Any, outcomes: Sequence[trials.Outcome]) -> None:
    """Says how many of a batch failed; raises a ValueError where no trial of the study has succeeded yet."""
    errors = [outcome.about["error"] for outcome in outcomes if outcome.value is None]
    if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        raise ValueError(
            f"no trial succeeds: got {errors[0]!r} from the first, expected a trained model; mend that first"
        )
    if errors:
        say(f"{len(errors)} of {len(outcomes)} trials failed, the first: {errors[0]}")


def _write(study: Any, workdir: Path) -> dict[str, Any]:
    """Best trial and all that have an outcome, as ``tune.json``."""
    done = [trial for trial in study.get_trials() if "about" in trial.user_attrs]
    rows = [
        {
            "number": trial.number,
            "params": trial.params,
            "value": trial.value,
            "judged_on": trials.JUDGE,
            **trial.user_attrs["about"],
        }
        for trial in done
    ]
    good = [row for row in rows if row["value"] is not None]
    choose = max if study.direction.name == "MAXIMIZE" else min
    best = choose(good, key=lambda row: row["value"]) if good else None
    found = {"judged_on": trials.JUDGE, "best": best, "trials": rows}
    write_whole(workdir / RESULT, json.dumps(found, indent=1).encode())
    return found


def _line(found: Mapping[str, Any], num_trials: int, seconds: float) -> str:
    best = found["best"]
    values = [f"{key} {value:.4g}" for key, value in best["params"].items() if isinstance(value, int | float)]
    return (
        f"{len(found['trials'])} of {num_trials} trials, best {best['value']:.4f} with {', '.join(values)}; the last "
        f"batch took {format_seconds(seconds)}"
    )
