"""Is this one whole cell? The filter of Isaksson 2018, section 4.1, here on drawn frames of five kinds.

The classes are called usable and unusable. Published: accuracy .97 (logistic regression .91, size gate .9117).

    bin/train --config configs/cell_filter.py --workdir runs/cell_filter
    bin/prepare --config configs/cnn_cytometry.py --filter runs/my_filter     # sort your own cells with your own filter
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.data = ConfigDict({"name": "frames", "num_train": 4_000, "num_valid": 1_000, "num_test": 2_000})
    config.data.update({"image_size": 32, "seed": 0})
    unusable = ("clump", "debris", "out_of_focus", "empty")
    config.data.grouped = ConfigDict({"usable": ("single",), "unusable": unusable})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 50, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "pooling_cnn", "filters": (20, 50), "hidden": 500, "dropout": 0.2})
    config.model.update({"normalise": False, "balanced": 0.0})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-4})
    config.train = ConfigDict({"num_epochs": 85, "seed": 0, "steps_per_call": 40})
    config.train.update({"log_every": 40, "eval_every": 400, "save_every": 1200})
    config.probe = ConfigDict({"symmetries": True})
    if size == "tiny":
        config.data.update({"num_train": 96, "num_valid": 48, "num_test": 48, "image_size": 16})
        config.input.batch_size = 16
        config.model.update({"filters": (4, 4), "hidden": 8})
        config.train.update({"num_epochs": 2, "steps_per_call": 2, "log_every": 2, "eval_every": 6, "save_every": 6})
    return config
