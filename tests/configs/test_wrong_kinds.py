"""Every field of every config, given values of other kinds: one error that names the key, and nothing is run."""

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from cellfx import settings
from cellfx.checks import _alternatives, _bare
from cellfx.cli import config
from cellfx.findings import measure
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Effort
from cellfx.runs import parts, repeats
from cellfx.screens import run as profiling
from cellfx.screens.setting import Asked, Pictures
from cellfx.studies import run as study
from cellfx.training.optimizers import adam

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(str(path.relative_to(FOLDER.parent)) for path in FOLDER.glob("[!_]*.py"))
TRAINED = [path for path in CONFIGS if "/profile_" not in path and "sparse_head" not in path]
PROFILED = [path for path in CONFIGS if "/profile_" in path]
STUDIES = sorted(str(path.relative_to(FOLDER.parent)) for path in (FOLDER / "studies").glob("[!_]*.py"))
WRONG = (None, True, 3, 2.5, "text", ["a", 2.5, None], {"a": {"b": 2.5}})


def fits(value, annotation):
    try:
        settings.check_value("key", value, annotation)
    except ValueError as error:
        return "out of range" in str(error)
    return True


def wrong_values(annotation):
    kinds = {_bare(kind)[0] for kind in _alternatives(annotation)}
    if Any in kinds or not all(_is_plain(kind) for kind in kinds):
        return []
    return [value for value in WRONG if not fits(value, annotation)]


def _is_plain(kind):
    origin = get_origin(kind) or kind
    return origin in (bool, int, float, str, type(None)) or bool(get_args(kind)) or issubclass(origin, Mapping)


def fields(factory, skip=0):
    annotations = get_type_hints(factory, include_extras=True)
    for name in [*inspect.signature(factory).parameters][skip:]:
        for value in wrong_values(annotations.get(name, Any)):
            yield name, value


def changed(sections, name, field, value):
    return {**sections, name: {**sections.get(name, {}), field: value}}


def refused(run, *, key):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the message is looked at
        run()
    assert key in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", TRAINED)
def test_a_value_of_another_kind_is_refused_by_its_full_name(path):
    loaded = settings.to_dict(config.load(f"{path}:tiny").values)
    loaded["train"]["num_devices"] = 1
    named = {
        "data": parts.check_source(loaded["data"])[0],
        "input": settings.chosen("data.input", "input", loaded["input"], "pipeline")[0],
        "model": settings.chosen("models", "model", loaded["model"])[0],
        "optim": adam,
        "train": parts.Training,
        "probe": measure.Options,
        "repeats": repeats.Repeats,
    }
    skipped = {"input": 1, "model": 1, "optim": 1}
    count = 0
    for section, factory in named.items():
        for field, value in fields(factory, skipped.get(section, 0)):
            key = f"{section}.{field}"
            refused(lambda s=section, f=field, v=value: repeats.check(changed(loaded, s, f, v)), key=key)
            count += 1
    assert count > 100


@pytest.mark.parametrize("path", TRAINED[:1])
def test_a_section_that_is_none_is_refused_by_its_name(path):
    loaded = settings.to_dict(config.load(f"{path}:tiny").values)
    for section in ("data", "input", "model", "optim", "train", "probe", "repeats"):
        for value in (None, 3, "text", ["a"]):
            refused(lambda s=section, v=value: repeats.check({**loaded, s: v}), key=f"section {section} is no section")
    for key, value in (("name", 3), ("name", None), ("name", ["a"]), ("grouped", 3), ("grouped", {"a": 3})):
        refused(lambda k=key, v=value: repeats.check(changed(loaded, "data", k, v)), key=f"data.{key}")
    for value in (3, "text", ["a"], {"classifier": 3}):
        refused(lambda v=value: repeats.check(changed(loaded, "optim", "players", v)), key="optim.players")


@pytest.mark.parametrize("start", [repeats.check, lambda config: repeats.run(config, "nowhere")], ids=["check", "run"])
@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("data", "folder", 3), ("data", "num_folds", "5"), ("data", "fold", "1"), ("train", "seed", "a")],
)
def test_what_several_runs_count_with_is_refused_by_its_full_name(start, section, field, value):
    loaded = settings.to_dict(config.load("configs/tcvae_nuclei.py:tiny").values)
    loaded["repeats"] = {"over": "fold", "num_runs": 3}
    refused(lambda: start(changed(loaded, section, field, value)), key=f"{section}.{field}")


@pytest.mark.parametrize("path", STUDIES)
def test_a_value_of_another_kind_in_a_stage_is_refused_by_its_full_name(path):
    loaded = settings.to_dict(config.load(f"{path}:tiny").values)
    stages = {stage.kind: stage for stage in study.read_stages(loaded) if stage.kind != "train"}
    for stage in stages.values():
        for field, value in fields(study._function(stage), 2):
            wrong = stage._replace(settings={**copy.deepcopy(stage.settings), field: value})
            refused(lambda w=wrong: study.check([w]), key=f"{stage.name}.{field}")
    for name in loaded:
        for value in (None, 3, "text", ["a"]):
            refused(lambda n=name, v=value: study.read_stages({**loaded, n: v}), key=name)
        for key, value in (("after", 3), ("after", "train"), ("after", [3]), ("stage", 3), ("stage", ["a"])):
            refused(lambda n=name, k=key, v=value: study.read_stages(changed(loaded, n, k, v)), key=name)


@pytest.mark.parametrize("path", PROFILED)
def test_a_value_of_another_kind_in_a_config_of_profiles_is_refused_by_its_full_name(path, tmp_path):
    loaded = settings.to_dict(config.load(f"{path}:tiny").values)

    def run(**sections):
        profiling.run({**loaded, **sections}, tmp_path / "run")

    for section in (*profiling.SECTIONS, *profiling.OPTIONAL_SECTIONS):
        for value in (3, "text"):
            refused(lambda s=section, v=value: run(**{s: v}), key=section)
    for section, factory in (("columns", Columns), ("scores", Asked), ("scores", Effort), ("pictures", Pictures)):
        for field, value in fields(factory):
            if field != "effort":
                told = {section: {**loaded.get(section, {}), field: value}}
                refused(lambda t=told: run(**t), key=f"{section}.{field}")
    assert not (tmp_path / "run").exists()
