"""Is this one whole nucleus, in focus? The filter of configs/cell_filter.py on real ones, here MitoCheck's.

Unusable are those out of focus, with several lobes, with two nuclei or with a hole. Split by plate, for the same cell
comes back in several frames.

    bin/train --config configs/cell_filter_nuclei.py --config.data.folder=/data/mitocheck --workdir runs/filter_nuclei
"""

import os

from ml_collections import ConfigDict

FILE_NAME = r"(?P<Plate>.+?)___P(?P<Well>\d+)_\d+___T(?P<Frame>\d+)___X(?P<X>\d+)___Y(?P<Y>\d+)"
USABLE = ("Interphase", "Prometaphase", "Metaphase", "MetaphaseAlignment", "Anaphase")
UNUSABLE = ("OutOfFocus", "Polylobed", "Binuclear", "Hole")
SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "mitocheck")
    config.data = ConfigDict({"name": "nuclei", "folder": folder, "image_size": 48, "metadata_regex": FILE_NAME})
    config.data.update({"group": "Metadata_Plate", "num_folds": 5, "fold": 0, "valid_rate": 0.2, "seed": 0})
    config.data.update({"on_error": "raise", "grouped": {"usable": USABLE, "unusable": UNUSABLE}})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 50, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "pooling_cnn", "filters": (20, 50), "hidden": 500, "dropout": 0.2})
    config.model.update({"normalise": False, "balanced": 0.0})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-4})
    config.train = ConfigDict({"num_epochs": 85, "seed": 0, "steps_per_call": 20})
    config.train.update({"log_every": 20, "eval_every": 200, "save_every": 600})
    config.probe = ConfigDict({"symmetries": True})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "hidden": 8})
        config.train.update({"num_epochs": 1, "steps_per_call": 2, "log_every": 2, "eval_every": 100})
    return config
