import json
import os
import subprocess
import sys

import jax
import pytest
from absl import flags

from cellfx.cli import command


def run(call, argv=(), define=lambda values: None):
    return command.run("study", "Studies.\n\nExample:\n  bin/study", define, call, list(argv))


def raising(error):
    def call(values, assignments):
        raise error

    return call


def test_a_good_call_gets_the_flags_and_the_fields_and_returns_0():
    seen = []
    argv = ["--config", "a.py", "--config.model.beta=4", "--config.train.on", "--config.train.steps", "-3", "--size=7"]

    def define(values):
        command.define_config(values)
        flags.DEFINE_integer("size", 3, "how many", flag_values=values)

    status = run(lambda values, fields: seen.append((values.config, values.size, fields)), argv, define)
    assert status == 0
    assert seen == [("a.py", 7, [("model.beta", "4"), ("train.on", "true"), ("train.steps", "-3")])]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("one\n  two"), "one two"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file or directory", "/data/x"), "No such file or directory: /data/x"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError("no folder /data/x"), "no folder /data/x"),
        (ModuleNotFoundError("No module named 'q'", name="q"), "the package q is missing here; pip install q"),
        (MemoryError("Unable to allocate 9 TiB"), "the machine's memory ran out; make input.batch_size"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
            "the device's memory ran out; make input.batch_size",
        ),
    ],
)
def test_a_users_error_is_one_line_and_status_2(capsys, error, message):
    assert run(raising(error)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"study: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("x"), TypeError("x"), KeyError("x"), ImportError("x")])
def test_a_defect_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run(raising(error))


def test_a_missing_module_of_ours_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError):
        run(raising(ModuleNotFoundError("x", name="cellfx.models.x")))


def test_debug_keeps_the_traceback(monkeypatch):
    with pytest.raises(ValueError, match="x"):
        run(raising(ValueError("x")), ["--debug"])
    monkeypatch.setenv("CELLFX_DEBUG", "1")
    with pytest.raises(ValueError, match="x"):
        run(raising(ValueError("x")))


def test_an_error_from_another_package_says_how_to_see_where(capsys):
    assert run(lambda values, fields: json.loads("{")) == 2
    assert capsys.readouterr().err.endswith("(--debug shows where)\n")


def test_an_interruption_is_status_130(capsys):
    assert run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "study: interrupted\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--cofig=x"], "unknown option --cofig; did you mean --config?"),
        (["--zzzzzz"], "unknown option --zzzzzz; study --help lists the options"),
        (["runs/a"], "unexpected argument 'runs/a'; expected options that start with --, see study --help"),
        (["--config"], "Missing value for flag --config"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(capsys, argv, message):
    assert run(raising(AssertionError("was called")), argv, command.define_config) == 2
    assert capsys.readouterr().err == f"study: {message}\n"


def test_a_config_field_without_a_config_is_refused(capsys):
    assert run(raising(AssertionError("was called")), ["--config.model.beta=4"]) == 2
    assert capsys.readouterr().err == "study: there is no config to set here; got --config.model.beta\n"


def test_the_reader_of_the_output_may_leave():
    script = (
        "from cellfx.cli import command\n"
        "def call(values, fields):\n"
        "    for _ in range(100000): print('line')\n"
        "raise SystemExit(command.run('study', '', lambda values: None, call, []))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_compiled_programs_are_kept_where_the_user_says_or_in_the_cache_folder(monkeypatch, tmp_path):
    for name in (
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TQDM_DISABLE",
    ):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command.prepare_process()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cellfx" / "xla")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    command.prepare_process()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/elsewhere"


def test_what_is_a_defect_is_told_by_its_class_and_not_by_its_text():
    for error in (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), jax.errors.JaxRuntimeError("INTERNAL: no")):
        with pytest.raises(type(error)):
            run(raising(error))
