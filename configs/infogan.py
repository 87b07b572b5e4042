"""An InfoGAN on built-in cells: codes that draw cells, and a network that reads them back; Chen et al. 2016.

The cells are round to long nuclei in interphase along the horizontal, in the middle of the field, in one focus, without
neighbors or chromatin texture, under the strongest camera noise; size, elongation, brightness and outline vary. The
camera is known and not learnt (model.grain: noise * (0.4 + light), as the drawn camera has it). Scores say which code
follows which factor, and whether a classifier can tell drawn from real cells.

    bin/train --config configs/infogan.py --workdir runs/infogan
    bin/train --config configs/infogan.py --config.repeats.num_runs=5 --workdir runs/infogan5
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.data = ConfigDict({"name": "synthetic", "num_train": 5_000, "num_valid": 500, "num_test": 2_000})
    fixed = {"orientation_rad": 0.0, "x_px": 0.0, "y_px": 0.0, "neighbours": 0.0, "texture": 0.0, "noise": 0.03}
    config.data.update({"image_size": 16, "seed": 0, "states": ("interphase",), "fixed": {**fixed, "defocus_px": 1.4}})
    config.input = ConfigDict({"pipeline": "device", "batch_size": 64, "flips": True})
    config.model = ConfigDict({"name": "infogan", "latents": 4, "noise": 2, "filters": (32, 64)})
    config.model.update({"grain": (0.012, 0.03), "one_length": True})
    config.model.update({"dropout": 0.25, "information": 0.05, "instance_noise": 0.03, "background": 0.05})
    config.model.update({"gamma": 0.003, "gamma_end": 0.1, "anneal_steps": 2_000})
    config.optim = ConfigDict({"name": "adam", "learning_rate": 1e-3, "b1": 0.5, "decay": "cosine"})
    config.optim.players = ConfigDict({"generator": {"learning_rate": 3e-4}})
    config.train = ConfigDict({"num_epochs": 60, "seed": 0, "steps_per_call": 26})
    config.train.update({"log_every": 26, "eval_every": 390, "save_every": 780})
    config.probe = ConfigDict({"symmetries": False, "generated": True, "factor_votes": 200})
    config.repeats = ConfigDict({"over": "seed", "num_runs": 1})
    if size == "tiny":
        config.data.update({"num_train": 64, "num_valid": 16, "num_test": 112})
        config.data.states = ("interphase", "metaphase")  # a few cells of one would be of one class
        config.input.batch_size = 8
        config.model.update({"filters": (4, 4), "latents": 3, "anneal_steps": 4})
        config.train.update({"num_epochs": 1, "steps_per_call": 2, "log_every": 2, "eval_every": 100})
        config.train.save_every = 100
    return config
