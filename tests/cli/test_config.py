import re
import textwrap

import pytest

from cellfx.cli import config

CONFIG = """
    from ml_collections import ConfigDict

    def get_config(size=""):
        if size not in ("", "tiny"):
            raise ValueError(f"unknown size {size!r}; expected tiny")
        model = {"name": "tcvae", "beta": 4.0, "filters": (8, 16), "warm": True, "clip": None, "empty": ()}
        model["names"] = ("x",)
        return ConfigDict({"model": model, "train": {"steps": 2 if size else 10}})
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(textwrap.dedent(CONFIG))
    return str(file)


def test_a_config_is_loaded_with_its_name_and_size(path):
    loaded, tiny = config.load(path), config.load(f"{path}:tiny")
    assert (loaded.name, loaded.values.train.steps) == ("cells", 10)
    assert (tiny.name, tiny.values.train.steps) == ("cells_tiny", 2)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("model.beta", "1e-3", 1e-3),
        ("model.beta", "3", 3.0),
        ("model.beta", "none", None),
        ("model.filters", "(4,)", (4,)),
        ("model.filters", "1,2,3", (1, 2, 3)),
        ("model.filters", "[5, 6]", (5, 6)),
        ("model.empty", "(1, 'a')", (1, "a")),
        ("model.names", "('y', 2)", ("y", 2)),
        ("model.warm", "false", False),
        ("model.name", "3", "3"),
        ("model.name", "", ""),
        ("model.name", "none", "none"),
        ("model.name", "None", None),
        ("model.clip", "1.5", 1.5),
        ("model.clip", "abc", "abc"),
        ("train.steps", "-1", -1),
    ],
)
def test_a_field_is_read_as_the_type_it_had(path, key, text, expected):
    section, field = key.split(".")
    value = config.load(path, [(key, text)]).values[section][field]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [("train.num_devices", "2", 2), ("train.compute_dtype", "bfloat16", "bfloat16"), ("model.dropout", "none", None)],
)
def test_a_field_that_the_config_leaves_at_its_default_is_passed_on(path, key, text, expected):
    section, field = key.split(".")
    assert config.load(path, [(key, text)]).values[section][field] == expected


def test_the_last_of_two_values_counts(path):
    assert config.load(path, [("train.steps", "3"), ("train.steps", "4")]).values.train.steps == 4


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("model.bta", "4", "unknown config key model.bta; did you mean model.beta?"),
        ("train.step", "4", "unknown config key train.step; did you mean train.steps?"),
        ("modle.beta", "4", "unknown config key modle.beta; did you mean model.beta?"),
        ("moddel.beta", "4", "unknown config key moddel.beta; did you mean model.beta?"),
        ("tain.stps", "4", "unknown config key tain.stps; did you mean train.steps?"),
        ("tain.seed", "4", "unknown config key tain.seed; did you mean train.seed?"),
        ("tain", "4", "unknown config key tain; did you mean train?"),
        ("zzz.x", "4", "unknown config key zzz.x; expected one of model.beta, model.clip, "),
        ("q", "4", "unknown config key q; expected one of model.beta, model.clip, model.empty, model.filters, "),
        ("model", "4", "config key model is a section, got a value for it; expected one of model.beta, "),
        ("train.steps", "1.5", "wrong type for config key train.steps: got '1.5'; expected int, such as 10"),
        ("train.steps", "true", "wrong type for config key train.steps: got 'true'; expected int, such as 10"),
        ("model.beta", "x", "wrong type for config key model.beta: got 'x'; expected float, such as 4.0"),
        ("model.beta", "true", "wrong type for config key model.beta: got 'true'; expected float, such as 4.0"),
        ("model.warm", "1", "wrong type for config key model.warm: got '1'; expected bool, such as True"),
        ("model.filters", "8", "wrong type for config key model.filters: got '8'; expected tuple of int, such as"),
        ("model.filters", "(8, 'a')", "wrong type for config key model.filters: got \"(8, 'a')\"; expected tuple of"),
        (
            "model.names",
            "(1.5,)",
            "wrong type for config key model.names: got '(1.5,)'; expected tuple of str",
        ),
        ("model.empty", "8", "wrong type for config key model.empty: got '8'; expected tuple, such as ()"),
    ],
)
def test_a_wrong_field_is_named(path, key, text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        config.load(path, [(key, text)])


def test_an_unknown_size_is_the_configs_own_error(path):
    with pytest.raises(ValueError, match="unknown size 'tny'; expected tiny"):
        config.load(f"{path}:tny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config():\n    return Foo", "failed with NameError: name 'Foo' is not defined"),
        ("x = (", "failed with SyntaxError"),
        ("x = 1", "failed with AttributeError: .*has no attribute 'get_config'"),
        ("def get_config():\n    return 3", "returned int; expected a ConfigDict"),
    ],
)
def test_a_broken_config_file_is_named(tmp_path, text, message):
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        config.load(str(file))
    assert str(file) in str(error.value)


def test_a_file_that_is_no_python_is_no_config(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("model: vae")
    with pytest.raises(ValueError, match=r"config\.yaml is no config; expected a Python file"):
        config.load(str(file))


def test_a_missing_config_file_names_the_nearest():
    with pytest.raises(FileNotFoundError) as error:
        config.load("configs/tcave.py")
    assert str(error.value) == "no config file configs/tcave.py; did you mean configs/tcvae.py?"


def test_a_field_beside_the_sections_is_named_without_a_dot():
    with pytest.raises(ValueError, match=r"^unknown config key varients; did you mean variants\?$"):
        config.load("configs/profile_simulated.py:tiny", [("varients", "()")])


@pytest.mark.parametrize("name", ["configs/nope.py", "nope", "configs/profile_foo.py"])
def test_a_config_file_that_is_like_no_other_is_not_taken_for_one(name):
    with pytest.raises(FileNotFoundError, match=rf"^no config file {name}; expected one of configs/cell_filter\.py, "):
        config.load(name)


@pytest.mark.parametrize("name", ["profile_jmp.py", "config/profile_jump.py", "profile_jump"])
def test_a_config_file_is_found_near_whatever_its_folder(name):
    with pytest.raises(FileNotFoundError, match=r"did you mean configs/profile_jump\.py\?$"):
        config.load(name)


def test_without_a_config_the_shipped_ones_are_listed():
    with pytest.raises(ValueError, match=r"--config is missing; expected one of .*configs/tcvae\.py"):
        config.load(None)


def test_the_shipped_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load("configs/tcvae.py:tiny").name == "tcvae_tiny"


def test_names_of_channels_are_no_slip_of_channels():
    loaded = config.load("configs/cnn_cytometry.py:tiny", [("data.channel_names", "('a', 'b', 'c')")])
    assert list(loaded.values.data.channel_names) == ["a", "b", "c"]


def test_new_keys_of_a_section_are_no_slips_of_each_other(path):
    given = [("train.num_permutations", "4"), ("train.num_mp_permutations", "9"), ("train.num_permutations", "5")]
    train = config.load(path, given).values.train
    assert (train.num_permutations, train.num_mp_permutations) == (5, 9)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("probe.head", "svm", "svm"),
        ("repeats.num_runs", "3", 3),
        ("probe.classes", "{'a': ('x',)}", {"a": ("x",)}),
        ("probe.classes.a", "('x',)", ("x",)),
        ("train.own.deep.key", "4", 4),
    ],
)
def test_a_section_that_the_file_lacks_can_be_set(path, key, text, expected):
    values = config.load(path, [(key, text)], ("probe", "repeats")).values
    for name in key.split("."):
        values = values[name]
    assert values == expected or values.to_dict() == expected


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("prob.head", "unknown config key prob.head; did you mean probe.head?"),
        ("tune.seed", "unknown config key tune.seed; "),
        ("train.steps.x", "unknown config key train.steps.x; train.steps is no section but has the value 10"),
    ],
)
def test_a_section_that_there_cannot_be_is_refused(path, key, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        config.load(path, [(key, "4")], ("probe", "repeats"))


@pytest.mark.parametrize("lines", ["config.probe = ConfigDict()", "config.probe = None", "config.lock()"])
def test_an_empty_section_or_a_locked_config_takes_fields_too(tmp_path, lines):
    file = tmp_path / "own.py"
    file.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config():\n"
        f"    config = ConfigDict({{'train': {{'seed': 0}}}})\n    {lines}\n    return config\n"
    )
    found = config.load(str(file), [("probe.head", "svm"), ("train.keep", "2")], ("probe",)).values
    assert (found.probe.head, found.train.keep) == ("svm", 2)


def test_every_field_of_a_stages_own_sections_can_be_set():
    given = [("train.repeats.num_runs", "2"), ("heads.sparse.l2", "0.1"), ("distill.budget.starts", "4")]
    given += [("report.questions.Two.cnn", "None"), ("train.optim.players.vae.every", "2")]
    values = config.load("configs/studies/discover.py:tiny", given).values
    assert values.train.repeats.num_runs == 2
    assert values.report.questions.Two.cnn is None
    assert values.train.optim.players.vae.every == 2
    with pytest.raises(ValueError, match=r"unknown config key heads\.sprse\.l2; did you mean heads\.sparse\.l2\?"):
        config.load("configs/studies/discover.py:tiny", [("heads.sprse.l2", "0.1")])


def test_a_section_that_a_run_lacks_can_be_set_and_a_slip_of_one_is_named():
    run = {"data": {"folder": "cells"}, "model": {"beta": 1.0}}
    assert config.read_fields(run, [("probe.split", "valid")]) == {"probe": {"split": "valid"}}
    with pytest.raises(ValueError, match=r"unknown config key prob\.split; did you mean probe\.split\?"):
        config.read_fields(run, [("prob.split", "valid")])
