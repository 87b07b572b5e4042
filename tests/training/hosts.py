"""One of two processes that train the toy together: ``hosts.py <address> <rank> <folder>``."""

import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import numpy as np
import toy

from cellfx.training import checkpoint, parallel
from cellfx.training.loop import fit
from cellfx.training.writer import Writer

K = 3


def feed(rank):
    whole = toy.streamed(K)

    def stacked(start):
        half = toy.BATCH // 2
        for item in whole.stacked(start):
            yield {"x": item["x"][:, rank * half : (rank + 1) * half]}

    return whole._replace(stacked=stacked)


def main():
    address, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    jax.distributed.initialize(address, 2, rank)
    devices = jax.devices()
    program, state, mine = toy.setup(feed(rank), K, devices)
    with Writer(folder, 0, print) as writer:
        state = fit(
            program,
            state,
            mine,
            num_steps=9,
            steps_per_call=K,
            batch_size=toy.BATCH,
            log_every=K,
            save_every=K,
            eval_every=9,
            save=lambda state: checkpoint.save(folder / "checkpoints", state),
            write=writer.write,
        )
    restored = checkpoint.restore(folder / "checkpoints", state, print)
    placed = parallel.place(restored, devices)
    assert np.array_equal(placed.params["vae"]["decoder"], state.params["vae"]["decoder"])
    state, _ = program(placed, mine.resident, next(mine.stacked(9)))
    assert int(state.step) == 12


main()
