"""Runs killed at random moments and resumed end bit-equal to one that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import toy

from cellfx.training import checkpoint
from cellfx.training.writer import Writer, read_metrics
from cellfx.trees import named_leaves

ROOT = Path(__file__).parents[2]


def start(workdir, num_steps, cache):
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("toy.py")), str(workdir), str(num_steps)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def finish(workdir, num_steps, cache):
    process = start(workdir, num_steps, cache)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def wait_for_a_line(process, path, size):
    while process.poll() is None and not (path.exists() and path.stat().st_size > size):
        time.sleep(0.002)


def outcome(workdir):
    _, state, _ = toy.setup(toy.streamed(2), 2)
    state = checkpoint.restore(workdir / "checkpoints", state, print)
    state = state._replace(key=jax.random.key_data(state.key))
    rows = read_metrics(workdir / "metrics.jsonl")
    rows = [{name: value for name, value in row.items() if name not in Writer.TIME_FIELDS} for row in rows]
    return {name: np.asarray(leaf).tobytes() for name, leaf in named_leaves(state).items()}, rows


def kill_again_and_again(tmp_path, kills, num_steps, seed):
    cache, rng = tmp_path / "cache", random.Random(seed)
    finish(tmp_path / "calm", num_steps, cache)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    done = 0
    while done < kills:
        size = metrics.stat().st_size if metrics.exists() else 0
        process = start(tmp_path / "killed", num_steps, cache)
        # One in five dies while it starts, the others once they have begun to write.
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, 3))
        else:
            wait_for_a_line(process, metrics, size)
            time.sleep(rng.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, f"ended before it was killed: {errors}"
        done += 1
    finish(tmp_path / "killed", num_steps, cache)
    (state, rows), (calm_state, calm_rows) = outcome(tmp_path / "killed"), outcome(tmp_path / "calm")
    assert state == calm_state
    assert rows == calm_rows
    assert [row["step"] for row in rows if "train/vae/loss" in row] == list(range(2, num_steps + 1, 2))
    assert [row["step"] for row in rows if "valid/vae/loss" in row] == list(range(10, num_steps + 1, 10))


def test_three_kills(tmp_path):
    kill_again_and_again(tmp_path, 3, 200, seed=0)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    kill_again_and_again(tmp_path, 20, 2000, seed=1)


def stop(workdir, cache, number):
    process = start(workdir, 100_000, cache)
    wait_for_a_line(process, workdir / "metrics.jsonl", 0)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    step = checkpoint.latest_step(workdir / "checkpoints")
    assert errors == f"stopped by {number.name} at step {step}; the same command goes on from there\n"
    return process.returncode, step


def test_sigint_saves_and_exits(tmp_path):
    status, step = stop(tmp_path / "stopped", tmp_path / "cache", signal.SIGINT)
    assert status == 130
    assert read_metrics(tmp_path / "stopped" / "metrics.jsonl")[-1]["step"] == step


def test_sigterm_saves_and_exits_and_the_run_goes_on(tmp_path):
    status, step = stop(tmp_path / "stopped", tmp_path / "cache", signal.SIGTERM)
    assert status == 143
    finish(tmp_path / "stopped", step + 20, tmp_path / "cache")
    finish(tmp_path / "calm", step + 20, tmp_path / "cache")
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "calm")
