"""bin/bootstrap.py on a small clone of its own, whose package installs in a second and needs no network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Builds one wheel from the clone by itself, so that pip fetches nothing; hangs where it is told to.
BACKEND = """
import os, pathlib, time, zipfile

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(folder, config_settings=None, metadata_directory=None):
    root = pathlib.Path.cwd()
    if os.environ.get("TEST_HANG"):
        (root / "hanging").write_text("yes")
        time.sleep(float(os.environ["TEST_HANG"]))
    name = "cellfx-0.1-py3-none-any.whl"
    about = "Metadata-Version: 2.1\\nName: cellfx\\nVersion: 0.1\\nProvides-Extra: dev\\nProvides-Extra: cuda\\n"
    requirement = os.environ.get("TEST_REQUIRES")
    about += f"Requires-Dist: {requirement}\\n" if requirement else ""
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("cellfx.pth", str(root))
        wheel.writestr("cellfx-0.1.dist-info/METADATA", about)
        tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("cellfx-0.1.dist-info/WHEEL", tags)
        wheel.writestr("cellfx-0.1.dist-info/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "cellfx"
version = "0.1"
"""
COMMAND = """#!/usr/bin/env python3
import bootstrap

bootstrap.enter({extras})

import json, sys
import cellfx

print(json.dumps([sys.prefix, sys.argv[1:], cellfx.__file__]))
"""


@pytest.fixture(scope="module")
def make_clone(tmp_path_factory):
    def make(name):
        clone = tmp_path_factory.mktemp("clone") / name
        (clone / "bin").mkdir(parents=True)
        (clone / "cellfx").mkdir()
        (clone / "cellfx" / "__init__.py").write_text("")
        (clone / "backend.py").write_text(BACKEND)
        (clone / "pyproject.toml").write_text(PROJECT)
        (clone / "constraints.txt").write_text("")
        shutil.copy(ROOT / "bin" / "bootstrap.py", clone / "bin")
        (clone / "bin" / "hello").write_text(COMMAND.format(extras=""))
        (clone / "bin" / "check").write_text(COMMAND.format(extras='"dev"'))
        return clone

    return make


@pytest.fixture(scope="module")
def first(make_clone):
    """A clone in a folder with a space in its name, and its first start."""
    clone = make_clone("my cells")
    return clone, start(clone, "--size", "a b")


@pytest.fixture(scope="module")
def clone(first):
    return first[0]


@pytest.fixture(scope="module")
def killed(make_clone):
    """A clone whose first installation was killed half way, and the (output, error) of the next two starts, at once."""
    clone = make_clone("killed")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(clone), env=environment(TEST_HANG="6"), **quiet)
    while not (clone / "hanging").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (clone / ".venv" / "cellfx.json").exists()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command(clone), env=environment(), **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return clone, outputs


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELLFX_", "PIP_", "PYTHON"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **extra}


def command(clone, *arguments, name="hello"):
    # The base interpreter, because an environment that has cellfx would be used as it is.
    return [sys._base_executable, str(clone / "bin" / name), *arguments]


def start(clone, *arguments, name="hello", cwd="/", **extra):
    return subprocess.run(
        command(clone, *arguments, name=name),
        env=environment(**extra),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def stamp(clone):
    return json.loads((clone / ".venv" / "cellfx.json").read_text())


def test_the_first_start_makes_the_environment_and_says_so(first):
    clone, result = first
    assert result.returncode == 0, result.stderr
    prefix, arguments, package = json.loads(result.stdout)
    assert (prefix, arguments) == (str(clone / ".venv"), ["--size", "a b"])
    assert package == str(clone / "cellfx" / "__init__.py")
    assert "making .venv with" in result.stderr
    assert ".venv is ready after" in result.stderr
    assert "NVIDIA" not in result.stderr or shutil.which("nvidia-smi")
    assert all(line.startswith("cellfx: ") for line in result.stderr.splitlines())


def test_a_gpu_that_would_not_be_used_is_pointed_out(make_clone, tmp_path):
    # The package cannot be had, so this stops before anything is installed.
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    result = start(make_clone("gpu"), PATH=path, TEST_REQUIRES="cellfx-needs-this")
    assert "there is an NVIDIA GPU here" in result.stderr
    assert "CELLFX_EXTRAS=cuda adds the GPU" in result.stderr


def test_a_second_start_says_nothing_and_adds_less_than_a_tenth_of_a_second(clone):
    def seconds(argv):  # of processor time, which a busy machine does not stretch
        spent = []
        for _ in range(3):
            before = os.times()
            subprocess.run(argv, env=environment(), check=True, capture_output=True)
            after = os.times()
            spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return min(spent)

    result = start(clone)
    assert (result.returncode, result.stderr) == (0, "")
    inside = seconds([str(clone / ".venv" / "bin" / "python"), "-c", "import cellfx, json"])
    assert seconds(command(clone)) - inside < 0.1


def test_an_extra_is_added_once_and_kept(clone):
    first, second, other = start(clone, name="check"), start(clone, name="check"), start(clone)
    assert "updating .venv: cellfx with dev" in first.stderr
    assert (second.stderr, other.stderr) == ("", "")
    assert "cellfx with cuda, dev" in start(clone, CELLFX_EXTRAS="cuda").stderr
    assert stamp(clone)["extras"] == ["cuda", "dev"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_input_updates_the_environment(clone, name):
    with (clone / name).open("a") as file:
        file.write("# changed\n")
    assert "updating .venv" in start(clone).stderr
    assert start(clone).stderr == ""


def test_the_environment_s_own_python_updates_it_too(clone):
    (clone / "constraints.txt").write_text("# from inside\n")
    argv = [str(clone / ".venv" / "bin" / "python"), str(clone / "bin" / "hello")]
    result = subprocess.run(argv, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "updating .venv" in result.stderr


def test_an_installation_killed_half_way_is_repaired_by_the_next_start(killed):
    clone, outputs = killed
    # pip outlived the start that was killed and held the lock: no two ever install at once.
    assert ["waiting for it" in error for _, error in outputs] == [True, True]
    assert sum(".venv is unfinished or was moved: making it anew" in error for _, error in outputs) == 1
    assert [json.loads(output)[0] for output, _ in outputs] == [str(clone / ".venv")] * 2


def test_of_two_starts_at_once_one_installs(killed):
    assert sum(".venv is ready after" in error for _, error in killed[1]) == 1


def test_a_moved_clone_makes_its_environment_anew(killed):
    moved = killed[0].rename(killed[0].with_name("moved"))
    result = start(moved)
    assert ".venv is unfinished or was moved: making it anew" in result.stderr
    assert json.loads(result.stdout)[2] == str(moved / "cellfx" / "__init__.py")


def test_an_environment_that_is_only_linked_to_is_left_alone(make_clone, tmp_path):
    other, clone = tmp_path / "other", make_clone("linked")
    other.mkdir()
    (other / "kept").write_text("")
    (clone / ".venv").symlink_to(other)
    assert ".venv is unfinished or was moved: making it anew" in start(clone).stderr
    assert (other / "kept").exists()
    assert not (clone / ".venv").is_symlink()


def test_a_mere_folder_named_cellfx_is_no_environment_that_has_it(clone, tmp_path):
    (tmp_path / "cellfx").mkdir()
    result = start(clone, PYTHONPATH=str(tmp_path))
    assert json.loads(result.stdout)[0] == str(clone / ".venv")


def test_an_interrupted_installation_says_what_happens_next(clone):
    (clone / "constraints.txt").write_text("# interrupted\n")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(clone), env=environment(TEST_HANG="3"), **pipes)
    while not (clone / "hanging").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "cellfx: interrupted; the next start takes the installation up again"
    assert "Traceback" not in error
    assert not (clone / ".venv" / "cellfx.json").exists()


def test_without_a_network_one_line_says_so(clone):
    (clone / "constraints.txt").write_text("# without a network\n")
    extra = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    result = start(clone, TEST_REQUIRES="cellfx-needs-this", **extra)
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("cellfx: could not install: ERROR: No matching distribution found for cellfx-needs-this.")
    assert "The package index was not reached: connect to the network" in last
    assert "Traceback" not in result.stderr
    assert not (clone / ".venv" / "cellfx.json").exists()  # the next start repairs what the failed update left


def test_an_environment_that_has_cellfx_is_used_as_it_is(make_clone, tmp_path):
    clone = make_clone("unused")
    (tmp_path / "cellfx").mkdir()
    (tmp_path / "cellfx" / "__init__.py").write_text("")
    result = start(clone, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[2] == str(tmp_path / "cellfx" / "__init__.py")
    assert not (clone / ".venv").exists()


def test_an_old_python_is_told_what_is_needed(make_clone):
    script = (
        "import sys; sys.path.insert(0, '.'); sys.version_info = (3, 8, 1); sys.version = '3.8.1 (x)'\n"
        "import bootstrap; bootstrap.enter()"
    )
    argv = [sys._base_executable, "-c", script]
    result = subprocess.run(
        argv, env=environment(PATH="/nonexistent"), cwd=make_clone("old") / "bin", capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.startswith("cellfx: Python 3.11 to 3.13 is needed; got 3.8.1 (")
    assert result.stderr.count("\n") == 1


def test_a_clone_that_cannot_be_written_gives_one_line(make_clone):
    clone = make_clone("full")
    (clone / ".venv").write_text("not a folder")
    result = start(clone)
    assert result.returncode == 2
    assert f"could not make {clone / '.venv'}" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
