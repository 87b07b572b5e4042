"""How fast a config trains here: compilation, steady images a second of each pipeline, memory; as JSON.

Contenders take turns in short rounds within one process, so that a noisy machine treats them alike; compare their
ratios, not their rates with those of another run.
"""

import importlib.util
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from cellfx.data.source import Source
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings import page
from cellfx.runs import experiment
from cellfx.settings import Config, check_sections, named, to_dict
from cellfx.training import parallel
from cellfx.training.state import create_state

PIPELINES = ("device", "pipeline")
DISPATCHES = 4
"""Dispatches of a turn; those that tf.data has in stock from the turn before, at most 3, are thrown away first."""
STOCK = 3
Train = Callable[[int], float]
"""Number of steps -> images a second."""


def benchmark(config: Config, output: Path | None = None, peer: Path | None = None, rounds: int = 10) -> dict[str, Any]:
    """Measures both input pipelines of a config, and a peer on the same data if one is given.

    Args:
        config: as for training; its pipeline is ignored.
        output: JSON file to write.
        peer: Python file with ``trainer(images (N, H, W, C) uint8, batch_size, model, learning_rate)``, which returns
            a function (number of steps) -> images a second; for instance tests/peers/torch_tcvae.py.
        rounds: turns that every contender takes.

    A pipeline whose packages are not installed is left out.

    Returns:
        What is written: per contender ``compile_seconds``, ``images_per_second`` of every round and its median;
        ``ratios`` to the device pipeline, the medians over rounds.
    """
    settings = to_dict(config)
    check_sections(settings)
    if peer is not None and not Path(peer).is_file():
        raise FileNotFoundError(f"no such peer: {peer}; expected a Python file with a function trainer")
    jax.config.update("jax_enable_compilation_cache", False)
    built = experiment.build({**settings, "input": {**settings["input"], "pipeline": "device"}})
    contenders: dict[str, Train] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name in PIPELINES:
        try:
            contenders[name], seconds = _contender(built, settings, name)
        except ModuleNotFoundError as error:
            say(f"{name}: left out, the package {error.name} is not installed")
            continue
        measured[name] = {"compile_seconds": round(seconds, 2)}
        say(f"{name}: compiled in {seconds:.1f} s")
    if peer is not None:
        contenders["peer"] = _peer(Path(peer), built.source, settings)
        measured["peer"] = {}
    rates = _take_turns(contenders, rounds, DISPATCHES * built.training.steps_per_call)
    for name, values in rates.items():
        measured[name] |= {"images_per_second": statistics.median(values), "rounds": values}
    result = {
        "ratios": {f"{name}/device": _ratio(values, rates["device"]) for name, values in rates.items()},
        "contenders": measured,
        "peak_memory_bytes": _peak_memory(),
        "devices": [device.device_kind for device in built.devices],
        "versions": page.versions(),
        "config": settings,
    }
    for name, ratio in result["ratios"].items():
        rate = measured[name.partition("/")[0]]["images_per_second"]
        say(f"{name}: {ratio:.3f}  ({rate:,.0f} images/s)")
    if output is not None:
        write_whole(Path(output), json.dumps(result, indent=2).encode())
        say(str(output))
    return result


def _contender(built: experiment.Experiment, settings: Config, pipeline: str) -> tuple[Train, float]:
    """What trains a while with a pipeline, and the seconds that its program took to compile."""
    training, axis_name = built.training, built.spec.axis_name
    options = {k: v for k, v in settings["input"].items() if k != "pipeline"}
    options |= {"steps_per_call": training.steps_per_call, "seed": training.seed, "axis_name": axis_name}
    feed = named(
        "data.input", "input", {"pipeline": pipeline, **options}, built.source.splits["train"], name_key="pipeline"
    )
    resident = parallel.place(feed.resident, built.devices)
    program = parallel.mapped(built.step, feed.read, training.steps_per_call, built.devices, axis_name)
    state = create_state(built.model, built.optimizers, jax.random.key(training.seed))
    state, inputs = parallel.place(state, built.devices), feed.stacked(0)

    def train(num_steps: int) -> float:
        nonlocal state
        for _ in range(STOCK):
            next(inputs)
        start = time.perf_counter()
        dispatches = max(num_steps // training.steps_per_call, 1)
        for _ in range(dispatches):
            state, _ = program(state, resident, next(inputs))
        jax.block_until_ready(state)
        return dispatches * training.steps_per_call * built.batch_size / (time.perf_counter() - start)

    first, second = (training.steps_per_call * built.batch_size / train(training.steps_per_call) for _ in range(2))
    return train, first - second


def _peer(path: Path, source: Source, settings: Config) -> Train:
    spec = importlib.util.spec_from_file_location("peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arrays = source.splits["train"].arrays
    if arrays is None:
        raise ValueError("the peer needs data in memory: got a streamed split; choose a smaller data set")
    train = module.trainer(
        arrays["x"], settings["input"]["batch_size"], settings["model"], settings["optim"]["learning_rate"]
    )
    train(2)
    return train


def _take_turns(contenders: dict[str, Train], rounds: int, num_steps: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, train in contenders.items():
            rates[name].append(round(train(num_steps), 1))
    return rates


def _ratio(values: list[float], base: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, base, strict=True))


def _peak_memory() -> dict[str, int]:
    """Largest resident memory of this process and, where the device tells, of each device."""
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)}
    for device in jax.local_devices():
        statistics_of = device.memory_stats() or {}
        if "peak_bytes_in_use" in statistics_of:
            peak[str(device)] = statistics_of["peak_bytes_in_use"]
    return peak
