"""Makes .venv beside this folder on first use, keeps it up to date, and starts the command again inside it.

Needs nothing but Python's standard library. It parses on Python 3.7 too, so that an old Python gets a clear message.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "cellfx.json")
LOG = os.path.join(ROOT, ".venv.log")
INPUTS = ("pyproject.toml", "constraints.txt")
OLDEST, NEWEST = (3, 11), (3, 13)
TICK_SECONDS = 10


def enter(*extras: str) -> None:
    """Returns inside an environment that has cellfx; elsewhere it makes one and starts the program again there.

    An active environment that already has cellfx is used as it is.

    Args:
        extras: optional dependencies that this command needs, beside those that CELLFX_EXTRAS names (by commas).
    """
    inside = os.path.realpath(sys.prefix) == os.path.realpath(VENV)
    if not inside and _has_cellfx():
        return
    wanted = {*extras, *filter(None, os.environ.get("CELLFX_EXTRAS", "").replace(" ", "").split(","))}
    try:
        if not _is_current(wanted):
            _install(wanted)
    except KeyboardInterrupt:
        _say("interrupted; the next start takes the installation up again")
        sys.exit(130)
    except (OSError, RuntimeError) as error:
        _say(str(error))
        sys.exit(2)
    if not inside:
        sys.stderr.flush()
        os.execv(_python(), [_python(), *sys.argv])


def _has_cellfx() -> bool:
    spec = importlib.util.find_spec("cellfx")
    return spec is not None and spec.origin is not None  # a mere folder named cellfx has no origin


def _python() -> str:
    return os.path.join(VENV, "bin", "python")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def _stamp() -> dict:
    """What the last finished installation wrote; empty where none was finished."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _is_current(wanted: set) -> bool:
    stamp = _stamp()
    # A moved clone leaves a .venv whose scripts and editable install point at the old place.
    same = stamp.get("fingerprint") == _fingerprint() and stamp.get("venv") == VENV
    return same and wanted <= set(stamp["extras"]) and os.path.exists(_python())


def _say(message: str) -> None:
    print(f"cellfx: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _lock():
    import fcntl  # only an installation needs it

    with open(VENV + ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another start is installing into .venv; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _install(wanted: set) -> None:
    """Makes or updates .venv; the stamp goes first and comes back last, so an interrupted installation shows."""
    with _lock() as lock:
        if _is_current(wanted):
            return
        start = time.monotonic()
        stamp = _stamp()
        extras = sorted(wanted | set(stamp.get("extras", ())))
        what = f"cellfx with {', '.join(extras)}" if extras else "cellfx"
        if stamp.get("venv") == VENV and os.path.exists(_python()):
            _say(f"updating .venv: {what} (pyproject.toml, constraints.txt or the extras changed) ...")
            os.remove(STAMP)
        else:
            if os.path.lexists(VENV):
                _say(".venv is unfinished or was moved: making it anew")
            if os.path.islink(VENV):
                os.remove(VENV)  # what it points to belongs to others
            _create()
            _say(f"installing {what} into .venv: about 2 minutes and 3 GB, this once ...")
            if shutil.which("nvidia-smi") and not any(extra.startswith("cuda") for extra in extras):
                _say("there is an NVIDIA GPU here, but this installs for the CPU; CELLFX_EXTRAS=cuda adds the GPU")
        _pip_install(extras, lock)
        _write_stamp(extras)
        _say(f".venv is ready after {time.monotonic() - start:.0f} s")


def _create() -> None:
    python = _find_python()
    _say(f"making .venv with {python}")
    command = [python, "-m", "venv", "--clear", VENV]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        reason = (result.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(
            f"could not make {VENV}: {reason}. It needs Python's venv module (Debian: apt-get install python3-venv), "
            "disk space and the right to write there."
        )


def _find_python() -> str:
    """A Python of a version that every dependency supports: the running one, or one on PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return getattr(sys, "_base_executable", None) or sys.executable
    for minor in (12, 11, 13):
        found = shutil.which(f"python3.{minor}")
        # A version manager's stand-in exists for versions that it then refuses to run.
        if found and subprocess.run([found, "-c", "import venv"], stderr=subprocess.DEVNULL).returncode == 0:
            return found
    raise RuntimeError(
        f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed; got {sys.version.split()[0]} "
        f"({sys.executable}) and found no python3.11, python3.12 or python3.13 on PATH. "
        "Install one of them, or activate an environment that has cellfx."
    )


def _pip_install(extras: list, lock: int) -> None:
    """Runs pip, which holds the lock too: it may outlive a start that was killed."""
    target = ROOT + (f"[{','.join(extras)}]" if extras else "")
    command = [_python(), "-m", "pip", "install", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["-c", os.path.join(ROOT, "constraints.txt"), "-e", target]
    lines, done = ["starting"], threading.Event()
    threading.Thread(target=_report, args=(lines, done), daemon=True).start()
    with open(LOG, "w", encoding="utf-8") as log:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, pass_fds=(lock,), **pipes) as process:
            try:
                for line in process.stdout:
                    log.write(line)
                    lines.append(line.strip())
            except BaseException:
                process.terminate()
                raise
            finally:
                done.set()
    if process.returncode:
        raise RuntimeError(_failure(lines))


def _report(lines: list, done: threading.Event) -> None:
    """Says every few seconds how far pip is."""
    start = time.monotonic()
    while not done.wait(TICK_SECONDS):
        names = [line.split()[1] for line in lines if line.startswith(("Collecting ", "Processing "))]
        unpacking = any(line.startswith("Installing collected packages") for line in lines)
        now = "unpacking them" if unpacking else f"now {names[-1]}" if names else "looking for the package index"
        _say(f"{time.monotonic() - start:4.0f} s, {len(names)} packages found; {now}")


def _failure(lines: list) -> str:
    text = "\n".join(lines)
    reason = next((line for line in reversed(lines) if line.lower().startswith("error")), "pip gave no reason")
    if any(sign in text for sign in ("Retrying (", "NewConnectionError", "(from versions: none)")):
        advice = "The package index was not reached: connect to the network, or activate an environment that has cellfx"
    elif "No space left" in text:
        advice = "The disk is full: about 4 GB are needed while installing"
    else:
        advice = "Mend that"
    return f"could not install: {reason}. {advice}, then start again. All that pip said: {LOG}"


def _write_stamp(extras: list) -> None:
    with open(STAMP + ".new", "w", encoding="utf-8") as file:
        json.dump({"fingerprint": _fingerprint(), "extras": extras, "venv": VENV}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(STAMP + ".new", STAMP)
