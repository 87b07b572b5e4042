"""What all commands share: flags, help, the process's environment, and errors as one line."""

import difflib
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import config
from cellfx.cli.assignments import split_assignments

_PACKAGE = Path(__file__).resolve().parents[1]
_USER_ERRORS = (ValueError, OSError, flags.Error)
_WIDTH = 100


def run(
    name: str,
    text: str,
    define: Callable[[flags.FlagValues], None],
    call: Callable[[flags.FlagValues, list[tuple[str, str]]], None],
    argv: Sequence[str] | None = None,
    sections: Sequence[str] = (),
) -> int:
    """Parses the command line and makes the one call that a command is for.

    Args:
        name: of the command, as error messages call it.
        text: what ``--help`` says above the options.
        define: declares the command's flags.
        call: (flags, the fields of the config that the command line sets) -> nothing.
        argv: arguments without the program; those of the process where None.
        sections: of a finished run's config whose fields ``--config.section.field`` sets, where there is no
            ``--config``.

    Returns:
        Exit status: 0, 2 where the user can mend what was wrong (said in one line on stderr), 130 or 143 where
        interrupted or terminated.
    """
    values = flags.FlagValues()
    define(values)
    flags.DEFINE_bool("debug", False, "show where an error came from (also CELLFX_DEBUG=1)", flag_values=values)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "-help", "--help"} & set(arguments):
        print(_help(text, values))
        return 0
    debug = os.environ.get("CELLFX_DEBUG", "0") != "0" or "--debug" in arguments
    prepare_process(quiet=not debug)
    try:
        call(values, _parse(name, values, arguments, sections))
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if hasattr(error, "exit_status"):  # a training that a signal ended after its state was saved
            print(f"{name}: {error}", file=sys.stderr)
            return error.exit_status
        if debug or not _is_users(error):
            raise
        print(f"{name}: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def prepare_process(quiet: bool = True) -> None:
    """Sets the process up, before JAX or TensorFlow are imported.

    Compiled programs are kept on disk, so that a second start skips the compilation: in JAX_COMPILATION_CACHE_DIR or
    the user's cache folder. The C++ logs of XLA and TensorFlow, which say nothing a user could act on, are off, and
    so are the progress bars of TFDS where nobody watches.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellfx" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if quiet:
        from absl import logging

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if not sys.stderr.isatty():
            os.environ.setdefault("TQDM_DISABLE", "1")
        logging.set_verbosity(logging.ERROR)


def define_config(values: flags.FlagValues) -> None:
    """Declares ``--config``; its fields are set by ``--config.section.field=value``."""
    flags.DEFINE_string(
        "config", None, "config file, or file:size; --config.section.field=value sets one field", flag_values=values
    )


def define_workdir(values: flags.FlagValues, text: str) -> None:
    """Declares ``--workdir``."""
    flags.DEFINE_string("workdir", None, text, flag_values=values)


def require_workdir(values: flags.FlagValues) -> Path:
    """The folder of a run.

    Raises:
        ValueError: It was not given.
        FileNotFoundError: It is not there.
    """
    expected = "expected the folder of a run that bin/train made, such as runs/tcvae"
    if not values.workdir:
        raise ValueError(f"--workdir is missing; {expected}")
    workdir = Path(values.workdir).expanduser()
    if not workdir.is_dir():
        raise FileNotFoundError(f"no folder {workdir}; {expected}")
    return workdir


def _parse(
    name: str, values: flags.FlagValues, arguments: Sequence[str], sections: Sequence[str]
) -> list[tuple[str, str]]:
    for argument in arguments:
        if (shown := argument.encode(errors="replace").decode()) != argument:
            raise ValueError(f"an option is not UTF-8: got {shown!r}, expected UTF-8; rename the file or folder")
    assignments, rest = split_assignments(arguments)
    fixed = [key for key, _ in assignments if "config" not in values and key.partition(".")[0] not in sections]
    if fixed and sections:
        raise ValueError(f"a finished run keeps its config: got --config.{fixed[0]}, expected {' or '.join(sections)}")
    if fixed:
        raise ValueError(f"there is no config to set here; got --config.{fixed[0]}")
    values.set_gnu_getopt(True)
    try:
        left = values([name, *rest])[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), 1)
        advice = f"did you mean --{near[0]}?" if near else f"{name} --help lists the options"
        raise ValueError(f"unknown option --{error.flagname}; {advice}") from error
    if left:
        raise ValueError(f"unexpected argument {left[0]!r}; expected options that start with --, see {name} --help")
    return assignments


def load_config(
    values: flags.FlagValues, assignments: Sequence[tuple[str, str]], optional: Sequence[str] = ()
) -> config.Loaded:
    """The config that ``--config`` names, with the fields that the command line sets, also of ``optional`` sections."""
    return config.load(values.config, assignments, optional)


def _help(text: str, values: flags.FlagValues) -> str:
    lines = [text.strip(), "", "Options:"]
    for flag in sorted((values[name] for name in values), key=lambda flag: (flag.name == "debug", flag.name)):
        default = f" [{flag.default}]" if flag.default not in (None, False) else ""
        usage = f"--{flag.name}" if flag.boolean else f"--{flag.name} {flag.name.upper()}"
        body = textwrap.fill(f"{flag.help}{default}", _WIDTH, initial_indent=" " * 24, subsequent_indent=" " * 24)
        lines.append(f"  {usage:22}{body[24:]}" if len(usage) < 22 else f"  {usage}\n{body}")
    return "\n".join(lines)


def _is_users(error: Exception) -> bool:
    missing = isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("cellfx")
    return isinstance(error, _USER_ERRORS) or missing or _is_memory(error)


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out, of a device or of the machine, by the class of the error alone.

    JAX, which may be absent, has one class for all that goes wrong on a device: its message begins with a status code.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    of_jax = "JaxRuntimeError" in names and str(error).startswith("RESOURCE_EXHAUSTED")
    return of_jax or "ResourceExhaustedError" in names or isinstance(error, MemoryError)


def _one_line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is missing here; pip install {error.name}, or start through bin/"
    if _is_memory(error):
        where = "machine" if isinstance(error, MemoryError) else "device"
        return f"the {where}'s memory ran out; make input.batch_size smaller, or use input.pipeline=pipeline"
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    own = _PACKAGE in raised_in.parents or isinstance(error, flags.Error)
    hint = "" if own else " (--debug shows where)"
    return " ".join(text.split()) + hint
