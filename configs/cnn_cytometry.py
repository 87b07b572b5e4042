"""Which type is a cell in flow? The classifier of Isaksson 2018, section 5.1, here seven phases of Jurkat cells.

Five stratified folds; the channels that are seen are one field of the config. Published, six types of autophagy, first
channel, second and both: accuracy .49, .62, .66.

    bin/train --config configs/cnn_cytometry.py --config.data.folder=/data/jurkat --workdir runs/cnn_cytometry
    bin/train --config configs/cnn_cytometry.py --config.data.channels="('brightfield',)" --workdir runs/cnn_brightfield
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
    config.model = ConfigDict({"name": "pooling_cnn", "filters": (16, 32, 64), "hidden": 512, "dropout": 0.2})
    config.model.update({"normalise": True, "balanced": 0.5})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-4})
    config.train = ConfigDict({"num_epochs": 85, "seed": 0, "steps_per_call": 12})
    config.train.update({"log_every": 12, "eval_every": 60, "save_every": 240})
    config.probe = ConfigDict({"symmetries": True})
    config.repeats = ConfigDict({"over": "fold", "num_runs": 5})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "hidden": 8})
        config.train.update({"num_epochs": 1, "steps_per_call": 2, "log_every": 2, "eval_every": 100})
        config.repeats.num_runs = 1
    return config
