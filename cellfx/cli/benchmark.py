"""Measures seconds to compile, images per second of each input pipeline and peak memory, and writes them as JSON.

Example:
  bin/benchmark --config configs/tcvae.py --output benchmark.json
  CELLFX_EXTRAS=torch bin/benchmark --config configs/tcvae.py --peer tests/peers/torch_tcvae.py

A peer is a Python file that trains the same model by other means; all take turns, compare their ratios.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from cellfx.cli import command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``benchmark`` and returns its exit status."""
    return command.run("benchmark", __doc__, _define, _call, argv)


def _define(values: flags.FlagValues) -> None:
    command.define_config(values)
    flags.DEFINE_string("output", "benchmark.json", "the JSON file to write", flag_values=values)
    flags.DEFINE_string("peer", None, "Python file of a peer to compare with", flag_values=values)
    flags.DEFINE_integer("rounds", 10, "turns that each contender takes", flag_values=values)


def _call(values: flags.FlagValues, assignments: list[tuple[str, str]]) -> None:
    from cellfx.settings import OPTIONAL_SECTIONS

    loaded = command.load_config(values, assignments, OPTIONAL_SECTIONS)

    from cellfx.runs import benchmark

    peer = Path(values.peer).expanduser() if values.peer else None
    benchmark.benchmark(loaded.values, Path(values.output).expanduser(), peer, values.rounds)
