"""Codes of cells in flow by a beta-VAE with the InfoGAN's layers, as Isaksson 2018, section 6.3, here of Jurkat cells.

32 latents, trained without labels; a small network then tells the phases from them. The grid search for beta looks at
another fold than the one that is reported: balanced accuracy .72, .65, .68, .70, .66 and .62 at the betas below, six
minutes, one run each, on the test images of that fold; 1 is kept. Since then validation images judge a search.

    bin/train --config configs/vae_cytometry.py --config.data.folder=/data/jurkat --workdir runs/vae_cytometry
    bin/tune --config configs/vae_cytometry.py --config.data.fold=1 --workdir runs/beta
"""

import os

from ml_collections import ConfigDict

SIZES = ("full", "tiny")
BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "jurkat")
    config.data = ConfigDict({"name": "flowcytometry", "folder": folder, "image_size": 40})
    config.data.update({"channels": ("brightfield", "PI", "side scatter"), "padding": 20.0})
    config.data.update({"num_folds": 5, "fold": 0, "valid_rate": 0.1, "seed": 0, "on_error": "raise"})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 100, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "vae", "architecture": "dcgan", "latents": 32, "filters": (16, 32, 64)})
    config.model.update({"beta": 1.0, "likelihood": "normal", "scale": 0.1, "background": 0.3})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-3})
    config.train = ConfigDict({"num_epochs": 120, "seed": 0, "steps_per_call": 12})
    config.train.update({"log_every": 12, "eval_every": 120, "save_every": 240})
    config.probe = ConfigDict({"head": "mlp2", "symmetries": False, "train_images": 1_000})
    config.tune = ConfigDict({"sampler": "grid", "num_trials": len(BETAS), "objective": "probe.balanced_accuracy"})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "latents": 3})
        config.train.update({"num_epochs": 1, "steps_per_call": 2, "log_every": 2, "eval_every": 100})
    return config


def get_space(trial):
    return {"model.beta": trial.suggest_categorical("model.beta", BETAS)}
