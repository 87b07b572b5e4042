"""beta-TCVAE on a drawn screen whose effects are known: the images of configs/profile_screen.py, made into features.

Twelve mechanisms of six compounds at two doses, two batches of four plates that differ by twice the spread between
cells, 30 cells a well, all cells upright. As configs/tcvae.py, with smaller images, fewer latents and a smaller beta.

    bin/train --config configs/tcvae_screen.py --workdir runs/screen
    bin/embed --workdir runs/screen
    bin/profile --config configs/profile_screen.py --workdir runs/profile_screen
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.data = ConfigDict({"name": "screen", "num_mechanisms": 12, "compounds_per_mechanism": 6})
    config.data.update({"doses_um": (1.0, 10.0), "num_batches": 2, "plates_per_batch": 4, "num_controls": 64})
    config.data.update({"cells_per_well": 30, "image_size": 32, "pose": "upright", "seed": 0})
    config.data.sizes = ConfigDict({"mechanism": 2.0, "compound": 0.7, "batch": 2.0, "place": 1.0})
    config.input = ConfigDict({"pipeline": "pipeline", "batch_size": 128, "flips": True, "rotations": False})
    config.model = ConfigDict({"name": "tcvae", "latents": 16, "filters": (16, 32, 64), "hidden": 256})
    config.model.update(
        {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "estimator": "weighted", "scale": 0.1, "background": 0.1}
    )
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-3, "warm_up_rate": 0.05, "decay": "cosine"})
    config.train = ConfigDict({"num_epochs": 12, "seed": 0, "steps_per_call": 10})
    config.train.update({"log_every": 10, "eval_every": 300, "save_every": 300})
    config.probe = ConfigDict({"head": "logistic", "symmetries": False, "factor_votes": 800})
    config.repeats = ConfigDict({"over": "seed", "num_runs": 1})
    if size == "tiny":
        config.data.update({"num_mechanisms": 2, "compounds_per_mechanism": 2})
        config.data.update({"plates_per_batch": 3, "num_controls": 8, "cells_per_well": 4, "image_size": 16})
        config.input.batch_size = 16
        config.model.update({"latents": 4, "filters": (4, 8), "hidden": 16})
        config.probe.factor_votes = 20
        config.train.update({"num_epochs": 2, "steps_per_call": 2, "log_every": 2, "eval_every": 6, "save_every": 4})
    return config
