"""Hyperparameters of the sparse head on cached latents: the published search.

Soelistyo & Lowe 2024 (arXiv:2402.03115), supplement 2.4: Optuna, 200 trials of five runs and 40 epochs; sparsity S in
.95 to .97, updates of the topology every 100 to 200 steps, update fraction .7 to .9; objective: mean validation
accuracy plus mean final sparsity. They found S = .951, dT = 115 and alpha = .758.

The codes are those that the embed stage of bin/study writes.

    bin/tune --config configs/sparse_head.py --config.codes.file=runs/discover/embed/run0.npz --workdir runs/tune
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.codes = ConfigDict({"file": "runs/discover/embed/run0.npz"})
    config.head = ConfigDict({"method": "rigl", "batch_size": 64, "num_epochs": 40, "learning_rate": 3e-3})
    config.tune = ConfigDict({"num_trials": 200, "num_seeds": 5, "batch_size": 40, "seed": 0})
    if size == "tiny":
        config.head.update({"batch_size": 16, "num_epochs": 3})
        config.tune.update({"num_trials": 4, "num_seeds": 2, "batch_size": 2})
    return config


def get_space(trial):
    return {
        "head.sparsity": trial.suggest_float("head.sparsity", 0.95, 0.97),
        "head.update_every": trial.suggest_int("head.update_every", 100, 200),
        "head.update_rate": trial.suggest_float("head.update_rate", 0.7, 0.9),
    }
