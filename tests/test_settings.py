import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import ml_collections
import pytest

from cellfx import settings
from cellfx.checks import Count, Rate, Seed, Weight, checked
from cellfx.files import whole, workdir
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
    pair: tuple[float, float] | None = None,
    channels: Sequence[str | int] | None = None,
    way: Literal["raise", "skip"] = "raise",
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
        ("pair", [[1, 2.5], None]),
        ("channels", [["PI", 2], ()]),
        ("way", ["skip"]),
        ("free", [1, "a", None, {"a": [1]}]),
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
        ("kind", ["a"], "str"),
        ("count", {"a": 1}, "int"),
        ("sizes", 3, "sequence of int"),
        ("sizes", "abc", "sequence of int"),
        ("sizes", {"a": 1}, "sequence of int"),
        ("shape", 3, "sequence of int"),
        ("pair", [1, 2, 3], "sequence of 2: float, float or None"),
        ("classes", "a", "mapping of str to sequence of str or None"),
        ("classes", [["a", ["b"]]], "mapping of str to sequence of str or None"),
        ("channels", "PI", "sequence of str or int or None"),
        ("way", "skp", "'raise' or 'skip'"),
        ("folder", 3, "str or path"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, expected):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.call(typed, "data", {name: value}, "images")
    assert str(error.value) == (
        f"wrong type for config key data.{name}: got {value!r}, expected {expected}; correct it"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sizes", [1, "b"], "data.sizes[1]: got 'b', expected int"),
        ("classes", {"a": "b"}, "data.classes.a: got 'b', expected sequence of str"),
        ("classes", {"a": ["b", 2]}, "data.classes.a[1]: got 2, expected str"),
        ("channels", [None], "data.channels[0]: got None, expected str or int"),
    ],
)
def test_a_part_of_another_type_is_named(name, value, expected):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.call(typed, "data", {name: value}, "images")
    assert str(error.value) == f"wrong type for config key {expected}; correct it"


def ranged(seed: Seed = 0, weight: Weight = 1.0, rate: Rate = 0.5, sizes: Sequence[Count] = (1,), free: float = 0.0):
    return seed


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", -1, "data.seed=-1, expected 0 to 4294967295"),
        ("seed", 2**32, "data.seed=4294967296, expected 0 to"),
        ("weight", -1, "data.weight=-1, expected 0 or more"),
        ("weight", float("nan"), "data.weight=nan, expected 0 or more"),
        ("weight", float("inf"), "data.weight=inf, expected 0 or more"),
        ("rate", 1.0, "data.rate=1.0, expected 0 or more and below 1"),
        ("sizes", [4, 0], "data.sizes[1]=0, expected 1 or more"),
        ("free", float("nan"), "data.free=nan, expected a finite number"),
    ],
)
def test_a_number_out_of_its_range_is_refused(name, value, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.call(ranged, "data", {name: value})
    assert str(error.value).startswith(f"number out of range: got {said}")
    if name != "sizes":
        with pytest.raises(ValueError, match=rf"number out of range: got data\.{name}="):
            checked("data")(ranged)(**{name: value})


def test_a_derived_argument_is_given_and_cannot_be_set():
    derived = {"beta": settings.Derived(3, "the data sets it")}
    assert settings.call(factory, "model", {"gamma": 5}, "data", derived=derived) == ("data", 3, 5)
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        settings.call(factory, "model", {"beta": 4}, "data", derived=derived)
    assert str(error.value) == (
        "config key model.beta cannot be set: got 4, expected no such key, because the data sets it; leave it out"
    )
    with pytest.raises(ValueError, match=r"unknown config key model\.bta; expected one of gamma"):
        settings.call(factory, "model", {"bta": 4}, "data", derived=derived)


def test_what_no_config_can_hold_is_named():
    with pytest.raises(ValueError, match=r"wrong type for config key model\.filters: got \{8\}, expected numbers"):
        settings.to_dict({"model": {"beta": 1, "filters": {8}}})


def test_a_section_that_is_no_mapping_is_named():
    with pytest.raises(ValueError, match="config section probe is no section: got 3, expected keys with values"):
        settings.check_sections({**SECTIONS, "probe": 3})


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
        ("data", "feed", "unknown model.name 'feed'; expected one of flowcytometry, frames, nuclei"),
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
    with pytest.raises(ValueError, match=r"optim is missing: got data, .*, expected data, input, model, optim, train"):
        settings.check_sections({name: {} for name in SECTIONS if name != "optim"})


def test_a_config_reads_the_same_from_its_file_and_from_a_workdir(tmp_path):
    config = ml_collections.ConfigDict(
        {"model": {"filters": (8, 16), "beta": 4.0, "classes": {"a": ("b",)}, "n": None}}
    )
    workdir.claim(tmp_path / "deep" / "run", config)
    assert workdir.read_config(tmp_path / "deep" / "run") == settings.to_dict(config)
    workdir.check_owner(tmp_path / "deep" / "run", config)
    workdir.claim(tmp_path / "deep" / "run", config)


def test_a_workdir_belongs_to_its_config(tmp_path):
    workdir.claim(tmp_path, {"model": {"beta": 4, "name": "vae"}, "train": {"seed": 0}})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError) as error:  # noqa: PT011 the whole message is compared
        workdir.claim(tmp_path, {"model": {"beta": 2, "name": "vae", "alpha": 1}, "train": {}})
    assert str(error.value) == (
        f"{tmp_path} belongs to another config: got model.alpha: None -> 1; model.beta: 4 -> 2; train.seed: 0 -> None, "
        "expected the config it was started with; choose another --workdir"
    )
    assert (tmp_path / "config.json").read_bytes() == before


def test_of_many_differences_some_are_named(tmp_path):
    workdir.claim(tmp_path, {f"k{i}": i for i in range(9)})
    with pytest.raises(ValueError, match=r"got k0: 0 -> 1; k1: 1 -> 2; k2: 2 -> 3 \.\.\., expected"):
        workdir.check_owner(tmp_path, {f"k{i}": i + 1 for i in range(9)})


def test_what_is_no_workdir_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing is no workdir: it has no config\.json; expected the folder"):
        workdir.read_config(tmp_path / "nothing")
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(ValueError, match=r"config\.json is damaged: got .*, expected JSON; restore it or use a new"):
        workdir.read_config(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    whole.write_whole(path, b"first")
    assert path.read_bytes() == b"first"

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:2])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        whole.write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_the_home_folder_is_found_in_every_path_of_a_config(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of me")
    told = {
        "data": {"folder": "~/cells", "labels": "~/a/b.csv", "group": "~x", "regex": r"~(?P<a>\d)/"},
        "p": ["~/q", 1],
    }
    found = settings.to_dict(ml_collections.ConfigDict(told))
    assert found["data"] == {
        "folder": "/home/of me/cells", "labels": "/home/of me/a/b.csv", "group": "~x", "regex": r"~(?P<a>\d)/"
    }  # fmt: skip
    assert found["p"] == ["/home/of me/q", 1]
    assert settings.to_dict(found) == found


def test_text_that_is_not_utf_8_is_refused_with_its_key():
    with pytest.raises(
        ValueError, match=r"config key data\.folder is not UTF-8: got 'cells_\?', expected UTF-8; rename"
    ):
        settings.to_dict({"data": {"folder": os.fsdecode(b"cells_\xb5")}})
    assert settings.to_dict({"data": {"folder": "cells_µ"}}) == {"data": {"folder": "cells_µ"}}


def test_a_run_whose_data_was_moved_is_told_from_another_config(tmp_path):
    config = {"data": {"folder": "/a"}, "model": {"beta": 1}}
    workdir.claim(tmp_path, config)
    with pytest.raises(
        ValueError, match=r"folder: '/a' -> '/b'.*; if the same data was only moved, write its new place"
    ):
        workdir.check_owner(tmp_path, {**config, "data": {"folder": "/b"}})
    with pytest.raises(ValueError, match=r"choose another --workdir$"):
        workdir.check_owner(tmp_path, {"data": {"folder": "/b"}, "model": {"beta": 2}})
