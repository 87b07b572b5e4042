"""End-to-end classifier of your own images: interphase against metaphase, here MitoCheck's.

The network of configs/cnn.py on the images and splits of configs/tcvae_nuclei.py, of which it sees the 670 of the two
classes: five runs, each tested on plates that it never saw.

Measured on mitocheck, 2 CPU cores: balanced accuracy .962 +- .023 over the folds; about 80 seconds a fold.

    bin/train --config configs/cnn_nuclei.py --config.data.folder=/data/mitocheck --workdir runs/cnn_nuclei
"""

import os

from ml_collections import ConfigDict

FILE_NAME = r"(?P<Plate>.+?)___P(?P<Well>\d+)_\d+___T(?P<Frame>\d+)___X(?P<X>\d+)___Y(?P<Y>\d+)"
SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "mitocheck")
    config.data = ConfigDict({"name": "nuclei", "folder": folder, "image_size": 64, "metadata_regex": FILE_NAME})
    config.data.update({"group": "Metadata_Plate", "num_folds": 5, "fold": 0, "valid_rate": 0.1, "seed": 0})
    config.data.update({"balance": ("Interphase", "Metaphase", "MetaphaseAlignment"), "on_error": "raise"})
    config.data.grouped = {"interphase": ("Interphase",), "metaphase": ("Metaphase", "MetaphaseAlignment")}
    config.input = ConfigDict({"pipeline": "device", "batch_size": 64, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "cnn", "filters": (8, 16, 32, 64), "widths": (32, 16, 16, 16), "dropout": 0.3})
    config.model.balanced = True
    config.optim = ConfigDict({"name": "adam", "learning_rate": 3e-3, "warm_up_rate": 0.05, "decay": "cosine"})
    config.train = ConfigDict({"num_epochs": 100, "seed": 0, "steps_per_call": 10})
    config.train.update({"log_every": 10, "eval_every": 50, "save_every": 200})
    config.probe = ConfigDict({"symmetries": True})
    config.repeats = ConfigDict({"over": "fold", "num_runs": 5})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "widths": (8, 4)})
        config.train.update({"num_epochs": 1, "log_every": 2, "eval_every": 100, "save_every": 100})
        config.repeats.num_runs = 1
    return config
