"""End-to-end classifier of built-in synthetic nuclei: scheme 1, what the interpretable schemes are measured against.

Setting of Soelistyo & Lowe 2024 (arXiv:2402.03115, supplement 2.2): 8/16/32/64 convolutions, then 32-16-16-16-K fully
connected, batch norm, Mish, dropout .3, batch 64, 100 epochs, flips and 90-degree rotations.

    bin/train --config configs/cnn.py --workdir runs/cnn
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.data = ConfigDict({"name": "synthetic", "num_train": 5_000, "num_valid": 1_000, "num_test": 2_000})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 64, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "cnn", "filters": (8, 16, 32, 64), "widths": (32, 16, 16, 16), "dropout": 0.3})
    config.model.balanced = False
    config.optim = ConfigDict({"name": "adam", "learning_rate": 2e-3, "warm_up_rate": 0.05, "decay": "cosine"})
    config.train = ConfigDict({"num_epochs": 100, "seed": 0, "steps_per_call": 39})
    config.train.update({"log_every": 78, "eval_every": 780, "save_every": 780})
    config.probe = ConfigDict({"symmetries": True})
    config.repeats = ConfigDict({"over": "seed", "num_runs": 1})
    if size == "tiny":
        config.data.update({"num_train": 96, "num_valid": 32, "num_test": 128, "image_size": 16})
        config.input.batch_size = 16
        config.model.update({"filters": (4, 8), "widths": (8, 4)})
        config.train.update({"num_epochs": 2, "steps_per_call": 2, "log_every": 2, "eval_every": 6, "save_every": 4})
    return config
