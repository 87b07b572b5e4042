"""beta-TCVAE on your own images: folders of nuclei named by class, here MitoCheck's.

Five runs, each tested on plates that it never saw. A small classifier on the latents then tells interphase from
metaphase; the labels of the test plates are used for judging alone.

Measured on mitocheck, 2 CPU cores: balanced accuracy .931 +- .026 over the folds; about 6 minutes a fold.

    bin/train --config configs/tcvae_nuclei.py --config.data.folder=/data/mitocheck --workdir runs/nuclei
    bin/evaluate --workdir runs/nuclei
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
    config.input = ConfigDict({"pipeline": "pipeline", "batch_size": 128, "flips": True, "rotations": True})
    config.model = ConfigDict({"name": "tcvae", "latents": 32, "filters": (16, 32, 64, 64), "hidden": 256})
    config.model.update({"alpha": 1.0, "beta": 2.0, "gamma": 1.0, "estimator": "weighted"})
    config.model.update({"scale": 0.1, "window_px": 14.0, "background": 0.1})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-3, "warm_up_rate": 0.05, "decay": "cosine"})
    config.train = ConfigDict({"num_epochs": 75, "seed": 0, "steps_per_call": 10})
    config.train.update({"log_every": 10, "eval_every": 200, "save_every": 200})
    classes = {"interphase": ("Interphase",), "metaphase": ("Metaphase", "MetaphaseAlignment")}
    config.probe = ConfigDict({"head": "mlp", "symmetries": True, "classes": classes})
    config.repeats = ConfigDict({"over": "fold", "num_runs": 5})
    if size == "tiny":
        config.data.image_size = 16
        config.input.batch_size = 16
        config.model.update({"latents": 4, "filters": (4, 4), "hidden": 16})
        config.train.update({"num_epochs": 1, "log_every": 2, "eval_every": 100, "save_every": 100})
        config.repeats.num_runs = 1
    return config
