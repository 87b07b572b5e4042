"""Codes of cells in flow by an InfoGAN, as Isaksson 2018, chapter 6, here of Jurkat cells.

Ten codes and one noise, trained without labels; a small network then tells the phases from the codes. Published, six
types of autophagy, first channel, second and both: accuracy .26, .50, .38 (beta-VAE .38, .55, .61).

    bin/train --config configs/infogan_cytometry.py --config.data.folder=/data/jurkat --workdir runs/infogan_cytometry
"""

import os

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "jurkat")
    config.data = ConfigDict({"name": "flowcytometry", "folder": folder, "image_size": 40})
    config.data.update({"channels": ("brightfield", "PI", "side scatter"), "padding": 20.0})
    config.data.update({"num_folds": 5, "fold": 0, "valid_rate": 0.1, "seed": 0, "on_error": "raise"})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 100, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "infogan", "latents": 10, "categories": (), "noise": 1, "dropout": 0.25})
    config.model.update({"filters": (16, 32, 64), "information": 0.1, "instance_noise": 0.1})
    config.model.update({"gamma": 2.0, "gamma_end": 0.01, "anneal_steps": 150 * 12, "background": 0.3})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 2e-4, "b1": 0.5})
    config.train = ConfigDict({"num_epochs": 150, "seed": 0, "steps_per_call": 12})
    config.train.update({"log_every": 12, "eval_every": 300, "save_every": 300})
    config.probe = ConfigDict({"head": "mlp2", "symmetries": False, "train_images": 1_000})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "latents": 3, "anneal_steps": 4})
        config.train.update({"num_epochs": 1, "steps_per_call": 2, "log_every": 2, "eval_every": 100})
    return config
