"""A run that is told to stop saves, says so in one line and ends as shells expect; the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12_000  # seconds, so that the signal comes in time
FIELDS = {
    "data.num_train": 96,
    "input.batch_size": 16,
    "input.pipeline": "device",
    "train.num_epochs": STEPS // 6,
    "train.num_devices": 1,
    "train.log_every": 400,
    "train.save_every": STEPS,
    "train.eval_every": STEPS,
    "probe.head": "logistic",
    "probe.symmetries": False,
    "data.num_test": 64,
}


def start(workdir, cache):
    """``python -m cellfx train``, with programs kept in a folder of the test's own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(cache)}
    fields = [f"--config.{name}={value}" for name, value in FIELDS.items()]
    command = [sys.executable, "-m", "cellfx", "train", "--config=configs/tcvae.py:tiny", f"--workdir={workdir}"]
    return subprocess.Popen([*command, *fields], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_stopped_run_saves_and_goes_on(tmp_path):
    workdir, cache = tmp_path / "run", tmp_path / "cache"
    process = start(workdir, cache)
    metrics = workdir / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    (step,) = (int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert 0 < step < STEPS
    assert errors.splitlines()[-1] == f"train: stopped by SIGTERM at step {step}; the same command goes on from there"
    assert "Traceback" not in errors
    assert not (workdir / "report.html").exists()

    process = start(workdir, cache)
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert f"going on from step {step} of {STEPS}" in said
    assert (workdir / "report.html").exists()
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines() if "train/vae/loss" in line]
    assert steps == list(range(400, STEPS + 1, 400))
