"""Scheme 4 as a stage: which backend searches, and what a killed search left behind."""

import pytest

from cellfx.distill.backends import julia
from cellfx.distill.backends.pysr import SCRATCH
from cellfx.studies.stages import distill


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("got Julia 1.12.4, expected 1.10.3 - 1.11", "operon searches, PySR cannot run here (got Julia 1.12.4, exp"),
        (None, "distill.backend=auto: pysr searches\n"),
    ],
)
def test_auto_says_what_it_takes_before_anything_runs(monkeypatch, capsys, missing, line):
    monkeypatch.setattr(julia, "missing", lambda: missing)
    distill.check()
    assert line in capsys.readouterr().out
    distill.check(backend="operon")
    assert capsys.readouterr().out == ""


def test_pysr_that_cannot_run_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(julia, "missing", lambda: "got no Julia on this machine, expected 1.10.3 - 1.11")
    with pytest.raises(OSError, match="PySR cannot run: got no Julia"):
        distill.check(backend="pysr")


def test_what_a_killed_search_left_in_the_folder_goes(monkeypatch, tmp_path):
    (tmp_path / f"{SCRATCH}abc" / "run").mkdir(parents=True)
    (tmp_path / f"{SCRATCH}abc" / "run" / "checkpoint.pkl").write_bytes(b"x")
    monkeypatch.setattr(distill, "code_files", lambda folder: {})
    distill.distill(tmp_path, {"embed": tmp_path}, backend="operon")
    assert list(tmp_path.iterdir()) == []
