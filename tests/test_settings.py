import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import pytest

from cellfx import settings
from cellfx.types import Spec

SECTIONS = {"data": {}, "input": {}, "model": {}, "optim": {}, "train": {}}


def factory(first, beta=1.0, gamma=2.0):
    return first, beta, gamma


def test_a_section_goes_whole_to_its_factory():
    assert settings.call(factory, "model", {"gamma": 5, "beta": 4}, "data") == ("data", 4, 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bta": 4}, r"unknown config key model\.bta; did you mean beta\?"),
        ({"gamma": 1, "zzz": 4}, r"unknown config key model\.zzz; expected one of beta, gamma"),
        ({"first": 4}, r"unknown config key model\.first; expected one of beta, gamma"),
    ],
)
def test_a_key_that_the_factory_does_not_take_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        settings.call(factory, "model", fields, "data")


def typed(
    data,
    rate: float = 1.0,
    count: int = 2,
    limit: float | None = None,
    on: bool = False,
    kind: str = "a",
    sizes: Sequence[int] = (1,),
    shape: tuple[int, ...] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
    folder: str | os.PathLike[str] = "",
    free: Any = None,
):
    return None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rate", [1, 2.5]),
        ("count", [3]),
        ("limit", [None, 1, 0.5]),
        ("on", [True, False]),
        ("kind", ["b"]),
        ("sizes", [[1, 2], []]),
        ("shape", [[1, 2], (3,)]),
        ("classes", [None, {"a": ["b"]}]),
        ("folder", ["x"]),
        ("free", [1, "a", None]),
    ],
)
def test_a_value_of_the_parameters_type_passes(name, values):
    for value in values:
        settings.call(typed, "data", {name: value}, "images")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", "1", "float"),
        ("rate", None, "float"),
        ("rate", True, "float"),
        ("count", 1.5, "int"),
        ("count", False, "int"),
        ("limit", "abc", "float or None"),
        ("on", 1, "bool"),
        ("kind", 3, "str"),
        ("kind", None, "str"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, expected):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.call(typed, "data", {name: value}, "images")
    assert str(error.value) == (
        f"wrong type for config key data.{name}: got {value!r}, expected {expected}; correct it"
    )


def test_a_key_that_has_no_default_must_be_there():
    with pytest.raises(ValueError, match=r"^config key data\.rate is missing; expected a value, it has no default$"):
        settings.call(lambda data, rate: None, "data", {}, "data")


def test_a_name_stands_for_the_factory_of_its_module():
    section = {"name": "tcvae", "latents": 3, "filters": [4], "hidden": 8}
    model = settings.named("models", "model", section, Spec((8, 8, 1), 0, 10))
    assert list(model.losses) == ["vae"]
    assert section["name"] == "tcvae"


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        ("models", "tcvea", "unknown model.name 'tcvea'; did you mean tcvae?"),
        (
            "models",
            "zzzzz",
            "unknown model.name 'zzzzz'; expected one of cnn, infogan, pooling_cnn, tcvae, ",
        ),
        ("data", "feed", "unknown model.name 'feed'; expected one of device, flowcytometry, frames, nuclei"),
        ("data", "../models/vae", "unknown model.name '../models/vae'; expected one of"),
        ("data", "source.source", "unknown model.name 'source.source'; "),
        ("data", 3, "unknown model.name 3; expected one of"),
        ("data", None, "unknown model.name None; expected one of"),
    ],
)
def test_a_name_without_a_factory_is_refused(package, name, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.named(package, "model", {"name": name})
    assert str(error.value).startswith(message)


def test_a_section_without_a_name_is_refused():
    with pytest.raises(
        ValueError, match="config section input has no pipeline; expected the name of one of cellfx/data"
    ):
        settings.named("data", "input", {"batch_size": 3}, name_key="pipeline")


def test_sections_are_all_there_and_all_read():
    settings.check_sections({**SECTIONS, "probe": {}, "repeats": {}})
    with pytest.raises(ValueError, match=r"unknown config section modle; did you mean model\?"):
        settings.check_sections({**SECTIONS, "modle": {}})
    with pytest.raises(ValueError, match="unknown config section zzz; expected one of data, input, model"):
        settings.check_sections({**SECTIONS, "zzz": {}})
    with pytest.raises(ValueError, match="config section optim is missing; expected data, input, model, optim, train"):
        settings.check_sections({name: {} for name in SECTIONS if name != "optim"})


def test_a_config_reads_the_same_from_its_file_and_from_a_workdir(tmp_path):
    config = ml_collections.ConfigDict(
        {"model": {"filters": (8, 16), "beta": 4.0, "classes": {"a": ("b",)}, "n": None}}
    )
    settings.claim(tmp_path / "deep" / "run", config)
    assert settings.read(tmp_path / "deep" / "run") == settings.to_dict(config)
    settings.check_owner(tmp_path / "deep" / "run", config)
    settings.claim(tmp_path / "deep" / "run", config)


def test_a_workdir_belongs_to_its_config(tmp_path):
    settings.claim(tmp_path, {"model": {"beta": 4, "name": "vae"}, "train": {"seed": 0}})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.claim(tmp_path, {"model": {"beta": 2, "name": "vae", "alpha": 1}, "train": {}})
    assert str(error.value) == (
        f"{tmp_path} belongs to another config: got model.alpha: None -> 1; model.beta: 4 -> 2; train.seed: 0 -> None, "
        "expected the config it was started with; choose another --workdir"
    )
    assert (tmp_path / "config.json").read_bytes() == before


def test_of_many_differences_some_are_named(tmp_path):
    settings.claim(tmp_path, {f"k{i}": i for i in range(9)})
    with pytest.raises(ValueError, match=r"got k0: 0 -> 1; k1: 1 -> 2; k2: 2 -> 3 \.\.\., expected"):
        settings.check_owner(tmp_path, {f"k{i}": i + 1 for i in range(9)})


def test_what_is_no_workdir_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing is no workdir: it has no config\.json; expected the folder"):
        settings.read(tmp_path / "nothing")
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(ValueError, match=r"config\.json is damaged: got .*, expected JSON; restore it or use a new"):
        settings.read(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    settings.write_whole(path, b"first")
    assert path.read_bytes() == b"first"

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:2])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        settings.write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert [found.name for found in path.parent.iterdir()] == ["file"]
