"""A study: named stages, each with its own config section and folder; what is finished and unchanged is not done again.

A study's config has one section per stage. Of a section, ``stage`` names the kind (a file of ``cellfx/stages/``, by
default that of the section's own name), ``after`` the stages whose folders it reads, and everything else goes to that
kind's function. So a new study is one file in ``configs/studies/``.

A stage is finished when ``<workdir>/<name>/stage.json`` says so, for the same settings and the same inputs, and every
file it left is still there. One that was started for other settings is moved to ``<workdir>/earlier/`` and comes back
if they do.
"""

import hashlib
import importlib
import importlib.util
import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from cellfx.checks import check_value, marked
from cellfx.files.whole import read_mapping, write_whole
from cellfx.files.workdir import locked, say
from cellfx.settings import Config, check_call, nearest, to_dict
from cellfx.studies.stages import READ, SHOWN
from cellfx.training.progress import format_seconds

MARK = "stage.json"
STUDY = "study.json"
EARLIER = "earlier"


class Stage(NamedTuple):
    """One part of a study.

    Attributes:
        name: of its section and of its folder.
        kind: module and function of ``cellfx.studies.stages``.
        after: names of the stages whose folders it reads.
        settings: what the function is called with.
    """

    name: str
    kind: str
    after: tuple[str, ...]
    settings: dict[str, Any]


def run(config: Config, workdir: Path, until: str | None = None, keep: bool = True) -> None:
    """Runs every stage of a study that is not finished, in the order in which they need each other.

    Args:
        config: sections by stage.
        workdir: of the study.
        until: the last stage that is wanted, with what it needs; None runs all.
        keep: whether the config becomes that of the workdir.

    Raises:
        ValueError: the config describes no study, or a stage refuses its settings; before anything is trained.
    """
    workdir = Path(workdir)
    stages = read_stages(config)
    if until is not None:
        stages = _needed(stages, until)
    check(stages)
    with locked(workdir):
        if keep:
            write_whole(workdir / STUDY, json.dumps(to_dict(config), indent=2).encode())
        prints = fingerprints(stages)
        for number, stage in enumerate(stages, 1):
            folder, head = workdir / stage.name, f"[{number}/{len(stages)}] {stage.name}"
            _fetch(workdir, stage, prints[stage.name])
            if is_finished(folder, prints[stage.name]):
                say(f"{head}: finished before")
                continue
            write_whole(folder / MARK, json.dumps({"fingerprint": prints[stage.name]}).encode())
            say(f"{head}: {folder}")
            start = time.monotonic()
            inputs = {name: workdir / name for name in stage.after}
            beside = _function(stage)(folder, inputs, **stage.settings)
            _finish(folder, stage, prints[stage.name], time.monotonic() - start, beside or ())
            say(f"{head}: done in {format_seconds(time.monotonic() - start)}")


def run_stage(workdir: Path, name: str, changed: Mapping[str, Any]) -> None:
    """Runs one stage of a study again, with some settings changed, and what it needs where that is not finished.

    Args:
        workdir: of the study.
        name: of the stage.
        changed: settings of the stage that replace those of the study.

    Raises:
        FileNotFoundError: no study.
        ValueError: it has no such stage, or the settings are refused.
    """
    config = read_study(workdir)
    if name not in config:
        raise ValueError(f"the study of {workdir} has no stage {name!r}; {nearest(name, list(config))}")
    run({**config, name: {**config[name], **changed}}, workdir, until=name, keep=False)
    different = [key for key, value in changed.items() if config[name].get(key) != value]
    if different:
        own = " ".join(f"--config.{name}.{key}={changed[key]}" for key in different)
        say(f"{workdir / name} holds this until bin/study runs; it goes to {EARLIER}/, the study's own comes back")
        say(f"bin/study {own} makes this one the study's, and shows it in the report")


def read_stages(config: Config) -> list[Stage]:
    """The stages of a config, every one behind those it needs.

    Raises:
        ValueError: no stage, an unknown kind, a stage after one that is not there or in a circle.
    """
    sections = to_dict(config)
    wrong = [name for name, section in sections.items() if not isinstance(section, dict)]
    if not sections or wrong:
        raise ValueError(
            f"this config is no study: got {wrong[0] if wrong else 'no section'!r} where a stage was expected; take "
            f"one of configs/studies, or bin/train for a config of one model"
        )
    stages = [_stage(name, dict(section)) for name, section in sections.items()]
    known = [stage.name for stage in stages]
    for stage in stages:
        missing = [name for name in stage.after if name not in known]
        if missing:
            advice = nearest(missing[0], known)
            raise ValueError(f"stage {stage.name} comes after an unknown stage {missing[0]!r}; {advice}")
    return list(_in_order(stages))


def check(stages: Sequence[Stage]) -> None:
    """Makes sure that every stage can be run, as far as that can be seen before anything is; says what is left out.

    Raises:
        ValueError: settings that a stage does not take, a stage that it reads and does not come after, or settings that
            its own ``check`` refuses.
    """
    told: dict[str, Any] = {}
    for stage in stages:
        check_call(_function(stage), stage.name, stage.settings, 2)
        _check_reads(stage)
        own_check = getattr(_module(stage), "check", None)
        if own_check is not None:
            inputs = {name: told.get(name) for name in stage.after}
            try:
                told[stage.name] = own_check(inputs=inputs, **stage.settings)
            except ValueError as error:
                raise ValueError(f"stage {stage.name}: {error}") from error


def _check_reads(stage: Stage) -> None:
    function = _function(stage)
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    annotations = get_type_hints(function, include_extras=True)
    for name, value in [*({**defaults, **stage.settings}).items()][2:]:
        for mark in (READ, SHOWN):
            for key, other in marked(f"{stage.name}.{name}", value, annotations.get(name, Any), mark):
                if other in stage.after:
                    continue
                if mark == READ:
                    raise ValueError(
                        f"a stage reads one that it does not come after: got {key} {other!r}, expected one of "
                        f"{', '.join(stage.after) or 'none'}; correct it, or add the stage to {stage.name}.after"
                    )
                say(f"{stage.name} leaves out {other}: {key} names no stage that {stage.name} comes after")


def fingerprints(stages: Sequence[Stage]) -> dict[str, str]:
    """Name -> digest of a stage's kind, its settings, what it reads from outside, and the digests of its inputs."""
    found: dict[str, str] = {}
    for stage in stages:
        outside = getattr(_module(stage), "outside", lambda **_: None)(**stage.settings)
        content = [stage.kind, stage.settings, outside, {name: found[name] for name in stage.after}]
        found[stage.name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return found


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether a stage's folder is complete, was made for this fingerprint, and still has every file it had then."""
    mark = _read_mark(folder)
    return (
        mark.get("fingerprint") == fingerprint
        and "files" in mark
        and all(_size(folder / name) == size for name, size in mark["files"].items())
    )


def read_study(workdir: Path) -> dict[str, Any]:
    """The config of a study's workdir.

    Raises:
        FileNotFoundError: it is none.
    """
    path = Path(workdir) / STUDY
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} holds no study: it has no {STUDY}; expected the folder of a bin/study run")
    return read_mapping(path)


def _stage(name: str, section: dict[str, Any]) -> Stage:
    kind, after = section.pop("stage", name), section.pop("after", ())
    check_value(f"{name}.stage", kind, str)
    check_value(f"{name}.after", after, Sequence[str])
    module = f"cellfx.studies.stages.{kind}"
    if not str(kind).isidentifier() or importlib.util.find_spec(module) is None:
        known = [path.stem for path in Path(__file__).with_name("stages").glob("[!_]*.py")]
        raise ValueError(f"unknown kind of stage {kind!r} in section {name}; {nearest(str(kind), sorted(known))}")
    return Stage(name, kind, tuple(after), section)


def _in_order(stages: Sequence[Stage]) -> Iterator[Stage]:
    done: set[str] = set()
    waiting = list(stages)
    while waiting:
        ready = next((stage for stage in waiting if done.issuperset(stage.after)), None)
        if ready is None:
            names = ", ".join(stage.name for stage in waiting)
            raise ValueError(f"stages wait for each other: got a circle among {names}; correct their after")
        waiting.remove(ready)
        done.add(ready.name)
        yield ready


def _needed(stages: Sequence[Stage], until: str) -> list[Stage]:
    by_name = {stage.name: stage for stage in stages}
    if until not in by_name:
        raise ValueError(f"the study has no stage {until!r}; {nearest(until, list(by_name))}")
    wanted, queue = set(), [until]
    while queue:
        name = queue.pop()
        wanted.add(name)
        queue += by_name[name].after
    return [stage for stage in stages if stage.name in wanted]


def _module(stage: Stage) -> Any:
    return importlib.import_module(f"cellfx.studies.stages.{stage.kind}")


def _function(stage: Stage) -> Callable[..., Sequence[Path] | None]:
    return getattr(_module(stage), stage.kind)


def _fetch(workdir: Path, stage: Stage, fingerprint: str) -> None:
    """Leaves the stage's folder as this fingerprint's run left it, or empty, and moves another's out of the way."""
    folder, earlier = workdir / stage.name, workdir / EARLIER
    old = _read_mark(folder).get("fingerprint")
    if folder.exists() and old != fingerprint:
        earlier.mkdir(exist_ok=True)
        aside = earlier / f"{stage.name}-{old or 'unknown'}"
        if aside.exists():
            shutil.rmtree(aside)
        folder.rename(aside)
    before = earlier / f"{stage.name}-{fingerprint}"
    if not folder.exists() and before.exists():
        before.rename(folder)
    folder.mkdir(exist_ok=True)


def _finish(folder: Path, stage: Stage, fingerprint: str, seconds: float, beside: Sequence[Path]) -> None:
    """Marks a stage as finished, with the files in its folder and those it left beside the folder."""
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARK]
    files = {str(path.relative_to(folder)): _size(path) for path in inside if not path.name.startswith(".")}
    files |= {f"../{path.name}": _size(path) for path in beside}
    mark = {"fingerprint": fingerprint, "seconds": round(seconds, 1), "settings": stage.settings, "files": files}
    write_whole(folder / MARK, json.dumps(mark, indent=1).encode())


def _read_mark(folder: Path) -> Mapping[str, Any]:
    try:
        mark = json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
