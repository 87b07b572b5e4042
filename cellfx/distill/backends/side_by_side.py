"""Calls a function several times at once, each call in a Python of its own.

A process of its own keeps a crash of compiled code apart, has one thread for linear algebra, so that sums do not
depend on the machine, and starts without the module that this program was started as, which ``multiprocessing`` would
run again.
"""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cellfx

_CHILD = "from cellfx.distill.backends.side_by_side import answer; answer()"
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def call_each(function: Callable[..., Any], arguments: Sequence[tuple], num_workers: int) -> Iterator[Any]:
    """Yields what ``function(*arguments[i])`` returns, in order, each as soon as it and those before it are there.

    Args:
        function: of a module, so that it can be found by name.
        arguments: of every call; what can be pickled.
        num_workers: calls at once.

    Raises:
        Whatever a call raised; a RuntimeError where a process died.
    """
    workers = ThreadPoolExecutor(max(1, min(num_workers, len(arguments))))
    try:
        pending = [workers.submit(_call, function, each) for each in arguments]
        for future in pending:
            yield future.result()
    finally:
        workers.shutdown(cancel_futures=True)


def answer() -> None:
    """What the other process runs: reads a call from its standard input, and writes its result to standard output."""
    results, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing that is printed may get between
    function, arguments = pickle.load(sys.stdin.buffer)
    try:
        result = (True, function(*arguments))
    except Exception as error:
        result = (False, error)
    pickle.dump(result, results)


def _call(function: Callable[..., Any], arguments: tuple) -> Any:
    folder = str(Path(cellfx.__file__).parent.parent)
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **dict.fromkeys(_SINGLE, "1"), "PYTHONPATH": os.pathsep.join(paths)}
    call = subprocess.run(
        [sys.executable, "-c", _CHILD], input=pickle.dumps((function, arguments)), capture_output=True, env=environment
    )
    if call.returncode:
        last = call.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing on its standard error"]
        raise RuntimeError(
            f"a search died: got exit status {call.returncode} from {function.__name__} and {last[0]!r}, expected 0; "
            "run it again, and report it if it dies again"
        )
    succeeded, result = pickle.load(io.BytesIO(call.stdout))
    if not succeeded:
        raise result
    return result
