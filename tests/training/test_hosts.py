"""Two processes with two devices each train like one process with one device, and write one log and one checkpoint."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toy

from cellfx.training.writer import read_metrics

HERE = Path(__file__).parent


def start(address, rank, folder):
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(HERE / "hosts.py"), address, str(rank), str(folder)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_hosts_train_like_one_device(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [start(address, rank, tmp_path) for rank in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    program, state, feed = toy.setup(toy.streamed(3), 3)
    rows, inputs = read_metrics(tmp_path / "metrics.jsonl"), feed.stacked(0)
    assert [row["step"] for row in rows] == [3, 6, 9]
    for row in rows:
        state, metrics = program(state, feed.resident, next(inputs))
        for name, values in jax.device_get(metrics).items():
            np.testing.assert_allclose(row[f"train/{name}"], np.mean(values, dtype=np.float64), rtol=1e-5)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "6", "9"]
    assert len(list(tmp_path.glob("events.*"))) == 1
