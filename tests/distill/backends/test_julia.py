"""Whether PySR can start, on machines that are a folder with a stand-in for Julia in it."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from cellfx.distill.backends import julia

juliapkg_deps = pytest.importorskip("juliapkg.deps")
juliapkg_state = pytest.importorskip("juliapkg.state")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without Julia, whose juliapkg keeps its things in ``project``."""
    for name in list(os.environ):
        if name.startswith(("PYTHON_JULIA", "JULIA")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("JULIAUP_DEPOT_PATH", str(tmp_path / "depot"))
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path / "project"))
    monkeypatch.setattr(juliapkg_deps, "openssl_compat", lambda version=None: ("3 - 3.0", "1 - 1.11"))
    juliapkg_state.reset_state()
    yield tmp_path
    monkeypatch.undo()
    juliapkg_state.reset_state()


def make_julia(path, version):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho julia version {version}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def record(machine, executable, version):
    """What juliapkg leaves once it has installed everything."""
    files = {
        name: {"timestamp": os.path.getmtime(name), "hash_sha256": hashlib.sha256(Path(name).read_bytes()).hexdigest()}
        for name in juliapkg_deps.deps_files()
    }
    kept = {"meta_version": juliapkg_deps.META_VERSION, "dev": juliapkg_state.STATE["dev"], "version": version}
    kept |= {"executable": str(executable), "libjulia": "", "bindir": "", "deps_files": files, "pkgs": []}
    path = machine / "project" / "pyjuliapkg" / "meta.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**kept, "offline": False, "override_executable": None}))


def test_no_julia(machine):
    assert julia.missing() == "got no Julia on this machine, expected 1.10.3 - 1.11"
    with pytest.raises(OSError, match=r"got no Julia .*; run .*import pysr.* once .*operon, which"):
        julia.check()
    assert not (machine / "project").exists()


def test_julia_without_the_packages_is_not_enough(machine):
    path = make_julia(machine / "bin" / "julia", "1.10.8")
    assert julia.missing() == f"got Julia 1.10.8 ({path}) without PySR's packages, expected both"


@pytest.mark.parametrize("version", ["1.10.2", "1.12.4", "2.0.0"])
def test_julia_of_another_version(machine, version):
    path = make_julia(machine / "bin" / "julia", version)
    assert julia.missing() == f"got Julia {version} ({path}), expected 1.10.3 - 1.11"


def test_the_cap_is_that_of_an_old_openssl(machine, monkeypatch):
    monkeypatch.setattr(juliapkg_deps, "openssl_compat", lambda version=None: ("3 - 3.5", None))
    make_julia(machine / "bin" / "julia", "1.12.4")
    assert julia.missing().endswith("without PySR's packages, expected both")
    make_julia(machine / "bin" / "julia", "2.0.0")
    assert "got Julia 2.0.0" in julia.missing()


@pytest.mark.parametrize("place", ["project/pyjuliapkg/install/bin/julia", "bin/julia", "depot/juliaup/j/bin/julia"])
def test_what_juliapkg_installed_and_recorded(machine, place):
    path = make_julia(machine / place, "1.11.7")
    record(machine, path, "1.11.7")
    assert julia.missing() is None
    julia.check()
    path.unlink()
    assert "got no Julia on this machine" in julia.missing()


def test_a_record_of_another_version_does_not_count(machine):
    path = make_julia(machine / "bin" / "julia", "1.11.6")
    record(machine, path, "1.11.7")
    assert "without PySR's packages" in julia.missing()


def test_its_own_installation_comes_before_the_path(machine):
    make_julia(machine / "bin" / "julia", "1.10.8")
    own = make_julia(machine / "project" / "pyjuliapkg" / "install" / "bin" / "julia", "1.11.7")
    assert str(own) in julia.missing()


def test_juliaup_comes_before_the_path(machine):
    from juliapkg.install_julia import get_short_arch

    make_julia(machine / "bin" / "julia", "1.10.8")
    make_julia(machine / "bin" / "juliaup", "none")
    make_julia(machine / "depot" / "juliaup" / "j" / "bin" / "julia", "1.11.7")
    known = {f"1.11.7+0.{get_short_arch()}.linux.gnu": {"Path": "./j"}}
    (machine / "depot" / "juliaup" / "juliaup.json").write_text(json.dumps({"InstalledVersions": known}))
    assert julia.missing().startswith("got Julia 1.11.7")


def test_the_variable_comes_first(machine, monkeypatch):
    make_julia(machine / "bin" / "julia", "1.10.8")
    monkeypatch.setenv("PYTHON_JULIAPKG_EXE", str(make_julia(machine / "mine" / "julia", "1.11.2")))
    juliapkg_state.reset_state()
    assert julia.missing().startswith(f"got Julia 1.11.2 ({machine / 'mine' / 'julia'})")


@pytest.mark.parametrize("name", [julia.EXECUTABLE, julia.PROJECT])
def test_the_two_variables_go_together(machine, monkeypatch, name):
    monkeypatch.setenv(name, str(machine))
    assert julia.missing() == (
        f"got {name} alone, expected PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT together, or neither"
    )


def test_an_environment_of_the_users(machine, monkeypatch):
    monkeypatch.setenv(julia.EXECUTABLE, str(machine / "mine" / "julia"))
    monkeypatch.setenv(julia.PROJECT, str(machine))
    assert "expected a Julia that can be started" in julia.missing()
    make_julia(machine / "mine" / "julia", "1.9.4")
    assert "got Julia 1.9.4 as PYTHON_JULIACALL_EXE" in julia.missing()
    make_julia(machine / "mine" / "julia", "1.10.8")
    (machine / "Manifest.toml").write_text("[[deps.SymbolicRegression]]\n")
    assert "got no PythonCall in PYTHON_JULIACALL_PROJECT" in julia.missing()
    (machine / "Manifest.toml").write_text("[[deps.SymbolicRegression]]\n[[deps.PythonCall]]\n")
    assert julia.missing() is None


def test_a_project_of_juliapkg_that_is_no_path(machine, monkeypatch):
    (machine / "project" / "pyjuliapkg").mkdir(parents=True)
    (machine / "project" / "pyjuliapkg" / "meta.json").write_text("{")
    assert julia.missing().startswith("got JSONDecodeError")


def test_errors_of_julia_are_one_line():
    assert julia.first_line(RuntimeError("\n MethodError: no method\nStacktrace:\n [1] f")) == (
        "RuntimeError: MethodError: no method"
    )
    assert julia.first_line(KeyError()) == "KeyError"
